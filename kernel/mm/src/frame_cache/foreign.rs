//! Single frames of one region that this CPU has freed and does not allocate from: they go back with one lock for many.
//!
//! Invariants: those of the stacks in `frame_cache`. A set takes another region only after several frees of other regions'
//! frames in a row that it could not take: with many regions, each free would give it another one. Neighbours: `allocate`
//! fills it, `drain` empties it.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::addr::{Order, Pfn};
use crate::buddy::{Buddy, claim};
use crate::descriptor::SlotNr;
use crate::frame_cache::flush;
use crate::frame_cache::known::Known;
use crate::frame_cache::stack::Stack;
use crate::info::ResourceId;
use crate::machine::Machine;

/// Frames that wait for one lock.
const FRAMES: usize = 16;
/// Frees of other regions' frames until a set is given to another region.
const MAX_MISSES: u8 = 64;

/// Frames of one region. See the module's head.
#[derive(Debug)]
pub(crate) struct Foreign {
    region: Known,
    frames: Stack<FRAMES>,
    /// Frees of other regions' frames that this set could not take, since the last one that it took.
    missed: AtomicU8,
}

impl Foreign {
    pub(super) const fn new() -> Self {
        Foreign { region: Known::new(), frames: Stack::new(), missed: AtomicU8::new(0) }
    }

    /// Whether the frames belong to the region in `slot`.
    #[inline(always)]
    pub(super) fn is(&self, slot: SlotNr) -> bool {
        self.region.is(slot)
    }

    pub(super) fn pages(&self) -> u64 {
        self.frames.len() as u64
    }

    pub(super) fn pages_of(&self, slot: SlotNr) -> u64 {
        if self.is(slot) { self.pages() } else { 0 }
    }

    /// The region that the frames belong to.
    pub(crate) fn region(&self) -> Option<(SlotNr, ResourceId)> {
        self.region.region()
    }

    /// Marks `head` as cached; the caller pushes it then. `false` when it is no single movable frame of this region.
    #[inline]
    pub(crate) fn mark<M: Machine>(&self, machine: &M, head: Pfn) -> bool {
        self.region.has(head)
            && self.region.level_of_block(machine, head) == 0
            && claim(machine, self.region.level(0), head, Order(0))
    }

    /// Whether the set must be flushed before the next push.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES
    }

    /// Adds a frame that [`Foreign::mark`] marked.
    #[inline]
    pub(crate) fn push(&self, head: Pfn) {
        self.frames.push(head);
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
        self.region.learn(id, buddy);
        self.missed.store(0, Relaxed);
    }

    /// Returns all frames to the buddy of their region.
    pub(crate) fn flush<M: Machine>(&self, buddy: &Buddy<'_, M>) {
        self.region.update_counters(buddy, self.pages());
        flush(buddy, &self.region, &self.frames, Order(0), FRAMES);
    }

    /// Detaches the set from its region, once its frames went back or were lost with it.
    pub(crate) fn detach(&self) {
        self.region.clear();
        self.frames.clear();
    }
}
