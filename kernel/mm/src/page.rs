//! The page descriptor: 64 bytes, one cache line, one for each frame, in the vmemmap.
//!
//! ```text
//!  word 0   bits 0..8 state | 8..16 order | 16..32 slot of the region | 32..64 MARK
//!  word 1   next group of the list (its home's frame number, or NONE)
//!  word 2   previous group of the list (its home's frame number, or NONE for the first) and, in bits
//!           56..64, which list: the largest free block is of 2^n children (or NO_LIST: nothing is free)
//!  word 3   holder: a virtual address (reverse map), an owner's code (pinned since boot), or 0
//!  word 4,5 the group's free children, a bit each
//!  word 6,7 the group's children that are the first of a held block, a bit each
//! ```
//!
//! Words 0 and 3 are those of the held block that starts at the frame, words 1, 2 and 4 to 7 those of the
//! group of the buddy that has its *home* here (often neither is, sometimes both). Each is written when
//! block or group comes into being; what may be read, and why, stands in the head of `buddy`.
//!
//! A descriptor is a view: words read and written through the [`Machine`], so that the simulation
//! sees each access. Neighbours: `buddy` alone writes descriptors.

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
    /// The next group.
    next: u64,
    /// The previous group.
    prev: u64,
    /// Who holds it.
    holder: u64,
    /// The free children.
    free: [u64; 2],
    /// The children where held blocks start.
    heads: [u64; 2],
}

const _: () = assert!(size_of::<PageLayout>() as u64 == DESCRIPTOR_SIZE);
const TAG: u64 = core::mem::offset_of!(PageLayout, tag) as u64;
const NEXT: u64 = core::mem::offset_of!(PageLayout, next) as u64;
const PREV: u64 = core::mem::offset_of!(PageLayout, prev) as u64;
const HOLDER: u64 = core::mem::offset_of!(PageLayout, holder) as u64;
const FREE: u64 = core::mem::offset_of!(PageLayout, free) as u64;
const HEADS: u64 = core::mem::offset_of!(PageLayout, heads) as u64;

/// Marks a tag that this kernel wrote, so that `check` knows junk from a descriptor.
const MARK: u64 = 0xca2a_9ace << 32;
/// "No frame" in the links.
const NONE: u64 = u64::MAX;
/// Where word 2 has the list, and the bits below.
const LIST_SHIFT: u32 = 56;
const PREV_BITS: u64 = (1 << LIST_SHIFT) - 1;
/// "In no list".
const NO_LIST: u8 = u8::MAX;

/// What a block is. A block's state is that of all its frames, and nothing merges across states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// In no held block: the bits of its group say so, and a head that was held before.
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
    /// A single free frame kept in front of the buddy.
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

    /// The next group of the list.
    #[inline]
    pub fn next(&self) -> Option<Pfn> {
        link(self.machine.load(self.at.offset(NEXT)))
    }

    /// Links the next group.
    #[inline]
    pub fn set_next(&self, next: Option<Pfn>) {
        self.machine.store(self.at.offset(NEXT), word(next));
    }

    /// The previous group of the list.
    #[inline]
    pub fn prev(&self) -> Option<Pfn> {
        let prev = self.machine.load(self.at.offset(PREV)) & PREV_BITS;
        (prev != PREV_BITS).then_some(Pfn(prev))
    }

    /// Links the previous group.
    #[inline]
    pub fn set_prev(&self, prev: Option<Pfn>) {
        let list = self.machine.load(self.at.offset(PREV)) & !PREV_BITS;
        self.machine.store(self.at.offset(PREV), word(prev) & PREV_BITS | list);
    }

    /// The list that the group is in.
    #[inline]
    pub fn list(&self) -> Option<u8> {
        let list = (self.machine.load(self.at.offset(PREV)) >> LIST_SHIFT) as u8;
        (list != NO_LIST).then_some(list)
    }

    /// Makes the group one of this list, its first, or one of none.
    #[inline]
    pub fn set_list(&self, list: Option<u8>) {
        let list = list.unwrap_or(NO_LIST);
        self.machine.store(self.at.offset(PREV), u64::from(list) << LIST_SHIFT | PREV_BITS);
    }

    /// Whether a held block starts at the child at `place`.
    #[inline]
    pub fn has_head(&self, place: u8) -> bool {
        self.machine.load(self.head_word(place)) >> (place % 64) & 1 == 1
    }

    /// Notes that a held block starts at the child at `place`.
    #[inline]
    pub fn put_head(&self, place: u8) {
        let at = self.head_word(place);
        self.machine.store(at, self.machine.load(at) | 1 << (place % 64));
    }

    /// Notes that no held block starts at the child at `place`.
    #[inline]
    pub fn drop_head(&self, place: u8) {
        let at = self.head_word(place);
        self.machine.store(at, self.machine.load(at) & !(1 << (place % 64)));
    }

    #[inline]
    fn head_word(&self, place: u8) -> VirtAddr {
        self.at.offset(HEADS + 8 * u64::from(place / 64))
    }

    /// The free children of the group.
    #[inline]
    pub fn free_bits(&self) -> u128 {
        self.wide(FREE)
    }

    /// Notes the free children of the group.
    #[inline]
    pub fn set_free_bits(&self, free: u128) {
        self.set_wide(FREE, free);
    }

    /// The children of the group where held blocks start.
    #[inline]
    pub fn heads(&self) -> u128 {
        self.wide(HEADS)
    }

    /// Notes the children of the group where held blocks start.
    #[inline]
    pub fn set_heads(&self, heads: u128) {
        self.set_wide(HEADS, heads);
    }

    #[inline]
    fn wide(&self, at: u64) -> u128 {
        let (low, high) = (self.machine.load(self.at.offset(at)), self.machine.load(self.at.offset(at + 8)));
        u128::from(low) | u128::from(high) << 64
    }

    #[inline]
    fn set_wide(&self, at: u64, bits: u128) {
        self.machine.store(self.at.offset(at), bits as u64);
        self.machine.store(self.at.offset(at + 8), (bits >> 64) as u64);
    }

    /// The holder's word: see the module's head.
    #[inline]
    pub fn holder(&self) -> u64 {
        self.machine.load(self.at.offset(HOLDER))
    }

    /// Notes the holder.
    #[inline]
    pub fn set_holder(&self, holder: u64) {
        self.machine.store(self.at.offset(HOLDER), holder);
    }
}

/// A link as a word.
#[inline]
pub(crate) const fn word(pfn: Option<Pfn>) -> u64 {
    match pfn {
        Some(pfn) => pfn.0,
        None => NONE,
    }
}

/// A word as a link.
#[inline]
pub(crate) const fn link(word: u64) -> Option<Pfn> {
    if word == NONE { None } else { Some(Pfn(word)) }
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
