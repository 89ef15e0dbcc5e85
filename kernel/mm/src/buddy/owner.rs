//! The rmap words of held blocks, and which descriptors are accessed at all.
//!
//! ```text
//!  movable block in use        its descriptor
//!  of order 1 to 6             written once it has an rmap: bits 11 then, 01 before
//!  a single frame              written; its rmap is other than 0 only where its group is marked (`lists`)
//! ```
//!
//! A descriptor is a cache line of its own, one among millions: a miss where memory is used at random. A store that
//! misses costs as much as a load, because the next atomic operation waits for it. Few blocks have an rmap, and the
//! words of the group, which are accessed anyway, say whether one does. So the other blocks are allocated and freed
//! without their descriptors. The frame cache gets its frames with descriptors that suit a movable frame without an
//! rmap, many at once and mostly in order, which the CPU fetches in advance.
//!
//! Invariants: rmap words are written under the region's lock, or by the frame cache while the frame is cached. A
//! group's mark stays until the group is closed; a cached frame keeps its group open. Neighbours: `group` has the bits,
//! `lists` the mark, `frame_cache` takes single frames.

use crate::addr::{Order, Pfn, VirtAddr};
use crate::buddy::group::{Group, level_of};
use crate::buddy::lists::OWNED;
use crate::buddy::metadata::link_of;
use crate::buddy::{BlockKind, BlockRef, Buddy, Found};
use crate::descriptor::{BlockState, Page};
use crate::machine::Machine;

/// Whether such a block has a descriptor only once it has an rmap.
#[inline]
pub(super) const fn is_lean(order: Order, state: BlockState) -> bool {
    matches!(state, BlockState::Movable) && order.0 > 0 && level_of(order) == 0
}

/// Removes the rmap of a cached single frame, which is about to be allocated. Its level lies at `base`.
#[inline(always)]
pub(crate) fn forget_owner<M: Machine>(machine: &M, base: VirtAddr, head: Pfn) {
    if machine.load(link_of(base, Group::of(head, 0))) & OWNED != 0 {
        Page::of(machine, head).set_rmap(0);
    }
}

impl BlockRef {
    /// Whether this is a block without a descriptor: neither free nor with one.
    #[inline]
    pub(super) const fn is_lean(&self) -> bool {
        matches!(self.kind, BlockKind::Movable) && self.group.level == 0 && self.sub > 0
    }
}

impl<M: Machine> Buddy<'_, M> {
    /// The rmap word of a block in use; 0 for any other, whose word may never have been written.
    pub(crate) fn rmap(&self, found: &Found) -> u64 {
        let Found { head, tag } = *found;
        let in_use = tag.state.is_allocated() || tag.state == BlockState::Boot;
        if !in_use || is_lean(tag.order, tag.state) && !self.has_first_bit(head) {
            return 0;
        }
        self.page(head).rmap()
    }

    /// Sets the rmap word of a block in use, which `mark_used` has recorded.
    #[inline]
    pub(crate) fn set_rmap(&self, head: Pfn, order: Order, state: BlockState, rmap: u64) {
        let is_lean = is_lean(order, state);
        if is_lean && !self.has_first_bit(head) {
            if rmap == 0 {
                return;
            }
            // The descriptor before the bit that makes it valid.
            self.set_tag(head, state, order);
            self.page(head).set_rmap(rmap);
            return self.set_first_bit(head);
        }
        self.page(head).set_rmap(rmap);
        if rmap != 0 && order.0 == 0 && state == BlockState::Movable {
            self.mark_owned(Group::of(head, 0));
        }
    }
}
