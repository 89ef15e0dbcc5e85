//! Work in pieces on all CPUs that have nothing else to do: the memory core fills, compares and copies by it.
//!
//! ```text
//!  run: publish the job, wake idle CPUs, take pieces as they do, wait until all are done (`carapace_irq::jobs`)
//!  help: an idle CPU, or one between two parts of its background work, takes pieces of the job that is open
//! ```
//!
//! Invariants: one job at a time; a caller that finds another one running does its pieces itself. A piece takes no lock and waits for
//! nothing, so a job ends; its caller may hold locks of the memory core, and has interrupts on. Neighbours: `idle` calls
//! [`help`], `memory::machine` calls [`run`].

use super::idle::{self, Worked};
use super::mailbox;
use crate::arch::interrupts::{self, InterruptContext, ThisCpu};
use crate::arch::percpu;
use carapace_irq::jobs::{Entered, Job, Left};
use carapace_irq::mailbox::CpuSet;
use carapace_mm::machine::CpuNr;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Looks at the end before the CPU sleeps: some microseconds.
const SPINS: u32 = 200;

/// What a job does with each of its pieces.
struct Work<'a>(&'a (dyn Fn(u64) + Sync));

static JOB: Job<AtomicU64> = Job::none();
/// Whether there is a job. Its caller sets and clears it.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The work of the open job, on its caller's stack.
static WORK: AtomicPtr<Work<'static>> = AtomicPtr::new(null_mut());
/// The CPU that waits for the job's end.
static CALLER: AtomicUsize = AtomicUsize::new(0);

/// The CPUs that would share a job which this CPU began now.
pub fn helpers() -> CpuSet {
    idle::idle().without(CpuSet::of(percpu::number().index()))
}

/// Calls `work` with each number below `pieces`, on this CPU and on idle ones, and returns when all calls have ended.
pub fn run(pieces: u64, work: &(dyn Fn(u64) + Sync)) {
    let helpers = helpers();
    let alone = pieces < 2 || helpers.is_empty() || !interrupts::are_enabled();
    if alone || TAKEN.swap(true, Ordering::Acquire) {
        return (0..pieces).for_each(work);
    }
    debug_assert!(interrupts::context() == InterruptContext::Main, "a handler begins no job");
    let work = Work(work);
    CALLER.store(percpu::number().index(), Ordering::Relaxed);
    WORK.store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
    JOB.begin(pieces);
    for cpu in helpers.iter().take(usize::try_from(pieces - 1).unwrap_or(usize::MAX)).filter_map(CpuNr::new) {
        idle::wake(cpu);
    }
    while let Some(piece) = JOB.take() {
        (work.0)(piece);
    }
    JOB.end::<ThisCpu>(SPINS);
    TAKEN.store(false, Ordering::Release);
}

/// Works on the open job, if there is one.
pub fn help() -> Worked {
    if !JOB.is_open() {
        return Worked::No;
    }
    if JOB.enter() == Entered::Open {
        // SAFETY: the job was open after this CPU had entered, so `run` does not return before it leaves
        // (`carapace_irq::jobs`), and the `Work` on its stack lives. The pointer was stored before the job was opened.
        // `Work` may be shared: its closure is `Sync`. The pointer's type says `'static` only because a static must; the
        // reference is dropped before `leave`.
        let work = unsafe { &*WORK.load(Ordering::Relaxed) };
        while let Some(piece) = JOB.take() {
            (work.0)(piece);
        }
    }
    // Before it leaves: afterwards there may be another one.
    let caller = CALLER.load(Ordering::Relaxed);
    if JOB.leave() == Left::WakeCaller {
        mailbox::ring(caller);
    }
    Worked::Yes
}
