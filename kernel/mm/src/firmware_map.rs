//! Normalises the firmware's memory map: which frames are RAM, and which of those are occupied since boot.
//!
//! ```text
//!  firmware:  [ usable ][loader][ usable      ]   [reserved][ usable ]
//!  result:    [ range                         ]              [ range ]    ranges
//!                       [boot]                                            occupied
//! ```
//!
//! Invariants of the result: ranges ascend, are disjoint and consist of whole frames; none contains a frame that the
//! map also marks reserved (reserved wins over usable).
//! Neighbours: the kernel builds the entries from the loader's `BootInfo` and splits the ranges by node; `boot_alloc`
//! and `Memory::boot` use the result.

use arrayvec::ArrayVec;

use crate::addr::{MAX_PFN, PAGE_SIZE, Pfn, PfnRange, PhysAddr};
use crate::boot_alloc::{Occupied, Owner};
use crate::merge::merged;

/// Capacity for ranges of RAM, and for occupied entries. UEFI firmware reports about a hundred entries; of more ranges the
/// smallest are left out.
pub const MAX_ENTRIES: usize = 256;

/// The type of a map entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Free RAM.
    Usable,
    /// RAM that is occupied since boot.
    Occupied(Owner),
    /// Not RAM for the kernel: devices, firmware tables, the firmware's own memory.
    Reserved,
}

/// One entry: bytes from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// The first byte.
    pub start: PhysAddr,
    /// One past the last byte.
    pub end: PhysAddr,
    /// Its type.
    pub kind: EntryKind,
}

/// Why the map cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// More than [`MAX_ENTRIES`] ranges with occupied frames, or that many occupied entries.
    TooManyEntries,
}

impl core::fmt::Display for MapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            MapError::TooManyEntries => {
                write!(f, "the memory map has more than {MAX_ENTRIES} occupied ranges")
            }
        }
    }
}

/// The normalised map.
#[derive(Clone, Debug, Default)]
pub struct FirmwareMap {
    ranges: ArrayVec<PfnRange, MAX_ENTRIES>,
    occupied: ArrayVec<Occupied, MAX_ENTRIES>,
    left_out: u64,
}

impl FirmwareMap {
    /// Normalises `entries`, which may come in any order and overlap. Memory above [`MAX_PFN`] is left out.
    ///
    /// # Errors
    ///
    /// [`MapError::TooManyEntries`].
    pub fn new(entries: impl Iterator<Item = MapEntry> + Clone) -> Result<FirmwareMap, MapError> {
        let mut map = FirmwareMap::default();
        for entry in entries.clone().filter(|entry| entry.start < entry.end) {
            let EntryKind::Occupied(owner) = entry.kind else { continue };
            let range = outward(entry);
            map.occupied.try_push(Occupied { range, owner }).map_err(|_| MapError::TooManyEntries)?;
        }
        map.occupied.sort_unstable_by_key(|occupied| occupied.range.start);
        let usable = entries.clone().filter(|entry| entry.kind != EntryKind::Reserved);
        for ram in merged(|| usable.clone().map(|entry| entry.start.0..entry.end.0)) {
            let frames = PfnRange::new(Pfn(ram.start.div_ceil(PAGE_SIZE)), Pfn(ram.end / PAGE_SIZE));
            map.push_unreserved(frames, entries.clone())?;
        }
        Ok(map)
    }

    /// RAM, ascending and disjoint, including the occupied parts.
    pub fn ranges(&self) -> &[PfnRange] {
        &self.ranges
    }

    /// The parts occupied since boot, ascending.
    pub fn occupied(&self) -> &[Occupied] {
        &self.occupied
    }

    /// Frames of RAM in ranges that are left out, because there are too many.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Total frames of all ranges.
    pub fn pages(&self) -> u64 {
        self.ranges.iter().map(|range| range.pages()).sum()
    }

    /// Adds the parts of `frames` that no reserved entry touches.
    fn push_unreserved(
        &mut self,
        frames: PfnRange,
        entries: impl Iterator<Item = MapEntry> + Clone,
    ) -> Result<(), MapError> {
        let mut at = frames.start;
        while at < frames.end {
            let rest = PfnRange::new(at, frames.end);
            let reserved = entries
                .clone()
                .filter(|entry| entry.kind == EntryKind::Reserved && entry.start < entry.end)
                .map(outward)
                .filter(|range| range.overlaps(rest))
                .min_by_key(|range| range.start);
            let Some(reserved) = reserved else { return self.push(rest) };
            self.push(PfnRange::new(at, reserved.start))?;
            at = reserved.end;
        }
        Ok(())
    }

    /// Adds the part of `frames` below [`MAX_PFN`]. In a full list it takes the place of the smallest range, or is left out if
    /// it is smaller. A range with occupied frames stays: they are used through the direct map.
    fn push(&mut self, frames: PfnRange) -> Result<(), MapError> {
        let frames = frames.intersection(PfnRange::new(Pfn(0), MAX_PFN));
        if frames.is_empty() {
            return Ok(());
        }
        if self.ranges.is_full() {
            let is_free = |range: &PfnRange| !self.occupied.iter().any(|piece| piece.range.overlaps(*range));
            let all = self.ranges.iter().enumerate().map(|(index, range)| (Some(index), *range));
            let free = all.chain([(None, frames)]).filter(|(_, range)| is_free(range));
            let smallest = free.min_by_key(|(_, range)| range.pages());
            let (index, range) = smallest.ok_or(MapError::TooManyEntries)?;
            self.left_out = self.left_out.saturating_add(range.pages());
            match index {
                Some(index) => drop(self.ranges.remove(index)),
                None => return Ok(()),
            }
        }
        self.ranges.try_push(frames).map_err(|_| MapError::TooManyEntries)
    }
}

/// All frames that `entry` touches, also in part.
fn outward(entry: MapEntry) -> PfnRange {
    PfnRange::new(Pfn(entry.start.0 / PAGE_SIZE), Pfn(entry.end.0.div_ceil(PAGE_SIZE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn entry(start: u64, end: u64, kind: EntryKind) -> MapEntry {
        MapEntry { start: PhysAddr(start), end: PhysAddr(end), kind }
    }

    fn ranges(map: &FirmwareMap) -> Vec<(u64, u64)> {
        map.ranges().iter().map(|r| (r.start.0, r.end.0)).collect()
    }

    /// Proves that a loader's entry does not split a range and is listed as occupied. Fails when only usable entries
    /// count as RAM.
    #[test]
    fn occupied_memory_stays_part_of_its_range() {
        let entries = [
            entry(0x30_0000, 0x800_0000, EntryKind::Usable),
            entry(0x10_0000, 0x30_0000, EntryKind::Occupied(Owner::Boot)),
            entry(0, 0x9_fc00, EntryKind::Usable),
        ];
        let map = FirmwareMap::new(entries.into_iter()).unwrap();
        assert_eq!(ranges(&map), [(0, 0x9f), (0x100, 0x8000)]);
        assert_eq!(
            map.occupied(),
            [Occupied { range: PfnRange::new(Pfn(0x100), Pfn(0x300)), owner: Owner::Boot }]
        );
    }

    /// Proves that a byte that the firmware marks both usable and reserved is reserved, and that a partly usable frame
    /// is not RAM. Fails when usable wins or a frame is rounded outward.
    #[test]
    fn reserved_wins_over_usable() {
        let entries = [
            entry(0x1000, 0x9001, EntryKind::Usable),
            entry(0x5000, 0x9000, EntryKind::Usable),
            entry(0x3fff, 0x4001, EntryKind::Reserved),
            entry(0x4800, 0x5000, EntryKind::Reserved),
            entry(0x7000, 0x6000, EntryKind::Reserved),
        ];
        let map = FirmwareMap::new(entries.into_iter()).unwrap();
        assert_eq!(ranges(&map), [(1, 3), (5, 9)]);
    }

    /// Proves that adjacent entries count as one range, whatever their number and order. Fails when the limit applies
    /// to the firmware's entries instead of the joined ranges.
    #[test]
    fn pieces_of_one_range_are_one() {
        let count = 3 * MAX_ENTRIES as u64;
        let piece = |n: u64| entry(n * 0x1800, (n + 1) * 0x1800, EntryKind::Usable);
        let (even, odd) = ((0..count).step_by(2), (1..count).step_by(2));
        let map = FirmwareMap::new(even.chain(odd).map(piece)).unwrap();
        assert_eq!(ranges(&map), [(0, count * 0x1800 / PAGE_SIZE)]);
    }

    /// Proves that of a map with hundreds of ranges the largest are kept, in order, with those that hold occupied frames,
    /// and that the frames of the others are counted. Fails when such a machine does not start, or loses what is in use.
    #[test]
    fn of_too_many_ranges_the_largest_are_kept() {
        let count = 4 * MAX_ENTRIES as u64;
        // The sizes go up and down: 1 to 7 frames.
        let frames = |n: u64| n * 3 % 7 + 1;
        let usable = (0..count).map(|n| entry(n << 20, (n << 20) + frames(n) * PAGE_SIZE, EntryKind::Usable));
        let smallest: Vec<u64> = (0..count).filter(|n| frames(*n) == 1).take(20).collect();
        let used = smallest.iter().map(|n| entry(n << 20, (n << 20) + 1, EntryKind::Occupied(Owner::Boot)));
        let map = FirmwareMap::new(used.chain(usable)).unwrap();
        assert_eq!(map.ranges().len(), MAX_ENTRIES);
        assert!(map.ranges().is_sorted_by_key(|range| range.start));
        assert_eq!(map.pages() + map.left_out(), (0..count).map(frames).sum::<u64>());
        let mut largest: Vec<u64> = (0..count).map(frames).collect();
        largest.sort_unstable();
        let kept = largest[largest.len() - (MAX_ENTRIES - smallest.len())..].iter().sum::<u64>();
        assert_eq!(map.pages(), kept + smallest.len() as u64);
        for n in smallest {
            assert!(map.ranges().iter().any(|range| range.contains(PhysAddr(n << 20).pfn())), "range {n}");
        }
    }

    /// Proves that a map whose ranges are all occupied, and too many, is an error. Fails when the map is truncated instead.
    #[test]
    fn too_many_occupied_ranges_are_an_error() {
        let used = EntryKind::Occupied(Owner::Boot);
        let entries = (0..MAX_ENTRIES as u64 + 1).map(|n| entry(n << 20, (n << 20) + 0x1000, used));
        assert_eq!(FirmwareMap::new(entries).unwrap_err(), MapError::TooManyEntries);
    }
}
