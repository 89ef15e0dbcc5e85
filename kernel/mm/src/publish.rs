//! Publishing regions, and finding the region of a frame.
//!
//! ```text
//!  publish    1 the slot gets the region          2 the index gets its range
//!  withdraw   1 the index loses its range         2 the slot is empty
//!  look up    1 the index has the slot and an id  2 the slot's region, if it has that id
//! ```
//!
//! Each step takes a lock of its own; no CPU holds both at once. So the region that a look-up found in the index may be gone
//! when it comes to the slot, and another one may be there. Ids are never reused, hence the comparison.
//!
//! Invariants: what [`publish`] stored before is seen by each look-up that finds the region; when [`withdraw`] has returned,
//! no CPU works on the region, and none begins. Neighbours: `hot_add` and `boot` publish, `hot_remove` withdraws, `memory`
//! looks up.

use carapace_lock::{Mutex, RwLock};

use crate::addr::Pfn;
use crate::descriptor::SlotNr;
use crate::info::ResourceId;
use crate::region::{Index, IndexEntry, Region};

/// A value with a lock. The tests bring locks that a model checker watches.
pub(crate) trait Guarded<T> {
    /// Runs `work` on the value, which does not change meanwhile.
    fn read<R>(&self, work: impl FnOnce(&T) -> R) -> R;
    /// Runs `work` on the value, which nothing else uses meanwhile.
    fn write<R>(&self, work: impl FnOnce(&mut T) -> R) -> R;
}

impl<T> Guarded<T> for Mutex<T> {
    #[inline(always)]
    #[track_caller]
    fn read<R>(&self, work: impl FnOnce(&T) -> R) -> R {
        work(&self.lock())
    }

    #[inline(always)]
    #[track_caller]
    fn write<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut self.lock())
    }
}

impl<T> Guarded<T> for RwLock<T> {
    #[inline(always)]
    #[track_caller]
    fn read<R>(&self, work: impl FnOnce(&T) -> R) -> R {
        work(&RwLock::read(self))
    }

    #[inline(always)]
    #[track_caller]
    fn write<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut RwLock::write(self))
    }
}

/// Publishes `region` in the empty slot `nr`. `Err` when the index does not take it.
pub(crate) fn publish<const REGIONS: usize>(
    index: &impl Guarded<Index<REGIONS>>,
    slot: &impl Guarded<Option<Region>>,
    nr: SlotNr,
    region: Region,
) -> Result<(), IndexEntry> {
    slot.write(|slot| *slot = Some(region));
    index.write(|index| index.insert(IndexEntry { range: region.layout.range, slot: nr, id: region.id }))
}

/// Withdraws the region `id` of a slot; `left` runs when it is gone, under the slot's lock.
pub(crate) fn withdraw<const REGIONS: usize>(
    index: &impl Guarded<Index<REGIONS>>,
    slot: &impl Guarded<Option<Region>>,
    id: ResourceId,
    left: impl FnOnce(),
) {
    index.write(|index| index.remove(id));
    slot.write(|slot| {
        *slot = None;
        left();
    });
}

/// Finds the entry of the region that contains `pfn`.
#[inline(always)]
pub(crate) fn find<const REGIONS: usize>(
    index: &impl Guarded<Index<REGIONS>>,
    pfn: Pfn,
) -> Option<IndexEntry> {
    index.read(|index| index.find(pfn).copied())
}

/// Runs `work` on the region `id`, under the lock of its slot. `None` when the slot has it no more.
#[inline(always)]
pub(crate) fn with_region<T>(
    slot: &impl Guarded<Option<Region>>,
    id: ResourceId,
    work: impl FnOnce(&mut Region) -> T,
) -> Option<T> {
    slot.write(|slot| slot.as_mut().filter(|region| region.id == id).map(work))
}

#[cfg(test)]
mod tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::addr::{NodeId, PfnRange};
    use crate::info::{AddStats, DeviceId, Zone};
    use crate::layout::{LARGE_PAGES, Layout};
    use crate::machine::{CpuFeatures, Support};
    use crate::sync::tests::every_interleaving;

    /// A lock that loom watches.
    struct Watched<T>(loom::sync::Mutex<T>);

    impl<T> Guarded<T> for Watched<T> {
        fn read<R>(&self, work: impl FnOnce(&T) -> R) -> R {
            work(&self.0.lock().unwrap())
        }

        fn write<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
            work(&mut self.0.lock().unwrap())
        }
    }

    /// Two DIMMs that have the same slot, one after the other.
    struct World {
        index: Watched<Index<2>>,
        slot: Watched<Option<Region>>,
        /// A word of the memory of each: loom reports a use while the other CPU writes it, and one that does not see the
        /// write before.
        words: [UnsafeCell<u64>; 2],
    }

    const SLOT: SlotNr = SlotNr(3);

    fn range(dimm: usize) -> PfnRange {
        PfnRange::of(Pfn(0x100000 + dimm as u64 * LARGE_PAGES), LARGE_PAGES)
    }

    fn region(dimm: usize) -> Region {
        let features = CpuFeatures { gib_leaves: Support::No, phys_bits: 46 };
        let layout = Layout::plan(range(dimm), features).unwrap();
        Region {
            id: ResourceId(dimm as u32),
            device: DeviceId(dimm as u32),
            node: NodeId(0),
            zone: Zone::Any,
            layout,
            metadata: layout.metadata(),
            max: layout.max_order(),
            stats: AddStats::default(),
            isolated: PfnRange::default(),
            chunk: None,
        }
    }

    impl World {
        fn new() -> Arc<World> {
            let index = Watched(loom::sync::Mutex::new(Index::new()));
            let slot = Watched(loom::sync::Mutex::new(None));
            Arc::new(World { index, slot, words: [UnsafeCell::new(0), UnsafeCell::new(0)] })
        }

        /// A DIMM comes: its memory is written, then it is published.
        fn add(&self, dimm: usize) {
            self.words[dimm].with_mut(|_| {});
            publish(&self.index, &self.slot, SLOT, region(dimm)).unwrap();
        }

        /// A DIMM goes: it is withdrawn, then its memory is gone, which counts as a write.
        fn remove(&self, dimm: usize) {
            withdraw(&self.index, &self.slot, ResourceId(dimm as u32), || {});
            self.words[dimm].with_mut(|_| {});
        }

        /// Looks a frame of a DIMM up and uses its memory. Returns whether it is there.
        fn look_up(&self, dimm: usize) -> bool {
            let pfn = range(dimm).start.offset(7);
            let Some(entry) = find(&self.index, pfn) else { return false };
            assert_eq!(entry, IndexEntry { range: range(dimm), slot: SLOT, id: ResourceId(dimm as u32) });
            let used = with_region(&self.slot, entry.id, |region| {
                assert!(region.layout.range.contains(pfn), "the region of another frame");
                self.words[dimm].with(|_| {});
            });
            used.is_some()
        }
    }

    /// Proves, in every interleaving, that a CPU which looks a frame up while its region is withdrawn, and another one
    /// published in the same slot, works on the frame's region or on none, sees its memory as it was published, and uses it
    /// never after it is withdrawn. Fails when the ids are not compared, when a withdrawn region stays in its slot, and
    /// when a region is published before its memory is written.
    #[test]
    fn a_look_up_finds_the_region_of_its_frame_or_none() {
        every_interleaving(|| {
            let world = World::new();
            world.add(0);
            let other = {
                let world = world.clone();
                thread::spawn(move || {
                    world.remove(0);
                    world.add(1);
                })
            };
            world.look_up(0);
            world.look_up(1);
            other.join().unwrap();
            assert!(!world.look_up(0) && world.look_up(1));
        });
    }

    /// Proves the same for a region that is published and withdrawn while a CPU looks it up, twice.
    #[test]
    fn a_region_comes_and_goes_under_a_look_up() {
        every_interleaving(|| {
            let world = World::new();
            let other = {
                let world = world.clone();
                thread::spawn(move || {
                    world.add(0);
                    world.remove(0);
                })
            };
            world.look_up(0);
            world.look_up(0);
            other.join().unwrap();
            assert!(!world.look_up(0));
        });
    }
}
