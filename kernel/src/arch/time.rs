//! The clock: the CPU's time stamp counter, calibrated against a timer of known rate.
//!
//! ```text
//!  uptime = anchor + (TSC - TSC at the anchor) * nanoseconds a tick
//! ```
//!
//! The first calibration uses channel 2 of the legacy timer (PIT), so that the log has times from its
//! first line on; when ACPI names the power-management timer, [`calibrate_by_pm_timer`] does it again
//! and moves the anchor, so that the time goes on where it was. Invariants: [`uptime`] never goes back;
//! it takes no lock, so every context may ask.

use super::port::{PortNumber, read8, read32, write8};
use super::{apic, interrupts};
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// Ticks a second of the PIT (1.193182 MHz, as on the first PC).
const PIT_HZ: u64 = 1_193_182;
/// Ticks a second of the ACPI power-management timer (ACPI 6.5, section 4.8.2.1).
const PM_TIMER_HZ: u64 = 3_579_545;
/// How long a calibration lasts, in milliseconds: long against the reading of a port.
const CALIBRATION_MS: u64 = 10;
/// Assumed when the PIT does not count: times are then wrong by a factor, but go on.
const GUESS_HZ: u64 = 2_000_000_000;
/// Reads of a timer after which it counts as standing still.
const PATIENCE: u32 = 1_000_000;

const PIT_CHANNEL_2: PortNumber = PortNumber(0x42);
const PIT_COMMAND: PortNumber = PortNumber(0x43);
/// Bit 0: channel 2's gate; bit 1: the speaker; bit 5: channel 2's output.
const PIT_GATE: PortNumber = PortNumber(0x61);

// The anchor. Written with interrupts off by the one CPU there is; an exception in between reports a
// time that is off, no more.
static ANCHOR_TSC: AtomicU64 = AtomicU64::new(0);
static ANCHOR_NS: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds a tick, times 2^32.
static NS_PER_TICK: AtomicU64 = AtomicU64::new(0);
/// The latest time told.
static LATEST_NS: AtomicU64 = AtomicU64::new(0);

/// Where the clock's rate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The legacy timer.
    Pit,
    /// ACPI's power-management timer.
    PmTimer,
    /// No timer counted: the rate is a guess.
    Guess,
}

/// The result of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Against what.
    pub reference: Reference,
    /// Ticks of the time stamp counter a second.
    pub tsc_hz: u64,
}

fn tsc() -> u64 {
    // SAFETY: every 64-bit CPU has the counter, and ring 0 may always read it.
    unsafe { _rdtsc() }
}

/// Time since [`init`]; zero before.
pub fn uptime() -> Duration {
    let ticks = tsc().wrapping_sub(ANCHOR_TSC.load(Ordering::Relaxed));
    let passed = (u128::from(ticks) * u128::from(NS_PER_TICK.load(Ordering::Relaxed))) >> 32;
    let now = ANCHOR_NS.load(Ordering::Relaxed).wrapping_add(passed as u64);
    let latest = LATEST_NS.fetch_max(now, Ordering::Relaxed);
    Duration::from_nanos(now.max(latest))
}

/// Waits for `duration`, doing nothing else.
pub fn stall(duration: Duration) {
    let end = uptime().saturating_add(duration);
    while uptime() < end {
        core::hint::spin_loop();
    }
}

/// Starts the clock at 0, calibrated against the PIT.
pub fn init() -> Calibration {
    ANCHOR_TSC.store(tsc(), Ordering::Relaxed);
    let calibration = match interrupts::without(ticks_by_pit) {
        Some(tsc_hz) => Calibration { reference: Reference::Pit, tsc_hz },
        None => Calibration { reference: Reference::Guess, tsc_hz: GUESS_HZ },
    };
    set_rate(calibration.tsc_hz);
    calibration
}

/// Calibrates again, against the power-management timer at `port` (FADT, PM_TMR_BLK). `None`, and the
/// clock as before, when it stands still.
pub fn calibrate_by_pm_timer(port: PortNumber) -> Option<Calibration> {
    let tsc_hz = interrupts::without(|| ticks_by_pm_timer(port))?;
    // From the present time on: the clock must not jump.
    interrupts::without(|| {
        let now = uptime();
        ANCHOR_TSC.store(tsc(), Ordering::Relaxed);
        ANCHOR_NS.store(now.as_nanos() as u64, Ordering::Relaxed);
        set_rate(tsc_hz);
    });
    Some(Calibration { reference: Reference::PmTimer, tsc_hz })
}

fn set_rate(tsc_hz: u64) {
    let rate = (1_000_000_000_u128 << 32) / u128::from(tsc_hz.max(1));
    NS_PER_TICK.store(rate as u64, Ordering::Relaxed);
}

/// TSC ticks a second, by one run of the PIT's channel 2 (mode 0: its output rises at zero).
fn ticks_by_pit() -> Option<u64> {
    const COUNT: u64 = PIT_HZ * CALIBRATION_MS / 1000;
    const { assert!(COUNT <= 0xffff) };
    let gate = read8(PIT_GATE);
    // Gate on, speaker off.
    write8(PIT_GATE, gate & !0b10 | 0b01);
    // Channel 2, low byte then high byte, mode 0, binary.
    write8(PIT_COMMAND, 0b1011_0000);
    write8(PIT_CHANNEL_2, COUNT as u8);
    write8(PIT_CHANNEL_2, (COUNT >> 8) as u8);
    let start = tsc();
    let mut end = start;
    let mut reads = 0;
    while read8(PIT_GATE) & 1 << 5 == 0 && reads < PATIENCE {
        end = tsc();
        reads += 1;
    }
    write8(PIT_GATE, gate);
    // Output high from the beginning, or never: nothing counts there.
    if reads < 2 || reads == PATIENCE {
        return None;
    }
    Some((end - start) * PIT_HZ / COUNT)
}

/// One moment by both counters: the reading of the timer with the least time around it of a few, so
/// that a hypervisor that takes the CPU away in between does not spoil it.
fn moment(port: PortNumber) -> (u64, u32) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..8 {
        let before = tsc();
        let timer = read32(port);
        let width = tsc().wrapping_sub(before);
        if width < best.0 {
            best = (width, before.wrapping_add(width / 2), timer);
        }
    }
    (best.1, best.2)
}

fn ticks_by_pm_timer(port: PortNumber) -> Option<u64> {
    // The timer may be 24 bits wide; 10 ms are 2^15 ticks.
    const MASK: u32 = 0x00ff_ffff;
    const TICKS: u32 = (PM_TIMER_HZ * CALIBRATION_MS / 1000) as u32;
    let (start_tsc, start) = moment(port);
    let mut reads = 0;
    while read32(port).wrapping_sub(start) & MASK < TICKS {
        reads += 1;
        if reads == PATIENCE {
            return None;
        }
    }
    let (end_tsc, end) = moment(port);
    let ticks = u64::from(end.wrapping_sub(start) & MASK);
    let hz = u128::from(end_tsc.wrapping_sub(start_tsc)) * u128::from(PM_TIMER_HZ) / u128::from(ticks.max(1));
    u64::try_from(hz).ok().filter(|&hz| hz > 0)
}

/// Lets an interrupt come at `deadline` of [`uptime`] (at once when that is over, late by no more than
/// the timer's resolution; at the latest after the timer's longest run, some seconds). One deadline at
/// a time: a new one replaces the old.
pub fn wake_at(deadline: Duration) {
    apic::start_timer(deadline.saturating_sub(uptime()));
}
