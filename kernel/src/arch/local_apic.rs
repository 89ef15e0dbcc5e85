//! The local APIC of the CPU that asks: its registers, its end-of-interrupt, its errors, its one-shot timer, and
//! interrupts for other CPUs ([`send`]).
//!
//! Invariants: each access is a single one of this CPU's own registers and needs no lock; a command for another CPU is
//! two in xAPIC mode, with interrupts off in between. All CPUs are in the same mode, the one in which the firmware left
//! the first. Neighbours: `carapace_irq::local_apic` has commands and modes, tested against a model; `io_apic` sends interrupts here, `trap` signals their end, `vectors` has the numbers, `cpus`
//! starts and interrupts other CPUs.

use super::vectors::{self, Oddity};
use super::{interrupts, time};
use carapace_acpi::madt::ApicId;
use carapace_irq::local_apic::{self, Destination, Mode, Registers};
use carapace_mm::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use log::warn;
use x86_64::registers::model_specific::Msr;

pub use carapace_irq::local_apic::Message;

/// The registers of an interrupt controller at this address could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMapped(pub PhysAddr);

impl fmt::Display for NotMapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the interrupt controller's registers at {} cannot be mapped", self.0)
    }
}

// Registers of the local APIC (Intel SDM vol. 3, table 10-1), beside those of `carapace_irq`.
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

/// How the local APIC's registers are reached: [`OFF`], [`X2`], or their virtual address.
static LOCAL: AtomicU64 = AtomicU64::new(OFF);
const OFF: u64 = 0;
/// By model-specific registers (x2APIC mode, where the firmware chose it).
const X2: u64 = 1;

/// Ticks of the local timer a second, divider included; 0 while unknown.
static TIMER_HZ: AtomicU64 = AtomicU64::new(0);

/// The mode that all CPUs are in; nothing before [`init`].
fn mode() -> Option<Mode> {
    match LOCAL.load(Ordering::Relaxed) {
        OFF => None,
        X2 => Some(Mode::X2Apic),
        _ => Some(Mode::XApic),
    }
}

/// The registers of the CPU that asks.
struct Own;

impl Own {
    /// Where a register of the page is; nothing but in xAPIC mode.
    fn at(register: u32) -> Option<*mut u32> {
        let base = LOCAL.load(Ordering::Relaxed);
        (mode() == Some(Mode::XApic)).then(|| (base + u64::from(register)) as *mut u32)
    }
}

impl Registers for Own {
    fn base(&self) -> u64 {
        // SAFETY: every CPU with a local APIC (all 64-bit ones) has this register.
        unsafe { Msr::new(APIC_BASE).read() }
    }

    fn set_base(&mut self, value: u64) {
        // SAFETY: every CPU with a local APIC has this register; `local_apic::enter` writes it with the page's address
        // unchanged, and only makes the transitions that the CPU allows (a model checks that). Interrupts are off.
        unsafe { Msr::new(APIC_BASE).write(value) }
    }

    fn load(&self, register: u32) -> u32 {
        // SAFETY: `init` had the registers' page mapped for good at this address, and `register` is an offset in it; those
        // used here have no effect when read.
        Own::at(register).map_or(0, |at| unsafe { at.read_volatile() })
    }

    fn store(&mut self, register: u32, value: u32) {
        if let Some(at) = Own::at(register) {
            // SAFETY: `init` had the registers' page mapped for good at this address, and `register` is an offset in it;
            // what is written only directs interrupts, for all of which there are gates, or starts a CPU at the page that
            // the caller has prepared.
            unsafe { at.write_volatile(value) }
        }
    }

    fn read_msr(&self, number: u32) -> u64 {
        // SAFETY: the CPU is in x2APIC mode, where this is the register's number; those used here have no effect when
        // read.
        unsafe { Msr::new(number).read() }
    }

    fn write_msr(&mut self, number: u32, value: u64) {
        // SAFETY: the CPU is in x2APIC mode, where this is the register's number (SDM vol. 3, table 10-6); what is written
        // only directs interrupts, for all of which there are gates, or starts a CPU at the page that the caller has
        // prepared.
        unsafe { Msr::new(number).write(value) }
    }

    fn fence(&mut self) {
        // SAFETY: two fences, which change no state.
        unsafe { core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags)) }
    }
}

fn write(register: u32, value: u32) {
    match mode() {
        None => {}
        Some(Mode::X2Apic) => Own.write_msr(local_apic::msr(register), u64::from(value)),
        Some(Mode::XApic) => Own.store(register, value),
    }
}

fn read(register: u32) -> u32 {
    match mode() {
        None => 0,
        Some(Mode::X2Apic) => Own.read_msr(local_apic::msr(register)) as u32,
        Some(Mode::XApic) => Own.load(register),
    }
}

/// The identity of the CPU that asks.
pub fn id() -> ApicId {
    ApicId(mode().map_or(0, |mode| local_apic::id(&Own, mode).0))
}

/// Whether interrupts reach the CPU `id` in the mode that all CPUs are in.
pub fn reaches(id: ApicId) -> bool {
    mode().is_some_and(|mode| mode == Mode::X2Apic || !id.needs_x2apic())
}

/// Sends `message` to the CPU `to`. [`reaches`] says whether it can arrive.
pub fn send(to: ApicId, message: Message) {
    if let Some(mode) = mode() {
        interrupts::without(|| local_apic::send(&mut Own, mode, Destination(to.0), message));
    }
}

/// Starts the first CPU's local APIC, begins to calibrate its timer and registers its handlers. `map` maps device
/// registers for good. Interrupts are off and stay off.
///
/// # Errors
///
/// When the registers cannot be mapped.
pub fn init(
    registers: PhysAddr,
    map: &mut dyn FnMut(PhysAddr, u64) -> Option<VirtAddr>,
) -> Result<TimerCalibration, NotMapped> {
    let mode = local_apic::mode(&Own);
    let access = match mode {
        Mode::X2Apic => X2,
        Mode::XApic => map(registers, PAGE_SIZE).ok_or(NotMapped(registers))?.0,
    };
    local_apic::enter(&mut Own, mode);
    LOCAL.store(access, Ordering::Relaxed);
    // LINT1 is NMI on every PC.
    set_up(LVT_NMI);
    vectors::set_handler(vectors::APIC_ERROR, on_error);
    // Waking the executor is all that the timer is for.
    vectors::set_handler(vectors::TIMER, || {});
    Ok(TimerCalibration::begin())
}

/// Starts the local APIC of a CPU other than the first, in the first one's mode. Interrupts are off and stay off.
pub fn init_other() {
    if let Some(mode) = mode() {
        local_apic::enter(&mut Own, mode);
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
        warn!("local APIC: error bits {errors:#x} (Intel SDM 3, 10.5.3)");
    }
}

/// Signals the end of the interrupt in service.
pub(super) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// The calibration of the first CPU's timer, which has begun; there is no timer until it ends.
#[derive(Debug)]
pub struct TimerCalibration {
    start: Duration,
}

impl TimerCalibration {
    fn begin() -> TimerCalibration {
        write(TIMER_DIVIDE, DIVIDE_BY_16);
        write(TIMER_INITIAL, u32::MAX);
        TimerCalibration { start: time::uptime() }
    }

    /// Ends it on the same CPU, waiting only if it has just begun.
    pub fn end(self) {
        /// Long against the reading of a register.
        const LEAST: Duration = Duration::from_micros(500);
        time::stall(LEAST.saturating_sub(time::uptime().saturating_sub(self.start)));
        let ticks = u64::from(u32::MAX - read(TIMER_CURRENT));
        let passed = time::uptime().saturating_sub(self.start).as_nanos().max(1);
        write(TIMER_INITIAL, 0);
        write(LVT_TIMER, u32::from(vectors::TIMER.0)); // one-shot
        TIMER_HZ.store((u128::from(ticks) * 1_000_000_000 / passed) as u64, Ordering::Relaxed);
    }
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
