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

/// Capacity for ranges of RAM, and for occupied entries. UEFI firmware reports about a hundred.
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
    /// More than [`MAX_ENTRIES`] ranges, or that many occupied entries.
    TooManyEntries,
}

impl core::fmt::Display for MapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            MapError::TooManyEntries => {
                write!(f, "the memory map has more than {MAX_ENTRIES} ranges or occupied entries")
            }
        }
    }
}

/// The normalised map.
#[derive(Clone, Debug, Default)]
pub struct FirmwareMap {
    ranges: ArrayVec<PfnRange, MAX_ENTRIES>,
    occupied: ArrayVec<Occupied, MAX_ENTRIES>,
}

impl FirmwareMap {
    /// Normalises `entries`, which may come in any order and overlap. Memory above [`MAX_PFN`] is left out.
    ///
    /// # Errors
    ///
    /// [`MapError::TooManyEntries`].
    pub fn new(entries: impl Iterator<Item = MapEntry> + Clone) -> Result<FirmwareMap, MapError> {
        let mut map = FirmwareMap::default();
        let usable = entries.clone().filter(|entry| entry.kind != EntryKind::Reserved);
        for ram in merged(|| usable.clone().map(|entry| entry.start.0..entry.end.0)) {
            let frames = PfnRange::new(Pfn(ram.start.div_ceil(PAGE_SIZE)), Pfn(ram.end / PAGE_SIZE));
            map.push_unreserved(frames, entries.clone())?;
        }
        for entry in entries.filter(|e| e.start < e.end) {
            let EntryKind::Occupied(owner) = entry.kind else { continue };
            let range = outward(entry);
            map.occupied.try_push(Occupied { range, owner }).map_err(|_| MapError::TooManyEntries)?;
        }
        map.occupied.sort_unstable_by_key(|occupied| occupied.range.start);
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

    /// Adds the part of `frames` below [`MAX_PFN`].
    fn push(&mut self, frames: PfnRange) -> Result<(), MapError> {
        let frames = frames.intersection(PfnRange::new(Pfn(0), MAX_PFN));
        if frames.is_empty() {
            return Ok(());
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

    /// Proves that a map with too many ranges is an error. Fails when the map is truncated instead.
    #[test]
    fn too_many_entries_are_an_error() {
        let entries =
            (0..MAX_ENTRIES as u64 + 1).map(|n| entry(n << 20, (n << 20) + 0x1000, EntryKind::Usable));
        assert_eq!(FirmwareMap::new(entries).unwrap_err(), MapError::TooManyEntries);
    }
}
