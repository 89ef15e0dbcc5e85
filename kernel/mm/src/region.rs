//! Regions: a resource with its buddy, in a fixed table of slots, and the way from a frame to its slot.
//!
//! ```text
//!  index   sorted ranges  [0x100,0x9f000) -> 0   [0x100000,0x110000) -> 2   ...     binary search
//!  slots   0: lock + Region | summary      1: empty      2: lock + Region | summary      ... 511
//!  header  (inside the resource) counters and list heads, see `buddy`
//! ```
//!
//! Invariants: the index holds exactly the filled slots, ascending, disjoint. A slot's region changes
//! only under the hotplug lock and the slot's own. No block spans two regions. A slot's summary is
//! empty while the slot is. Both tables are static: plugging takes no memory for them.
//!
//! A region's lock is held one at a time ([`carapace_lock::Rank`]). Neighbours: `memory` is the only user.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use carapace_lock::{Mutex, Rank};

use crate::addr::{NodeId, Order, Pfn, PfnRange};
use crate::buddy::{Buddy, MetadataLayout, Summary};
use crate::descriptor::SlotNr;
use crate::info::{AddStats, DeviceId, ResourceId, Zone};
use crate::layout::Layout;
use crate::machine::Machine;

/// Regions there can be: 256 slots of QEMU's with some of several ranges, and boot memory.
pub const MAX_REGIONS: usize = 512;

/// A resource that is present.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// The resource's number.
    pub id: ResourceId,
    /// Whose it is.
    pub device: DeviceId,
    /// Its node.
    pub node: NodeId,
    /// What it may be used for.
    pub zone: Zone,
    /// Where its own data lies.
    pub layout: Layout,
    /// Where its allocator's words lie.
    pub metadata: MetadataLayout,
    /// The highest order of its blocks.
    pub max: Order,
    /// What adding it cost.
    pub stats: AddStats,
    /// The frames of its usable run that are being taken out of use; none: empty.
    pub isolated: PfnRange,
}

impl Region {
    /// Whether all of it is being taken out of use: then it is on no node's list.
    pub fn is_isolated_whole(&self) -> bool {
        self.isolated == self.layout.usable
    }

    /// The region's allocator. To be used under the slot's lock only.
    #[inline]
    pub fn buddy<'a, M: Machine>(&self, machine: &'a M, slot: SlotNr, summary: &'a Summary) -> Buddy<'a, M> {
        Buddy {
            machine,
            metadata: self.metadata,
            usable: self.layout.usable,
            max: self.max,
            slot,
            summary,
            isolated: if self.is_isolated_whole() { PfnRange::default() } else { self.isolated },
        }
    }
}

/// A place for a region.
#[derive(Debug)]
pub struct Slot {
    /// The region, if there is one.
    pub region: Mutex<Option<Region>>,
    /// What of it can be read without the lock.
    pub summary: Summary,
}

impl Slot {
    /// An empty slot.
    pub const fn new() -> Self {
        Slot { region: Mutex::new(Rank::Region, None), summary: Summary::new() }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Slot::new()
    }
}

/// An entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The region's frames.
    pub range: PfnRange,
    /// Its slot.
    pub slot: SlotNr,
    /// Its resource.
    pub id: ResourceId,
}

/// The sorted ranges of all regions.
#[derive(Debug)]
pub struct Index {
    entries: arrayvec::ArrayVec<Entry, MAX_REGIONS>,
    /// The place that was found last, where the next search looks first: only a guess, which is looked at like any other.
    last: AtomicUsize,
}

impl Index {
    /// No region.
    pub const fn new() -> Self {
        Index { entries: arrayvec::ArrayVec::new_const(), last: AtomicUsize::new(0) }
    }

    /// All entries, ascending.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry whose range has `pfn`.
    #[inline]
    pub fn find(&self, pfn: Pfn) -> Option<&Entry> {
        let has = |entry: &&Entry| entry.range.contains(pfn);
        if let Some(entry) = self.entries.get(self.last.load(Relaxed)).filter(has) {
            return Some(entry);
        }
        let place = self.entries.partition_point(|entry| entry.range.start <= pfn).checked_sub(1)?;
        let entry = self.entries.get(place).filter(has)?;
        self.last.store(place, Relaxed);
        Some(entry)
    }

    /// An entry that shares a frame with `range`.
    pub fn overlapping(&self, range: PfnRange) -> Option<&Entry> {
        let from = self.entries.partition_point(|entry| entry.range.end <= range.start);
        self.entries.get(from).filter(|entry| entry.range.overlaps(range))
    }

    /// Puts an entry in its place. `Err` when the index is full or the range overlaps another.
    pub fn insert(&mut self, entry: Entry) -> Result<(), Entry> {
        if self.overlapping(entry.range).is_some() {
            return Err(entry);
        }
        let place = self.entries.partition_point(|other| other.range.start < entry.range.start);
        self.entries.try_insert(place, entry).map_err(|full| full.element())
    }

    /// Takes the entry of resource `id` out.
    pub fn remove(&mut self, id: ResourceId) -> Option<Entry> {
        let place = self.entries.iter().position(|entry| entry.id == id)?;
        Some(self.entries.remove(place))
    }
}

impl Default for Index {
    fn default() -> Self {
        Index::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: u64, end: u64, n: u16) -> Entry {
        Entry { range: PfnRange::new(Pfn(start), Pfn(end)), slot: SlotNr(n), id: ResourceId(n.into()) }
    }

    /// Proves that frames at both borders of a range are found in it and those beside it are not,
    /// whatever the order of insertion. Fails when the search is off by one.
    #[test]
    fn a_frame_finds_its_region() {
        let mut index = Index::new();
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

    /// Proves that no overlap gets in, from either side, from inside or around. Fails when
    /// `overlapping` looks at the wrong neighbour.
    #[test]
    fn overlaps_are_refused() {
        let mut index = Index::new();
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
