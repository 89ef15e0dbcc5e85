//! The clock: the CPU's time stamp counter, calibrated against a timer of known rate.
//!
//! ```text
//!  uptime = anchor + (TSC - TSC at the anchor) * nanoseconds a tick
//! ```
//!
//! The first calibration uses channel 2 of the legacy timer (PIT), so that the log has times from its
//! first line on. It is short, and [`init`] begins it before what needs no clock, so that the start waits for the
//! rest of it only. When ACPI names the power-management timer,
//! [`PmTimer`] does it again while the kernel starts, without a wait, and moves the anchor, so that the
//! time goes on where it was; without that timer, [`calibrate_by_pit`] does it with the PIT. Invariants:
//! [`uptime`] never goes back; it takes no lock, so every context may ask.

use super::interrupts;
use super::port::{PortNumber, Ports, Width};
use core::arch::x86_64::_rdtsc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// Ticks a second of the PIT (1.193182 MHz, as on the first PC).
const PIT_HZ: u64 = 1_193_182;
/// Ticks a second of the ACPI power-management timer (ACPI 6.5, section 4.8.2.1).
const PM_TIMER_HZ: u64 = 3_579_545;
/// How long a calibration lasts at least, in milliseconds: long against the reading of a port, short against
/// the 55 ms after which the PIT starts over.
const CALIBRATION_MS: u64 = 10;
/// How long the first one lasts: its times are right to half a percent.
const FIRST_CALIBRATION_MS: u64 = 1;
/// A calibration that began longer ago is begun again: a timer of 24 bits starts over after 4.7 s.
const LONGEST_CALIBRATION: Duration = Duration::from_secs(2);
/// Assumed until the first calibration ends, and when the PIT does not count: times are then wrong by a factor, but go
/// on.
const GUESS_HZ: u64 = 2_000_000_000;
/// Reads of a timer without a change after which it counts as stopped.
const MAX_READS: u32 = 1_000_000;

// SAFETY: channel 2 and the command register of the 8254 on every PC: it counts, and the interrupt of its channel 0 has
// a gate. It writes to no memory.
const PIT: Ports = unsafe { Ports::new(PortNumber(0x42), 2) };
const PIT_CHANNEL_2: u16 = 0;
const PIT_COMMAND: u16 = 1;
// SAFETY: system control port B of every PC switches the timer's gate and the speaker, and writes to no memory.
// Bit 0: channel 2's gate; bit 1: the speaker; bit 5: channel 2's output.
const GATE: Ports = unsafe { Ports::new(PortNumber(0x61), 1) };

// The anchor. Written with interrupts off, before other CPUs start; an exception in between reports a time that is off,
// no more. The TSCs of all CPUs start with the machine: no CPU has an offset of its own.
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

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reference::Pit => "the legacy timer",
            Reference::PmTimer => "ACPI's power-management timer",
            Reference::Guess => "a guess: no timer counts",
        })
    }
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
///
/// Not inlined: the start reads the clock in many places, and an emulator translates each copy.
#[inline(never)]
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

/// Starts the clock at 0, at a guessed rate, and begins to calibrate it against the PIT. Interrupts are off until
/// [`FirstCalibration::end`].
pub fn init() -> FirstCalibration {
    ANCHOR_TSC.store(tsc(), Ordering::Relaxed);
    set_rate(GUESS_HZ);
    FirstCalibration(PitSpan::begin())
}

/// The first calibration, which has begun.
#[derive(Debug)]
pub struct FirstCalibration(PitSpan);

impl FirstCalibration {
    /// Ends it, and waits only for the rest of its span.
    pub fn end(self) -> Calibration {
        match self.0.end(FIRST_CALIBRATION_MS) {
            Some(tsc_hz) => {
                set_rate_from_now_on(tsc_hz);
                Calibration { reference: Reference::Pit, tsc_hz }
            }
            None => Calibration { reference: Reference::Guess, tsc_hz: GUESS_HZ },
        }
    }
}

/// Calibrates again against the PIT, longer than [`init`]. `None`, and the clock as before, when it stands still.
pub fn calibrate_by_pit() -> Option<Calibration> {
    if NS_PER_TICK.load(Ordering::Relaxed) == ns_per_tick(GUESS_HZ) {
        return None; // as `init` has found
    }
    let tsc_hz = interrupts::without(|| PitSpan::begin().end(CALIBRATION_MS))?;
    set_rate_from_now_on(tsc_hz);
    Some(Calibration { reference: Reference::Pit, tsc_hz })
}

/// A calibration against ACPI's power-management timer that has begun.
#[derive(Debug)]
pub struct PmTimer {
    ports: Ports,
    began: Duration,
    start: Moment,
}

impl PmTimer {
    /// Begins to calibrate against the timer at `ports` (FADT, PM_TMR_BLK).
    pub fn begin(ports: Ports) -> PmTimer {
        let start = interrupts::without(|| pm_timer(ports).moment());
        PmTimer { ports, began: uptime(), start }
    }

    /// Ends the calibration, waiting only if it has just begun. `None`, and the clock as before, when the timer stands
    /// still.
    pub fn end(mut self) -> Option<Calibration> {
        if uptime().saturating_sub(self.began) > LONGEST_CALIBRATION {
            self = PmTimer::begin(self.ports);
        }
        let tsc_hz = interrupts::without(|| pm_timer(self.ports).tsc_hz_since(self.start, CALIBRATION_MS))?;
        set_rate_from_now_on(tsc_hz);
        Some(Calibration { reference: Reference::PmTimer, tsc_hz })
    }
}

/// The present time is the same by the old rate and by this one: the clock must not jump.
fn set_rate_from_now_on(tsc_hz: u64) {
    interrupts::without(|| {
        let now = uptime();
        ANCHOR_TSC.store(tsc(), Ordering::Relaxed);
        ANCHOR_NS.store(now.as_nanos() as u64, Ordering::Relaxed);
        set_rate(tsc_hz);
    });
}

/// The value of [`NS_PER_TICK`] at this rate.
fn ns_per_tick(tsc_hz: u64) -> u64 {
    ((1_000_000_000_u128 << 32) / u128::from(tsc_hz.max(1))) as u64
}

fn set_rate(tsc_hz: u64) {
    NS_PER_TICK.store(ns_per_tick(tsc_hz), Ordering::Relaxed);
}

/// One moment by the time stamp counter and by a timer.
#[derive(Clone, Copy, Debug)]
struct Moment {
    tsc: u64,
    timer: u32,
}

/// A timer that counts at a known rate, however it is read.
struct KnownTimer<R: FnMut() -> u32> {
    /// Reads it; counts upwards.
    read: R,
    /// The bits that count.
    mask: u32,
    hz: u64,
}

impl<R: FnMut() -> u32> KnownTimer<R> {
    /// One moment by both counters: the reading with the least time around it of a few, so that a
    /// hypervisor that takes the CPU away in between does not spoil it.
    fn moment(&mut self) -> Moment {
        let mut best = (u64::MAX, 0, 0);
        // Not unrolled: it runs once or twice, and an emulator translates each copy.
        for _ in 0..core::hint::black_box(8) {
            let before = tsc();
            let timer = (self.read)();
            let width = tsc().wrapping_sub(before);
            if width < best.0 {
                best = (width, before.wrapping_add(width / 2), timer);
            }
        }
        Moment { tsc: best.1, timer: best.2 }
    }

    /// TSC ticks a second, by a span of at least `milliseconds` from `start`; `None` when the timer does not count.
    fn tsc_hz_since(&mut self, start: Moment, milliseconds: u64) -> Option<u64> {
        let span = (self.hz * milliseconds / 1000) as u32;
        let mut reads = 0;
        while (self.read)().wrapping_sub(start.timer) & self.mask < span {
            reads += 1;
            if reads == MAX_READS {
                return None;
            }
        }
        let end = self.moment();
        let ticks = u64::from(end.timer.wrapping_sub(start.timer) & self.mask);
        let hz = u128::from(end.tsc.wrapping_sub(start.tsc)) * u128::from(self.hz) / u128::from(ticks.max(1));
        u64::try_from(hz).ok().filter(|&hz| hz > 0)
    }
}

/// A span by the PIT's channel 2, counting down from 0xffff (mode 0), read through its latch.
#[derive(Debug)]
struct PitSpan {
    /// What port B was before.
    gate: u8,
    start: Moment,
}

impl PitSpan {
    /// Starts the channel.
    fn begin() -> PitSpan {
        /// Low byte then high byte, mode 0, binary.
        const COUNT_DOWN: u8 = 0b1011_0000;
        let gate = GATE.read8(0);
        // Gate on, speaker off.
        GATE.write8(0, gate & !0b10 | 0b01);
        PIT.write8(PIT_COMMAND, COUNT_DOWN);
        PIT.write8(PIT_CHANNEL_2, 0xff);
        PIT.write8(PIT_CHANNEL_2, 0xff);
        PitSpan { gate, start: pit().moment() }
    }

    /// TSC ticks a second, by a span of at least `milliseconds`, and the channel as before; `None` when it does not
    /// count.
    fn end(mut self, milliseconds: u64) -> Option<u64> {
        /// The channel's output rises when the count passes 0, and stays up.
        const OUTPUT: u8 = 1 << 5;
        let mut result = pit().tsc_hz_since(self.start, milliseconds);
        // Read last, because the count may also pass 0 while it is read.
        if result.is_some() && GATE.read8(0) & OUTPUT != 0 {
            // More than 55 ms have passed, and the count has started over.
            GATE.write8(0, self.gate);
            self = PitSpan::begin();
            result = pit().tsc_hz_since(self.start, milliseconds);
        }
        GATE.write8(0, self.gate);
        result
    }
}

fn pit() -> KnownTimer<impl FnMut() -> u32> {
    const LATCH: u8 = 0b1000_0000;
    let read = || {
        PIT.write8(PIT_COMMAND, LATCH);
        let low = PIT.read8(PIT_CHANNEL_2);
        !u32::from(u16::from_le_bytes([low, PIT.read8(PIT_CHANNEL_2)]))
    };
    KnownTimer { read, mask: 0xffff, hz: PIT_HZ }
}

fn pm_timer(ports: Ports) -> KnownTimer<impl FnMut() -> u32> {
    // The timer may be 24 bits wide.
    KnownTimer { read: move || ports.read(0, Width::DWord), mask: 0x00ff_ffff, hz: PM_TIMER_HZ }
}
