//! Single movable frames in bulk, for migration: those in use are found, others allocated for them, and they are freed,
//! with a group's words read once for many.
//!
//! Invariants: those of single blocks. A frame is claimed before it is freed, as everywhere: other CPUs free frames of
//! the group without the region's lock. Neighbours: `hot_remove` finds frames, `capacity` allocates and frees them.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::group::Group;
use crate::buddy::{Buddy, Walk, claim, level_of_block, mark_used_uncounted};
use crate::descriptor::BlockState;
use crate::machine::Machine;

/// The order of a single frame.
const SINGLE: Order = Order(0);

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
        let mut count = 0;
        self.alloc_bulk(SINGLE, wanted, None, |head| {
            // The descriptor before the bit that makes it valid.
            self.set_rmap(head, SINGLE, BlockState::Movable, owner(head));
            mark_used_uncounted(self.machine, self.metadata.level(0), head, SINGLE);
            count += 1;
        });
        self.count(BlockState::Cached, 0, count as u64);
        self.count(BlockState::Movable, count as u64, 0);
        count
    }

    /// Frees single movable frames, quickly where they ascend. Returns how many of them, from the first, were such frames:
    /// the others are left alone.
    pub(crate) fn free_singles(&self, heads: impl Iterator<Item = Pfn> + Clone) -> usize {
        let mut open = None;
        let claimed = heads.clone().take_while(|&head| {
            let group = Group::of(head, 0);
            if open != Some(group) {
                if !self.usable.contains(head) || self.level_at(head) > 0 {
                    return false;
                }
                open = Some(group);
            }
            claim(self.machine, self.metadata.level(0), head, SINGLE)
        });
        let count = claimed.count();
        let pages = count as u64;
        self.count(BlockState::Movable, 0, pages);
        if self.isolated.is_empty() {
            self.count(BlockState::Free, pages, 0);
            self.free_bulk(SINGLE, heads.take(count));
        } else {
            self.count(BlockState::Cached, pages, 0);
            heads.take(count).for_each(|head| self.free_cached(head, SINGLE));
        }
        count
    }

    /// Returns the level of the group whose children form the block of `pfn`, a usable frame.
    #[inline(always)]
    pub(super) fn level_at(&self, pfn: Pfn) -> u8 {
        level_of_block(|level| self.metadata.level(level), self.machine, self.top(), pfn)
    }
}
