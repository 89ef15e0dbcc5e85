//! Chooses addresses in the kernel's virtual memory: the one in the kernel's configuration, or
//! unused level-4 entries (512 GiB each).

use crate::range::PAGE;
use bootloader_api::config::{Mapping, Mappings};
use core::fmt;

/// The number of entries of the level-4 page table.
const ENTRIES: usize = 512;
/// log2 of the bytes mapped by a level-4 entry.
const ENTRY_SHIFT: u32 = 39;

/// Why a part has no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlacementError {
    /// The address is not a multiple of 4 KiB, not canonical, or too near the top.
    Address {
        /// The part.
        what: &'static str,
        /// The requested address.
        at: u64,
    },
    /// Not enough adjacent unused level-4 entries are left.
    Full {
        /// The part.
        what: &'static str,
    },
    /// The kernel requests a feature that this loader does not have.
    Unsupported(&'static str),
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlacementError::Address { what, at } => write!(f, "{what} cannot be at {at:#x}"),
            PlacementError::Full { what } => write!(f, "no virtual addresses are left for {what}"),
            PlacementError::Unsupported(what) => write!(f, "{what} is not supported"),
        }
    }
}

/// The used level-4 entries.
#[derive(Clone, Debug)]
pub struct Placement {
    used: [bool; ENTRIES],
}

impl Placement {
    /// Initially used: the lower half, which has the trampoline, and entries outside of the
    /// configured dynamic range.
    pub fn new(mappings: &Mappings) -> Result<Placement, PlacementError> {
        if mappings.page_table_recursive.is_some() {
            return Err(PlacementError::Unsupported("a recursive page table"));
        }
        if mappings.aslr {
            return Err(PlacementError::Unsupported("address space randomisation"));
        }
        let low = mappings.dynamic_range_start.map_or(0, entry);
        let high = mappings.dynamic_range_end.map_or(ENTRIES - 1, entry);
        let mut used = [false; ENTRIES];
        for (index, used) in used.iter_mut().enumerate() {
            *used = index < ENTRIES / 2 || index < low || index > high;
        }
        Ok(Placement { used })
    }

    /// Reserves `size` bytes at the fixed address of `mapping`, if it has one.
    pub fn reserve(&mut self, what: &'static str, mapping: Mapping, size: u64) -> Result<(), PlacementError> {
        if let Mapping::FixedAddress(at) = mapping {
            let error = PlacementError::Address { what, at };
            let last = at.checked_add(size.max(1) - 1).ok_or(error)?;
            // bits 47 to 63 all equal, at both ends
            let half = |at: u64| (at as i64) >> 47;
            if !at.is_multiple_of(PAGE) || !matches!(half(at), 0 | -1) || half(at) != half(last) {
                return Err(error);
            }
            for used in self.used.iter_mut().take(entry(last) + 1).skip(entry(at)) {
                *used = true;
            }
        }
        Ok(())
    }

    /// The address for `size` bytes: the fixed one of `mapping`, or that of unused entries.
    pub fn place(&mut self, what: &'static str, mapping: Mapping, size: u64) -> Result<u64, PlacementError> {
        if let Mapping::FixedAddress(at) = mapping {
            self.reserve(what, mapping, size)?;
            return Ok(at);
        }
        let full = PlacementError::Full { what };
        let count = usize::try_from(size.div_ceil(1 << ENTRY_SHIFT).max(1)).map_err(|_| full)?;
        let first = self.used.windows(count).position(|run| !run.contains(&true)).ok_or(full)?;
        for used in self.used.iter_mut().skip(first).take(count) {
            *used = true;
        }
        let at = (first as u64) << ENTRY_SHIFT;
        Ok(if first >= ENTRIES / 2 { at | !((1 << 48) - 1) } else { at })
    }
}

/// The level-4 entry that translates `at`.
const fn entry(at: u64) -> usize {
    (at >> ENTRY_SHIFT) as usize & (ENTRIES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootloader_api::BootloaderConfig;

    fn mappings() -> Mappings {
        BootloaderConfig::new_default().mappings
    }

    /// Proves that a fixed address is used and that dynamic ones avoid it, the lower half, and each
    /// other. Fails when two parts overlap.
    #[test]
    fn dynamic_places_avoid_fixed_ones() {
        let mut placement = Placement::new(&mappings()).unwrap();
        let fixed = 0xffff_8000_0000_0000;
        placement.reserve("map", Mapping::FixedAddress(fixed), 1 << 40).unwrap();
        let a = placement.place("a", Mapping::Dynamic, 4096).unwrap();
        let b = placement.place("b", Mapping::Dynamic, (1 << 39) + 1).unwrap();
        let c = placement.place("c", Mapping::Dynamic, 1).unwrap();
        assert_eq!((a, b, c), (fixed + (2 << 39), fixed + (3 << 39), fixed + (5 << 39)));
        assert_eq!(placement.place("map", Mapping::FixedAddress(fixed), 4096), Ok(fixed));
    }

    /// Proves that unmappable addresses are refused, and that a full address space is an error. Fails
    /// when a bad address is accepted.
    #[test]
    fn impossible_places_are_refused() {
        let mut placement = Placement::new(&mappings()).unwrap();
        let top = 0xffff_ffff_ffff_f000;
        for (at, size) in [(1, 1), (1 << 47, 1), (0x7fff_ffff_f000, 8192), (top, 8192), (top, u64::MAX)] {
            let placed = placement.place("it", Mapping::FixedAddress(at), size);
            assert_eq!(placed, Err(PlacementError::Address { what: "it", at }), "{at:#x} {size:#x}");
        }
        assert_eq!(placement.place("it", Mapping::FixedAddress(top), 4096), Ok(top));
        let full = Err(PlacementError::Full { what: "it" });
        assert_eq!(placement.place("it", Mapping::Dynamic, 1 << 47), full);
        assert_eq!(placement.place("it", Mapping::Dynamic, u64::MAX), full);
    }

    /// Proves that dynamic addresses are in the configured range, and that unsupported requests are
    /// refused by name. Fails when the range is ignored.
    #[test]
    fn configuration_is_honoured() {
        let mut range = mappings();
        range.dynamic_range_start = Some(0xffff_9000_0000_0000);
        range.dynamic_range_end = Some(0xffff_9000_0000_0fff);
        let mut placement = Placement::new(&range).unwrap();
        assert_eq!(placement.place("a", Mapping::Dynamic, 1), Ok(0xffff_9000_0000_0000));
        assert!(placement.place("b", Mapping::Dynamic, 1).is_err());
        let mut recursive = mappings();
        recursive.page_table_recursive = Some(Mapping::Dynamic);
        assert!(Placement::new(&recursive).is_err());
        let mut aslr = mappings();
        aslr.aslr = true;
        assert!(Placement::new(&aslr).is_err());
    }
}
