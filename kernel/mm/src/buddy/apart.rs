//! Opening groups for several CPUs at once: apart from each other, so that they do not write to the same cache lines.
//!
//! ```text
//!  clusters of 8 groups    | 0 1 2 3 4 5 6 7 | 0 1 2 3 4 5 6 7 |
//!  one CPU                   A A A ...                            the smallest free block, as always
//!  two in turns              A A A ...         B B B ...          B opens a cluster of its own, A goes on in its own
//! ```
//!
//! The words of a group are 40 bytes, so neighbours share lines, and each allocation and free of a frame by the frame
//! cache changes one of them. With neighbouring groups two CPUs wait for each other's line at almost each operation.
//!
//! Invariant: only the choice between free blocks differs, and only while several CPUs open groups of a region in
//! turns. Neighbours: `bulk` opens groups for the frame cache, `summary` remembers who opened the last one.

use crate::addr::{Order, Pfn};
use crate::buddy::Buddy;
use crate::buddy::group::Group;
use crate::descriptor::BlockState;
use crate::machine::Machine;

/// A cluster is a block of this order: 8 groups, whose words fill 5 lines.
const CLUSTER: Order = Order(10);

const fn cluster_of(pfn: Pfn) -> u64 {
    pfn.0 >> CLUSTER.0
}

impl<M: Machine> Buddy<'_, M> {
    /// Allocates a single frame in the state cached from a group that is opened for it. This CPU opened `before` last.
    pub(super) fn open_apart(&self, before: Option<Group>) -> Option<Pfn> {
        let cpu = self.machine.cpu().index() as u8;
        let (cluster, last) = self.summary.opened();
        let smallest = |order| self.smallest(order).map(|(group, _, index, _)| group.child(index));
        let mut head = smallest(Order(0))?;
        if last != cpu {
            let next = before.and_then(|group| self.next_in_cluster(group));
            let apart = || if cluster_of(head) == cluster { smallest(CLUSTER) } else { None };
            head = next.or_else(apart).unwrap_or(head);
        }
        self.summary.set_opened(cluster_of(head), cpu);
        let block = self.free_block(head)?;
        self.split_off(
            block.group,
            self.children(block.group),
            head,
            Order(0),
            block.order(),
            BlockState::Cached,
        );
        self.mark_allocated(head, Order(0), BlockState::Cached, 0);
        // As `alloc_bulk` gives frames: see `owner`.
        self.set_tag(head, BlockState::Movable, Order(0));
        Some(head)
    }

    /// The first frame of the next group, if it is free as a whole and in the same cluster.
    fn next_in_cluster(&self, group: Group) -> Option<Pfn> {
        let next = group.frames().end;
        let block = self.free_block(next)?;
        (block.group.level > 0 && cluster_of(next) == cluster_of(group.start())).then_some(next)
    }
}
