//! The lists: for each order the open groups whose largest free block is of that order, and the number of
//! free blocks of the order, in the header. Groups are linked by their numbers, in one word each:
//!
//! ```text
//!  bits 0..28 the next group of the list | 28..56 the one before | 56..64 which list: the largest free block is of
//!  2^n children (NO_LIST: nothing is free)
//! ```
//!
//! Invariants: a group with something free is in exactly the list of its largest free order, one with
//! nothing free in none; the summary's bit of an order is set exactly when its list has a group. Frames
//! are counted by the caller. Neighbour: only `buddy` uses it.

use crate::addr::{MAX_PFN, Order, VirtAddr};
use crate::buddy::bits::SHIFT;
use crate::buddy::group::{Group, level_of};
use crate::buddy::summary::Listed;
use crate::buddy::{Buddy, LIST_WORDS, LISTS};
use crate::machine::Machine;

/// Bits of a group's number in a link, all of them set where there is no group.
const NR_BITS: u32 = 28;
const NO_GROUP: u64 = (1 << NR_BITS) - 1;
/// Where a link has the list.
const LIST_SHIFT: u32 = 2 * NR_BITS;
/// "In no list".
const NO_LIST: u64 = 0xff;

const _: () = assert!(MAX_PFN.0 >> SHIFT < NO_GROUP);

/// A group's number as it stands in links and lists.
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
    /// Free blocks of `order`; 0 above the highest.
    pub fn listed(&self, order: Order) -> u64 {
        if order > self.max { 0 } else { self.machine.load(self.list(order).offset(8)) }
    }

    /// The first group in the list of `order` (at most the highest).
    #[inline]
    pub(crate) fn first(&self, order: Order) -> Option<Group> {
        group(level_of(order), self.machine.load(self.list(order)))
    }

    /// The group that comes after `group` in its list.
    #[inline]
    pub(crate) fn next(&self, of: Group) -> Option<Group> {
        group(of.level, self.machine.load(self.link_at(of)))
    }

    /// The group that comes before `group` in its list.
    #[inline]
    pub(crate) fn prev(&self, of: Group) -> Option<Group> {
        group(of.level, self.machine.load(self.link_at(of)) >> NR_BITS)
    }

    /// The list that a group is in.
    #[inline]
    pub(super) fn list_of(&self, group: Group) -> Option<u8> {
        let list = self.machine.load(self.link_at(group)) >> LIST_SHIFT;
        (list != NO_LIST).then_some(list as u8)
    }

    /// Puts a group into no list, whatever its link says.
    #[inline]
    pub(super) fn clear_link(&self, group: Group) {
        self.machine.store(self.link_at(group), NO_LIST << LIST_SHIFT | NO_GROUP << NR_BITS | NO_GROUP);
    }

    #[inline]
    pub(super) const fn list(&self, order: Order) -> VirtAddr {
        self.metadata.header.offset(8 * (LISTS + LIST_WORDS * order.0 as u64))
    }

    #[inline]
    pub(super) fn set_first(&self, order: Order, first: Option<Group>) {
        self.machine.store(self.list(order), word(first));
    }

    /// Counts that a block of order `from` became, by halving, one of order `to` and the other halves.
    #[inline]
    pub(super) fn count_split(&self, from: Order, to: Order) {
        self.count_blocks(from, u64::wrapping_sub);
        (to.0..from.0).for_each(|half| self.count_blocks(Order(half), u64::wrapping_add));
    }

    /// Counts that a block of order `from` became, with its buddies, one of order `to`.
    #[inline]
    pub(super) fn count_merge(&self, from: Order, to: Order) {
        (from.0..to.0).for_each(|half| self.count_blocks(Order(half), u64::wrapping_sub));
        self.count_blocks(to, u64::wrapping_add);
    }

    /// Counts that the first `places` children of a free block of 2^sub went; what is left are blocks too.
    #[inline]
    pub(super) fn count_part(&self, group: Group, sub: u8, areas: u32) {
        self.count_blocks(group.order(sub), u64::wrapping_sub);
        // The sizes of what is left are the bits of its length.
        let mut left = (1 << sub) - areas;
        while left != 0 {
            self.count_blocks(group.order(left.trailing_zeros() as u8), u64::wrapping_add);
            left &= left - 1;
        }
    }

    /// Counts the free blocks of an open group anew, which were and are so many of each size.
    #[inline]
    pub(super) fn recount(&self, group: Group, were: &[u8; 8], are: &[u8; 8]) {
        for (sub, (&were, &are)) in (0..).zip(were.iter().zip(are)).filter(|(_, (were, are))| were != are) {
            let change = u64::from(are).wrapping_sub(u64::from(were));
            self.count_blocks(group.order(sub), |blocks, _| blocks.wrapping_add(change));
        }
    }

    #[inline]
    fn count_blocks(&self, order: Order, change: impl Fn(u64, u64) -> u64) {
        let blocks = self.list(order).offset(8);
        self.machine.store(blocks, change(self.machine.load(blocks), 1));
    }

    /// Moves a group to the list for a largest free block of 2^`sub` children (`None`: to no list).
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
            None => self.clear_link(group),
        }
    }

    fn push(&self, group: Group, sub: u8) {
        let order = group.order(sub);
        let old = self.first(order);
        let link = u64::from(sub) << LIST_SHIFT | NO_GROUP << NR_BITS | word(old);
        self.machine.store(self.link_at(group), link);
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
