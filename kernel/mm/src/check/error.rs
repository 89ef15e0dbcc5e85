//! The invariants that a check can find violated, and their messages.
//!
//! Neighbour: `check` finds them.

use core::fmt;

use crate::addr::{NodeId, Order, Pfn, PfnRange, VirtAddr};
use crate::info::ResourceId;
use crate::poison::Finding;

/// A violated invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// The head of a block has no valid descriptor.
    NoDescriptor {
        /// The resource.
        resource: ResourceId,
        /// The frame.
        pfn: Pfn,
    },
    /// A block is misaligned, leaves the usable run, is partly free, or names another region.
    BadBlock {
        /// The resource.
        resource: ResourceId,
        /// The block's head.
        pfn: Pfn,
        /// Its order.
        order: Order,
    },
    /// An open group is entirely free.
    Unmerged {
        /// The resource.
        resource: ResourceId,
        /// The group's first frame.
        pfn: Pfn,
        /// The order of the block that it should be.
        order: Order,
    },
    /// The count of free blocks of an order differs from the walk.
    List {
        /// The resource.
        resource: ResourceId,
        /// The order.
        order: Order,
        /// The stored count.
        listed: u64,
        /// The walk's count.
        found: u64,
    },
    /// A free list's links are inconsistent.
    Link {
        /// The resource.
        resource: ResourceId,
        /// The list's order.
        order: Order,
        /// The group at which they break.
        pfn: Pfn,
    },
    /// A counter differs from the walk.
    Counter {
        /// The resource.
        resource: ResourceId,
        /// The counter's name.
        name: &'static str,
        /// The stored count.
        counted: u64,
        /// The walk's count.
        found: u64,
    },
    /// A node's free frames differ from the sum over its regions.
    Node {
        /// The node.
        node: NodeId,
        /// The node's count.
        counted: u64,
        /// The sum over its regions.
        found: u64,
    },
    /// A part of a resource is unmapped or mapped wrongly.
    Mapping {
        /// The resource.
        resource: ResourceId,
        /// The virtual address.
        at: VirtAddr,
    },
    /// A shared page table lies in a page that is not reserved for it.
    SharedTable {
        /// A resource that uses it.
        resource: ResourceId,
        /// The first address that the table maps.
        at: VirtAddr,
        /// The frame that holds the table.
        pfn: Pfn,
    },
    /// Frames are isolated although no removal is under way; or a region that is going offline can be allocated from,
    /// or another one cannot.
    Leaving {
        /// The resource.
        resource: ResourceId,
    },
    /// Free memory was written to.
    Poison(Finding),
    /// The index is out of order, overlaps, or names a slot with another range.
    Index {
        /// The range.
        range: PfnRange,
    },
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CheckError::NoDescriptor { resource, pfn } => {
                write!(f, "resource {resource}: frame {pfn} should head a block and has no descriptor")
            }
            CheckError::BadBlock { resource, pfn, order } => {
                write!(f, "resource {resource}: the block of order {order} at {pfn} cannot be there")
            }
            CheckError::Unmerged { resource, pfn, order } => {
                write!(f, "resource {resource}: the free block of order {order} at {pfn} is not merged")
            }
            CheckError::List { resource, order, listed, found } => write!(
                f,
                "resource {resource}: the counter of order {order} says {listed} free blocks, there are {found}"
            ),
            CheckError::Link { resource, order, pfn } => {
                write!(f, "resource {resource}: the list of order {order} breaks at {pfn}")
            }
            CheckError::Counter { resource, name, counted, found } => {
                write!(f, "resource {resource}: {name} says {counted}, there are {found}")
            }
            CheckError::Node { node, counted, found } => {
                write!(f, "node {} says {counted} free frames, its regions {found}", node.0)
            }
            CheckError::Mapping { resource, at } => {
                write!(f, "resource {resource}: {at} is not mapped as it should be")
            }
            CheckError::SharedTable { resource, at, pfn } => {
                write!(f, "resource {resource}: the table for {at} lies at {pfn}, which is not kept for it")
            }
            CheckError::Leaving { resource } => {
                write!(f, "resource {resource}: the evacuation and the isolated frames contradict each other")
            }
            CheckError::Poison(finding) => finding.fmt(f),
            CheckError::Index { range } => write!(f, "the index of ranges is wrong at {range}"),
        }
    }
}
