//! Page poisoning: an optional mode that detects writes to freed memory. Corresponds to Linux `mm/page_poison.c`.
//!
//! ```text
//!  free --> fill with POISON, add to the list --> ... --> allocated: compare, drop from the list
//!                                                 '-----> removed with its device: drop, do not compare
//! ```
//!
//! A short list of ranges outside of the memory itself records the poisoned frames. Frames that were never allocated
//! are not touched, a DIMM that returns with other contents raises no alarm, and ending the mode undoes nothing. When
//! the list is full, its oldest range is compared and dropped.
//!
//! Invariants:
//! * A frame in the list is free, offline or isolated, it is mapped, and only an erroneous write changes it.
//! * Therefore each path that takes a frame out of the buddy consults the list, and so does the removal of a region.
//! * Blocks larger than [`MAX_POISONED_PAGES`] are not poisoned, so freeing an untouched terabyte does not fault in its
//!   host memory.
//! * Bit 0 of the poison is clear: a CPU that walks a freed page table finds no present entry.
//! * The list's lock ranks after a region's ([`carapace_lock::Rank`]).
//!
//! Neighbours: `allocate` and `hot_remove::capacity` allocate and free frames, `hot_remove` drops ranges, `query` reports.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrayvec::ArrayVec;
use carapace_lock::{Mutex, Rank};

use crate::addr::{Pfn, PfnRange};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::parallel::{self, each_page};

/// The value of each word of a poisoned frame.
pub const POISON: u64 = 0xdada_dada_dada_dada;
/// The largest block that is poisoned, in frames: 256 MiB.
pub const MAX_POISONED_PAGES: u64 = 1 << 16;
/// The most ranges in the list. Adjacent ranges are merged.
const MAX_RANGES: usize = 256;
/// The most findings that wait to be reported.
const MAX_FINDINGS: usize = 16;

/// A corrupted word of a free frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The frame.
    pub pfn: Pfn,
    /// The word's byte offset in the frame.
    pub offset: u64,
    /// The word found there, the first corrupted one of the frame.
    pub found: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { pfn, offset, found } = self;
        write!(f, "frame {pfn} was written to after it was freed: {found:#018x} at offset {offset:#x}")
    }
}

/// Whether freed memory is poisoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Poisoned.
    On,
    /// Not poisoned.
    Off,
}

/// The state of page poisoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoisonInfo {
    /// Whether freed memory is poisoned from now on.
    pub mode: Mode,
    /// Poisoned frames.
    pub watched_pages: u64,
    /// Corrupted frames found since boot.
    pub damaged_pages: u64,
}

/// The mode and the list of poisoned frames.
#[derive(Debug)]
pub(crate) struct Poison {
    on: AtomicBool,
    /// The number of frames in the list, read without the lock. Mostly 0.
    pages: AtomicU64,
    /// The number of unreported findings, read without the lock.
    waiting: AtomicU64,
    damaged: AtomicU64,
    state: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    /// Ascending, disjoint, not adjacent.
    ranges: ArrayVec<PfnRange, MAX_RANGES>,
    /// The index in `ranges` to evict next, when the list is full.
    next_victim: usize,
    findings: ArrayVec<Finding, MAX_FINDINGS>,
}

/// The result of [`Poison::verify`].
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// The number of compared frames.
    pub(crate) pages: u64,
    /// Where to continue, if there are more.
    pub(crate) next: Option<Pfn>,
    /// Corrupted frames, the first [`MAX_FINDINGS`].
    pub(crate) findings: ArrayVec<Finding, MAX_FINDINGS>,
}

impl Poison {
    /// Off, with an empty list.
    pub(crate) const fn new() -> Self {
        let state =
            Watched { ranges: ArrayVec::new_const(), next_victim: 0, findings: ArrayVec::new_const() };
        Poison {
            on: AtomicBool::new(false),
            pages: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            state: Mutex::new(Rank::Poison, state),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        if self.on.load(Ordering::Relaxed) { Mode::On } else { Mode::Off }
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.on.store(mode == Mode::On, Ordering::Relaxed);
        if mode == Mode::Off {
            let mut state = self.state.lock();
            state.ranges.clear();
            self.pages.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn info(&self) -> PoisonInfo {
        PoisonInfo {
            mode: self.mode(),
            watched_pages: self.pages.load(Ordering::Relaxed),
            damaged_pages: self.damaged.load(Ordering::Relaxed),
        }
    }

    /// Takes the oldest unreported finding. Costs one load when there is none.
    pub(crate) fn next_finding(&self) -> Option<Finding> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut state = self.state.lock();
        let finding = state.findings.pop_at(0);
        self.waiting.store(state.findings.len() as u64, Ordering::Relaxed);
        finding
    }

    /// Compares the poisoned frames in `within`, at most `most` of them, and leaves them in the list.
    pub(crate) fn verify<M: Machine>(&self, machine: &M, within: PfnRange, most: u64) -> Verified {
        let state = self.state.lock();
        let mut verified = Verified::default();
        let listed = state.ranges.iter().map(|range| range.intersection(within));
        for part in listed.filter(|part| !part.is_empty()) {
            let now = PfnRange::of(part.start, part.pages().min(most - verified.pages));
            verified.pages += now.pages();
            corruptions(machine, now, &mut |finding| {
                let _ = verified.findings.try_push(finding);
            });
            if verified.pages == most {
                verified.next = Some(now.end);
                break;
            }
        }
        verified
    }

    /// Poisons freed frames. Call it before they can be allocated again.
    #[inline]
    pub(crate) fn freed<M: Machine>(&self, machine: &M, frames: PfnRange) {
        if self.mode() == Mode::On {
            self.fill_freed(machine, frames);
        }
    }

    /// Apart, so that a free with poisoning off computes no range.
    #[cold]
    #[inline(never)]
    fn fill_freed<M: Machine>(&self, machine: &M, frames: PfnRange) {
        if frames.pages() <= MAX_POISONED_PAGES {
            self.fill(machine, frames);
        }
    }

    /// Compares the poisoned ones of `frames`, which are being allocated, and drops them from the list.
    #[inline]
    pub(crate) fn taken<M: Machine>(&self, machine: &M, frames: PfnRange) {
        if self.pages.load(Ordering::Relaxed) > 0 {
            self.drop_frames(frames, &mut |part| self.compare(machine, part));
        }
    }

    /// Drops `frames`, which are being removed, from the list without comparing them.
    pub(crate) fn removed(&self, frames: PfnRange) {
        if self.pages.load(Ordering::Relaxed) > 0 {
            self.drop_frames(frames, &mut |_| ArrayVec::new());
        }
    }

    /// Runs `work` with the lock held.
    #[cfg(test)]
    pub(crate) fn while_locked(&self, work: &dyn Fn()) {
        let _state = self.state.lock();
        work();
    }

    #[cold]
    fn fill<M: Machine>(&self, machine: &M, frames: PfnRange) {
        each_page(machine, frames.pages(), &|machine, page| {
            machine.fill_page(direct(frames.start.offset(page).start()), POISON);
        });
        let mut state = self.state.lock();
        if state.ranges.is_full() && state.neighbours(frames).is_empty() {
            let victim = state.next_victim % MAX_RANGES;
            state.next_victim = victim + 1;
            let old = state.ranges.remove(victim);
            let found = self.compare(machine, old);
            self.queue(&mut state, found);
        }
        state.insert(frames);
        self.pages.store(state.pages(), Ordering::Relaxed);
    }

    #[cold]
    fn drop_frames(
        &self,
        frames: PfnRange,
        compare: &mut dyn FnMut(PfnRange) -> ArrayVec<Finding, MAX_FINDINGS>,
    ) {
        let mut state = self.state.lock();
        while let Some(part) = state.cut(frames) {
            let found = compare(part);
            self.queue(&mut state, found);
        }
        self.pages.store(state.pages(), Ordering::Relaxed);
    }

    /// The corrupted frames of `part`. Counts all of them, returns the first [`MAX_FINDINGS`].
    fn compare<M: Machine>(&self, machine: &M, part: PfnRange) -> ArrayVec<Finding, MAX_FINDINGS> {
        let mut findings = ArrayVec::new();
        corruptions(machine, part, &mut |finding| {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            let _ = findings.try_push(finding);
        });
        findings
    }

    fn queue(&self, state: &mut Watched, found: ArrayVec<Finding, MAX_FINDINGS>) {
        for finding in found {
            // When the queue is full, the finding is only counted, in `damaged`.
            let _ = state.findings.try_push(finding);
        }
        self.waiting.store(state.findings.len() as u64, Ordering::Relaxed);
    }
}

/// Calls `each` with every corrupted frame of `part`, ascending. Several CPUs compare.
fn corruptions<M: Machine>(machine: &M, part: PfnRange, each: &mut dyn FnMut(Finding)) {
    let mut at = part.start;
    while at < part.end {
        let left = part.end.0 - at.0;
        let found = parallel::first(machine, left, &|machine, page| {
            let Finding { offset, found, .. } = corruption(machine, at.offset(page))?;
            Some((offset, found))
        });
        let Some((page, (offset, found))) = found else { return };
        each(Finding { pfn: at.offset(page), offset, found });
        at = at.offset(page + 1);
    }
}

/// The first corrupted word of a poisoned frame.
fn corruption<M: Machine>(machine: &M, pfn: Pfn) -> Option<Finding> {
    let word = machine.first_mismatch(direct(pfn.start()), POISON)?;
    let found = machine.load(direct(pfn.start()).offset(8 * word));
    Some(Finding { pfn, offset: 8 * word, found })
}

impl Watched {
    fn pages(&self) -> u64 {
        self.ranges.iter().map(|range| range.pages()).sum()
    }

    /// The indexes of the ranges adjacent to or overlapping `frames`.
    fn neighbours(&self, frames: PfnRange) -> core::ops::Range<usize> {
        let from = self.ranges.partition_point(|range| range.end < frames.start);
        let to = self.ranges.partition_point(|range| range.start <= frames.end);
        from..to.max(from)
    }

    /// Inserts `frames`. The list is not full, or has a neighbour of `frames` to merge with.
    fn insert(&mut self, frames: PfnRange) {
        let near = self.neighbours(frames);
        let start = self.ranges.get(near.start).filter(|_| !near.is_empty());
        let start = start.map_or(frames.start, |range| range.start.min(frames.start));
        let end = self.ranges[near.clone()].last().map_or(frames.end, |range| range.end.max(frames.end));
        let at = near.start;
        self.ranges.drain(near);
        let inserted = self.ranges.try_insert(at, PfnRange::new(start, end));
        debug_assert!(inserted.is_ok(), "the list of poisoned ranges is full");
    }

    /// Removes the first listed part of `frames` and returns it.
    fn cut(&mut self, frames: PfnRange) -> Option<PfnRange> {
        let at = self.ranges.partition_point(|range| range.end <= frames.start);
        let range = *self.ranges.get(at)?;
        let part = range.intersection(frames);
        if part.is_empty() {
            return None;
        }
        self.ranges.remove(at);
        for rest in [PfnRange::new(part.end, range.end), PfnRange::new(range.start, part.start)] {
            // If the range was split in two and the list is full, the second part is dropped.
            if !rest.is_empty() {
                let _ = self.ranges.try_insert(at, rest);
            }
        }
        Some(part)
    }
}
