//! The IO APICs: which pin sends its interrupt to which vector, and its mask.
//!
//! ```text
//!  UARTs --ISA 4, 3--> pins (by the MADT's overrides) --> vectors CONSOLE, REMOTE
//!  ACPI --SCI--------> pin, level                     --> vector SCI
//! ```
//!
//! Invariant: the registers (an index and a window) are used under one [`IrqMutex`]. Neighbours: drivers and `acpi`
//! route their interrupts here, `vectors` keeps their handlers, `local_apic` is the other end.

use super::interrupts::IrqMutex;
use super::local_apic::{self, NotMapped};
use super::vectors::{self, Handler, Vector};
use arrayvec::ArrayVec;
use carapace_acpi::madt::{
    MAX_IO_APICS, MAX_OVERRIDES, Madt, Polarity, Signal, SourceOverride, Trigger, Wiring,
};
use carapace_lock::Rank;
use carapace_mm::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use core::fmt;

/// An interrupt's number in the whole machine: a pin of one of the IO APICs (ACPI 6.5, 5.2.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gsi(pub u32);

/// Why an interrupt cannot be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// No IO APIC has a pin for this interrupt.
    NoPin(Gsi),
    /// The kernel uses the interrupt already.
    Taken(Gsi),
    /// The interrupt is used before [`init`].
    TooEarly,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteError::NoPin(gsi) => write!(f, "no IO APIC has a pin for interrupt {}", gsi.0),
            RouteError::Taken(gsi) => write!(f, "interrupt {} is used by another device", gsi.0),
            RouteError::TooEarly => f.write_str("interrupt controllers are not set up yet"),
        }
    }
}

struct IoApic {
    registers: VirtAddr,
    first: Gsi,
    pins: u32,
}

impl IoApic {
    const SELECT: u64 = 0x00;
    const WINDOW: u64 = 0x10;
    const VERSION: u32 = 1;
    const MASKED: u32 = 1 << 16;
    /// The vector's bits of a redirection entry; 0 until it is routed.
    const VECTOR: u32 = 0xff;

    fn select(&mut self, register: u32) {
        // SAFETY: `init` had the registers mapped for good. This one selects the register in the window; no other code
        // changes it meanwhile, since an `IoApic` is reached under the lock of `CONTROLLERS` only.
        unsafe { (self.registers.offset(Self::SELECT).0 as *mut u32).write_volatile(register) };
    }

    fn read(&mut self, register: u32) -> u32 {
        self.select(register);
        // SAFETY: `init` had the registers mapped for good, and the window shows the register just selected, under the lock of
        // `CONTROLLERS`; reading has no effect.
        unsafe { (self.registers.offset(Self::WINDOW).0 as *const u32).read_volatile() }
    }

    fn write(&mut self, register: u32, value: u32) {
        self.select(register);
        // SAFETY: `init` had the registers mapped for good, and the window shows the register just selected, under the lock of
        // `CONTROLLERS`; redirection entries only direct interrupts to vectors, and all have gates.
        unsafe { (self.registers.offset(Self::WINDOW).0 as *mut u32).write_volatile(value) };
    }

    /// The low word of `pin`'s redirection entry; the high word (destination) follows it.
    const fn entry(pin: u32) -> u32 {
        0x10 + 2 * pin
    }
}

struct Controllers {
    io: ArrayVec<IoApic, MAX_IO_APICS>,
    overrides: ArrayVec<SourceOverride, MAX_OVERRIDES>,
}

static CONTROLLERS: IrqMutex<Controllers> =
    IrqMutex::new(Rank::IoApic, Controllers { io: ArrayVec::new_const(), overrides: ArrayVec::new_const() });

impl Controllers {
    /// Changes the low word of the redirection entry of `gsi`.
    fn change(&mut self, gsi: Gsi, change: impl FnOnce(&mut IoApic, u32)) -> Result<(), RouteError> {
        if self.io.is_empty() {
            return Err(RouteError::TooEarly);
        }
        for io in &mut self.io {
            match gsi.0.checked_sub(io.first.0) {
                Some(pin) if pin < io.pins => {
                    change(io, IoApic::entry(pin));
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(RouteError::NoPin(gsi))
    }

    fn route(&mut self, to: Wiring, vector: Vector) -> Result<(), RouteError> {
        let destination = local_apic::id().0 << 24;
        let polarity = match to.signal.polarity {
            Polarity::High => 0,
            Polarity::Low => 1 << 13,
        };
        let trigger = match to.signal.trigger {
            Trigger::Edge => 0,
            Trigger::Level => 1 << 15,
        };
        let mut is_taken = false;
        self.change(Gsi(to.gsi), |io, entry| {
            is_taken = io.read(entry) & IoApic::VECTOR != 0;
            if is_taken {
                return;
            }
            // Masked while the two words do not belong together.
            io.write(entry, IoApic::MASKED);
            io.write(entry + 1, destination);
            io.write(entry, u32::from(vector.0) | polarity | trigger);
        })?;
        if is_taken { Err(RouteError::Taken(Gsi(to.gsi))) } else { Ok(()) }
    }
}

/// Masks every pin of the IO APICs. `map` maps device registers for good. Interrupts are off and stay off.
///
/// # Errors
///
/// When registers cannot be mapped.
pub fn init(madt: &Madt, map: &mut dyn FnMut(PhysAddr, u64) -> Option<VirtAddr>) -> Result<(), NotMapped> {
    // Mapped before the lock is taken: page tables have an earlier rank.
    let mut mapped: ArrayVec<IoApic, MAX_IO_APICS> = ArrayVec::new();
    for described in &madt.io_apics {
        let registers = map(described.registers, PAGE_SIZE).ok_or(NotMapped(described.registers))?;
        let io = IoApic { registers, first: Gsi(described.gsi_base), pins: 0 };
        if mapped.try_push(io).is_err() {
            break; // the MADT's own list is no longer
        }
    }
    let mut controllers = CONTROLLERS.lock();
    for mut io in mapped {
        io.pins = (io.read(IoApic::VERSION) >> 16 & 0xff) + 1;
        for pin in 0..io.pins {
            io.write(IoApic::entry(pin), IoApic::MASKED);
        }
        let _ = controllers.io.try_push(io); // as many as `mapped` holds
    }
    controllers.overrides = madt.overrides.clone();
    Ok(())
}

/// The pin and signal of an ISA interrupt: as `signal` says, as far as no override of the MADT says otherwise.
pub fn wiring(irq: u16, signal: Signal) -> Wiring {
    Wiring::of(irq, &CONTROLLERS.lock().overrides, signal)
}

/// Sends the interrupt of a pin to this CPU at `vector`, where `handler` serves it, and unmasks it.
///
/// # Errors
///
/// When no IO APIC has the pin, or the kernel uses it already.
pub fn route(wiring: Wiring, vector: Vector, handler: Handler) -> Result<(), RouteError> {
    vectors::set_handler(vector, handler);
    CONTROLLERS.lock().route(wiring, vector)
}

/// Whether a pin's interrupt is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// It is.
    Masked,
    /// It is delivered.
    Open,
}

/// Masks or unmasks a pin. A level that was raised while it was masked is delivered at once.
pub fn set_mask(gsi: Gsi, mask: Mask) {
    let mask = if mask == Mask::Masked { IoApic::MASKED } else { 0 };
    // A pin that was never routed stays masked.
    let _ = CONTROLLERS.lock().change(gsi, |io, entry| {
        let low = io.read(entry);
        io.write(entry, low & !IoApic::MASKED | mask);
    });
}
