//! The rmap word of a block: its owner, in 64 bits of the head's descriptor (Linux: `page->mapping`).
//!
//! ```text
//!  0                         no owner recorded
//!  1 ..= 7                   pinned since boot: the owner's code, counted from 1
//!  8                         a frame in reserve for a vmalloc page table
//!  9                         free, but the host is being told so
//!  address                   mapped there, in the vmalloc region (a multiple of 4 KiB)
//!  address | 1, | 2, | 3     a vmalloc page table for that address: PT, PD, PDPT
//! ```
//!
//! Migration uses it to find the mapping, so it follows the block: splitting a block gives each half its own word
//! ([`RmapEntry::after`]). Neighbours: `vmalloc` and `boot` write it, `query` reports it, `hot_remove` follows it.

use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::boot_alloc::Owner;
use crate::info::Holder;
use crate::page_table::Level;

/// A decoded rmap word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RmapEntry {
    /// No owner recorded.
    None,
    /// Pinned since boot.
    Owner(Owner),
    /// In reserve for a vmalloc page table.
    Reserve,
    /// Free memory that a device is being told of: see `reporting`.
    Reported,
    /// Mapped at this address.
    Mapping(VirtAddr),
    /// A vmalloc page table of this level for this address.
    Table(VirtAddr, Level),
}

const RESERVE: u64 = 8;
const REPORTED: u64 = 9;

impl RmapEntry {
    /// Encodes the word.
    pub(crate) fn encode(self) -> u64 {
        match self {
            RmapEntry::None => 0,
            RmapEntry::Owner(owner) => {
                Owner::ALL.iter().position(|&other| other == owner).map_or(0, |index| index as u64 + 1)
            }
            RmapEntry::Reserve => RESERVE,
            RmapEntry::Reported => REPORTED,
            RmapEntry::Mapping(at) => at.0,
            RmapEntry::Table(at, level) => at.0 & !(PAGE_SIZE - 1) | (level as u64 + 1),
        }
    }

    /// Decodes a word.
    pub(crate) fn of(word: u64) -> RmapEntry {
        let (address, low) = (VirtAddr(word & !(PAGE_SIZE - 1)), word & (PAGE_SIZE - 1));
        match (address.0, low) {
            (0, RESERVE) => RmapEntry::Reserve,
            (0, REPORTED) => RmapEntry::Reported,
            (0, 0) => RmapEntry::None,
            (0, owner) => {
                Owner::ALL.get(owner as usize - 1).map_or(RmapEntry::None, |&owner| RmapEntry::Owner(owner))
            }
            (_, 1) => RmapEntry::Table(address, Level::Pt),
            (_, 2) => RmapEntry::Table(address, Level::Pd),
            (_, 3) => RmapEntry::Table(address, Level::Pdpt),
            _ => RmapEntry::Mapping(address),
        }
    }

    /// The rmap word of the part that begins `pages` frames into a block whose word is `word`.
    pub(crate) fn after(word: u64, pages: u64) -> u64 {
        match RmapEntry::of(word) {
            RmapEntry::Mapping(at) => at.offset(pages * PAGE_SIZE).0,
            _ => word,
        }
    }

    /// The owner as `page` reports it.
    pub(crate) fn shown(self) -> Holder {
        match self {
            RmapEntry::None => Holder::None,
            RmapEntry::Owner(owner) => Holder::Boot(owner),
            RmapEntry::Reserve => Holder::Table(VirtAddr(0)),
            RmapEntry::Reported => Holder::Reported,
            RmapEntry::Mapping(at) => Holder::Mapping(at),
            RmapEntry::Table(at, _) => Holder::Table(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address_space::ALLOC;

    /// Proves that decoding inverts encoding for every kind of word, and that a part's word is the address that many
    /// pages into the mapping. Fails when two kinds share a code.
    #[test]
    fn words_come_back() {
        let at = ALLOC.start.offset(77 * PAGE_SIZE);
        let tables = [Level::Pt, Level::Pd, Level::Pdpt].map(|level| RmapEntry::Table(at, level));
        let others = [RmapEntry::None, RmapEntry::Reserve, RmapEntry::Mapping(at)];
        let owners = Owner::ALL.map(RmapEntry::Owner);
        for word in tables.into_iter().chain(others).chain(owners) {
            assert_eq!(RmapEntry::of(word.encode()), word);
        }
        assert_eq!(RmapEntry::after(at.0, 3), at.0 + 3 * PAGE_SIZE);
        for word in [RmapEntry::None, RmapEntry::Reserve, tables[1]] {
            assert_eq!(RmapEntry::after(word.encode(), 3), word.encode());
        }
    }
}
