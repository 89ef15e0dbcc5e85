//! A cache's copy of a region's constant data, so that the cache frees a frame of the region without a lookup and without
//! a lock.
//!
//! Invariant: a copy is made under the region's lock, and only while no part of the region is isolated. Isolation and
//! removal set their mark under the same lock, and discard the copies afterwards (`drain`). So no copy outlives its
//! region, and no block of an isolated region is in a cache. Neighbours: the two kinds of stacks of
//! `frame_cache` have one copy each.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::addr::{Pfn, PfnRange, VirtAddr};
use crate::buddy::{Buddy, LEVELS, level_of, level_of_block};
use crate::descriptor::{BlockState, SlotNr};
use crate::info::ResourceId;
use crate::machine::Machine;

/// No slot.
const NO_SLOT: u16 = u16::MAX;

/// The copy, no larger than a cache line.
#[derive(Debug)]
pub(super) struct Known {
    slot: AtomicU16,
    id: AtomicU32,
    /// The usable run, empty without a region.
    usable: [AtomicU64; 2],
    /// Addresses of the group words by level, and the top level.
    levels: [AtomicU64; LEVELS],
    top: AtomicU8,
}

const _: () = assert!(size_of::<Known>() <= 64);

impl Known {
    pub(super) const fn new() -> Self {
        Known {
            slot: AtomicU16::new(NO_SLOT),
            id: AtomicU32::new(0),
            usable: [const { AtomicU64::new(0) }; 2],
            levels: [const { AtomicU64::new(0) }; LEVELS],
            top: AtomicU8::new(0),
        }
    }

    /// Copies what a buddy's region is. Its lock is held.
    pub(super) fn learn<M: Machine>(&self, id: ResourceId, buddy: &Buddy<'_, M>) {
        self.id.store(id.0, Relaxed);
        self.slot.store(buddy.slot.0, Relaxed);
        self.usable[0].store(buddy.usable.start.0, Relaxed);
        self.usable[1].store(buddy.usable.end.0, Relaxed);
        self.top.store(level_of(buddy.max), Relaxed);
        let levels = self.levels.iter().zip(buddy.metadata.levels());
        levels.for_each(|(level, at)| level.store(at.0, Relaxed));
    }

    /// Throws the copy away.
    pub(super) fn clear(&self) {
        self.slot.store(NO_SLOT, Relaxed);
        self.usable.iter().for_each(|border| border.store(0, Relaxed));
    }

    /// Whether this is the region in `slot`. Asked by other CPUs too.
    #[inline(always)]
    pub(super) fn is(&self, slot: SlotNr) -> bool {
        self.slot.load(Relaxed) == slot.0
    }

    #[inline(always)]
    pub(super) fn slot(&self) -> SlotNr {
        SlotNr(self.slot.load(Relaxed))
    }

    /// The region, if there is one: its slot, and its resource to tell it from a later region in that slot.
    pub(super) fn region(&self) -> Option<(SlotNr, ResourceId)> {
        let slot = self.slot();
        (slot.0 != NO_SLOT).then(|| (slot, ResourceId(self.id.load(Relaxed))))
    }

    /// Whether `pfn` lies in the usable run.
    #[inline(always)]
    pub(super) fn has(&self, pfn: Pfn) -> bool {
        let [start, end] = &self.usable;
        PfnRange { start: Pfn(start.load(Relaxed)), end: Pfn(end.load(Relaxed)) }.contains(pfn)
    }

    /// The first frame of the usable run.
    #[inline(always)]
    pub(super) fn start(&self) -> Pfn {
        Pfn(self.usable[0].load(Relaxed))
    }

    #[inline(always)]
    pub(super) fn level(&self, level: u8) -> VirtAddr {
        VirtAddr(self.levels[level as usize].load(Relaxed))
    }

    /// The level of the group whose children form the block of `pfn`, a frame of the usable run.
    #[inline(always)]
    pub(super) fn level_of_block<M: Machine>(&self, machine: &M, pfn: Pfn) -> u8 {
        level_of_block(|level| self.level(level), machine, self.top.load(Relaxed), pfn)
    }
}

/// The share of the region's counter of cached frames that a cache accounts for. It differs from the frames that are
/// cached now by those that were allocated and freed since, and may be negative: it wraps.
#[derive(Debug)]
pub(super) struct Counted(AtomicU64);

impl Counted {
    pub(super) const fn new() -> Self {
        Counted(AtomicU64::new(0))
    }

    /// Forgets the share, with the region.
    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    /// Counts `pages` frames that the buddy gave as cached.
    pub(super) fn drew(&self, pages: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(pages), Relaxed);
    }

    /// Brings the region's counters up to date: frames that were cached and are not now became movable, or the reverse.
    /// `cached` frames are cached now.
    pub(super) fn update_counters<M: Machine>(&self, buddy: &Buddy<'_, M>, cached: u64) {
        // More frames may have been freed than allocated: the difference wraps, and the counters wrap with it.
        let out = self.0.load(Relaxed).wrapping_sub(cached);
        buddy.count(BlockState::Movable, out, 0);
        buddy.count(BlockState::Cached, 0, out);
        self.0.store(cached, Relaxed);
    }

    /// Counts `pages` frames that went back to the buddy.
    pub(super) fn returned(&self, pages: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(pages), Relaxed);
    }
}
