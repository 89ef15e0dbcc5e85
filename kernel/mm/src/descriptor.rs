//! The page descriptor: 64 bytes (one cache line) per frame, in the vmemmap. Linux: `struct page`.
//!
//! ```text
//!  word 0   bits 0..8 state | 8..16 order | 16..32 slot of the region | 32..64 MARK
//!  word 1   rmap word: a virtual address (reverse map), an owner's code (pinned since boot), or 0; see `rmap`
//!  word 2.. unused: the size is that of Linux's `struct page`, so that the memmap is as large as Linux's
//! ```
//!
//! A descriptor is written when a held block starts at the frame, or when the block gets an rmap (`buddy::owner`), and
//! is valid only while the bits of the frame's group say so (`buddy::group`). The descriptor of a free frame is stale
//! or uninitialised.
//!
//! A descriptor is a view: its words are read and written through the [`Machine`], so that the simulation sees each
//! access. Neighbours: `buddy` and the frame cache write descriptors.

use core::fmt;

use crate::addr::{Order, Pfn, VirtAddr};
use crate::address_space::{DESCRIPTOR_SIZE, descriptor};
use crate::machine::Machine;

/// The layout of a descriptor. Gives offsets and size; descriptors are accessed word by word.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct PageLayout {
    /// State, order, slot, mark.
    tag: u64,
    /// The rmap word.
    holder: u64,
    /// Unused.
    rest: [u64; 6],
}

const _: () = assert!(size_of::<PageLayout>() as u64 == DESCRIPTOR_SIZE);
const TAG: u64 = core::mem::offset_of!(PageLayout, tag) as u64;
const HOLDER: u64 = core::mem::offset_of!(PageLayout, holder) as u64;

/// Marks a tag that this kernel wrote, so that `check` can tell it from junk.
const MARK: u64 = 0xca2a_9ace << 32;

/// The state of a block and of all its frames. Blocks of different states never merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockState {
    /// Free. Only the group's bits say so; no tag has this state.
    Free = 1,
    /// Allocated, reached only through a mapping that the kernel owns.
    Movable = 2,
    /// Allocated, cannot be migrated.
    Pinned = 3,
    /// Pinned since boot; counts as memmap, not as usable.
    Boot = 4,
    /// Excluded from allocation.
    Offline = 5,
    /// Not allocated, in a section that is going offline.
    Isolated = 6,
    /// A free block in the frame cache. A block freed as movable keeps that tag; the group's bits tell the difference.
    Cached = 7,
    /// Not plugged into a chunk of virtio-mem memory: neither mapped nor touched. Only the region's [`PieceMap`] says so,
    /// because the descriptor may be unplugged as well; no tag has this state.
    ///
    /// [`PieceMap`]: crate::pieces::PieceMap
    Unplugged = 8,
}

impl BlockState {
    fn from_bits(bits: u64) -> Option<BlockState> {
        Some(match bits {
            1 => BlockState::Free,
            2 => BlockState::Movable,
            3 => BlockState::Pinned,
            4 => BlockState::Boot,
            5 => BlockState::Offline,
            6 => BlockState::Isolated,
            7 => BlockState::Cached,
            _ => return None,
        })
    }

    /// Whether the block is allocated by a caller.
    pub const fn is_allocated(self) -> bool {
        matches!(self, BlockState::Movable | BlockState::Pinned)
    }
}

/// The mobility of an allocation. Linux: migrate types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mobility {
    /// Reached only through page tables that the kernel owns, so it can be migrated.
    Movable,
    /// Cannot be migrated.
    Pinned,
}

impl Mobility {
    /// The state of an allocated block of this kind.
    pub const fn state(self) -> BlockState {
        match self {
            Mobility::Movable => BlockState::Movable,
            Mobility::Pinned => BlockState::Pinned,
        }
    }
}

impl fmt::Display for Mobility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mobility::Movable => "movable",
            Mobility::Pinned => "pinned",
        })
    }
}

/// A region's index in the slot table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotNr(pub u16);

/// The first word of a head's descriptor, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The block's state.
    pub state: BlockState,
    /// The slot of its region.
    pub order: Order,
    /// The region it belongs to.
    pub slot: SlotNr,
}

impl Tag {
    #[inline]
    const fn to_word(self) -> u64 {
        MARK | (self.slot.0 as u64) << 16 | (self.order.0 as u64) << 8 | self.state as u64
    }

    #[inline]
    fn from_word(word: u64) -> Option<Tag> {
        let order = Order((word >> 8) as u8);
        if word & (0xffff_ffff << 32) != MARK || order > Order::MAX {
            return None;
        }
        Some(Tag { state: BlockState::from_bits(word & 0xff)?, order, slot: SlotNr((word >> 16) as u16) })
    }
}

/// A view of one frame's descriptor.
#[derive(Debug)]
pub struct Page<'m, M> {
    machine: &'m M,
    at: VirtAddr,
}

impl<'m, M: Machine> Page<'m, M> {
    /// The descriptor of `pfn`, whose part of the vmemmap must be mapped.
    #[inline]
    pub fn of(machine: &'m M, pfn: Pfn) -> Self {
        Page { machine, at: descriptor(pfn) }
    }

    /// The tag; `None` when the word was not written by [`Page::set_tag`].
    #[inline]
    pub fn tag(&self) -> Option<Tag> {
        Tag::from_word(self.machine.load(self.at.offset(TAG)))
    }

    /// Writes the tag of a block's head.
    #[inline]
    pub fn set_tag(&self, tag: Tag) {
        self.machine.store(self.at.offset(TAG), tag.to_word());
    }

    /// Hints that the descriptor is written soon.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        self.machine.prefetch(self.at);
    }

    /// The rmap word; see the module's head.
    #[inline]
    pub fn rmap(&self) -> u64 {
        self.machine.load(self.at.offset(HOLDER))
    }

    /// Writes the rmap word.
    #[inline]
    pub fn set_rmap(&self, holder: u64) {
        self.machine.store(self.at.offset(HOLDER), holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that encoding and decoding are inverse for every tag, and that junk does not decode. Fails when two
    /// fields share a bit or `from_bits` lacks a state.
    #[test]
    fn tags_survive_their_word() {
        let states = [
            BlockState::Free,
            BlockState::Movable,
            BlockState::Pinned,
            BlockState::Boot,
            BlockState::Offline,
            BlockState::Isolated,
            BlockState::Cached,
        ];
        for state in states {
            for order in 0..Order::COUNT as u8 {
                for slot in [0, 1, 511, u16::MAX] {
                    let tag = Tag { state, order: Order(order), slot: SlotNr(slot) };
                    assert_eq!(Tag::from_word(tag.to_word()), Some(tag));
                }
            }
        }
        for junk in [0, u64::MAX, 1, MARK, MARK | 8, MARK | 1 | 64 << 8] {
            assert_eq!(Tag::from_word(junk), None, "{junk:#x}");
        }
    }
}
