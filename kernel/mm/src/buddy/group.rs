//! Groups: the inner nodes of the buddy tree, with 128 children each, and the meaning of their words.
//!
//! ```text
//!  level 2   | ... 128 children of 2^14 frames (64 MiB) ... |        orders 14 to 20
//!  level 1      | ... 128 children of 2^7 frames ... |               orders  7 to 13
//!  level 0         | ... 128 frames ... |                            orders  0 to  6
//!
//!  a child's two bits    10  free
//!                        00  continuation of the block before
//!                        01  a held block starts here;      on level 0: a movable one in use, without an rmap if it
//!                                                           has several frames
//!                        11  open: a group one level down;  on level 0: any other held block starts here
//!                            (a child outside of the usable run is held)
//!
//!  a group's words       0 first bits of children 0..64 | 1 their second bits | 2, 3 of children 64..128 | 4 link
//!                        above level 0 also  5, 6 set for each held block that starts here and is movable
//!                        on levels 1 and 2   7, 8 the touched bits, see `touched`
//! ```
//!
//! A group has words while it is *open*: while it is neither completely free nor inside one held block. Its child bits
//! one level up record that; the groups of the top level are always open. So a descent from the top never reads
//! unwritten words, and finds extent and kind of every block without reading its descriptor.
//!
//! The words of a level are contiguous behind the header, 40 bytes per 128 frames: freeing a random frame accesses
//! one cache line of them, in memory of 1/200 of the memmap's size. The link is for `lists`.
//!
//! Several CPUs: all words are changed under the region's lock, and two kinds of bits also without it, by the frame
//! caches: on level 0 the first bit of a single frame (01 in use, 11 cached), above it the movable bit of a held block.
//! A CPU that frees a movable block claims it by that bit first, with the region's lock or without, so of several CPUs
//! one succeeds; blocks of order 1 to 6 are freed under the lock only. On level 0 a late claim finds 10 (free) or 11
//! (claimed): the bit is set already, and nothing changes. So the words with such bits (0 and 2 of level 0, 5 and 6
//! above) are changed by atomic read-modify-write only, and a holder of the lock inverts the bits of its own children
//! and no others. A claim tests the bits before its atomic step: a caller that frees a frame twice frees the next
//! owner's block if the frame is allocated again in between. A descriptor is written before the bits that make it valid.
//!
//! Neighbours: `bits` is the arithmetic of one group, `metadata` says where the words lie, `lists` links groups,
//! `claim` changes the two kinds of bits.

use crate::addr::{Order, Pfn, PfnRange, VirtAddr};
use crate::buddy::Buddy;
use crate::buddy::bits::{self, SHIFT};
use crate::buddy::metadata::{link_of, movable_at, pair};
use crate::machine::Machine;

/// The number of levels, for orders up to [`Order::MAX`].
pub(crate) const LEVELS: usize = (Order::MAX.0 / SHIFT) as usize + 1;
const _: () = assert!(LEVELS == 5, "see MetadataLayout::level_of_block");

/// The byte offsets of the link and of the movable bits in a group's words.
pub(super) const LINK: u64 = 32;
pub(super) const MOVABLE: u64 = 40;
/// The children of odd numbers.
pub(super) const ODD: u128 = u128::MAX / 3 * 2;
/// The byte offset of the touched bits, on the levels that have them.
pub(super) const TOUCHED: u64 = MOVABLE + 16;

/// Returns the level of the groups whose children form blocks of `order`.
#[inline]
pub(crate) const fn level_of(order: Order) -> u8 {
    order.0 / SHIFT
}

/// Returns the `sub` of a block of `order`, which has 2^`sub` children of its group.
#[inline]
pub(super) const fn sub_of(order: Order) -> u8 {
    order.0 % SHIFT
}

/// A group of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// The level, 0 for groups of frames.
    pub(super) level: u8,
    /// The number among all groups of the level, counted from frame 0.
    pub(super) nr: u64,
}

impl Group {
    /// Returns the group of `level` that contains `pfn`.
    #[inline]
    pub(crate) const fn of(pfn: Pfn, level: u8) -> Group {
        Group { level, nr: pfn.0 >> ((level + 1) * SHIFT) }
    }

    /// Returns the number among all groups of the level.
    #[inline]
    pub(crate) const fn nr(self) -> u64 {
        self.nr
    }

    /// Returns the order of a block of 2^`sub` children.
    #[inline]
    pub(super) const fn order(self, sub: u8) -> Order {
        Order(self.level * SHIFT + sub)
    }

    /// Returns the group's first frame, which may lie before the usable run.
    #[inline]
    pub(crate) const fn start(self) -> Pfn {
        Pfn(self.nr << ((self.level + 1) * SHIFT))
    }

    /// Returns the group's frames, those outside of the usable run included.
    pub(crate) const fn frames(self) -> PfnRange {
        PfnRange::of(self.start(), 1 << ((self.level + 1) * SHIFT))
    }

    /// Returns the index of the child that contains `pfn`, a frame of the group.
    #[inline]
    pub(super) const fn index_of(self, pfn: Pfn) -> u8 {
        (pfn.0 >> (self.level * SHIFT)) as u8 & 127
    }

    /// Returns the first frame of the child `index`.
    #[inline]
    pub(super) const fn child(self, index: u8) -> Pfn {
        Pfn(self.start().0 + ((index as u64) << (self.level * SHIFT)))
    }
}

/// The bits of a group's children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Children {
    pub(super) first: u128,
    pub(super) second: u128,
}

impl Children {
    #[inline(always)]
    pub(super) fn load<M: Machine>(machine: &M, at: VirtAddr) -> Children {
        let word = |n: u64| u128::from(machine.load(at.offset(8 * n)));
        Children { first: word(0) | word(2) << 64, second: word(1) | word(3) << 64 }
    }

    /// Returns the bits of the free children.
    #[inline]
    pub(super) const fn free(self) -> u128 {
        self.first & !self.second
    }

    /// Returns the bits of the children, on level 0, that are single movable frames in use. A child of an even number
    /// may also start a block; the next one continues it then.
    #[inline]
    pub(super) const fn singles(self) -> u128 {
        self.second & !self.first & ((self.first | self.second) >> 1 | ODD)
    }

    /// Returns first index and `sub` of the held block of a group of `level` that contains the child `index`. `None` when
    /// the bits do not form a block.
    #[inline]
    pub(super) fn held(self, level: u8, index: u8) -> Option<(u8, u8)> {
        let others = if level == 0 { !self.second } else { self.first };
        let starts = self.second & !others & u128::MAX >> (127 - index);
        let first = 127u8.checked_sub(starts.leading_zeros() as u8)?;
        let behind = (self.first | self.second) & (u128::MAX << first << 1);
        let end = behind.trailing_zeros() as u8;
        let size = end - first;
        let right = size.is_power_of_two() && first.is_multiple_of(size);
        (index < end && right).then_some((first, size.trailing_zeros() as u8))
    }
}

/// Returns the `sub` of the held block that starts at child `index`, given the two words with the bits of its half of the
/// group. `None` when none starts there, or when only the other half tells how large it is. On level 0 the block of one
/// child at an `index` may be a single frame.
#[inline(always)]
pub(super) const fn held_from(level: u8, first: u64, second: u64, index: u8) -> Option<u8> {
    let at = index as u32 % 64;
    let open = if level > 0 { first } else { 0 };
    if (second & !open) >> at & 1 == 0 {
        return None;
    }
    // The continuations behind the first child.
    let behind = (first | second) >> at >> 1;
    let size = if behind != 0 { behind.trailing_zeros() + 1 } else { 64 - at };
    if at == 0 && behind == 0 || !size.is_power_of_two() || at & (size - 1) != 0 {
        return None;
    }
    Some(size.trailing_zeros() as u8)
}

impl<M: Machine> Buddy<'_, M> {
    /// Returns the highest level of the region's groups. Its groups are never completely free: that would be a
    /// block above the region's highest order.
    #[inline]
    pub(super) const fn top(&self) -> u8 {
        level_of(self.max)
    }

    /// Reads the bits of a group's children.
    #[inline(always)]
    pub(super) fn children(&self, group: Group) -> Children {
        Children::load(self.machine, self.metadata.group(group))
    }

    /// Writes the bits of a group's children: of a group that is about to be open, so that no CPU flips one of them.
    #[inline(always)]
    fn write_children(&self, group: Group, children: Children) {
        let at = self.metadata.group(group);
        let Children { first, second } = children;
        self.machine.store(at, first as u64);
        self.machine.store(at.offset(8), second as u64);
        self.machine.store(at.offset(16), (first >> 64) as u64);
        self.machine.store(at.offset(24), (second >> 64) as u64);
    }

    /// Changes the bits of an open group's children from `before` to `after`: see [`Buddy::change_pair`].
    #[inline(always)]
    pub(super) fn set_children(&self, group: Group, before: Children, after: Children) {
        let at = self.metadata.group(group);
        let change = Children { first: before.first ^ after.first, second: before.second ^ after.second };
        for (at, first, second, value) in [
            (at, change.first as u64, change.second as u64, after.second as u64),
            (
                at.offset(16),
                (change.first >> 64) as u64,
                (change.second >> 64) as u64,
                (after.second >> 64) as u64,
            ),
        ] {
            self.change_pair(group, at, first, (second != 0).then_some(value));
        }
    }

    /// Inverts bits of the first of two words and writes the second, if it changes. The bits belong to children that
    /// the holder of the region's lock takes or gives back: no other CPU changes those, but it may change others.
    ///
    /// A child that becomes free loses its second bit before it gets its first one, and a child that is taken loses its
    /// first bit before it gets its second one: in between it is the continuation of a block.
    #[inline(always)]
    pub(super) fn change_pair(&self, group: Group, at: VirtAddr, first: u64, second: Option<u64>) {
        let freed = second.is_some_and(|second| self.machine.load(at.offset(8)) & !second != 0);
        if let Some(second) = second.filter(|_| freed) {
            self.machine.store(at.offset(8), second);
        }
        if first != 0 && group.level == 0 {
            self.machine.fetch_xor(at, first);
        } else if first != 0 {
            self.machine.store(at, self.machine.load(at) ^ first);
        }
        if let Some(second) = second.filter(|_| !freed) {
            self.machine.store(at.offset(8), second);
        }
    }

    /// Reads the bits of a group's free children.
    #[inline]
    pub(super) fn free_bits(&self, group: Group) -> u128 {
        self.children(group).free()
    }

    /// Sets the bits of the child `index` to `what`. The child must be neither free nor part of another block.
    #[inline(always)]
    pub(super) fn start_block(&self, group: Group, index: u8, what: Start) {
        let base = self.metadata.level(group.level);
        let (at, bit) = (pair(base, group, index), 1 << (index % 64));
        let set = match group.level {
            0 => what != Start::Movable,
            _ => what == Start::Open,
        };
        let first = (self.machine.load(at) & bit != 0) != set;
        let second = self.machine.load(at.offset(8));
        self.change_pair(group, at, if first { bit } else { 0 }, (second & bit == 0).then_some(second | bit));
        if group.level > 0 {
            let at = movable_at(base, group, index);
            if (self.machine.load(at) & bit != 0) != (what == Start::Movable) {
                self.machine.fetch_xor(at, bit);
            }
        }
    }

    /// Returns whether the held block that starts at the child `index` of a group above level 0 is movable.
    #[inline]
    pub(super) fn is_movable(&self, group: Group, index: u8) -> bool {
        self.machine.load(movable_at(self.metadata.level(group.level), group, index)) >> (index % 64) & 1 == 1
    }

    /// Returns the address of a group's link: see `lists`.
    #[inline]
    pub(super) fn link_at(&self, group: Group) -> VirtAddr {
        link_of(self.metadata.level(group.level), group)
    }

    /// Opens a group: writes all its words and puts it into its list.
    pub(super) fn open(&self, group: Group, children: Children) {
        self.write_children(group, children);
        if group.level > 0 {
            let base = self.metadata.level(group.level);
            [0, 64].iter().for_each(|&index| self.machine.store(movable_at(base, group, index), 0));
        }
        self.open_touched(group);
        self.clear_link(group);
        self.relist(group, bits::largest(children.free()));
    }

    /// Opens a group of a new region: its children inside the usable run are free.
    pub(super) fn open_first(&self, group: Group) {
        let child = Order(group.level * SHIFT).pages();
        let [start, end] =
            [self.usable.start, self.usable.end].map(|border| border.0.saturating_sub(group.start().0));
        let whole = bits::between(start.div_ceil(child), end / child);
        let touched = bits::between(start / child, end.div_ceil(child));
        let outside = if group.level == 0 { !whole } else { 0 };
        self.open(group, Children { first: touched | outside, second: !whole });
    }

    /// Returns the block that an open group should have merged into, if it is completely free. For `check`.
    pub(crate) fn unmerged_block(&self, group: Group) -> Option<(Pfn, Order)> {
        (self.free_bits(group) == u128::MAX).then(|| (group.start(), group.order(SHIFT)))
    }

    /// Returns whether a group belongs to the list of `order`. For `check`.
    pub(crate) fn is_in_right_list(&self, group: Group, order: Order) -> bool {
        let largest = bits::largest(self.free_bits(group));
        largest == self.list_of(group) && largest.map(|sub| group.order(sub)) == Some(order)
    }
}

/// The thing that starts at a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A held block whose descriptor holds the state.
    Held,
    /// A block held as movable; on level 0 one without an rmap, or a single frame.
    Movable,
    /// An open group.
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bits of a group of `level` whose children are `blocks`, each of 2^`sub` children or as many as fit: free, held
    /// as movable, or otherwise in use.
    fn children(level: u8, blocks: &[(u8, u8)]) -> Children {
        let (mut children, mut index) = (Children { first: 0, second: 0 }, 0u8);
        for &(sub, kind) in blocks.iter().cycle() {
            let fits = |sub: &u8| index.is_multiple_of(1 << sub) && index + (1 << sub) <= 128;
            // An open group is one child.
            let sub = if level > 0 && kind == 2 { 0 } else { (0..=sub).rev().find(fits).unwrap() };
            match kind {
                0 => children.first |= bits::block(index, sub),
                1 => children.second |= 1 << index,
                _ => {
                    (children.first, children.second) =
                        (children.first | 1 << index, children.second | 1 << index)
                }
            }
            index += 1 << sub;
            if index == 128 {
                break;
            }
        }
        children
    }

    proptest! {
        /// Proves that half of a group's bits tell the held block that starts at a child as all of them do, unless it
        /// fills that half. Fails when a continuation is missed, or an open group or a free child counts as held.
        #[test]
        fn half_of_the_bits_tell_a_head(
            level in 0u8..2,
            blocks in prop::collection::vec((0u8..6, 0u8..3), 1..128),
        ) {
            let children = children(level, &blocks);
            for index in 0..128 {
                let [first, second] = [children.first, children.second].map(|bits| (bits >> (index & 64)) as u64);
                let whole = children.held(level, index).filter(|&(first, _)| first == index);
                let found = held_from(level, first, second, index);
                prop_assert_eq!(found, whole.map(|(_, sub)| sub), "{} of {:?}", index, children);
            }
        }
    }
}
