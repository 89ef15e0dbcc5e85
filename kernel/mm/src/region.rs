//! The regions: each present resource with its buddy allocator, in a fixed table of slots, and the index that finds
//! the slot of a frame.
//!
//! ```text
//!  index   sorted ranges  [0x100,0x9f000) -> 0   [0x100000,0x110000) -> 2   ...     binary search
//!  slots   0: lock + Region | summary      1: empty      2: lock + Region | summary      ... 511
//!  header  (inside the resource) counters and list heads, see `buddy`
//! ```
//!
//! Invariants:
//! * The index holds exactly the filled slots, ascending and disjoint.
//! * A slot's region changes only under both the hotplug lock and the slot's lock.
//! * No block spans two regions.
//! * The summary of an empty slot is empty.
//! * Both tables are static: plugging allocates no memory for them.
//! * A CPU holds the lock of one region at a time ([`carapace_lock::Rank`]).
//!
//! Neighbours: `memory` owns the table.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use carapace_lock::{Mutex, Rank};

use crate::addr::{NodeId, Order, Pfn, PfnRange};
use crate::buddy::{Buddy, MetadataLayout, Summary};
use crate::descriptor::SlotNr;
use crate::info::{AddStats, DeviceId, ResourceId, Zone};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::pieces::Shape;

/// The most regions: QEMU's 256 DIMM slots, some with several ranges, and boot memory.
pub const MAX_REGIONS: usize = 512;

/// A present resource.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// The resource's number.
    pub id: ResourceId,
    /// The device that holds it.
    pub device: DeviceId,
    /// The node.
    pub node: NodeId,
    /// The allocations that it serves.
    pub zone: Zone,
    /// The layout of its frames.
    pub layout: Layout,
    /// The layout of its allocator's words.
    pub metadata: MetadataLayout,
    /// The highest order of its blocks.
    pub max: Order,
    /// The cost of adding it.
    pub stats: AddStats,
    /// The usable frames that are being offlined. Empty if none.
    pub isolated: PfnRange,
    /// How it is plugged, if it is a chunk of a device that plugs pieces.
    pub chunk: Option<Shape>,
}

impl Region {
    /// Whether all usable frames are being offlined. The region is on no zonelist then.
    pub fn is_fully_isolated(&self) -> bool {
        self.isolated == self.layout.usable
    }

    /// The region's allocator. Use it only under the slot's lock.
    #[inline]
    pub fn buddy<'a, M: Machine>(&self, machine: &'a M, slot: SlotNr, summary: &'a Summary) -> Buddy<'a, M> {
        Buddy {
            machine,
            metadata: self.metadata,
            usable: self.layout.usable,
            max: self.max,
            slot,
            summary,
            isolated: if self.is_fully_isolated() { PfnRange::default() } else { self.isolated },
        }
    }
}

/// An entry of the slot table.
#[derive(Debug)]
pub struct RegionSlot {
    /// The region. `None` in an empty slot.
    pub region: Mutex<Option<Region>>,
    /// The region's counters that are read without the lock.
    pub summary: Summary,
}

impl RegionSlot {
    /// An empty slot.
    pub const fn new() -> Self {
        RegionSlot { region: Mutex::new(Rank::Region, None), summary: Summary::new() }
    }
}

impl Default for RegionSlot {
    fn default() -> Self {
        RegionSlot::new()
    }
}

/// An entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The region's frames.
    pub range: PfnRange,
    /// The region's slot.
    pub slot: SlotNr,
    /// The region's resource.
    pub id: ResourceId,
}

/// The sorted ranges of all regions.
#[derive(Debug)]
pub struct Index<const REGIONS: usize = MAX_REGIONS> {
    entries: arrayvec::ArrayVec<IndexEntry, REGIONS>,
    /// The entry found last, tried first by the next search. A hint only: the search checks its range.
    last: AtomicUsize,
}

impl<const REGIONS: usize> Index<REGIONS> {
    /// An empty index.
    pub const fn new() -> Self {
        Index { entries: arrayvec::ArrayVec::new_const(), last: AtomicUsize::new(0) }
    }

    /// All entries, ascending.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// The entry whose range contains `pfn`.
    #[inline]
    pub fn find(&self, pfn: Pfn) -> Option<&IndexEntry> {
        let has = |entry: &&IndexEntry| entry.range.contains(pfn);
        if let Some(entry) = self.entries.get(self.last.load(Relaxed)).filter(has) {
            return Some(entry);
        }
        let found = self.entries.partition_point(|entry| entry.range.start <= pfn).checked_sub(1)?;
        let entry = self.entries.get(found).filter(has)?;
        self.last.store(found, Relaxed);
        Some(entry)
    }

    /// An entry that shares a frame with `range`.
    pub fn overlapping(&self, range: PfnRange) -> Option<&IndexEntry> {
        let from = self.entries.partition_point(|entry| entry.range.end <= range.start);
        self.entries.get(from).filter(|entry| entry.range.overlaps(range))
    }

    /// Inserts an entry. `Err` when the index is full or the range overlaps another.
    pub fn insert(&mut self, entry: IndexEntry) -> Result<(), IndexEntry> {
        if self.overlapping(entry.range).is_some() {
            return Err(entry);
        }
        let at = self.entries.partition_point(|other| other.range.start < entry.range.start);
        self.entries.try_insert(at, entry).map_err(|full| full.element())
    }

    /// Removes the entry of resource `id`.
    pub fn remove(&mut self, id: ResourceId) -> Option<IndexEntry> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        Some(self.entries.remove(at))
    }
}

impl<const REGIONS: usize> Default for Index<REGIONS> {
    fn default() -> Self {
        Index::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: u64, end: u64, n: u16) -> IndexEntry {
        IndexEntry { range: PfnRange::new(Pfn(start), Pfn(end)), slot: SlotNr(n), id: ResourceId(n.into()) }
    }

    /// Proves that the first and last frame of a range are found in it and the frames next to it are not, whatever the
    /// order of insertion. Fails when the search is off by one.
    #[test]
    fn a_frame_finds_its_region() {
        let mut index = Index::<8>::new();
        for e in [entry(100, 200, 1), entry(20, 30, 2), entry(200, 201, 3), entry(1000, 2000, 4)] {
            index.insert(e).unwrap();
        }
        for (pfn, slot) in [
            (19, None),
            (20, Some(2)),
            (29, Some(2)),
            (30, None),
            (99, None),
            (100, Some(1)),
            (199, Some(1)),
            (200, Some(3)),
            (201, None),
            (1999, Some(4)),
            (2000, None),
        ] {
            assert_eq!(index.find(Pfn(pfn)).map(|e| e.slot.0), slot, "{pfn}");
        }
        assert_eq!(index.remove(ResourceId(1)), Some(entry(100, 200, 1)));
        assert_eq!(index.find(Pfn(150)), None);
    }

    /// Proves that `insert` refuses ranges that overlap another from either side, from inside or around it. Fails when
    /// `overlapping` compares with the wrong neighbour.
    #[test]
    fn overlaps_are_refused() {
        let mut index = Index::<8>::new();
        index.insert(entry(100, 200, 1)).unwrap();
        index.insert(entry(300, 400, 2)).unwrap();
        for (start, end) in [(50, 101), (199, 250), (120, 130), (50, 500), (100, 200), (250, 301), (399, 401)]
        {
            assert!(index.insert(entry(start, end, 9)).is_err(), "{start}..{end}");
        }
        for (start, end) in [(50, 100), (200, 300), (400, 500)] {
            index.insert(entry(start, end, 9)).unwrap();
        }
        assert_eq!(index.entries().len(), 5);
    }
}
