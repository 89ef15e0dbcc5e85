//! The end of all CPUs: one reports, the others stop where they are and say where that was.
//!
//! ```text
//!  reporter                                       each other CPU
//!  begin(): the first one; NMI to all running --> NMI: stop_here(place)
//!  wait a little; places()                        a fault of its own meanwhile: begin() -> Late -> stop_here(place)
//! ```
//!
//! Invariant: nothing here takes a lock. A CPU that does not stop in time is named as such.

use super::{record, running};
use crate::arch::local_apic::{self, Message};
use crate::arch::{interrupts, percpu, time};
use carapace_acpi::madt::ApicId;
use carapace_irq::mailbox::CpuSet;
use carapace_mm::machine::CpuNr;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;

/// How long the others are waited for: with one core of the host for all CPUs each needs its turn.
const PATIENCE: Duration = Duration::from_millis(500);

/// The number of the CPU that reports, plus 1.
static REPORTER: AtomicUsize = AtomicUsize::new(0);

/// Where a CPU was.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The instruction pointer.
    pub instruction: u64,
    /// The stack pointer.
    pub stack_pointer: u64,
    /// The frame pointer.
    pub frame_pointer: u64,
}

/// A place as other CPUs read it.
#[derive(Debug)]
pub(super) struct StoppedAt {
    words: [AtomicU64; 3],
    /// Set when the words are there.
    known: AtomicBool,
}

impl StoppedAt {
    pub(super) const fn nowhere() -> StoppedAt {
        StoppedAt { words: [const { AtomicU64::new(0) }; 3], known: AtomicBool::new(false) }
    }

    fn get(&self) -> Option<Place> {
        let [instruction, stack_pointer, frame_pointer] = &self.words;
        let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
        self.known.load(Ordering::Acquire).then(|| Place {
            instruction: read(instruction),
            stack_pointer: read(stack_pointer),
            frame_pointer: read(frame_pointer),
        })
    }
}

/// What a CPU with something fatal to report has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Report: the others have been stopped.
    Reporter,
    /// Its report failed: a fault came in the midst of it.
    Again,
    /// Call [`stop_here`]: another CPU reports.
    Late,
}

/// Makes the CPU that runs this the one that reports, if none does, and stops the others.
pub fn begin() -> Role {
    let me = percpu::number();
    match REPORTER.compare_exchange(0, me.index() + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            stop_others(me);
            Role::Reporter
        }
        Err(reporter) if reporter == me.index() + 1 => Role::Again,
        Err(_) => Role::Late,
    }
}

fn others(me: CpuNr) -> impl Iterator<Item = CpuNr> + Clone {
    let set = running().without(CpuSet::of(me.index()));
    (0..64).filter(move |&cpu| set.contains(cpu)).filter_map(CpuNr::new)
}

fn stop_others(me: CpuNr) {
    for cpu in others(me) {
        local_apic::send(ApicId(record(cpu).apic_id.load(Ordering::Relaxed)), Message::Nmi);
    }
    let end = time::uptime() + PATIENCE;
    while others(me).any(|cpu| record(cpu).stopped.get().is_none()) && time::uptime() < end {
        core::hint::spin_loop();
    }
}

/// Whether a CPU reports: an NMI then means that this one is to stop.
pub fn wanted() -> bool {
    let reporter = REPORTER.load(Ordering::Acquire);
    reporter != 0 && reporter != percpu::number().index() + 1
}

/// Stops the CPU that runs this for good, and says that it was at `place`.
pub fn stop_here(place: Place) -> ! {
    let stopped = &record(percpu::number()).stopped;
    if stopped.get().is_none() {
        let values = [place.instruction, place.stack_pointer, place.frame_pointer];
        stopped.words.iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        stopped.known.store(true, Ordering::Release);
    }
    interrupts::park()
}

/// The other CPUs that run, and where each was when it stopped; `None` for one that has not.
pub fn places() -> impl Iterator<Item = (CpuNr, Option<Place>)> {
    others(percpu::number()).map(|cpu| (cpu, record(cpu).stopped.get()))
}
