//! A job in pieces that several CPUs work on: each piece is done once, and the job's end comes after all of them.
//!
//! ```text
//!  caller                                          another CPU
//!  begin: next = 0, total, open = 1                enter: inside += 1; fence; open?  no: leave
//!  wake some CPUs                                  take a piece, do it, until there are no more
//!  take a piece, do it, until there are no more    leave: inside -= 1; the last one: fence; does the caller sleep?
//!  end: open = 0; fence; until inside == 0:               then interrupt it
//!       look some times, then sleep
//! ```
//!
//! The caller works itself, so a job needs no other CPU. It sleeps at the end because a spinning wait on a host with
//! fewer cores than CPUs costs a time slice of the host's scheduler.
//!
//! Invariants: no other CPU works on a job after its `end` has returned: either it sees `open == 0`, or the caller sees it
//! inside (each writes its word, fences, and reads the other's). So the job may be a closure on the caller's stack. No
//! wake-up is lost, by the same argument for `inside` and `asleep`. What the caller wrote before `begin` is visible to
//! a CPU that entered, what was done in a piece is visible after `end`.
//!
//! Neighbour: the kernel's `cpus::jobs`. `tests/jobs.rs` checks every interleaving by loom.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::Cpu;
use crate::waiting::sleep_until_zero;
use crate::word::Word;

/// What a CPU has to do after [`Job::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Left {
    /// Nothing.
    Quiet,
    /// Interrupt the caller: it sleeps, and no CPU is inside any more.
    WakeCaller,
}

/// Whether a CPU may work on the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Entered {
    /// Yes: the job does not end before it leaves.
    Open,
    /// There is none. The CPU leaves all the same.
    Closed,
}

/// A place for one job at a time.
#[derive(Debug)]
pub struct Job<W> {
    /// 1 while CPUs may begin to work on it.
    open: W,
    /// The next piece.
    next: W,
    /// The number of pieces.
    total: W,
    /// How many other CPUs have entered and not left.
    inside: W,
    /// 1 while the caller may be asleep.
    asleep: W,
}

impl Job<AtomicU64> {
    /// No job, as a constant.
    pub const fn none() -> Job<AtomicU64> {
        Job {
            open: AtomicU64::new(0),
            next: AtomicU64::new(0),
            total: AtomicU64::new(0),
            inside: AtomicU64::new(0),
            asleep: AtomicU64::new(0),
        }
    }
}

impl<W: Word> Default for Job<W> {
    fn default() -> Job<W> {
        let word = || W::new(0);
        Job { open: word(), next: word(), total: word(), inside: word(), asleep: word() }
    }
}

impl<W: Word> Job<W> {
    /// Begins a job of so many pieces. The caller then takes pieces, and ends it. One CPU at a time.
    pub fn begin(&self, pieces: u64) {
        self.next.store(0, Ordering::Relaxed);
        self.total.store(pieces, Ordering::Relaxed);
        // Release: a CPU that enters sees the two above, and what the caller wrote before.
        self.open.store(1, Ordering::Release);
    }

    /// Whether it seems to be open: a CPU that looks often enters only then.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) != 0
    }

    /// Takes a piece: a number below the job's count that no other call returns. `None` when all are taken. For the caller,
    /// and for CPUs that have entered.
    pub fn take(&self) -> Option<u64> {
        let piece = self.next.fetch_add(1, Ordering::Relaxed);
        (piece < self.total.load(Ordering::Relaxed)).then_some(piece)
    }

    /// Enters the job, if there is one. In any case the CPU leaves afterwards.
    pub fn enter(&self) -> Entered {
        self.inside.fetch_add(1, Ordering::Relaxed);
        // After `inside`, before `open`: see the module's head.
        W::fence();
        // Acquire: see `begin`.
        if self.open.load(Ordering::Acquire) != 0 { Entered::Open } else { Entered::Closed }
    }

    /// Leaves the job.
    pub fn leave(&self) -> Left {
        // Release: the caller that sees the count sees what this CPU did. Acquire: the last one ends what all have done.
        let before = self.inside.fetch_add(u64::MAX, Ordering::AcqRel);
        if before != 1 {
            return Left::Quiet;
        }
        // After `inside`, before `asleep`: see the module's head.
        W::fence();
        if self.asleep.load(Ordering::Relaxed) == 0 { Left::Quiet } else { Left::WakeCaller }
    }

    /// Ends the job, of which all pieces are taken: waits until all are done. Looks `spins` times, then sleeps. Call it
    /// with interrupts on.
    pub fn end<C: Cpu>(&self, spins: u32) {
        self.open.store(0, Ordering::Relaxed);
        // After `open`, before `inside`: see the module's head.
        W::fence();
        // Acquire, in it: see `leave`. Its fence is after `asleep`, before `inside`: see the module's head.
        sleep_until_zero::<W, C>(&self.inside, &self.asleep, spins);
    }
}
