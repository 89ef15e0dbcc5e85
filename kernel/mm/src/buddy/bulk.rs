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
/// So many blocks before one is freed, the words of its group are fetched: after frees at random they are in no first
/// cache, and an atomic operation lets no later access begin before it ends.
const AHEAD: usize = 4;

impl<M: Machine> Buddy<'_, M> {
    /// Allocates up to `wanted` blocks of `order` in the state cached and calls `each` with each head. The descriptors
    /// of single frames are those of freed ones without an owner, so that the cache allocates them as they are. Frames
    /// of a group that is opened lie behind those that the caller got before, of the group `before`, rather than beside
    /// another CPU's ([`Buddy::open_apart`]). Returns the group that was opened last, if one was.
    pub(crate) fn alloc_bulk(
        &self,
        order: Order,
        wanted: usize,
        before: Option<Group>,
        mut each: impl FnMut(Pfn),
    ) -> Option<Group> {
        let (mut wanted, sub) = (wanted as u32, sub_of(order));
        let mut opened = None;
        while wanted > 0 && order <= self.max {
            let Some(group) = self.listed(order) else { break };
            if group.level > level_of(order) {
                // This opens a group, from which the others are allocated.
                let head = match order {
                    Order(0) => self.open_apart(opened.or(before)),
                    _ => self.allocate(order, BlockState::Cached, 0),
                };
                let Some(head) = head else { break };
                opened = Some(Group::of(head, 0));
                each(head);
                wanted -= 1;
                continue;
            }
            let children = self.children(group);
            let (starts, free) = self.pick(group, children.free(), sub, &mut wanted);
            if starts == 0 {
                break;
            }
            if group.level == 0 {
                each_bit(starts, |index| {
                    let head = group.child(index);
                    self.set_tag(head, BlockState::Movable, order);
                    self.page(head).set_rmap(0);
                });
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
        opened
    }

    /// Picks up to `wanted` blocks of 2^`sub` children among the `free` ones of a group, the smallest free blocks first, and
    /// counts down. Returns the first child of each, and the children that stay free. Changes no bit.
    #[inline]
    pub(super) fn pick(&self, group: Group, mut free: u128, sub: u8, wanted: &mut u32) -> (u128, u128) {
        let mut starts = 0;
        while *wanted > 0
            && let Some((index, larger)) = bits::smallest(free, sub)
        {
            let count = (*wanted).min(1 << (larger - sub));
            let some = bits::first_of(index, sub, count);
            (free, starts) = (free & !some, starts | bits::starts(some, sub));
            *wanted -= count;
            self.count_part(group, larger, count << sub);
        }
        (starts, free)
    }

    /// Frees `blocks` cached blocks of `order`, at most [`MOST`]; `head` returns the head of each. Those of one group that
    /// follow each other are freed together. Does not count frames.
    #[inline(always)]
    pub(crate) fn free_bulk(&self, order: Order, blocks: usize, head: impl Fn(usize) -> Pfn) {
        debug_assert!(blocks <= usize::from(MOST));
        let (level, sub) = (level_of(order), sub_of(order));
        let (mut merges, mut nr) = (Merges::NONE, 0);
        while nr < blocks {
            let first = head(nr);
            let group = Group::of(first, level);
            if nr + AHEAD < blocks {
                let ahead = head(nr + AHEAD);
                let group = Group::of(ahead, level);
                self.machine.prefetch(self.metadata.pair(group, group.index_of(ahead)));
            }
            nr += 1;
            if nr == blocks || Group::of(head(nr), level) != group {
                self.free_few(group, group.index_of(first), sub, &mut merges);
                continue;
            }
            let (mut back, mut count) = (bits::block(group.index_of(first), sub), 1);
            while nr < blocks && Group::of(head(nr), level) == group {
                back |= bits::block(group.index_of(head(nr)), sub);
                (nr, count) = (nr + 1, count + 1);
            }
            self.free_part(group, sub, back, count, &mut merges);
        }
        self.count_merges(level, merges);
    }

    /// Frees `count` blocks of 2^`sub` children of `group`, all in `back`.
    #[inline(always)]
    pub(super) fn free_part(&self, group: Group, sub: u8, back: u128, count: usize, merges: &mut Merges) {
        if count > FEW {
            return self.free_many(group, back);
        }
        let mut left = bits::starts(back, sub);
        while left != 0 {
            self.free_few(group, left.trailing_zeros() as u8, sub, merges);
            left &= left - 1;
        }
    }

    /// Frees one of a few blocks of a group.
    #[inline(always)]
    fn free_few(&self, group: Group, index: u8, sub: u8, merges: &mut Merges) {
        match self.free_in_half(group, index, sub) {
            Some(merged) => {
                if self.list_of(group) < Some(merged) {
                    self.relist(group, Some(merged));
                }
                merges.add(sub, merged);
            }
            None => self.insert_free_slow(group, index, sub, group.order(sub)),
        }
    }

    /// Frees the children `back` of a group together.
    #[inline(never)]
    fn free_many(&self, group: Group, back: u128) {
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
    }

    /// Changes the numbers of free blocks in groups of `level` by those of `merges`.
    pub(super) fn count_merges(&self, level: u8, merges: Merges) {
        if merges == Merges::NONE {
            return;
        }
        merges.each(|sub, change| self.count_change(Order(level * SHIFT + sub), change));
        if level > 0 {
            self.summary.set_unreported(true);
        }
    }
}

/// The changes of the numbers of free blocks of 2^n children, summed up over many merges: 16 bits for each n, below which
/// a negative number borrows from the next. A loop over the sizes of each merge costs more than the merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merges {
    changes: i128,
    count: u16,
}

/// The bits of a number.
const LANE: u32 = 16;
/// Merges that are summed up; each changes a number by at most 1.
const MOST: u16 = 1 << 14;

/// The changes by one block of 2^`sub` children, which was not free, that merges into one of 2^`merged`.
const CHANGES: [[i128; SHIFT as usize]; SHIFT as usize] = {
    let mut changes = [[0; SHIFT as usize]; SHIFT as usize];
    let mut sub = 0;
    while sub < SHIFT as usize {
        let (mut merged, mut buddies) = (sub, 0);
        while merged < SHIFT as usize {
            let one = 1 << (LANE * merged as u32);
            changes[sub][merged] = one - buddies;
            buddies += one;
            merged += 1;
        }
        sub += 1;
    }
    changes
};

impl Merges {
    pub(super) const NONE: Merges = Merges { changes: 0, count: 0 };

    /// Whether a number might overflow soon.
    #[inline(always)]
    pub(super) fn is_full(self) -> bool {
        self.count >= MOST
    }

    /// Adds one merge; a few more than [`MOST`] in all are allowed.
    #[inline(always)]
    fn add(&mut self, sub: u8, merged: u8) {
        let [sub, merged] = [sub, merged].map(|size| usize::from(size) % SHIFT as usize);
        self.changes += CHANGES[sub][merged];
        self.count += 1;
    }

    /// Calls `each` with each `sub` and the change of the number of its blocks.
    fn each(self, mut each: impl FnMut(u8, i64)) {
        let mut left = self.changes;
        for sub in 0..SHIFT {
            let change = left as i16;
            left = (left - i128::from(change)) >> LANE;
            if change != 0 {
                each(sub, i64::from(change));
            }
        }
    }
}

/// Calls `each` with the number of each bit that is set, ascending.
#[inline(always)]
pub(super) fn each_bit(bits: u128, mut each: impl FnMut(u8)) {
    // Word by word: a step in two words at once takes twice as many instructions.
    for (base, mut word) in [(0, bits as u64), (64, (bits >> 64) as u64)] {
        while word != 0 {
            each(base + word.trailing_zeros() as u8);
            word &= word - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the summed numbers are those of the single merges, for every kind of merge, as often as may be
    /// summed up, and a few more. Fails when a number overflows into the next one, because [`MOST`] is too large or
    /// [`LANE`] too small.
    #[test]
    fn summed_merges_are_the_sum() {
        for (sub, merged) in (0..SHIFT).flat_map(|sub| (sub..SHIFT).map(move |merged| (sub, merged))) {
            let (mut sum, mut count) = (Merges::NONE, 0);
            while !sum.is_full() {
                sum.add(sub, merged);
                count += 1;
            }
            for _ in 0..FEW {
                sum.add(sub, merged);
                count += 1;
            }
            let mut changes = [0; SHIFT as usize];
            sum.each(|sub, change| changes[usize::from(sub)] += change);
            let expected = |size| match size {
                _ if size == merged => count,
                _ if size >= sub && size < merged => -count,
                _ => 0,
            };
            assert_eq!(changes, core::array::from_fn(|size| expected(size as u8)), "{sub} into {merged}");
        }
    }
}
