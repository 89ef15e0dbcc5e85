//! Finding the block that contains a frame: a descent over the open groups, by their bits alone. The descriptor is read
//! for the state of a held block that is not movable.
//!
//! Neighbours: `metadata` descends, `group` decodes the bits.

use crate::addr::{Order, Pfn};
use crate::buddy::bits;
use crate::buddy::group::{Group, held_from};
use crate::buddy::{BlockKind, BlockRef, Buddy, Found};
use crate::descriptor::{BlockState, Tag};
use crate::machine::Machine;

impl<M: Machine> Buddy<'_, M> {
    /// Finds the block that contains `pfn`, from the topmost group down. `None` for a frame outside the usable
    /// run, or when the bits or the descriptor are corrupted (`check` reports that).
    pub fn find(&self, pfn: Pfn) -> Option<Found> {
        let block = self.locate(pfn)?;
        let (head, order, slot) = (block.head(), block.order(), self.slot);
        if block.kind != BlockKind::Free && !block.is_lean() && !self.is_unplugged(head) {
            let tag = self.tag(head)?;
            if (tag.order, tag.slot) != (order, slot)
                || block.kind == BlockKind::Movable && tag.state != BlockState::Movable
            {
                return None;
            }
        }
        Some(Found { head, tag: Tag { state: self.state_of(&block)?, order, slot } })
    }

    /// Returns a block's state; `None` when its descriptor contradicts the bits.
    #[inline]
    pub(super) fn state_of(&self, block: &BlockRef) -> Option<BlockState> {
        match block.kind {
            BlockKind::Free => Some(BlockState::Free),
            BlockKind::Movable => Some(BlockState::Movable),
            BlockKind::Held if self.is_unplugged(block.head()) => Some(BlockState::Unplugged),
            BlockKind::Held => match self.tag(block.head())?.state {
                BlockState::Free => None,
                // The frame cache holds it: freeing into the cache does not write the descriptor.
                BlockState::Movable if block.order() == Order(0) || block.group.level > 0 => {
                    Some(BlockState::Cached)
                }
                state => Some(state),
            },
        }
    }

    /// Finds the block that contains `pfn` without reading its descriptor. `None` for a frame outside the usable run,
    /// or when the bits are corrupted.
    #[inline]
    pub(super) fn locate(&self, pfn: Pfn) -> Option<BlockRef> {
        if !self.usable.contains(pfn) {
            return None;
        }
        let level = self.level_at(pfn);
        self.locate_in(Group::of(pfn, level), pfn)
    }

    /// The block of `head`, a child of `group`: probably a held one that starts there, which two words tell.
    #[inline(always)]
    pub(super) fn locate_head(&self, group: Group, head: Pfn) -> Option<BlockRef> {
        let (level, index) = (group.level, group.index_of(head));
        let half = self.metadata.pair(group, index);
        let (first, second) = (self.machine.load(half), self.machine.load(half.offset(8)));
        let Some(sub) = held_from(level, first, second, index) else {
            return self.locate_in(group, head);
        };
        let movable = if level > 0 { self.is_movable(group, index) } else { first >> (index % 64) & 1 == 0 };
        let kind = if movable { BlockKind::Movable } else { BlockKind::Held };
        Some(BlockRef { group, first: index, sub, kind })
    }

    /// Finds the block that contains `pfn`, a usable frame, among the children of `group`.
    #[inline(never)]
    fn locate_in(&self, group: Group, pfn: Pfn) -> Option<BlockRef> {
        let (level, index, children) = (group.level, group.index_of(pfn), self.children(group));
        if let Some((first, sub)) = bits::around(children.free(), index) {
            return Some(BlockRef { group, first, sub, kind: BlockKind::Free });
        }
        if level == 0 && children.singles() >> index & 1 == 1 {
            return Some(BlockRef { group, first: index, sub: 0, kind: BlockKind::Movable });
        }
        let (first, sub) = children.held(level, index)?;
        let movable =
            if level > 0 { self.is_movable(group, first) } else { children.first >> first & 1 == 0 };
        Some(BlockRef { group, first, sub, kind: if movable { BlockKind::Movable } else { BlockKind::Held } })
    }

    /// Finds the free block that contains `pfn`; `None` when `pfn` is not free.
    pub(super) fn free_block(&self, pfn: Pfn) -> Option<BlockRef> {
        self.locate(pfn).filter(|block| block.kind == BlockKind::Free)
    }
}
