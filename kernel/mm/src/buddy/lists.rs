//! The lists: for each order the open groups whose largest free block is of that order, and the number of
//! free blocks of the order, in the header. Groups are linked through the descriptors of their homes.
//!
//! Invariants: a group with something free is in exactly the list of its largest free order, one with
//! nothing free in none; the summary's bit of an order is set exactly when its list has a group. Frames
//! are counted by the caller. Neighbour: only `buddy` uses it.

use crate::addr::{Order, Pfn, VirtAddr};
use crate::buddy::group::{Group, level_of};
use crate::buddy::summary::Listed;
use crate::buddy::{Buddy, LIST_WORDS, LISTS};
use crate::machine::Machine;
use crate::page::{link, word};

impl<M: Machine> Buddy<'_, M> {
    /// Free blocks of `order`; 0 above the highest.
    pub fn listed(&self, order: Order) -> u64 {
        if order > self.max { 0 } else { self.machine.load(self.list(order).offset(8)) }
    }

    /// The first group in the list of `order` (at most the highest).
    #[inline]
    pub(crate) fn first(&self, order: Order) -> Option<Group> {
        let home = link(self.machine.load(self.list(order)))?;
        Some(Group { level: level_of(order), home })
    }

    /// The group that comes after `group` in its list.
    pub(crate) fn next(&self, group: Group) -> Option<Group> {
        self.page(group.home).next().map(|home| Group { home, ..group })
    }

    #[inline]
    pub(super) const fn list(&self, order: Order) -> VirtAddr {
        self.header.offset(8 * (LISTS + LIST_WORDS * order.0 as u64))
    }

    #[inline]
    pub(super) fn set_first(&self, order: Order, first: Option<Pfn>) {
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

    #[inline]
    fn count_blocks(&self, order: Order, change: impl Fn(u64, u64) -> u64) {
        let blocks = self.list(order).offset(8);
        self.machine.store(blocks, change(self.machine.load(blocks), 1));
    }

    /// Moves a group to the list for a largest free block of 2^`sub` children (`None`: to no list).
    #[inline]
    pub(super) fn relist(&self, group: Group, sub: Option<u8>) {
        let page = self.page(group.home());
        let before = page.list();
        if before == sub {
            return;
        }
        if let Some(before) = before {
            self.unlink(group, group.order(before));
        }
        match sub {
            Some(sub) => self.push(group, sub),
            None => page.set_list(None),
        }
    }

    fn push(&self, group: Group, sub: u8) {
        let (home, order) = (group.home(), group.order(sub));
        let page = self.page(home);
        let old = link(self.machine.load(self.list(order)));
        page.set_next(old);
        page.set_list(Some(sub));
        match old {
            Some(old) => self.page(old).set_prev(Some(home)),
            None => self.summary.note(order, Listed::Some),
        }
        self.set_first(order, Some(home));
    }

    fn unlink(&self, group: Group, order: Order) {
        let page = self.page(group.home());
        let (next, prev) = (page.next(), page.prev());
        if let Some(next) = next {
            self.page(next).set_prev(prev);
        }
        match prev {
            Some(prev) => self.page(prev).set_next(next),
            None => {
                self.set_first(order, next);
                if next.is_none() {
                    self.summary.note(order, Listed::None);
                }
            }
        }
    }
}
