//! Requests of a CPU to other CPUs, and their acknowledgements.
//!
//! ```text
//!  sender                                       each receiver, in the handler of the interrupt
//!  post: what, then pending = the receivers     serve: pending has my bit? do it, clear the bit
//!  interrupt the receivers                             the last one: is the sender asleep? interrupt it
//!  wait: spin a little; asleep = 1; while pending != 0 { interrupts off, look again, sleep }
//! ```
//!
//! Each CPU has one mailbox, for its own requests; a receiver reads all mailboxes. So several CPUs may send requests at
//! once, without a lock, and one interrupt may announce several requests. The sender sleeps because a spinning wait
//! on a host with fewer cores than CPUs costs a time slice of the host's scheduler, milliseconds instead of
//! microseconds.
//!
//! Invariants: no wake-up is lost: either the last receiver sees that the sender sleeps, or the sender sees, with
//! interrupts off, that nothing is pending (each writes its word, fences, and reads the other's). A sender waits with
//! interrupts on, so it serves others' requests meanwhile, and two CPUs that wait for each other do not deadlock. What the
//! sender wrote before `post` is visible to a receiver's `serve`; what a receiver did there is visible after `wait`.
//!
//! Neighbour: the kernel's `cpus::mailbox`. `tests/mailbox.rs` checks every interleaving by loom: hence the words behind
//! the trait [`Word`].

use core::sync::atomic::{AtomicU64, Ordering};

use crate::Cpu;
use crate::waiting::sleep_until_zero;
use crate::word::Word;

/// Pages that a request names one by one; with more, all translations go.
pub const BATCH: usize = 32;

/// A set of CPUs, by number; up to 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(u64);

impl CpuSet {
    /// No CPU.
    pub const EMPTY: CpuSet = CpuSet(0);

    /// One CPU.
    ///
    /// # Panics
    /// When the number is above 63.
    pub const fn of(cpu: usize) -> CpuSet {
        assert!(cpu < 64);
        CpuSet(1 << cpu)
    }

    /// The CPUs whose bits are set in a word.
    pub const fn from_bits(bits: u64) -> CpuSet {
        CpuSet(bits)
    }

    /// A word with the CPUs' bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set without `other`'s CPUs.
    pub const fn without(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 & !other.0)
    }

    /// Whether the CPU is in the set.
    pub const fn contains(self, cpu: usize) -> bool {
        self.0 & CpuSet::of(cpu).0 != 0
    }

    /// Whether it has no CPU.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many CPUs it has.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The CPUs' numbers, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |&cpu| self.contains(cpu))
    }
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Drop the translations of these pages. More than [`BATCH`] pages mean [`Request::FlushAll`].
    Flush(&'a [u64]),
    /// Drop all translations.
    FlushAll,
    /// Execute a full memory barrier.
    Fence,
    /// Look at the CPU's own switches, and record what is off.
    Inspect,
}

const FLUSH_ALL: u64 = BATCH as u64 + 1;
const FENCE: u64 = BATCH as u64 + 2;
const INSPECT: u64 = BATCH as u64 + 3;

/// What a receiver has to do after [`Mailbox::serve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Served {
    /// Nothing: it was not asked, or others have still to serve, or the sender looks by itself.
    Quiet,
    /// Interrupt the sender: it sleeps, and this was the last acknowledgement.
    WakeSender,
}

/// The requests of one CPU.
#[derive(Debug)]
pub struct Mailbox<W> {
    /// The CPUs that have not served the request, one bit each.
    pending: W,
    /// 1 while the sender may be asleep.
    asleep: W,
    /// How many of `pages` to flush, or one of the constants above.
    what: W,
    pages: [W; BATCH],
}

impl Mailbox<AtomicU64> {
    /// An empty mailbox, as a constant.
    pub const fn empty() -> Mailbox<AtomicU64> {
        Mailbox {
            pending: AtomicU64::new(0),
            asleep: AtomicU64::new(0),
            what: AtomicU64::new(0),
            pages: [const { AtomicU64::new(0) }; BATCH],
        }
    }
}

impl<W: Word> Default for Mailbox<W> {
    fn default() -> Mailbox<W> {
        let word = || W::new(0);
        Mailbox { pending: word(), asleep: word(), what: word(), pages: core::array::from_fn(|_| word()) }
    }
}

impl<W: Word> Mailbox<W> {
    /// Asks `receivers`, which does not include the sender. The caller interrupts each of them and then calls
    /// [`Mailbox::wait`]. Called by the mailbox's CPU only, not by an interrupt handler.
    pub fn post(&self, request: Request<'_>, receivers: CpuSet) {
        debug_assert!(
            self.pending.load(Ordering::Relaxed) == 0,
            "a request waits for its end before the next one"
        );
        let what = match request {
            Request::Flush(pages) if pages.len() <= BATCH => {
                for (place, &page) in self.pages.iter().zip(pages) {
                    place.store(page, Ordering::Relaxed);
                }
                pages.len() as u64
            }
            Request::Flush(_) | Request::FlushAll => FLUSH_ALL,
            Request::Fence => FENCE,
            Request::Inspect => INSPECT,
        };
        self.what.store(what, Ordering::Relaxed);
        // Release: a receiver that sees its bit also sees the request and the sender's earlier writes (page tables).
        self.pending.store(receivers.bits(), Ordering::Release);
    }

    /// Serves the request by `work`, if CPU `me` has not yet done so. Called with interrupts off.
    pub fn serve(&self, me: usize, work: impl FnOnce(Request<'_>)) -> Served {
        let mine = CpuSet::of(me).bits();
        // Acquire: see `post`.
        if self.pending.load(Ordering::Acquire) & mine == 0 {
            return Served::Quiet;
        }
        match self.what.load(Ordering::Relaxed) {
            FLUSH_ALL => work(Request::FlushAll),
            FENCE => work(Request::Fence),
            INSPECT => work(Request::Inspect),
            count => {
                let count = (count as usize).min(BATCH);
                let pages: [u64; BATCH] = core::array::from_fn(|place| {
                    if place < count { self.pages[place].load(Ordering::Relaxed) } else { 0 }
                });
                work(Request::Flush(&pages[..count]));
            }
        }
        // Release: the work is done when the sender sees the bit gone. Acquire: the last one ends what all have done.
        let before = self.pending.fetch_and(!mine, Ordering::AcqRel);
        if before != mine {
            return Served::Quiet;
        }
        // After the bit, before `asleep`: see the module's head.
        W::fence();
        if self.asleep.load(Ordering::Relaxed) == 0 { Served::Quiet } else { Served::WakeSender }
    }

    /// Waits until every receiver has served the request: looks `spins` times, then sleeps. Call it with interrupts on.
    pub fn wait<C: Cpu>(&self, spins: u32) {
        // Acquire, in it: see `serve`. Its fence is after `asleep`, before `pending`: see the module's head.
        sleep_until_zero::<W, C>(&self.pending, &self.asleep, spins);
    }
}
