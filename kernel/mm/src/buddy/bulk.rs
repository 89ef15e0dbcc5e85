//! Bulk allocation and free of blocks of one order, for the frame cache: a group's words are read and written once for
//! all of them. Corresponds to Linux `rmqueue_bulk` and `free_pcppages_bulk`.
//!
//! Invariants: those of single blocks; allocation uses the smallest free blocks first as well. Neighbours:
//! `frame_cache` calls it.

use crate::addr::{Order, Pfn};
use crate::buddy::Buddy;
use crate::buddy::bits::{self, SHIFT};
use crate::buddy::group::{Children, Group, level_of, sub_of};
use crate::descriptor::BlockState;
use crate::machine::Machine;

/// Up to this many blocks of a group are freed one by one; more are freed together, followed by a recount of the group.
const FEW: usize = 4;

impl<M: Machine> Buddy<'_, M> {
    /// Allocates up to `wanted` blocks of `order` in the state cached and calls `each` with each head.
    pub(crate) fn alloc_bulk(&self, order: Order, wanted: usize, mut each: impl FnMut(Pfn)) {
        let (mut wanted, sub) = (wanted as u32, sub_of(order));
        while wanted > 0 && order <= self.max {
            let fitting = self.summary.orders() & (!0 << order.0);
            let smallest = Order(fitting.trailing_zeros() as u8);
            let Some(group) = (fitting != 0).then(|| self.first(smallest)).flatten() else { return };
            if group.level > level_of(order) {
                // This opens a group, from which the others are allocated.
                let Some(head) = self.allocate(order, BlockState::Cached, 0) else { return };
                each(head);
                wanted -= 1;
                continue;
            }
            let children = self.children(group);
            let (mut free, mut starts) = (children.free(), 0);
            while wanted > 0
                && let Some((index, larger)) = bits::smallest(free, sub)
            {
                let count = wanted.min(1 << (larger - sub));
                let some = bits::first_of(index, sub, count);
                (free, starts) = (free & !some, starts | bits::starts(some, sub));
                wanted -= count;
                self.count_part(group, larger, count << sub);
            }
            if starts == 0 {
                return;
            }
            if group.level == 0 {
                each_bit(starts, |index| self.set_tag(group.child(index), BlockState::Cached, order));
            }
            let taken = children.free() & !free;
            let kept = if group.level == 0 { starts } else { 0 };
            let first = children.first & !(taken & !kept);
            let after = Children { first, second: children.second | starts };
            self.set_children(group, children, after);
            self.touch_children(group, taken);
            self.relist(group, bits::largest(free));
            let pages = u64::from(starts.count_ones()) << order.0;
            self.count(BlockState::Free, 0, pages);
            self.count(BlockState::Cached, pages, 0);
            each_bit(starts, |index| {
                if group.level > 0 {
                    self.mark_used(group.child(index), order, BlockState::Cached);
                }
                each(group.child(index));
            });
        }
    }

    /// Frees cached blocks of `order`: the longest prefix of `heads` that lies in one group. Returns how many. Does not
    /// count frames.
    pub(crate) fn free_bulk(&self, order: Order, mut heads: impl Iterator<Item = Pfn>) -> usize {
        let Some(head) = heads.next() else { return 0 };
        let (level, sub) = (level_of(order), sub_of(order));
        let group = Group::of(head, level);
        let (mut back, mut count) = (bits::block(group.index_of(head), sub), 1);
        for next in heads.take_while(|&next| Group::of(next, level) == group) {
            back |= bits::block(group.index_of(next), sub);
            count += 1;
        }
        if count <= FEW {
            each_bit(bits::starts(back, sub), |index| self.insert_free(group.child(index), order));
            return count;
        }
        let children = self.children(group);
        let (were, free) = (children.free(), children.free() | back);
        if free != u128::MAX {
            let after = Children { first: children.first | back, second: children.second & !back };
            self.set_children(group, children, after);
            self.relist(group, bits::largest(free));
            self.recount(group, &bits::tally(were), &bits::tally(free));
            if group.level > 0 {
                self.summary.set_unreported(true);
            }
        } else {
            self.relist(group, None);
            self.close_touched(group);
            self.recount(group, &bits::tally(were), &[0; 8]);
            self.insert_free(group.start(), group.order(SHIFT));
        }
        count
    }
}

/// Calls `each` with the number of each bit that is set, ascending.
#[inline(always)]
fn each_bit(mut bits: u128, mut each: impl FnMut(u8)) {
    while bits != 0 {
        each(bits.trailing_zeros() as u8);
        bits &= bits - 1;
    }
}
