//! The local APIC of the CPU that asks: its registers, its end-of-interrupt, its errors, its one-shot timer.
//!
//! Invariant: each access is a single one of this CPU's own registers and needs no lock. Neighbours: `io_apic` sends
//! interrupts here, `trap` signals their end, `vectors` has the numbers.

use super::time;
use super::vectors::{self, Oddity};
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

/// This CPU's identity for the IO APICs, which have 8 bits for it.
pub(super) fn id() -> u8 {
    let id = read(ID);
    (if LOCAL.load(Ordering::Relaxed) == X2 { id } else { id >> 24 }) as u8
}

/// Starts this CPU's local APIC, calibrates its timer and registers its handlers. `map` maps device registers for good.
/// Interrupts are off and stay off.
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
    write(TASK_PRIORITY, 0);
    write(LVT_TIMER, LVT_MASKED);
    // LINT0 is where the legacy controllers come in, LINT1 is NMI on every PC.
    write(LVT_LINT0, LVT_MASKED);
    write(LVT_LINT1, LVT_NMI);
    write(LVT_ERROR, u32::from(vectors::APIC_ERROR.0));
    write(SPURIOUS, SOFTWARE_ENABLE | u32::from(vectors::SPURIOUS.0));
    // Clears what was pending; the register wants a write first.
    write(ERROR_STATUS, 0);
    end_of_interrupt();
    vectors::set_handler(vectors::APIC_ERROR, on_error);
    // Waking the executor is all that the timer is for.
    vectors::set_handler(vectors::TIMER, || {});
    calibrate_timer();
    Ok(())
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
    const MEASURED: Duration = Duration::from_millis(2);
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
