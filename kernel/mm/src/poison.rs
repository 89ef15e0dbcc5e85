//! Poison: a mode in which memory that was freed is watched, to find who writes to it all the same.
//!
//! ```text
//!  free --> filled with POISON, noted in `watched` --> ... --> allocated: compared, noted no longer
//!                                                     '-----> gone with its device: noted no longer, not looked at
//! ```
//!
//! Which frames are poisoned stands in a short list of ranges outside of the memory itself: a frame that was never
//! allocated is never touched, a DIMM that comes back with other bytes is no alarm, and nothing has to be undone when
//! the mode ends. With the list full, the range that was noted first is compared once more and let go.
//!
//! Invariants: a frame in `watched` is free (or taken out of use, free or isolated) and mapped, and nobody but an
//! intruder has written to it since it was filled. So every way out of the buddy that gives a frame away passes
//! `watched`, and so does a region's end. Blocks of more than [`MOST_PAGES`] are left alone: whoever takes a
//! terabyte without touching it need not have it. The poison has bit 0 clear, so that a freed page table that the CPU
//! walks all the same has no entry that is present. The list's lock comes after a region's
//! ([`carapace_lock::Rank`]).
//!
//! Neighbours: `allocate` and `hot_remove::capacity` give and take frames, `hot_remove` forgets them, `query` reports.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrayvec::ArrayVec;
use carapace_lock::{Mutex, Rank};

use crate::addr::{Pfn, PfnRange};
use crate::address_space::direct;
use crate::machine::Machine;

/// What a freed word is.
pub const POISON: u64 = 0xdada_dada_dada_dada;
/// The most frames of a block that is poisoned: 256 MiB.
pub const MOST_PAGES: u64 = 1 << 16;
/// Ranges that are watched at most; neighbouring ones are one.
const RANGES: usize = 256;
/// Findings that wait to be told.
const FINDINGS: usize = 16;

/// A word of a free frame that is not what it was filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The frame.
    pub pfn: Pfn,
    /// Bytes into it.
    pub offset: u64,
    /// What is there; the first such word of the frame.
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
    /// It is.
    On,
    /// It is not.
    Off,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoisonInfo {
    /// Whether freed memory is poisoned from now on.
    pub mode: Mode,
    /// Frames that are watched.
    pub watched_pages: u64,
    /// Frames that were found written to, since boot.
    pub damaged_pages: u64,
}

/// The mode, and what is watched.
#[derive(Debug)]
pub(crate) struct Poison {
    on: AtomicBool,
    /// The frames of `watched`, to be read without the lock: mostly 0.
    pages: AtomicU64,
    /// Findings that nobody has taken yet, likewise.
    waiting: AtomicU64,
    damaged: AtomicU64,
    state: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    /// Ascending, disjoint, and no two touch.
    ranges: ArrayVec<PfnRange, RANGES>,
    /// The place in `ranges` that is let go next, when there is no room.
    next_out: usize,
    findings: ArrayVec<Finding, FINDINGS>,
}

/// The result of [`Poison::verify`].
#[derive(Debug, Default)]
pub(crate) struct Verified {
    /// Frames that were compared.
    pub(crate) pages: u64,
    /// Where to continue, if there are more.
    pub(crate) next: Option<Pfn>,
    /// Frames that were written to, as many as fit.
    pub(crate) findings: ArrayVec<Finding, FINDINGS>,
}

impl Poison {
    /// Nothing is watched.
    pub(crate) const fn new() -> Self {
        let state = Watched { ranges: ArrayVec::new_const(), next_out: 0, findings: ArrayVec::new_const() };
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

    /// Takes the oldest finding. Costs one load while there is none.
    pub(crate) fn next_finding(&self) -> Option<Finding> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut state = self.state.lock();
        let finding = state.findings.pop_at(0);
        self.waiting.store(state.findings.len() as u64, Ordering::Relaxed);
        finding
    }

    /// Compares the watched frames of `within`, at most `most` of them, without letting them go.
    pub(crate) fn verify<M: Machine>(&self, machine: &M, within: PfnRange, most: u64) -> Verified {
        let state = self.state.lock();
        let mut verified = Verified::default();
        let watched = state.ranges.iter().map(|range| range.intersection(within));
        for part in watched.filter(|part| !part.is_empty()) {
            let now = PfnRange::of(part.start, part.pages().min(most - verified.pages));
            verified.pages += now.pages();
            now.each().filter_map(|pfn| differs(machine, pfn)).for_each(|finding| {
                let _ = verified.findings.try_push(finding);
            });
            if verified.pages == most {
                verified.next = Some(now.end);
                break;
            }
        }
        verified
    }

    /// Fills frames that nobody has any more and watches them. To be called before anybody can have them again.
    #[inline]
    pub(crate) fn freed<M: Machine>(&self, machine: &M, frames: PfnRange) {
        if self.mode() == Mode::On && frames.pages() <= MOST_PAGES {
            self.watch(machine, frames);
        }
    }

    /// Compares what is watched of frames that somebody gets, before they are his.
    #[inline]
    pub(crate) fn taken<M: Machine>(&self, machine: &M, frames: PfnRange) {
        if self.pages.load(Ordering::Relaxed) > 0 {
            self.let_go(frames, &mut |part| self.compare(machine, part));
        }
    }

    /// Watches `frames` no longer, without a look at them: they are going, or gone.
    pub(crate) fn forget(&self, frames: PfnRange) {
        if self.pages.load(Ordering::Relaxed) > 0 {
            self.let_go(frames, &mut |_| ArrayVec::new());
        }
    }

    /// Runs `work` with the lock held.
    #[cfg(test)]
    pub(crate) fn while_locked(&self, work: &dyn Fn()) {
        let _state = self.state.lock();
        work();
    }

    #[cold]
    fn watch<M: Machine>(&self, machine: &M, frames: PfnRange) {
        for pfn in frames.each() {
            machine.fill_page(direct(pfn.start()), POISON);
        }
        let mut state = self.state.lock();
        if state.ranges.is_full() && state.neighbours(frames).is_empty() {
            let place = state.next_out % RANGES;
            state.next_out = place + 1;
            let old = state.ranges.remove(place);
            let found = self.compare(machine, old);
            self.note(&mut state, found);
        }
        state.insert(frames);
        self.pages.store(state.pages(), Ordering::Relaxed);
    }

    #[cold]
    fn let_go(&self, frames: PfnRange, look: &mut dyn FnMut(PfnRange) -> ArrayVec<Finding, FINDINGS>) {
        let mut state = self.state.lock();
        while let Some(part) = state.cut(frames) {
            let found = look(part);
            self.note(&mut state, found);
        }
        self.pages.store(state.pages(), Ordering::Relaxed);
    }

    /// The frames of `part` that are not as they were filled; as many as there is room for, all are counted.
    fn compare<M: Machine>(&self, machine: &M, part: PfnRange) -> ArrayVec<Finding, FINDINGS> {
        let mut findings = ArrayVec::new();
        for pfn in part.each() {
            if let Some(finding) = differs(machine, pfn) {
                self.damaged.fetch_add(1, Ordering::Relaxed);
                let _ = findings.try_push(finding);
            }
        }
        findings
    }

    fn note(&self, state: &mut Watched, found: ArrayVec<Finding, FINDINGS>) {
        for finding in found {
            // Those that find no room are counted in `damaged`.
            let _ = state.findings.try_push(finding);
        }
        self.waiting.store(state.findings.len() as u64, Ordering::Relaxed);
    }
}

fn differs<M: Machine>(machine: &M, pfn: Pfn) -> Option<Finding> {
    let word = machine.first_other(direct(pfn.start()), POISON)?;
    let found = machine.load(direct(pfn.start()).offset(8 * word));
    Some(Finding { pfn, offset: 8 * word, found })
}

impl Watched {
    fn pages(&self) -> u64 {
        self.ranges.iter().map(|range| range.pages()).sum()
    }

    /// Which ranges touch or overlap `frames`.
    fn neighbours(&self, frames: PfnRange) -> core::ops::Range<usize> {
        let from = self.ranges.partition_point(|range| range.end < frames.start);
        let to = self.ranges.partition_point(|range| range.start <= frames.end);
        from..to.max(from)
    }

    /// Notes `frames`; there is room, or a range that they touch.
    fn insert(&mut self, frames: PfnRange) {
        let near = self.neighbours(frames);
        let start = self.ranges.get(near.start).filter(|_| !near.is_empty());
        let start = start.map_or(frames.start, |range| range.start.min(frames.start));
        let end = self.ranges[near.clone()].last().map_or(frames.end, |range| range.end.max(frames.end));
        let place = near.start;
        self.ranges.drain(near);
        let inserted = self.ranges.try_insert(place, PfnRange::new(start, end));
        debug_assert!(inserted.is_ok(), "room was made");
    }

    /// Takes the first watched part of `frames` out of the list.
    fn cut(&mut self, frames: PfnRange) -> Option<PfnRange> {
        let place = self.ranges.partition_point(|range| range.end <= frames.start);
        let range = *self.ranges.get(place)?;
        let part = range.intersection(frames);
        if part.is_empty() {
            return None;
        }
        self.ranges.remove(place);
        for rest in [PfnRange::new(part.end, range.end), PfnRange::new(range.start, part.start)] {
            // Where two pieces are left of one and there is room for one of them, the other is watched no longer.
            if !rest.is_empty() {
                let _ = self.ranges.try_insert(place, rest);
            }
        }
        Some(part)
    }
}
