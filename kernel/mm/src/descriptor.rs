//! The page descriptor: 64 bytes, one cache line, one for each frame, in the vmemmap.
//!
//! ```text
//!  word 0   bits 0..8 state | 8..16 order | 16..32 slot of the region | 32..64 MARK
//!  word 1   holder: a virtual address (reverse map), an owner's code (pinned since boot), or 0
//!  word 2.. not used: the size is that of Linux's `struct page`, so that a memmap is as large as there
//! ```
//!
//! It is written when a held block begins at the frame, and means something only while the bits of the frame's
//! group say that one does (`buddy::group`); a free frame's says whatever it said before.
//!
//! A descriptor is a view: words read and written through the [`Machine`], so that the simulation
//! sees each access. Neighbours: `buddy` and the cache in front of it write descriptors.

use core::fmt;

use crate::addr::{Order, Pfn, VirtAddr};
use crate::address_space::{DESCRIPTOR_SIZE, descriptor};
use crate::machine::Machine;

/// The layout of a descriptor, for offsets and the size; it is read and written word by word.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct PageLayout {
    /// State, order, slot, mark.
    tag: u64,
    /// Who holds it.
    holder: u64,
    /// Not used.
    rest: [u64; 6],
}

const _: () = assert!(size_of::<PageLayout>() as u64 == DESCRIPTOR_SIZE);
const TAG: u64 = core::mem::offset_of!(PageLayout, tag) as u64;
const HOLDER: u64 = core::mem::offset_of!(PageLayout, holder) as u64;

/// Marks a tag that this kernel wrote, so that `check` knows junk from a descriptor.
const MARK: u64 = 0xca2a_9ace << 32;

/// What a block is. A block's state is that of all its frames, and nothing merges across states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// In no held block: the bits of its group say so, and no tag does.
    Free = 1,
    /// Allocated, reached only through a mapping the kernel owns.
    Movable = 2,
    /// Allocated, stays where it is.
    Pinned = 3,
    /// Pinned since boot: counts as memmap, not as usable.
    Boot = 4,
    /// Not to be allocated.
    Offline = 5,
    /// Allocated or free while its section goes offline.
    Isolated = 6,
    /// A single free frame kept in front of the buddy. One that was movable before keeps that tag; its bits say more.
    Cached = 7,
}

impl State {
    fn from_bits(bits: u64) -> Option<State> {
        Some(match bits {
            1 => State::Free,
            2 => State::Movable,
            3 => State::Pinned,
            4 => State::Boot,
            5 => State::Offline,
            6 => State::Isolated,
            7 => State::Cached,
            _ => return None,
        })
    }

    /// Whether somebody holds the block.
    pub const fn is_allocated(self) -> bool {
        matches!(self, State::Movable | State::Pinned)
    }
}

/// What an allocation may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reached only through page tables the kernel owns: may be migrated.
    Movable,
    /// Stays where it is.
    Pinned,
}

impl Kind {
    /// The state of an allocated block of this kind.
    pub const fn state(self) -> State {
        match self {
            Kind::Movable => State::Movable,
            Kind::Pinned => State::Pinned,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Movable => "movable",
            Kind::Pinned => "pinned",
        })
    }
}

/// A region's place in the slot table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotNr(pub u16);

/// The first word of a head's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The block's state.
    pub state: State,
    /// The block's order.
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
        Some(Tag { state: State::from_bits(word & 0xff)?, order, slot: SlotNr((word >> 16) as u16) })
    }
}

/// The descriptor of one frame, reached through a machine.
#[derive(Debug)]
pub struct Page<'m, M> {
    machine: &'m M,
    at: VirtAddr,
}

impl<'m, M: Machine> Page<'m, M> {
    /// The descriptor of `pfn`, which must be present.
    #[inline]
    pub fn of(machine: &'m M, pfn: Pfn) -> Self {
        Page { machine, at: descriptor(pfn) }
    }

    /// State, order and region; `None` when the word is not one that [`Page::set_tag`] wrote.
    #[inline]
    pub fn tag(&self) -> Option<Tag> {
        Tag::from_word(self.machine.load(self.at.offset(TAG)))
    }

    /// Makes this the head of a block.
    #[inline]
    pub fn set_tag(&self, tag: Tag) {
        self.machine.store(self.at.offset(TAG), tag.to_word());
    }

    /// The holder's word: see the module's head.
    #[inline]
    pub fn rmap(&self) -> u64 {
        self.machine.load(self.at.offset(HOLDER))
    }

    /// Notes the holder.
    #[inline]
    pub fn set_rmap(&self, holder: u64) {
        self.machine.store(self.at.offset(HOLDER), holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that every tag survives the way into a word and back, and that junk is no tag:
    /// fails when two fields share a bit or a state is forgotten in `from_bits`.
    #[test]
    fn tags_survive_their_word() {
        let states = [
            State::Free,
            State::Movable,
            State::Pinned,
            State::Boot,
            State::Offline,
            State::Isolated,
            State::Cached,
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
