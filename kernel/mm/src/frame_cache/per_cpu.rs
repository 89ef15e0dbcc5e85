//! The frame caches of all CPUs, and the numbers over all of them.
//!
//! Invariant: a number is exact while no CPU allocates or frees. Neighbours: `memory` owns the caches, `drain` empties
//! them.

use core::sync::atomic::{AtomicBool, Ordering};

use carapace_lock::{Mutex, Rank};

use super::{Entered, FrameCache};
use crate::addr::Order;
use crate::descriptor::SlotNr;
use crate::machine::{MAX_CPUS, Machine};

/// The frame cache of each CPU.
#[derive(Debug)]
pub(crate) struct FrameCaches {
    pub(crate) caches: [FrameCache; MAX_CPUS],
    /// Held while other CPUs' caches are drained.
    pub(crate) draining: Mutex<()>,
    /// Whether they are. Says in debug builds that the lock is left out, where the caches would be corrupted.
    is_draining: AtomicBool,
}

impl FrameCaches {
    /// Empty ones.
    pub(crate) const fn new() -> Self {
        FrameCaches {
            caches: [const { FrameCache::new() }; MAX_CPUS],
            draining: Mutex::new(Rank::Draining, ()),
            is_draining: AtomicBool::new(false),
        }
    }

    /// Begins to drain other CPUs' caches, which lasts until the result is dropped. `draining` is held.
    pub(crate) fn begin_drain(&self) -> Draining<'_> {
        let was_draining = self.is_draining.swap(true, Ordering::Relaxed);
        debug_assert!(!was_draining, "two CPUs drain at once");
        Draining { is_draining: &self.is_draining }
    }

    /// Enters the cache of the CPU that runs.
    #[inline(always)]
    pub(crate) fn enter<M: Machine>(&self, machine: &M) -> Entered<'_> {
        self.caches[machine.cpu().index()].enter(machine)
    }

    /// Cached frames of the region in `slot`; exact while no CPU allocates or frees.
    pub(crate) fn pages_of(&self, slot: SlotNr) -> u64 {
        self.caches.iter().map(|cache| cache.pages_of(slot)).sum()
    }

    /// Cached blocks of `order` of the region in `slot`, likewise.
    pub(crate) fn blocks_of(&self, slot: SlotNr, order: Order) -> u64 {
        self.caches.iter().map(|cache| cache.blocks_of(slot, order)).sum()
    }

    /// Calls `each` with the slot of each region that has cached frames and their number, likewise.
    pub(crate) fn each_region(&self, mut each: impl FnMut(SlotNr, u64)) {
        self.caches.iter().for_each(|cache| cache.each_region(&mut each));
    }

    /// All cached frames; exact while no CPU allocates or frees.
    pub(crate) fn pages(&self) -> u64 {
        self.caches.iter().map(|cache| cache.stats().cached_pages).sum()
    }
}

/// A CPU drains others' caches, until this is dropped.
#[derive(Debug)]
pub(crate) struct Draining<'a> {
    is_draining: &'a AtomicBool,
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.is_draining.store(false, Ordering::Relaxed);
    }
}
