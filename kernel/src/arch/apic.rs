//! The local APIC and the IO APICs: where interrupts come in, which vector they get, and ACPI's system
//! control interrupt (SCI).
//!
//! ```text
//!  UARTs --ISA 4, 3--> IO APIC pins (by the MADT's overrides) --> vectors CONSOLE, REMOTE --> serial rings, wake
//!  ACPI --SCI----> IO APIC pin, level --> vector SCI: mask the pin, note, wake
//!                                         main loop: take_sci, serve the events, unmask_sci
//! ```
//!
//! Invariants: the IO APICs' registers (an index and a window) are used under one [`IrqMutex`]; the
//! local APIC's are single accesses of this CPU and need none. A level interrupt is masked before its
//! end is signalled, so it cannot come again before the main loop has looked.

use super::serial::{self, Port};
use super::{time, vectors};
use crate::sync::{IrqMutex, Rank};
use arrayvec::ArrayVec;
use carapace_acpi::madt::{
    MAX_IO_APICS, MAX_OVERRIDES, Madt, Polarity, Signal, SourceOverride, Trigger, Wiring,
};
use carapace_mm::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use log::warn;
use vectors::{Odd, Vector};
use x86_64::registers::model_specific::Msr;

/// An interrupt's number in the whole machine: a pin of one of the IO APICs (ACPI 6.5, 5.2.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gsi(pub u32);

/// Why an interrupt controller cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicError {
    /// The registers at this address could not be mapped.
    NotMapped(PhysAddr),
    /// No IO APIC has a pin for this interrupt.
    NoPin(Gsi),
    /// The interrupt is used before [`init`].
    TooEarly,
}

impl fmt::Display for ApicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApicError::NotMapped(at) => {
                write!(f, "the interrupt controller's registers at {at} cannot be mapped")
            }
            ApicError::NoPin(gsi) => write!(f, "no IO APIC has a pin for interrupt {}", gsi.0),
            ApicError::TooEarly => f.write_str("interrupt controllers are not set up yet"),
        }
    }
}

// Registers of the local APIC (Intel SDM vol. 3, table 10-1).
const ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const ERROR_STATUS: u32 = 0x280;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;

const LVT_MASKED: u32 = 1 << 16;
const LVT_NMI: u32 = 4 << 8;
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// Divide the timer's clock by 16.
const DIVIDE_BY_16: u32 = 0b0011;
const APIC_BASE: u32 = 0x1b;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const APIC_BASE_X2: u64 = 1 << 10;

/// How the local APIC's registers are reached: [`OFF`], [`X2`], or their virtual address.
static LOCAL: AtomicU64 = AtomicU64::new(OFF);
const OFF: u64 = 0;
/// By model-specific registers (x2APIC mode, where the firmware chose it).
const X2: u64 = 1;

/// Ticks of the local timer a second, divider included; 0 while unknown.
static TIMER_HZ: AtomicU64 = AtomicU64::new(0);
static SCI_NOTED: AtomicBool = AtomicBool::new(false);
/// When it came last, in nanoseconds since boot.
static SCI_AT_NS: AtomicU64 = AtomicU64::new(0);

fn local_write(register: u32, value: u32) {
    match LOCAL.load(Ordering::Relaxed) {
        OFF => {}
        // SAFETY: the CPU is in x2APIC mode, where this is the register's number (SDM vol. 3, table
        // 10-6); what is written only directs interrupts, for all of which there are gates.
        X2 => unsafe { Msr::new(0x800 + (register >> 4)).write(u64::from(value)) },
        // SAFETY: `init` had the registers' page mapped for good at this address, and `register` is an offset in it; what
        // is written only directs interrupts, for all of which there are gates.
        base => unsafe { ((base + u64::from(register)) as *mut u32).write_volatile(value) },
    }
}

fn local_read(register: u32) -> u32 {
    match LOCAL.load(Ordering::Relaxed) {
        OFF => 0,
        // SAFETY: the CPU is in x2APIC mode, where this is the register's number; those used here have no effect when
        // read.
        X2 => unsafe { Msr::new(0x800 + (register >> 4)).read() as u32 },
        // SAFETY: `init` had the registers' page mapped for good at this address, and `register` is an offset in it; those
        // used here have no effect when read.
        base => unsafe { ((base + u64::from(register)) as *const u32).read_volatile() },
    }
}

/// This CPU's identity for the IO APICs, which have 8 bits for it.
fn local_id() -> u8 {
    let id = local_read(ID);
    (if LOCAL.load(Ordering::Relaxed) == X2 { id } else { id >> 24 }) as u8
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

    fn select(&mut self, register: u32) {
        // SAFETY: `init` had the registers mapped for good. This one chooses what the window shows; nobody else changes it
        // meanwhile, since an `IoApic` is reached under the lock of `CONTROLLERS` only.
        unsafe { (self.registers.offset(Self::SELECT).0 as *mut u32).write_volatile(register) };
    }

    fn read(&mut self, register: u32) -> u32 {
        self.select(register);
        // SAFETY: `init` had the registers mapped for good, and the window shows what was just selected, under the lock of
        // `CONTROLLERS`; reading has no effect.
        unsafe { (self.registers.offset(Self::WINDOW).0 as *const u32).read_volatile() }
    }

    fn write(&mut self, register: u32, value: u32) {
        self.select(register);
        // SAFETY: `init` had the registers mapped for good, and the window shows what was just selected, under the lock of
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
    sci: Option<Gsi>,
}

static CONTROLLERS: IrqMutex<Controllers> = IrqMutex::new(
    Rank::IoApic,
    Controllers { io: ArrayVec::new_const(), overrides: ArrayVec::new_const(), sci: None },
);

impl Controllers {
    /// Changes the low word of the redirection entry of `gsi`.
    fn change(&mut self, gsi: Gsi, change: impl FnOnce(&mut IoApic, u32)) -> Result<(), ApicError> {
        if self.io.is_empty() {
            return Err(ApicError::TooEarly);
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
        Err(ApicError::NoPin(gsi))
    }

    fn route(&mut self, to: Wiring, vector: Vector) -> Result<(), ApicError> {
        let destination = u32::from(local_id()) << 24;
        let polarity = match to.signal.polarity {
            Polarity::High => 0,
            Polarity::Low => 1 << 13,
        };
        let trigger = match to.signal.trigger {
            Trigger::Edge => 0,
            Trigger::Level => 1 << 15,
        };
        self.change(Gsi(to.gsi), |io, entry| {
            // Masked while the two words do not belong together.
            io.write(entry, IoApic::MASKED);
            io.write(entry + 1, destination);
            io.write(entry, u32::from(vector.0) | polarity | trigger);
        })
    }
}

/// Starts this CPU's local APIC and masks every pin of the IO APICs.
/// `map` maps device registers for good. Interrupts are off and stay off.
///
/// # Errors
///
/// When registers cannot be mapped.
pub fn init(madt: &Madt, map: &mut dyn FnMut(PhysAddr, u64) -> Option<VirtAddr>) -> Result<(), ApicError> {
    start_local(madt.local_apic, map)?;
    // Mapped before the lock is taken: page tables have an earlier rank.
    let mut mapped: ArrayVec<IoApic, MAX_IO_APICS> = ArrayVec::new();
    for described in &madt.io_apics {
        let registers =
            map(described.registers, PAGE_SIZE).ok_or(ApicError::NotMapped(described.registers))?;
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
    drop(controllers);
    calibrate_timer();
    Ok(())
}

fn start_local(
    registers: PhysAddr,
    map: &mut dyn FnMut(PhysAddr, u64) -> Option<VirtAddr>,
) -> Result<(), ApicError> {
    let mut base = Msr::new(APIC_BASE);
    // SAFETY: every CPU with a local APIC (all 64-bit ones) has this register.
    let state = unsafe { base.read() };
    let access = if state & APIC_BASE_X2 != 0 {
        X2
    } else {
        map(registers, PAGE_SIZE).ok_or(ApicError::NotMapped(registers))?.0
    };
    // SAFETY: only the enable bit is added; interrupts are off.
    unsafe { base.write(state | APIC_BASE_ENABLE) };
    LOCAL.store(access, Ordering::Relaxed);
    local_write(TASK_PRIORITY, 0);
    local_write(LVT_TIMER, LVT_MASKED);
    // LINT0 is where the legacy controllers come in, LINT1 is NMI on every PC.
    local_write(LVT_LINT0, LVT_MASKED);
    local_write(LVT_LINT1, LVT_NMI);
    local_write(LVT_ERROR, u32::from(vectors::APIC_ERROR.0));
    local_write(SPURIOUS, SOFTWARE_ENABLE | u32::from(vectors::SPURIOUS.0));
    // Clears what was pending; the register wants a write first.
    local_write(ERROR_STATUS, 0);
    end_of_interrupt();
    Ok(())
}

/// Routes a serial line's interrupt and switches the line to it.
///
/// # Errors
///
/// When no IO APIC has its pin: the line stays polled.
pub fn route_serial(port: Port) -> Result<(), ApicError> {
    let mut controllers = CONTROLLERS.lock();
    let wiring = Wiring::of(port.isa_irq().into(), &controllers.overrides, Signal::ISA);
    let vector = match port {
        Port::Console => vectors::CONSOLE,
        Port::Remote => vectors::REMOTE,
    };
    controllers.route(wiring, vector)?;
    drop(controllers);
    serial::use_interrupts(port);
    Ok(())
}

/// Routes ACPI's system control interrupt, FADT's SCI_INT: level, active low, as far as no override says
/// otherwise.
///
/// # Errors
///
/// When no IO APIC has its pin.
pub fn route_sci(irq: u16) -> Result<(), ApicError> {
    let mut controllers = CONTROLLERS.lock();
    let wiring = Wiring::of(irq, &controllers.overrides, Signal::SCI);
    // Before the pin is unmasked: the handler masks it by this.
    controllers.sci = Some(Gsi(wiring.gsi));
    controllers.route(wiring, vectors::SCI)
}

/// Whether the SCI has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sci {
    /// It has, and stays masked until [`unmask_sci`].
    Came,
    /// It has not.
    Quiet,
}

/// Whether the SCI has come since the last call.
pub fn take_sci() -> Sci {
    if SCI_NOTED.swap(false, Ordering::Acquire) { Sci::Came } else { Sci::Quiet }
}

/// When the SCI came last, in nanoseconds since boot.
pub fn sci_at_ns() -> u64 {
    SCI_AT_NS.load(Ordering::Relaxed)
}

/// Lets the SCI come again, after the events it stood for are served: at once if its level still stands.
pub fn unmask_sci() {
    set_sci_mask(0);
}

fn set_sci_mask(mask: u32) {
    let mut controllers = CONTROLLERS.lock();
    if let Some(gsi) = controllers.sci {
        // It was routed, so its pin is there.
        let _ = controllers.change(gsi, |io, entry| {
            let low = io.read(entry);
            io.write(entry, low & !IoApic::MASKED | mask);
        });
    }
}

/// Handler of the SCI.
pub(super) fn on_sci() {
    SCI_AT_NS.store(time::uptime().as_nanos() as u64, Ordering::Relaxed);
    set_sci_mask(IoApic::MASKED);
    SCI_NOTED.store(true, Ordering::Release);
}

/// Handler of the local APIC's own errors.
pub(super) fn on_error() {
    local_write(ERROR_STATUS, 0);
    let errors = local_read(ERROR_STATUS);
    if vectors::odd() == Odd::Log {
        warn!("the local APIC reports error bits {errors:#x} (Intel SDM vol. 3, section 10.5.3)");
    }
}

pub(super) fn end_of_interrupt() {
    local_write(END_OF_INTERRUPT, 0);
}

fn calibrate_timer() {
    const MEASURED: Duration = Duration::from_millis(2);
    local_write(TIMER_DIVIDE, DIVIDE_BY_16);
    local_write(TIMER_INITIAL, u32::MAX);
    let start = time::uptime();
    time::stall(MEASURED);
    let ticks = u64::from(u32::MAX - local_read(TIMER_CURRENT));
    let passed = (time::uptime() - start).as_nanos().max(1);
    local_write(TIMER_INITIAL, 0);
    local_write(LVT_TIMER, u32::from(vectors::TIMER.0)); // one-shot
    TIMER_HZ.store((u128::from(ticks) * 1_000_000_000 / passed) as u64, Ordering::Relaxed);
}

/// Starts the one-shot timer: an interrupt after `delay` (or after its longest run, if that is less).
pub(super) fn start_timer(delay: Duration) {
    let hz = TIMER_HZ.load(Ordering::Relaxed);
    let ticks = delay.as_nanos().saturating_mul(u128::from(hz)) / 1_000_000_000;
    // Zero would stop the timer.
    local_write(TIMER_INITIAL, u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
}
