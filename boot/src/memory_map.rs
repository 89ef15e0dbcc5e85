//! The firmware's memory map, checked and sorted.
//!
//! ```text
//! entries     |--RAM--|reserved|-----RAM------|ACPI|      any order, may overlap, any alignment
//! usable      [  inward  ]     [   inward   ]             whole frames of RAM without an overlapping entry
//! mapped      [  outward   ]   [      outward      ]      every frame with RAM or ACPI data
//! ```
//!
//! Invariants: the ranges of both lists are sorted, disjoint, not adjacent, and multiples of
//! 4 KiB. Usable memory is always mapped.

use crate::range::{PAGE, PhysRange};
use crate::start_info::RawMapEntry;
use arrayvec::ArrayVec;
use core::fmt;

/// The most ranges, and the most entries that are not RAM: four times what e820 in the PC's zero page holds.
pub const MAX_ENTRIES: usize = 512;
/// The end of physical addresses: 52 bits, the limit of page tables.
const PHYS_END: u64 = 1 << 52;

/// The kinds of e820 entries that the shim distinguishes.
mod kind {
    pub const RAM: u32 = 1;
    pub const ACPI_TABLES: u32 = 3;
    pub const ACPI_NVS: u32 = 4;
}

/// Why the memory map is rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// It has no entry.
    Empty,
    /// More than [`MAX_ENTRIES`] ranges, or entries that are not RAM.
    TooLong,
    /// An entry extends beyond 52 bits of physical address.
    Wraps {
        /// Its first address.
        addr: u64,
        /// Its size in bytes.
        size: u64,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::Empty => write!(f, "it has no entry"),
            MapError::TooLong => {
                write!(f, "it has more than {MAX_ENTRIES} ranges, or entries that are not RAM")
            }
            MapError::Wraps { addr, size } => {
                write!(f, "{size:#x} bytes at {addr:#x} pass the end of physical addresses")
            }
        }
    }
}

/// An entry that is not RAM, as in the firmware's map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Other {
    /// Its range, unrounded.
    pub range: PhysRange,
    /// Its e820 kind.
    pub kind: u32,
}

/// A list of ranges of bounded length.
pub type Ranges = ArrayVec<PhysRange, MAX_ENTRIES>;

/// The memory map, checked and in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryMap {
    usable: Ranges,
    mapped: Ranges,
    others: ArrayVec<Other, MAX_ENTRIES>,
}

impl MemoryMap {
    /// Sorts the firmware's entries. RAM that overlaps another entry is not usable.
    pub fn new(entries: impl Iterator<Item = RawMapEntry>) -> Result<MemoryMap, MapError> {
        let mut map = MemoryMap::default();
        for entry in entries.filter(|entry| entry.size != 0) {
            let wraps = MapError::Wraps { addr: entry.addr, size: entry.size };
            let range = PhysRange::sized(entry.addr, entry.size).ok_or(wraps)?;
            if entry.kind == kind::RAM {
                push(&mut map.usable, range.rounded_inward())?;
            } else {
                let other = Other { range, kind: entry.kind };
                map.others.try_push(other).map_err(|_| MapError::TooLong)?;
            }
            if matches!(entry.kind, kind::RAM | kind::ACPI_TABLES | kind::ACPI_NVS) {
                if range.end > PHYS_END {
                    return Err(wraps);
                }
                push(&mut map.mapped, range.rounded_outward())?;
            }
        }
        merge(&mut map.usable);
        merge(&mut map.mapped);
        for other in &map.others {
            subtract(&mut map.usable, other.range.rounded_outward())?;
        }
        map.others.sort_unstable_by_key(|other| other.range.start);
        if map.usable.is_empty() { Err(MapError::Empty) } else { Ok(map) }
    }

    /// Whole frames of RAM without an overlapping entry.
    pub fn usable(&self) -> &[PhysRange] {
        &self.usable
    }

    /// Every frame with RAM or ACPI data: the extent of the direct map.
    pub fn mapped(&self) -> &[PhysRange] {
        &self.mapped
    }

    /// The entries that are not RAM, sorted.
    pub fn others(&self) -> &[Other] {
        &self.others
    }

    /// The size of usable memory in bytes.
    pub fn usable_bytes(&self) -> u64 {
        self.usable.iter().map(|range| range.size()).fold(0, u64::saturating_add)
    }
}

/// Appends `range`. A full list is merged first, so the limit applies to ranges, not to their pieces.
fn push(list: &mut Ranges, range: PhysRange) -> Result<(), MapError> {
    if list.is_full() {
        merge(list);
    }
    if range.is_empty() { Ok(()) } else { list.try_push(range).map_err(|_| MapError::TooLong) }
}

/// Sorts, and merges adjacent and overlapping ranges.
fn merge(list: &mut Ranges) {
    list.sort_unstable_by_key(|range| range.start);
    let mut merged = Ranges::new();
    for range in list.iter() {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(*range), // not more than `list` has, so it fits
        }
    }
    *list = merged;
}

/// Removes `hole` from every range. A range with the hole in its middle is split.
pub fn subtract(list: &mut Ranges, hole: PhysRange) -> Result<(), MapError> {
    let mut rest = Ranges::new();
    for range in list.iter() {
        push(&mut rest, PhysRange::new(range.start, range.end.min(hole.start)))?;
        push(&mut rest, PhysRange::new(range.start.max(hole.end), range.end))?;
        if hole.is_empty() {
            // an empty hole would have split the range
            merge(&mut rest);
        }
    }
    *list = rest;
    Ok(())
}

const _: () = assert!(PHYS_END.is_multiple_of(PAGE));

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(addr: u64, size: u64, kind: u32) -> RawMapEntry {
        RawMapEntry { addr, size, kind, reserved: 0 }
    }

    fn ranges(list: &[(u64, u64)]) -> Vec<PhysRange> {
        list.iter().map(|&(start, end)| PhysRange::new(start, end)).collect()
    }

    /// Proves for a PC's map (QEMU's q35 with 512 MiB) that usable ranges are rounded inward and
    /// mapped ones outward. Fails when either is rounded the other way.
    #[test]
    fn map_of_a_pc() {
        let map = MemoryMap::new(
            [
                entry(0, 0x9_fc00, 1),
                entry(0x9_fc00, 0x400, 2),
                entry(0xf_0000, 0x1_0000, 2),
                entry(0x10_0000, 0x1fee_0000, 1),
                entry(0x1ffe_0000, 0x2_0000, 2),
                entry(0xb000_0000, 0x1000_0000, 2),
            ]
            .into_iter(),
        )
        .unwrap();
        assert_eq!(map.usable(), ranges(&[(0, 0x9_f000), (0x10_0000, 0x1ffe_0000)]));
        assert_eq!(map.mapped(), ranges(&[(0, 0xa_0000), (0x10_0000, 0x1ffe_0000)]));
        assert_eq!(map.others().len(), 4);
        assert_eq!(map.usable_bytes(), 0x9_f000 + 0x1fee_0000);
    }

    /// Proves that RAM that overlaps another entry is not usable, whatever the order of the entries,
    /// and that ACPI data is mapped. Fails when the order matters.
    #[test]
    fn overlaps_and_disorder() {
        let map = MemoryMap::new(
            [
                entry(0x80_0800, 0x1000, 2),
                entry(0x100_0000, 0x2000, 3),
                entry(0x40_0000, 0x80_0000, 1),
                entry(0x20_0000, 0x20_0000, 1),
                entry(0x0, 0, 1),
            ]
            .into_iter(),
        )
        .unwrap();
        assert_eq!(map.usable(), ranges(&[(0x20_0000, 0x80_0000), (0x80_2000, 0xc0_0000)]));
        assert_eq!(map.mapped(), ranges(&[(0x20_0000, 0xc0_0000), (0x100_0000, 0x100_2000)]));
    }

    /// Proves that an overflowing, empty or too long map is an error. Fails when it panics.
    #[test]
    fn lies_are_refused() {
        let wraps = MemoryMap::new([entry(u64::MAX, 2, 1)].into_iter());
        assert_eq!(wraps, Err(MapError::Wraps { addr: u64::MAX, size: 2 }));
        let high = MemoryMap::new([entry(1 << 52, 4096, 1)].into_iter());
        assert_eq!(high, Err(MapError::Wraps { addr: 1 << 52, size: 4096 }));
        assert_eq!(MemoryMap::new([entry(0, 100, 1)].into_iter()), Err(MapError::Empty));
        let long = (0..=MAX_ENTRIES as u64).map(|i| entry(i * 0x2000, 0x1000, 1));
        assert_eq!(MemoryMap::new(long), Err(MapError::TooLong));
        // one range split into more pieces than the list holds
        let holes = MAX_ENTRIES as u64 - 1;
        let pieces = (0..holes).map(|i| entry(0x1000 + i * 0x2000, 0x1000, 2)).chain([entry(0, 1 << 30, 1)]);
        assert_eq!(MemoryMap::new(pieces).unwrap().usable().len(), MAX_ENTRIES);
    }

    /// Proves that a map of too many pieces is accepted when they merge. Fails when the limit applies to the firmware's
    /// entries.
    #[test]
    fn pieces_of_one_range_are_one() {
        let pieces = (0..2000).map(|i| entry(i * 0x1000, 0x1000, 1));
        let map = MemoryMap::new(pieces).unwrap();
        assert_eq!(map.usable(), ranges(&[(0, 2000 * 0x1000)]));
    }

    /// Proves that removing an empty range changes nothing. Fails when it splits a range.
    #[test]
    fn subtracting_nothing() {
        let mut list = Ranges::new();
        list.push(PhysRange::new(0x1000, 0x9000));
        subtract(&mut list, PhysRange::new(0x4000, 0x4000)).unwrap();
        assert_eq!(list.as_slice(), ranges(&[(0x1000, 0x9000)]));
    }
}
