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
use core::sync::atomic::{AtomicU64, Ordering};

use carapace_lock::{Held, Place, Rank};

use crate::frame_cache::{Cached, FrameCache};
use crate::machine::Machine;
use crate::sync::Word;

/// The two words of the protocol, 0 or 1 each.
#[derive(Debug)]
pub(super) struct Ownership<W = AtomicU64> {
    busy: W,
    revoked: W,
}

impl Ownership {
    pub(super) const fn new() -> Self {
        Ownership { busy: AtomicU64::new(0), revoked: AtomicU64::new(0) }
    }
}

impl<W: Word> Ownership<W> {
    /// The CPU's steps 1 to 3. `fence` is the cheap half of the barrier.
    #[inline(always)]
    fn enter(&self, fence: impl Fn()) {
        self.busy.store(1, Ordering::Relaxed);
        fence();
        // Acquire: see the draining CPU's changes to the cache.
        if self.revoked.load(Ordering::Acquire) != 0 {
            self.enter_after_drain(fence);
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_after_drain(&self, fence: impl Fn()) {
        loop {
            self.leave();
            while self.revoked.load(Ordering::Relaxed) != 0 {
                W::spin();
            }
            self.busy.store(1, Ordering::Relaxed);
            fence();
            // Acquire: see the draining CPU's changes to the cache.
            if self.revoked.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }

    /// The CPU's step 5.
    #[inline(always)]
    fn leave(&self) {
        // Release: the draining CPU sees this CPU's changes to the cache.
        self.busy.store(0, Ordering::Release);
    }

    /// A draining CPU's steps 1 and 2, for several caches. `fence_all` is a full barrier on every CPU.
    fn revoke<'a>(all: impl Iterator<Item = &'a Self>, fence_all: impl FnOnce())
    where
        W: 'a,
    {
        let mut some = false;
        for one in all {
            one.revoked.store(1, Ordering::Relaxed);
            some = true;
        }
        if some {
            fence_all();
        }
    }

    /// A draining CPU's step 3.
    fn wait_until_left(&self) {
        // Acquire: see the CPU's changes to the cache.
        while self.busy.load(Ordering::Acquire) != 0 {
            W::spin();
        }
    }

    /// A draining CPU's step 5.
    fn give_back(&self) {
        // Release: the CPU sees this CPU's changes to the cache.
        self.revoked.store(0, Ordering::Release);
    }
}

impl FrameCache {
    /// Enters the cache of the CPU that runs, and of no other. Waits while another CPU drains it.
    #[inline(always)]
    pub(crate) fn enter<M: Machine>(&self, machine: &M) -> Entered<'_> {
        let held = Place::of(Rank::FrameCache).take_in_order();
        self.ownership.enter(|| machine.fence_light());
        Entered { cache: self, _held: held }
    }

    /// Begins to take caches from their CPUs, with one barrier on every CPU. [`FrameCache::revoked`] follows for each.
    pub(crate) fn revoke<'a, M: Machine>(machine: &M, caches: impl Iterator<Item = &'a FrameCache>) {
        Ownership::revoke(caches.map(|cache| &cache.ownership), || machine.fence_all());
    }

    /// Waits until the CPU has left its cache, which was revoked before.
    pub(crate) fn revoked(&self) -> Revoked<'_> {
        self.ownership.wait_until_left();
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
        self.cache.ownership.leave();
    }
}

impl Drop for Revoked<'_> {
    fn drop(&mut self) {
        self.cache.ownership.give_back();
    }
}

#[cfg(test)]
mod tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::fence;
    use loom::thread;

    use super::*;
    use crate::sync::tests::{Watched, every_interleaving};

    /// A cache. loom reports two uses at once, and a use that does not see the one before.
    struct Cache {
        ownership: Ownership<Watched>,
        contents: UnsafeCell<u32>,
    }

    impl Cache {
        fn new() -> Arc<Cache> {
            let ownership = Ownership { busy: Watched::new(0), revoked: Watched::new(0) };
            Arc::new(Cache { ownership, contents: UnsafeCell::new(0) })
        }

        /// The CPU uses its cache.
        fn enter(&self) {
            self.ownership.enter(barrier);
            self.contents.with_mut(|_| {});
            self.ownership.leave();
        }
    }

    /// Both halves of the barrier are whole ones here: loom knows no other.
    fn barrier() {
        fence(Ordering::SeqCst);
    }

    /// Another CPU uses the caches.
    fn drain(caches: &[&Arc<Cache>]) {
        Ownership::revoke(caches.iter().map(|cache| &cache.ownership), barrier);
        for cache in caches {
            cache.ownership.wait_until_left();
            cache.contents.with_mut(|_| {});
            cache.ownership.give_back();
        }
    }

    /// Proves, in every interleaving and every order of memory, that a CPU and one that drains its cache never use it at
    /// once, that each sees all that the other did before, and that both come to their ends. Fails when one of the two
    /// barriers is left out, when the draining CPU does not wait for `busy` or the CPU not for `revoked`, and when an
    /// Acquire or Release is.
    #[test]
    fn a_cache_is_used_or_drained() {
        every_interleaving(|| {
            let cache = Cache::new();
            let other = {
                let cache = cache.clone();
                thread::spawn(move || drain(&[&cache]))
            };
            cache.enter();
            cache.enter();
            other.join().unwrap();
        });
    }

    /// Proves the same for a CPU that begins while its cache is drained for the second time. Fails when it goes on after
    /// it has waited, without a look whether its cache was revoked again.
    #[test]
    fn a_cache_is_drained_twice() {
        every_interleaving(|| {
            let cache = Cache::new();
            let other = {
                let cache = cache.clone();
                thread::spawn(move || {
                    drain(&[&cache]);
                    drain(&[&cache]);
                })
            };
            cache.enter();
            other.join().unwrap();
        });
    }

    /// Proves that one barrier suffices to drain several caches. Fails when it comes before the last one is revoked.
    #[test]
    fn two_caches_are_drained_with_one_barrier() {
        every_interleaving(|| {
            let caches = [Cache::new(), Cache::new()];
            let last = caches[1].clone();
            let other = thread::spawn(move || last.enter());
            drain(&[&caches[0], &caches[1]]);
            other.join().unwrap();
        });
    }
}
