//! The free lists: one an order, heads and lengths in the header, linked through the blocks' descriptors.
//!
//! Invariant: the summary's bit of an order is set exactly when its list has a block. Frames are
//! counted by the caller. Neighbour: only `buddy` uses it.

use crate::addr::{Order, Pfn, VirtAddr};
use crate::buddy::summary::Listed;
use crate::buddy::{Buddy, LIST_WORDS, LISTS};
use crate::machine::Machine;
use crate::page::{State, Tag, link, word};

impl<M: Machine> Buddy<'_, M> {
    /// Blocks in the free list of `order`; 0 above the highest.
    pub fn listed(&self, order: Order) -> u64 {
        if order > self.max { 0 } else { self.machine.load(self.list(order).offset(8)) }
    }

    /// The first block of the free list of `order` (at most the highest).
    pub fn first(&self, order: Order) -> Option<Pfn> {
        link(self.machine.load(self.list(order)))
    }

    #[inline]
    pub(super) const fn list(&self, order: Order) -> VirtAddr {
        self.header.offset(8 * (LISTS + LIST_WORDS * order.0 as u64))
    }

    #[inline]
    pub(super) fn set_first(&self, order: Order, first: Option<Pfn>) {
        self.machine.store(self.list(order), word(first));
    }

    /// Puts a block into its list, writing its descriptor. Counts no frames.
    #[inline]
    pub(super) fn push(&self, head: Pfn, order: Order) {
        let page = self.page(head);
        let old = self.first(order);
        page.set_tag(Tag { state: State::Free, order, slot: self.slot });
        page.set_next(old);
        page.set_prev(None);
        if let Some(old) = old {
            self.page(old).set_prev(Some(head));
        } else {
            self.summary.note(order, Listed::Some);
        }
        self.set_first(order, Some(head));
        let blocks = self.list(order).offset(8);
        self.machine.store(blocks, self.machine.load(blocks) + 1);
    }

    /// Takes a block out of its list. Its tag stays.
    #[inline]
    pub(super) fn unlink(&self, head: Pfn, order: Order) {
        let page = self.page(head);
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
        let blocks = self.list(order).offset(8);
        self.machine.store(blocks, self.machine.load(blocks) - 1);
    }
}
