//! Draining: returning the blocks of frame caches to their regions. Linux: `drain_all_pages`.
//!
//! ```text
//!  own cache           at once
//!  other CPUs' caches  revoke those that know the region, one barrier on every CPU, then one after the other (`owner`)
//! ```
//!
//! If no other cache knows the region, no request goes to another CPU. So the removal of an unused DIMM sends none.
//!
//! Invariant: neither a region's lock is held nor an own cache entered while this waits for other CPUs. Neighbours:
//! `hot_remove` drains a region that it isolates, `allocate` drains all when nothing is free.

use arrayvec::ArrayVec;

use crate::descriptor::SlotNr;
use crate::frame_cache::{Cached, CpuStats, Entered, Foreign, FrameCache};
use crate::machine::{CpuNr, MAX_CPUS, Machine};
use crate::memory::Memory;

/// The caches to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// Those that know a region: they forget it.
    Region(SlotNr),
    /// Those with a block.
    All,
}

impl Drained {
    fn concerns(self, cache: &FrameCache) -> bool {
        match self {
            Drained::Region(slot) => cache.knows(slot),
            Drained::All => cache.stats().cached_pages > 0,
        }
    }

    fn has(self, slot: SlotNr) -> bool {
        match self {
            Drained::Region(drained) => drained == slot,
            Drained::All => true,
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Enters the frame cache of the CPU that runs.
    #[inline(always)]
    pub(crate) fn own_cache(&self) -> Entered<'_> {
        self.caches.enter(&self.machine)
    }

    /// What a CPU has allocated, freed and cached; exact while it does neither.
    pub fn cpu_stats(&self, cpu: CpuNr) -> CpuStats {
        self.caches.caches[cpu.index()].stats()
    }

    /// Returns every cached block of the region in `slot` to it. No cache knows the region afterwards, until one learns
    /// it again, which isolating the region (before) prevents. Blocks of a region that is gone are dropped.
    pub(crate) fn drain(&self, slot: SlotNr) {
        self.drain_caches(Drained::Region(slot));
    }

    /// Returns every cached block to its region. `false` when there was none.
    pub(crate) fn drain_all(&self) -> bool {
        self.drain_caches(Drained::All)
    }

    /// Returns every block of this CPU's cache to its region, without asking other CPUs.
    pub(crate) fn drain_own(&self) {
        self.flush(&self.own_cache(), Drained::All);
    }

    fn drain_caches(&self, drained: Drained) -> bool {
        let mut found = self.flush(&self.own_cache(), drained);
        let own = self.machine.cpu().index();
        let others = |(number, cache): &(usize, &FrameCache)| *number != own && drained.concerns(cache);
        if !self.caches.caches.iter().enumerate().any(|cache| others(&cache)) {
            return found;
        }
        let _lock = self.caches.draining.lock();
        let _draining = self.caches.begin_drain();
        let revoked: ArrayVec<&FrameCache, MAX_CPUS> =
            self.caches.caches.iter().enumerate().filter(others).map(|(_, cache)| cache).collect();
        FrameCache::revoke(&self.machine, revoked.iter().copied());
        for cache in revoked {
            found |= self.flush(&cache.revoked(), drained);
        }
        found
    }

    /// Flushes what `drained` concerns of a cache that this CPU may use. `false` when no block was there.
    fn flush(&self, cache: &Cached, drained: Drained) -> bool {
        let found = !cache.is_empty();
        if let Some((slot, id)) = cache.region().filter(|&(slot, _)| drained.has(slot)) {
            self.locked_as(slot, id, |_, buddy| cache.flush_all(buddy));
            cache.detach();
        }
        let foreign = match drained {
            Drained::Region(slot) => core::slice::from_ref(cache.foreign(slot)),
            Drained::All => cache.all_foreign(),
        };
        for foreign in foreign {
            if foreign.region().is_some_and(|(slot, _)| drained.has(slot)) {
                self.flush_foreign(foreign);
            }
        }
        found
    }

    /// Returns a set's frames to their region.
    pub(crate) fn flush_foreign(&self, foreign: &Foreign) {
        if let Some((slot, id)) = foreign.region() {
            self.locked_as(slot, id, |_, buddy| foreign.flush(buddy));
            foreign.detach();
        }
    }
}
