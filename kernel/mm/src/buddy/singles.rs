//! Single movable frames in bulk, for migration: those in use are found, others allocated for them, and they are freed,
//! with a group's words read once for many.
//!
//! Invariants: those of single blocks. Frames are claimed before they are freed, as everywhere: other CPUs free frames of
//! the group without the region's lock. Neighbours: `hot_remove` finds frames, `capacity` allocates and frees them.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::bits;
use crate::buddy::bulk::{Merges, each_bit};
use crate::buddy::claim::claim_singles;
use crate::buddy::group::{Children, Group};
use crate::buddy::{Buddy, Walk, level_of_block, mark_used_uncounted};
use crate::descriptor::BlockState;
use crate::machine::Machine;

/// The order of a single frame.
const SINGLE: Order = Order(0);
/// The children that a word of a group has a bit for.
const WORD: u64 = u64::BITS as u64;

impl<M: Machine> Buddy<'_, M> {
    /// Calls `each` with the single movable frames of `part`, by ascending address, until it returns [`Walk::Stop`], another
    /// block is in use, or `budget`, the number of blocks to visit, is used up. Skips what is not in use. Returns the end of
    /// what it visited, which may be that block's head.
    pub(crate) fn walk_singles(
        &self,
        part: PfnRange,
        budget: &mut u64,
        mut each: impl FnMut(Pfn) -> Walk,
    ) -> Pfn {
        let part = part.intersection(self.usable);
        let mut at = part.start;
        while at < part.end && *budget > 0 {
            if self.level_at(at) == 0 {
                let group = Group::of(at, 0);
                let children = self.children(group);
                let singles = children.singles() >> group.index_of(at);
                let end = at.offset(u64::from(singles.trailing_ones()).min(*budget)).min(part.end);
                while at < end {
                    let single = at;
                    at = at.offset(1);
                    *budget -= 1;
                    if each(single) == Walk::Stop {
                        return at;
                    }
                }
                if singles & 1 == 1 {
                    continue;
                }
            }
            let Some(block) = self.locate(at) else { return at };
            match self.state_of(&block) {
                None | Some(BlockState::Movable | BlockState::Pinned | BlockState::Boot) => return at,
                Some(_) => at = block.end(),
            }
            *budget -= 1;
        }
        at.min(part.end)
    }

    /// Allocates up to `wanted` single movable frames. Gives each to `owner`, which returns its rmap word. Returns how many.
    pub(crate) fn alloc_singles(&self, wanted: usize, mut owner: impl FnMut(Pfn) -> u64) -> usize {
        let (mut left, mut opened) = (wanted as u32, None);
        while left > 0
            && let Some(group) = self.listed(SINGLE)
        {
            if group.level > 0 {
                // This opens a group, from which the others are allocated.
                let Some(head) = self.open_apart(opened) else { break };
                opened = Some(Group::of(head, 0));
                self.set_rmap(head, SINGLE, BlockState::Movable, owner(head));
                mark_used_uncounted(self.machine, self.metadata.level(0), head, SINGLE);
                self.count(BlockState::Cached, 0, 1);
                left -= 1;
                continue;
            }
            let children = self.children(group);
            let (heads, free) = self.pick(group, children.free(), 0, &mut left);
            if heads == 0 {
                break;
            }
            // The descriptors before the bits that make them valid.
            each_bit(heads, |index| {
                let head = group.child(index);
                self.set_tag(head, BlockState::Movable, SINGLE);
                self.page(head).set_rmap(owner(head));
            });
            self.mark_owned(group);
            let (first, second) = (children.first & !heads, children.second | heads);
            self.set_children(group, children, Children { first, second });
            self.relist(group, bits::largest(free));
            self.count(BlockState::Free, 0, u64::from(heads.count_ones()));
        }
        let count = wanted - left as usize;
        self.count(BlockState::Movable, count as u64, 0);
        count
    }

    /// Frees single movable frames, those that follow each other in one word of a group together, and calls `freed` with
    /// runs of them. What is no such frame is left alone. Ends at the first of `heads` outside of the region, and returns
    /// how many lie before it.
    pub(crate) fn free_singles(
        &self,
        heads: impl Iterator<Item = Pfn>,
        mut freed: impl FnMut(PfnRange),
    ) -> usize {
        let (mut word, mut bits, mut merges, mut count) = (Pfn(0), 0, Merges::NONE, 0);
        for head in heads.take_while(|&head| self.usable.contains(head)) {
            let start = Pfn(head.0 & !(WORD - 1));
            if start != word {
                self.free_in_word(word, core::mem::take(&mut bits), &mut merges, &mut freed);
                word = start;
            }
            bits |= 1 << (head.0 % WORD);
            count += 1;
        }
        self.free_in_word(word, bits, &mut merges, &mut freed);
        self.count_merges(0, merges);
        count
    }

    /// Frees those frames behind `start`, one for each of `bits`, that are single movable ones: see
    /// [`Buddy::free_singles`].
    fn free_in_word(&self, start: Pfn, bits: u64, merges: &mut Merges, freed: &mut impl FnMut(PfnRange)) {
        if bits == 0 || self.level_at(start) > 0 {
            return;
        }
        let group = Group::of(start, 0);
        let index = group.index_of(start);
        let claimed = claim_singles(self.machine, self.metadata.pair(group, index), bits);
        let pages = u64::from(claimed.count_ones());
        self.count(BlockState::Movable, 0, pages);
        if self.isolated.is_empty() {
            self.count(BlockState::Free, pages, 0);
            self.free_part(group, 0, u128::from(claimed) << index, pages as usize, merges);
            if merges.is_full() {
                self.count_merges(0, core::mem::replace(merges, Merges::NONE));
            }
        } else {
            self.count(BlockState::Cached, pages, 0);
            each_bit(claimed.into(), |child| self.free_cached(start.offset(child.into()), SINGLE));
        }
        let mut left = claimed;
        while left != 0 {
            let first = left.trailing_zeros();
            let run = (left >> first).trailing_ones();
            freed(PfnRange::of(start.offset(first.into()), run.into()));
            // Adding its lowest bit carries through the run.
            left &= left.wrapping_add(1 << first);
        }
    }

    /// Returns the level of the group whose children form the block of `pfn`, a usable frame.
    #[inline(always)]
    pub(super) fn level_at(&self, pfn: Pfn) -> u8 {
        level_of_block(|level| self.metadata.level(level), self.machine, self.top(), pfn)
    }
}
