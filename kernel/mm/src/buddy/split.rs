//! Splitting free blocks and merging freed ones, in the bits of the groups. A split opens groups, a merge closes them.
//!
//! Invariants: those of `buddy`; lists and numbers of free blocks follow each change. Neighbours: `buddy` allocates and
//! frees with it, `bulk` frees several blocks of a group together, `lists` and `touched` are updated.

use crate::addr::{Order, Pfn};
use crate::buddy::bits::{self, SHIFT};
use crate::buddy::group::{Children, Group, level_of, sub_of};
use crate::buddy::{BlockRef, Buddy};
use crate::descriptor::BlockState;
use crate::machine::Machine;

impl<M: Machine> Buddy<'_, M> {
    /// Splits the block of `order` at `head` off a free block of order `from` in `group`, whose bits are `children`.
    /// The other halves stay free. The block will be in `state`.
    #[inline]
    pub(super) fn split_off(
        &self,
        group: Group,
        children: Children,
        head: Pfn,
        order: Order,
        from: Order,
        state: BlockState,
    ) {
        let level = level_of(order);
        // On the block's level, clear its children's free bits; above, mark the child that contains it as open.
        let without = |group: Group, children: Children| {
            let index = group.index_of(head);
            if group.level == level {
                Children { first: children.first & !bits::block(index, sub_of(order)), ..children }
            } else {
                Children { second: children.second | 1 << index, ..children }
            }
        };
        let left = without(group, children);
        // On level 0 the head of a held block keeps the bit that it had when it was free, unless it becomes 01.
        let keeps = group.level == 0 && state != BlockState::Movable;
        let kept = if keeps { 1 << group.index_of(head) } else { 0 };
        self.set_children(group, children, Children { first: left.first | kept, ..left });
        // Only splitting a block of the group's largest size can change the largest size.
        if self.list_of(group) == Some(sub_of(from)) {
            self.relist(group, bits::largest(left.free()));
        }
        for level in (level..group.level).rev() {
            let inner = Group::of(head, level);
            self.open(inner, without(inner, Children { first: !0, second: 0 }));
        }
        self.count_split(from, order);
        if group.level > 0 {
            self.touch(head, order);
        }
    }

    /// Marks a block as free and merges it with free buddies. Does not count frames.
    #[inline(always)]
    pub(super) fn insert_free(&self, head: Pfn, order: Order) {
        let (group, sub) = (Group::of(head, level_of(order)), sub_of(order));
        let index = group.index_of(head);
        match self.free_in_half(group, index, sub) {
            Some(merged) => self.note_merged(group, merged, order),
            None => self.insert_free_slow(group, index, sub, order),
        }
    }

    /// Frees a block of 2^`sub` children at `index`. Returns the `sub` of the free block that it is part of then.
    /// `None`, and nothing changes, when its half of the group would be completely free: unless it is, the two words of
    /// the half suffice.
    #[inline(always)]
    pub(super) fn free_in_half(&self, group: Group, index: u8, sub: u8) -> Option<u8> {
        if sub >= SHIFT - 1 {
            return None;
        }
        let at = self.metadata.pair(group, index);
        let block = bits::block(index % 64, sub) as u64;
        let (first, second) = (self.machine.load(at), self.machine.load(at.offset(8)));
        let left = second & !block;
        let free = (first | block) & !left;
        if free == u64::MAX {
            return None;
        }
        // As `change_pair` does, without a second load: the block loses its second bits first.
        if left != second {
            self.machine.store(at.offset(8), left);
        }
        let set = block & !first;
        if set != 0 && group.level == 0 {
            self.machine.fetch_xor(at, set);
        } else if set != 0 {
            self.machine.store(at, first | block);
        }
        Some(bits::around_in_half(free, index % 64))
    }

    /// The slow path of [`Buddy::insert_free`], which may close groups.
    #[inline(never)]
    pub(super) fn insert_free_slow(&self, mut group: Group, mut index: u8, mut sub: u8, order: Order) {
        loop {
            let (before, block) = (self.children(group), bits::block(index, sub));
            let children = Children { first: before.first | block, second: before.second & !block };
            let free = children.free();
            if free != u128::MAX {
                self.set_children(group, before, children);
                let merged = bits::around(free, index).map_or(sub, |(_, merged)| merged);
                return self.note_merged(group, merged, order);
            }
            // Completely free: close the group; it becomes a free child of the group above.
            self.relist(group, None);
            self.close_touched(group);
            let above = Group::of(group.start(), group.level + 1);
            (index, sub) = (above.index_of(group.start()), 0);
            group = above;
        }
    }

    /// Updates lists and counters after a block of `order` merged into a free block of 2^`merged` children of `group`.
    #[inline]
    pub(super) fn note_merged(&self, group: Group, merged: u8, order: Order) {
        if self.list_of(group) < Some(merged) {
            self.relist(group, Some(merged));
        }
        self.count_merge(order, group.order(merged));
        if group.level > 0 {
            self.summary.set_unreported(true);
        }
    }

    /// Frees a held block and counts its frames.
    #[inline(always)]
    pub(super) fn free_found(&self, block: &BlockRef, state: BlockState) {
        let (head, order) = (block.head(), block.order());
        self.count(state, 0, order.pages());
        self.count(BlockState::Free, order.pages(), 0);
        self.insert_free(head, order);
    }
}
