//! The memory ranges of a memory device, from its `_CRS` buffer.
//!
//! Every memory descriptor counts, consumer or producer: QEMU's memory devices say producer, and Linux
//! (`acpi_memory_get_resource`) ignores the bit, too. Descriptors of other kinds are skipped. Linux merges adjacent
//! ranges; here each range is a resource of its own, with its own memmap.
//!
//! The current resources of a device are fixed. A descriptor whose length contradicts its first and last address, or
//! whose addresses are translated (a bridge's window), is refused. One contradiction is known and has one meaning: methods
//! that add the halves of 64-bit numbers one by one lose the carry where the length is 4 GiB or more (cloud-hypervisor's
//! slots, `tests/cloud_hypervisor`). The last address is then too low by exactly 4 GiB, and the length counts, as in
//! Linux for any contradiction.
//!
//! Neighbours: `carapace_aml::resources` decodes the descriptors; the kernel's `acpi::memory_device` evaluates `_CRS`.

use arrayvec::ArrayVec;
use carapace_aml::resources::{MemoryRange, Resource, ResourceError, decode};
use carapace_mm::addr::PhysAddr;

use core::fmt;

/// What a carry from the lower half of a 64-bit number is worth.
const HALF: u64 = 1 << 32;

/// A range as the firmware states it; the memory core checks alignment, overlap and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub base: PhysAddr,
    /// The size in bytes; may be 0.
    pub size: u64,
}

/// Why a device has no usable ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangesError {
    /// The buffer is malformed.
    Malformed(ResourceError),
    /// Length, first and last address contradict each other.
    Contradiction {
        /// The first address.
        min: u64,
        /// The last address.
        max: u64,
        /// The length in bytes.
        length: u64,
    },
    /// The addresses are not physical addresses of the CPU.
    Translated {
        /// The first address.
        min: u64,
        /// The offset to the CPU's address.
        translation: u64,
    },
    /// There is no memory descriptor.
    None,
    /// There are more memory descriptors than a device may have.
    TooMany {
        /// The most it may have.
        most: usize,
    },
}

impl fmt::Display for RangesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RangesError::Malformed(error) => write!(f, "_CRS: {error}"),
            RangesError::Contradiction { min, max, length } => {
                write!(f, "_CRS: the range {min:#x} to {max:#x} states a length of {length:#x} bytes")
            }
            RangesError::Translated { min, translation } => {
                write!(f, "_CRS: the range at {min:#x} is translated by {translation:#x}")
            }
            RangesError::None => f.write_str("_CRS contains no memory range"),
            RangesError::TooMany { most } => write!(f, "_CRS contains more than {most} memory ranges"),
        }
    }
}

/// All memory ranges in `crs`, in its order; at most `MOST`.
///
/// # Errors
/// A descriptor is malformed or refused, or the number of ranges is.
pub fn of<const MOST: usize>(crs: &[u8]) -> Result<ArrayVec<Range, MOST>, RangesError> {
    let mut ranges = ArrayVec::new();
    for resource in decode(crs) {
        if let Resource::Memory(memory) = resource.map_err(RangesError::Malformed)? {
            ranges.try_push(checked(&memory)?).map_err(|_| RangesError::TooMany { most: MOST })?;
        }
    }
    if ranges.is_empty() { Err(RangesError::None) } else { Ok(ranges) }
}

fn checked(memory: &MemoryRange) -> Result<Range, RangesError> {
    let MemoryRange { min, max, length, translation, .. } = *memory;
    if translation != 0 {
        return Err(RangesError::Translated { min, translation });
    }
    // The memory core refuses length 0; its last address is arbitrary.
    let last = min.checked_add(length.saturating_sub(1));
    let is_carry_lost = || length >= HALF && last.is_some() && last == max.checked_add(HALF);
    if length != 0 && last != Some(max) && !is_carry_lost() {
        return Err(RangesError::Contradiction { min, max, length });
    }
    Ok(Range { base: PhysAddr(min), size: length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const MOST: usize = 4;

    fn of(crs: &[u8]) -> Result<ArrayVec<Range, MOST>, RangesError> {
        super::of(crs)
    }

    fn qword(flags: u8, min: u64, max: u64, translation: u64, length: u64) -> Vec<u8> {
        let mut bytes = std::vec![0x8a, 0x2b, 0, 0, flags, 0];
        [0, min, max, translation, length].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
        bytes
    }

    fn crs(descriptors: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes: Vec<u8> = descriptors.iter().flatten().copied().collect();
        bytes.extend([0x79, 0]);
        bytes
    }

    fn plain(min: u64, length: u64) -> Vec<u8> {
        qword(0x0c, min, min + length - 1, 0, length)
    }

    // Proves that every memory range is returned, producer (as in QEMU) or consumer, each by itself although they are
    // adjacent, and that an interrupt descriptor between them is skipped. Fails when a range is lost or merged.
    #[test]
    fn every_range_counts() {
        let interrupt = std::vec![0x22, 0x08, 0x00];
        let buffer = crs(&[
            plain(0x1_0000_0000, 0x1000_0000),
            interrupt,
            qword(0x0d, 0x1_1000_0000, 0x1_2fff_ffff, 0, 0x2000_0000),
        ]);
        let all: Vec<_> = of(&buffer).unwrap().iter().map(|range| (range.base.0, range.size)).collect();
        assert_eq!(all, [(0x1_0000_0000, 0x1000_0000), (0x1_1000_0000, 0x2000_0000)]);
    }

    // Proves that each contradiction is refused with its own reason but for a lost carry, whose length counts, and that
    // length 0 is passed on to the memory core, which refuses it. Fails when a contradictory range would be added.
    #[test]
    fn contradictions_are_refused() {
        let wrapping = qword(0x0c, u64::MAX - 0xfff, 0x0fff, 0, 0x2000);
        let length = 0x2000;
        let refused = RangesError::Contradiction { min: u64::MAX - 0xfff, max: 0x0fff, length };
        assert_eq!(of(&crs(&[wrapping])), Err(refused));
        let short = qword(0x0c, 0x20_0000, 0x3f_ffff, 0, 0x10_0000);
        assert!(matches!(of(&crs(&[short])), Err(RangesError::Contradiction { .. })));
        // A carry is lost by methods that add halves only where the upper half of the length is not 0.
        let off_by_half =
            |length: u64| qword(0x0c, 0x1_c000_0000, 0x1_c000_0000 + length - 1 - HALF, 0, length);
        assert!(matches!(of(&crs(&[off_by_half(HALF - 0x1000)])), Err(RangesError::Contradiction { .. })));
        let lost = of(&crs(&[off_by_half(0x1_8000_0000)])).unwrap();
        assert_eq!(lost.as_slice(), [Range { base: PhysAddr(0x1_c000_0000), size: 0x1_8000_0000 }]);
        let both_wrap = qword(0x0c, u64::MAX - 0xfff, u64::MAX, 0, 0x1_8000_0000);
        assert!(matches!(of(&crs(&[both_wrap])), Err(RangesError::Contradiction { .. })));
        let bridge = qword(0x0c, 0x20_0000, 0x3f_ffff, 0x1000, 0x20_0000);
        assert_eq!(of(&crs(&[bridge])), Err(RangesError::Translated { min: 0x20_0000, translation: 0x1000 }));
        assert_eq!(of(&crs(&[])), Err(RangesError::None));
        let many: Vec<_> = (1..=MOST as u64 + 1).map(|n| plain(n << 21, 1 << 21)).collect();
        assert_eq!(of(&crs(&many)), Err(RangesError::TooMany { most: MOST }));
        assert!(matches!(of(&[0x8a]), Err(RangesError::Malformed(_))));
        let empty = of(&crs(&[qword(0x0c, 0x20_0000, 0x1f_ffff, 0, 0)])).unwrap();
        assert_eq!(empty.as_slice(), [Range { base: PhysAddr(0x20_0000), size: 0 }]);
    }
}
