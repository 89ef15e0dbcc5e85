//! The free lists. The header holds, for each order, a list of the open groups whose largest free block has that
//! order, and the number of free blocks. One word per group links it by group numbers:
//!
//! ```text
//!  bits 0..28 next group of the list | 28..56 previous group | 56..60 the list: n, when the largest free block has
//!  2^n children; NO_LIST when no child is free | 60 a single frame of the group has had an rmap, see `owner`
//! ```
//!
//! Invariants: a group with free blocks is in exactly one list, that of its largest free order; a group
//! without free blocks is in none; the summary's bit of an order is set exactly when its list has a group. The
//! callers count frames. Neighbours: used by `buddy` only.

use crate::addr::{MAX_PFN, Order, VirtAddr};
use crate::buddy::bits::SHIFT;
use crate::buddy::group::{Group, level_of};
use crate::buddy::summary::Listed;
use crate::buddy::{Buddy, LIST_WORDS, LISTS};
use crate::machine::Machine;

/// The number of bits of a group number in a link; all bits set means no group.
const NR_BITS: u32 = 28;
const NO_GROUP: u64 = (1 << NR_BITS) - 1;
/// The first bit of the list in a link.
const LIST_SHIFT: u32 = 2 * NR_BITS;
/// The list value of a group in no list.
const NO_LIST: u64 = 0xf;
/// The mark of a group of which a single frame has had an rmap since the group was opened.
pub(super) const OWNED: u64 = 1 << 60;
/// The link of a group in no list.
const UNLISTED: u64 = NO_LIST << LIST_SHIFT | NO_GROUP << NR_BITS | NO_GROUP;

const _: () = assert!(MAX_PFN.0 >> SHIFT < NO_GROUP);

/// Encodes a group number for links and lists.
#[inline]
const fn word(group: Option<Group>) -> u64 {
    match group {
        Some(group) => group.nr,
        None => NO_GROUP,
    }
}

#[inline]
fn group(level: u8, word: u64) -> Option<Group> {
    let nr = word & NO_GROUP;
    (nr != NO_GROUP).then_some(Group { level, nr })
}

impl<M: Machine> Buddy<'_, M> {
    /// Returns the number of free blocks of `order`; 0 above the highest order.
    pub fn free_blocks(&self, order: Order) -> u64 {
        if order > self.max { 0 } else { self.machine.load(self.list(order).offset(8)) }
    }

    /// Returns the first group in the list of `order`, which must not exceed the highest order.
    #[inline]
    pub(crate) fn first(&self, order: Order) -> Option<Group> {
        group(level_of(order), self.machine.load(self.list(order)))
    }

    /// Returns the group after `of` in its list.
    #[inline]
    pub(crate) fn next(&self, of: Group) -> Option<Group> {
        group(of.level, self.machine.load(self.link_at(of)))
    }

    /// Returns the group before `of` in its list.
    #[inline]
    pub(crate) fn prev(&self, of: Group) -> Option<Group> {
        group(of.level, self.machine.load(self.link_at(of)) >> NR_BITS)
    }

    /// Returns the list that a group is in.
    #[inline]
    pub(super) fn list_of(&self, group: Group) -> Option<u8> {
        let list = self.machine.load(self.link_at(group)) >> LIST_SHIFT & NO_LIST;
        (list != NO_LIST).then_some(list as u8)
    }

    /// Writes the link of a group that opens, in no list and without a mark.
    #[inline]
    pub(super) fn clear_link(&self, group: Group) {
        self.machine.store(self.link_at(group), UNLISTED);
    }

    /// Marks a group of which a single frame gets an rmap.
    pub(super) fn mark_owned(&self, group: Group) {
        let at = self.link_at(group);
        let link = self.machine.load(at);
        if link & OWNED == 0 {
            self.machine.store(at, link | OWNED);
        }
    }

    #[inline]
    pub(super) const fn list(&self, order: Order) -> VirtAddr {
        self.metadata.header.offset(8 * (LISTS + LIST_WORDS * order.0 as u64))
    }

    #[inline]
    pub(super) fn set_first(&self, order: Order, first: Option<Group>) {
        self.machine.store(self.list(order), word(first));
    }

    /// Counts the split of a free block of order `from` down to a block of order `to`, which is not free any more.
    #[inline]
    pub(super) fn count_split(&self, from: Order, to: Order) {
        self.count_blocks(from, u64::wrapping_sub);
        (to.0..from.0).for_each(|half| self.count_blocks(Order(half), u64::wrapping_add));
    }

    /// Counts the merge of a block of order `from`, which was not free, with its buddies into one of order `to`.
    #[inline]
    pub(super) fn count_merge(&self, from: Order, to: Order) {
        (from.0..to.0).for_each(|half| self.count_blocks(Order(half), u64::wrapping_sub));
        self.count_blocks(to, u64::wrapping_add);
    }

    /// Counts the allocation of the first `children` children of a free block of 2^`sub` children; the rest stays free as
    /// smaller blocks.
    #[inline]
    pub(super) fn count_part(&self, group: Group, sub: u8, children: u32) {
        self.count_blocks(group.order(sub), u64::wrapping_sub);
        // The bits of the remaining length are the sizes of the remaining blocks.
        let mut left = (1 << sub) - children;
        while left != 0 {
            self.count_blocks(group.order(left.trailing_zeros() as u8), u64::wrapping_add);
            left &= left - 1;
        }
    }

    /// Adjusts the counters of free blocks for an open group: the number of its blocks of each size before and after a
    /// change.
    #[inline]
    pub(super) fn recount(&self, group: Group, before: &[u8; 8], after: &[u8; 8]) {
        for (sub, (&before, &after)) in
            (0..).zip(before.iter().zip(after)).filter(|(_, (before, after))| before != after)
        {
            let change = u64::from(after).wrapping_sub(u64::from(before));
            self.count_blocks(group.order(sub), |blocks, _| blocks.wrapping_add(change));
        }
    }

    /// Changes the number of free blocks of `order`.
    #[inline]
    pub(super) fn count_change(&self, order: Order, change: i64) {
        self.count_blocks(order, |blocks, _| blocks.wrapping_add_signed(change));
    }

    #[inline]
    fn count_blocks(&self, order: Order, change: impl Fn(u64, u64) -> u64) {
        let blocks = self.list(order).offset(8);
        self.machine.store(blocks, change(self.machine.load(blocks), 1));
    }

    /// Moves a group to the list for a largest free block of 2^`sub` children; `None` removes it from its list.
    #[inline]
    pub(super) fn relist(&self, group: Group, sub: Option<u8>) {
        let before = self.list_of(group);
        if before == sub {
            return;
        }
        if let Some(before) = before {
            self.unlink(group, group.order(before));
        }
        match sub {
            Some(sub) => self.push(group, sub),
            None => self.write_link(group, UNLISTED),
        }
    }

    /// Writes a link but for the group's mark.
    #[inline]
    fn write_link(&self, group: Group, link: u64) {
        let at = self.link_at(group);
        self.machine.store(at, link | self.machine.load(at) & OWNED);
    }

    fn push(&self, group: Group, sub: u8) {
        let order = group.order(sub);
        let old = self.first(order);
        let link = u64::from(sub) << LIST_SHIFT | NO_GROUP << NR_BITS | word(old);
        self.write_link(group, link);
        match old {
            Some(old) => self.set_prev(old, Some(group)),
            None => self.summary.note(order, Listed::Some),
        }
        self.set_first(order, Some(group));
    }

    fn unlink(&self, group: Group, order: Order) {
        let (next, prev) = (self.next(group), self.prev(group));
        if let Some(next) = next {
            self.set_prev(next, prev);
        }
        match prev {
            Some(prev) => {
                let at = self.link_at(prev);
                self.machine.store(at, self.machine.load(at) & !NO_GROUP | word(next));
            }
            None => {
                self.set_first(order, next);
                if next.is_none() {
                    self.summary.note(order, Listed::None);
                }
            }
        }
    }

    fn set_prev(&self, group: Group, prev: Option<Group>) {
        let at = self.link_at(group);
        let rest = self.machine.load(at) & !(NO_GROUP << NR_BITS);
        self.machine.store(at, rest | word(prev) << NR_BITS);
    }
}
