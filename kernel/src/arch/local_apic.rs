//! The local APIC of the CPU that asks: its registers, its end-of-interrupt, its errors, its one-shot timer, and
//! interrupts for other CPUs ([`send`]).
//!
//! Invariants: each access is a single one of this CPU's own registers and needs no lock; a command for another CPU is
//! two in xAPIC mode, with interrupts off in between. All CPUs are in the same mode, the one in which the firmware left
//! the first. Neighbours: `io_apic` sends interrupts here, `trap` signals their end, `vectors` has the numbers, `cpus`
//! starts and interrupts other CPUs.

use super::vectors::{self, Oddity, Vector};
use super::{interrupts, time};
use carapace_acpi::madt::ApicId;
use carapace_mm::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use log::warn;
use x86_64::registers::model_specific::Msr;

/// The registers of an interrupt controller at this address could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMapped(pub PhysAddr);

impl fmt::Display for NotMapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the interrupt controller's registers at {} cannot be mapped", self.0)
    }
}

// Registers of the local APIC (Intel SDM vol. 3, table 10-1).
const ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const ERROR_STATUS: u32 = 0x280;
const COMMAND_LOW: u32 = 0x300;
const COMMAND_HIGH: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;

/// Delivery modes of a command, and its other bits (Intel SDM vol. 3, figure 11-12).
const COMMAND_NMI: u32 = 4 << 8;
const COMMAND_INIT: u32 = 5 << 8;
const COMMAND_START: u32 = 6 << 8;
const COMMAND_PENDING: u32 = 1 << 12;
const COMMAND_ASSERT: u32 = 1 << 14;
/// Looks at a command that is not delivered yet before it is given up.
const COMMAND_PATIENCE: u32 = 100_000;

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

fn write(register: u32, value: u32) {
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

fn read(register: u32) -> u32 {
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

/// The identity of the CPU that asks.
pub fn id() -> ApicId {
    let id = read(ID);
    ApicId(if LOCAL.load(Ordering::Relaxed) == X2 { id } else { id >> 24 })
}

/// Whether interrupts reach the CPU `id` in the mode that all CPUs are in.
pub fn reaches(id: ApicId) -> bool {
    match LOCAL.load(Ordering::Relaxed) {
        OFF => false,
        X2 => true,
        _ => !id.needs_x2apic(),
    }
}

/// What one CPU sends another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An interrupt of this vector.
    Interrupt(Vector),
    /// A non-maskable interrupt.
    Nmi,
    /// Reset, and wait for [`Message::Start`].
    Init,
    /// Start in real mode at the beginning of this page, one of the first 256.
    Start {
        /// The page's number.
        page: u8,
    },
}

/// Sends `message` to the CPU `to`. [`reaches`] says whether it can arrive.
pub fn send(to: ApicId, message: Message) {
    let low = COMMAND_ASSERT
        | match message {
            Message::Interrupt(vector) => u32::from(vector.0),
            Message::Nmi => COMMAND_NMI,
            Message::Init => COMMAND_INIT,
            Message::Start { page } => COMMAND_START | u32::from(page),
        };
    match LOCAL.load(Ordering::Relaxed) {
        OFF => {}
        X2 => {
            // The write is not ordered behind earlier ones to memory (SDM vol. 3, section 11.12.3), which the receiver
            // is to see.
            // SAFETY: two fences, which change no state.
            unsafe { core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags)) };
            let mut command = Msr::new(0x800 + (COMMAND_LOW >> 4));
            // SAFETY: the CPU is in x2APIC mode, where this is the command register of 64 bits. What is sent interrupts
            // a CPU, for which there are gates, or starts one at the page that the caller has prepared.
            unsafe { command.write(u64::from(to.0) << 32 | u64::from(low)) };
        }
        // A handler on this CPU sends too: not between the two halves.
        _ => interrupts::without(|| {
            for _ in 0..COMMAND_PATIENCE {
                if read(COMMAND_LOW) & COMMAND_PENDING == 0 {
                    break;
                }
                core::hint::spin_loop();
            }
            write(COMMAND_HIGH, to.0 << 24);
            write(COMMAND_LOW, low);
        }),
    }
}

/// Starts the first CPU's local APIC, calibrates its timer and registers its handlers. `map` maps device registers for
/// good. Interrupts are off and stay off.
///
/// # Errors
///
/// When the registers cannot be mapped.
pub fn init(
    registers: PhysAddr,
    map: &mut dyn FnMut(PhysAddr, u64) -> Option<VirtAddr>,
) -> Result<(), NotMapped> {
    let mut base = Msr::new(APIC_BASE);
    // SAFETY: every CPU with a local APIC (all 64-bit ones) has this register.
    let state = unsafe { base.read() };
    let access =
        if state & APIC_BASE_X2 != 0 { X2 } else { map(registers, PAGE_SIZE).ok_or(NotMapped(registers))?.0 };
    // SAFETY: only the enable bit is added; interrupts are off.
    unsafe { base.write(state | APIC_BASE_ENABLE) };
    LOCAL.store(access, Ordering::Relaxed);
    // LINT1 is NMI on every PC.
    set_up(LVT_NMI);
    vectors::set_handler(vectors::APIC_ERROR, on_error);
    // Waking the executor is all that the timer is for.
    vectors::set_handler(vectors::TIMER, || {});
    calibrate_timer();
    Ok(())
}

/// Starts the local APIC of a CPU other than the first, in the first one's mode. Interrupts are off and stay off.
pub fn init_other() {
    let x2 = LOCAL.load(Ordering::Relaxed) == X2;
    let mut base = Msr::new(APIC_BASE);
    // SAFETY: every CPU with a local APIC (all 64-bit ones) has this register.
    let state = unsafe { base.read() };
    if !x2 && state & APIC_BASE_X2 != 0 {
        // From x2APIC mode the way back leads through "disabled" (SDM vol. 3, section 11.12.5).
        // SAFETY: this CPU's local APIC goes off; interrupts are off.
        unsafe { base.write(state & !(APIC_BASE_ENABLE | APIC_BASE_X2)) };
    }
    let enabled = state & !APIC_BASE_X2 | APIC_BASE_ENABLE;
    if !x2 || state & APIC_BASE_X2 == 0 {
        // SAFETY: only the enable bit is added; interrupts are off.
        unsafe { base.write(enabled) };
    }
    if x2 {
        // SAFETY: the first CPU is in x2APIC mode, so this one has it; it is enabled, from where this step is allowed.
        unsafe { base.write(enabled | APIC_BASE_X2) };
    }
    // An NMI of the machine goes to the first CPU.
    set_up(LVT_MASKED);
}

/// Lets interrupts come, errors among them; nothing else of the CPU's own but what `lint1` says.
fn set_up(lint1: u32) {
    write(TASK_PRIORITY, 0);
    write(LVT_TIMER, LVT_MASKED);
    // LINT0 is where the legacy controllers come in.
    write(LVT_LINT0, LVT_MASKED);
    write(LVT_LINT1, lint1);
    write(LVT_ERROR, u32::from(vectors::APIC_ERROR.0));
    write(SPURIOUS, SOFTWARE_ENABLE | u32::from(vectors::SPURIOUS.0));
    // Clears pending errors; the register must be written before a read.
    write(ERROR_STATUS, 0);
    end_of_interrupt();
}

/// Handler of the local APIC's own errors.
fn on_error() {
    write(ERROR_STATUS, 0);
    let errors = read(ERROR_STATUS);
    if vectors::oddity() == Oddity::Log {
        warn!("the local APIC reports error bits {errors:#x} (Intel SDM vol. 3, section 10.5.3)");
    }
}

/// Signals the end of the interrupt in service.
pub(super) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

fn calibrate_timer() {
    /// Long against the reading of a register, and waited for at each start.
    const MEASURED: Duration = Duration::from_micros(500);
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    write(TIMER_INITIAL, u32::MAX);
    let start = time::uptime();
    time::stall(MEASURED);
    let ticks = u64::from(u32::MAX - read(TIMER_CURRENT));
    let passed = (time::uptime() - start).as_nanos().max(1);
    write(TIMER_INITIAL, 0);
    write(LVT_TIMER, u32::from(vectors::TIMER.0)); // one-shot
    TIMER_HZ.store((u128::from(ticks) * 1_000_000_000 / passed) as u64, Ordering::Relaxed);
}

/// Raises an interrupt at `deadline` of [`time::uptime`]: at once when it is over, late by no more than the timer's
/// resolution, at the latest after the timer's longest run, some seconds. A new deadline replaces the old one.
pub fn wake_at(deadline: Duration) {
    start_timer(deadline.saturating_sub(time::uptime()));
}

/// Starts the one-shot timer: an interrupt after `delay` (or after its longest run, if that is less).
fn start_timer(delay: Duration) {
    let hz = TIMER_HZ.load(Ordering::Relaxed);
    let ticks = delay.as_nanos().saturating_mul(u128::from(hz)) / 1_000_000_000;
    // Zero would stop the timer.
    write(TIMER_INITIAL, u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
}
