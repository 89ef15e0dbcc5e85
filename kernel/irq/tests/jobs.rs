//! A job of several CPUs, every interleaving and every order of memory that the program allows, by the model checker
//! loom. A lost wake-up leaves the caller asleep forever: loom reports a deadlock. A closure that is used after its job
//! is an access to a cell that the caller has taken back: loom reports it.

mod watched;

use carapace_irq::Cpu;
use carapace_irq::jobs::{Entered, Job, Left};
use core::sync::atomic::Ordering;
use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU64;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use watched::Watched;

#[derive(Default)]
struct Line {
    requested: Mutex<bool>,
    changed: Condvar,
}

loom::lazy_static! {
    /// The caller's interrupt.
    static ref LINE: Line = Line::default();
}

/// The calling CPU. Its only interrupt is the one that wakes it.
struct Caller;

impl Cpu for Caller {
    const CHECKS_LOCK_ORDER: bool = false;

    fn number() -> usize {
        0
    }

    fn are_on() -> bool {
        true
    }

    fn off() {}

    fn on() {}

    fn sleep() {
        let mut requested = LINE.requested.lock().unwrap();
        while !core::mem::take(&mut *requested) {
            requested = LINE.changed.wait(requested).unwrap();
        }
    }
}

/// The closure on the caller's stack: a cell that other CPUs read in their pieces and the caller writes afterwards; and
/// how often each piece was done, without an order of its own.
struct World {
    job: Job<Watched<Caller>>,
    closure: UnsafeCell<u64>,
    done: [AtomicU64; 2],
}

/// What is in the closure of job number 0, 1, ...
const CLOSURE: u64 = 40;

impl World {
    fn pieces(&self, allowed: impl Fn(u64) -> bool) {
        while let Some(piece) = self.job.take() {
            // SAFETY: loom panics when this overlaps with the caller's write.
            let value = self.closure.with(|value| unsafe { *value });
            assert!(allowed(value), "the closure of another job: {value}");
            self.done[piece as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn help(&self) {
        if self.job.enter() == Entered::Open {
            self.pieces(|value| value >= CLOSURE);
        }
        if self.job.leave() == Left::WakeCaller {
            *LINE.requested.lock().unwrap() = true;
            LINE.changed.notify_all();
        }
    }
}

fn check(helpers: usize, jobs: u64, spins: u32) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let done = [0, 0].map(AtomicU64::new);
        let world = Arc::new(World { job: Job::default(), closure: UnsafeCell::new(0), done });
        let others: Vec<_> = (0..helpers)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || world.help())
            })
            .collect();
        for number in 0..jobs {
            // SAFETY: loom panics when another CPU reads it meanwhile.
            world.closure.with_mut(|value| unsafe { *value = CLOSURE + number });
            world.job.begin(2);
            world.pieces(|value| value == CLOSURE + number);
            world.job.end::<Caller>(spins);
            let done = world.done.each_ref().map(|done| done.load(Ordering::Relaxed));
            assert_eq!(done, [number + 1; 2], "each piece is done once, before the end");
            // SAFETY: as above. The closure is gone.
            world.closure.with_mut(|value| unsafe { *value = 0 });
        }
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

/// Proves that each piece is done once, before the end returns; that no CPU reads the closure after that; and that the
/// sleeping caller is woken. Fails when a fence of `enter`, `leave` or `end` goes (a closure is read too late, or a
/// deadlock), or the order of `begin`, `enter`, `leave` or `end` is weaker.
#[test]
fn a_job_ends_after_its_pieces() {
    check(1, 1, 0);
}

/// Proves the same for a caller that finds the end while it spins, where nothing but the job orders memory.
#[test]
fn a_spinning_caller_sees_what_was_done() {
    check(1, 1, 1);
}

/// Proves it for two jobs in a row: a CPU that comes late works on the second one's pieces and with its closure.
#[test]
fn a_late_cpu_works_on_the_next_job() {
    check(1, 2, 0);
}

/// Proves it with two other CPUs: the last one to leave wakes the caller.
#[test]
fn the_last_to_leave_wakes() {
    check(2, 1, 0);
}
