//! Isolating a part of a region: blocks are split at its borders, and its free blocks become isolated. Corresponds to
//! Linux `mm/page_isolation.c`.
//!
//! ```text
//!  part            |<------------------->|
//!  before   | F  |   F   | M |  P | M  |   F    |      F free, M movable, P pinned
//!  isolated | F | I      | M |  P | M  | I |  F |      I isolated; a block freed in the part becomes I
//!  offline  | F | O      | O          O    O |  F |      once nothing is allocated there
//! ```
//!
//! Invariants: no block crosses a border of the part, except a pinned one, which prevents the offlining, and which
//! `free` splits at the border; isolated and offline blocks are held, so they do not merge. To isolate a region as a
//! whole, `hot_remove` takes it off its node's list instead. Neighbours: `hot_remove` calls it; `Buddy::free` isolates
//! blocks freed in the part.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::{BlockRef, Buddy, Found};
use crate::descriptor::BlockState;
use crate::machine::Machine;

impl<M: Machine> Buddy<'_, M> {
    /// Calls `each` with the blocks that overlap `part`, by ascending address, until it returns [`Walk::Stop`]. Returns
    /// the end of the last block visited. `each` may change the block's state.
    pub fn walk(&self, part: PfnRange, mut each: impl FnMut(&Found) -> Walk) -> Pfn {
        let part = part.intersection(self.usable);
        let mut at = part.start;
        while at < part.end
            && let Some(found) = self.find(at)
        {
            at = found.range().end;
            if each(&found) == Walk::Stop {
                break;
            }
        }
        at
    }

    /// Splits an allocated block until the block at its head has `order`; `rmap_at` as for [`Buddy::split_at`].
    pub fn split_to(&self, head: Pfn, order: Order, rmap_at: impl Fn(u64, u64) -> u64) {
        while let Some(block) = self.locate(head).filter(|block| block.order() > order)
            && self.split_held(&block, &rmap_at).is_some()
        {}
    }

    /// Frees an allocated block while a part is isolated: the frames in the part become isolated. Splits a pinned block
    /// that crosses the border first.
    #[cold]
    pub(super) fn free_beside_isolated(&self, block: PfnRange, state: BlockState) {
        for border in [self.isolated.start, self.isolated.end] {
            if block.contains(border) {
                self.split_at(border, |rmap, _| rmap);
            }
        }
        let mut at = block.start;
        while at < block.end
            && let Some(block) = self.locate(at)
        {
            at = block.end();
            if self.isolated.contains(block.head()) {
                self.set_state(&block, state, BlockState::Isolated);
            } else {
                self.free_found(&block, state);
            }
        }
    }

    /// Frees a cached block while a part is isolated: the frames in the part become isolated.
    #[cold]
    pub(crate) fn free_cached(&self, head: Pfn, order: Order) {
        self.free_beside_isolated(PfnRange::of(head, order.pages()), BlockState::Cached);
    }

    /// Changes the state of a held block and counts its frames.
    pub(super) fn set_state(&self, block: &BlockRef, from: BlockState, to: BlockState) {
        let pages = block.order().pages();
        self.mark_used(block.head(), block.order(), to);
        self.count(from, 0, pages);
        self.count(to, pages, 0);
    }

    /// Allocates all free frames of `part`, in state `state`. Returns how many.
    pub fn alloc_free_blocks(&self, part: PfnRange, state: BlockState) -> u64 {
        let part = part.intersection(self.usable);
        let (mut at, mut taken) = (part.start, 0);
        while at < part.end
            && let Some(found) = self.find(at)
        {
            let end = found.range().end.min(part.end);
            if found.tag.state == BlockState::Free
                && self.alloc_range(PfnRange::new(at, end), state, 0).is_some()
            {
                taken += end.0 - at.0;
            }
            at = end;
        }
        taken
    }

    /// Changes all blocks of `part` in the held state `from` to the held state `to`. Returns the number of frames.
    pub fn change_state(&self, part: PfnRange, from: BlockState, to: BlockState) -> u64 {
        let mut changed = 0;
        self.walk(part, |found| {
            if found.tag.state == from
                && let Some(block) = self.locate(found.head)
            {
                self.set_state(&block, from, to);
                changed += found.tag.order.pages();
            }
            Walk::Continue
        });
        changed
    }

    /// Frees all blocks of `part` in the held state `from`. Returns the number of frames.
    pub fn free_all(&self, part: PfnRange, from: BlockState) -> u64 {
        let mut freed = 0;
        self.walk(part, |found| {
            if found.tag.state == from
                && let Ok(order) = self.free_held(found.head)
            {
                freed += order.pages();
            }
            Walk::Continue
        });
        freed
    }
}

/// The result of a walk's callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Visit the next block.
    Continue,
    /// End the walk.
    Stop,
}
