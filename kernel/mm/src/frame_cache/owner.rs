//! Exclusive use of a frame cache: by its CPU at almost no cost, or by another CPU that drains it, at the cost of a
//! barrier on every CPU. Linux has a lock per list instead (`struct per_cpu_pages`); runtimes call this a biased lock.
//!
//! ```text
//!  the CPU itself                           a CPU that drains (one at a time: Rank::Draining)
//!  1 busy = 1                               1 revoked = 1
//!  2 the cheap half (Machine::fence_light)  2 a full barrier on every CPU (Machine::fence_all)
//!  3 revoked? then busy = 0, wait, 1        3 wait until busy == 0
//!  4 use the cache                          4 use the cache
//!  5 busy = 0                               5 revoked = 0
//! ```
//!
//! Why the two are never at step 4 at once: the barrier splits the CPU's instructions. If its store of step 1 comes before the barrier, the
//! draining CPU sees `busy` in step 3 and waits. If it comes after, so does the load of step 3, which sees `revoked`.
//! Step 5 of each is a Release that the other's step 3 acquires, so one sees all that the other did.
//!
//! Invariants: the CPU waits in step 3 neither busy nor with a region's lock held, so a draining CPU, which takes
//! regions' locks, is never part of a deadlock. A handler never uses a cache. Neighbours: `frame_cache` has the caches,
//! `drain` is the draining side.

use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};

use carapace_lock::{Held, Place, Rank};

use crate::frame_cache::{Cached, FrameCache};
use crate::machine::Machine;
use crate::sync::spin;

/// The two words of the protocol.
#[derive(Debug)]
pub(super) struct Ownership {
    busy: AtomicBool,
    revoked: AtomicBool,
}

impl Ownership {
    pub(super) const fn new() -> Self {
        Ownership { busy: AtomicBool::new(false), revoked: AtomicBool::new(false) }
    }
}

impl FrameCache {
    /// Enters the cache of the CPU that runs, and of no other. Waits while another CPU drains it.
    #[inline(always)]
    pub(crate) fn enter<M: Machine>(&self, machine: &M) -> Entered<'_> {
        let held = Place::of(Rank::FrameCache).take_in_order();
        self.begin(machine);
        if self.ownership.revoked.load(Ordering::Acquire) {
            self.wait_for_drain(machine);
        }
        Entered { cache: self, _held: held }
    }

    #[inline(always)]
    fn begin<M: Machine>(&self, machine: &M) {
        self.ownership.busy.store(true, Ordering::Relaxed);
        machine.fence_light();
    }

    #[cold]
    #[inline(never)]
    fn wait_for_drain<M: Machine>(&self, machine: &M) {
        loop {
            self.ownership.busy.store(false, Ordering::Release);
            while self.ownership.revoked.load(Ordering::Relaxed) {
                spin();
            }
            self.begin(machine);
            // Acquire: see the draining CPU's changes to the cache.
            if !self.ownership.revoked.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Begins to take the cache from its CPU. A barrier on every CPU follows, then [`FrameCache::revoked`].
    pub(crate) fn revoke(&self) {
        self.ownership.revoked.store(true, Ordering::Relaxed);
    }

    /// Waits until the CPU has left its cache, which was revoked before a barrier on every CPU.
    pub(crate) fn revoked(&self) -> Revoked<'_> {
        // Acquire: see the CPU's changes to the cache.
        while self.ownership.busy.load(Ordering::Acquire) {
            spin();
        }
        Revoked { cache: self }
    }
}

/// The right of a CPU to use its own cache, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    cache: &'a FrameCache,
    _held: Held,
}

/// The right of a draining CPU to use another CPU's cache, until it is dropped.
#[derive(Debug)]
pub(crate) struct Revoked<'a> {
    cache: &'a FrameCache,
}

impl Deref for Entered<'_> {
    type Target = Cached;

    #[inline(always)]
    fn deref(&self) -> &Cached {
        &self.cache.cached
    }
}

impl Deref for Revoked<'_> {
    type Target = Cached;

    fn deref(&self) -> &Cached {
        &self.cache.cached
    }
}

impl Drop for Entered<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.cache.ownership.busy.store(false, Ordering::Release);
    }
}

impl Drop for Revoked<'_> {
    fn drop(&mut self) {
        self.cache.ownership.revoked.store(false, Ordering::Release);
    }
}
