//! Single frames of one region that this CPU has freed and does not allocate from: they go back with one lock for many.
//!
//! Invariants: those of the stacks in `frame_cache`. A set takes another region only after several frees of other regions'
//! frames in a row that it could not take: with many regions, each free would give it another one. Neighbours: `allocate`
//! fills it, `drain` empties it.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use crate::addr::{Order, Pfn};
use crate::buddy::{Buddy, claim};
use crate::descriptor::{BlockState, SlotNr};
use crate::frame_cache::known::Known;
use crate::info::ResourceId;
use crate::machine::Machine;

/// Frames that wait for one lock.
const FRAMES: usize = 15;
/// Frees of other regions' frames until a set is given to another region.
const MAX_MISSES: u8 = 64;

/// Frames of one region. See the module's head. Two cache lines, of which many sets fit into a CPU's first cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Foreign {
    region: Known,
    /// The frames, counted from the usable run's first.
    frames: [AtomicU32; FRAMES],
    len: AtomicU8,
    /// Frees of other regions' frames that this set could not take, since the last one that it took.
    missed: AtomicU8,
}

const _: () = assert!(size_of::<Foreign>() == 128);

impl Foreign {
    pub(super) const fn new() -> Self {
        Foreign {
            region: Known::new(),
            frames: [const { AtomicU32::new(0) }; FRAMES],
            len: AtomicU8::new(0),
            missed: AtomicU8::new(0),
        }
    }

    /// Whether the frames belong to the region in `slot`.
    #[inline(always)]
    pub(super) fn is(&self, slot: SlotNr) -> bool {
        self.region.is(slot)
    }

    pub(super) fn pages(&self) -> u64 {
        u64::from(self.len.load(Relaxed))
    }

    pub(super) fn pages_of(&self, slot: SlotNr) -> u64 {
        if self.is(slot) { self.pages() } else { 0 }
    }

    /// The region that the frames belong to.
    pub(crate) fn region(&self) -> Option<(SlotNr, ResourceId)> {
        self.region.region()
    }

    /// Marks `head` as cached; the caller pushes it then. `false` when it is no single movable frame of this region.
    #[inline(always)]
    pub(crate) fn mark<M: Machine>(&self, machine: &M, head: Pfn) -> bool {
        self.region.has(head)
            && self.region.level_of_block(machine, head) == 0
            && claim(machine, self.region.level(0), head, Order(0))
    }

    /// Whether the set must be flushed before the next push.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        usize::from(self.len.load(Relaxed)) >= FRAMES
    }

    /// Adds a frame that [`Foreign::mark`] marked.
    #[inline]
    pub(crate) fn push(&self, head: Pfn) {
        let len = self.len.load(Relaxed);
        if let Some(place) = self.frames.get(usize::from(len)) {
            // The set takes no region with larger numbers.
            place.store((head.0 - self.region.start().0) as u32, Relaxed);
            self.len.store(len + 1, Relaxed);
        }
        self.missed.store(0, Relaxed);
    }

    /// Whether the set is to take the region in `slot`, of which a frame was just freed past it.
    pub(crate) fn changes_to(&self, slot: SlotNr) -> bool {
        if self.is(slot) {
            return false;
        }
        let missed = self.missed.load(Relaxed).saturating_add(1);
        self.missed.store(missed, Relaxed);
        self.region().is_none() || missed >= MAX_MISSES
    }

    /// Takes the region `id`. The set is empty, and no part of the region is isolated.
    pub(crate) fn attach<M: Machine>(&self, id: ResourceId, buddy: &Buddy<'_, M>) {
        if buddy.usable.pages() <= 1 << 32 {
            self.region.learn(id, buddy);
        }
        self.missed.store(0, Relaxed);
    }

    /// Returns all frames to the buddy of their region.
    pub(crate) fn flush<M: Machine>(&self, buddy: &Buddy<'_, M>) {
        let pages = self.pages();
        let frames = self.frames.get(..pages as usize).unwrap_or_default();
        let start = self.region.start();
        let head = |nr: usize| start.offset(frames.get(nr).map_or(0, |frame| frame.load(Relaxed).into()));
        buddy.count(BlockState::Movable, 0, pages);
        if buddy.isolated.is_empty() {
            buddy.count(BlockState::Free, pages, 0);
            buddy.free_bulk(Order(0), frames.len(), head);
        } else {
            buddy.count(BlockState::Cached, pages, 0);
            (0..frames.len()).for_each(|nr| buddy.free_cached(head(nr), Order(0)));
        }
        self.len.store(0, Relaxed);
    }

    /// Detaches the set from its region, once its frames went back or were lost with it.
    pub(crate) fn detach(&self) {
        self.region.clear();
        self.len.store(0, Relaxed);
    }
}
