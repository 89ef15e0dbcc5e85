//! The walk over every invariant of the memory core, which the shell's `check` and the tests run.

use core::fmt;

use crate::addr::{Order, Pfn, PfnRange, VirtAddr};
use crate::info::ResourceId;

/// An invariant that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// The descriptor of what should be a block's head is none.
    NoDescriptor {
        /// The resource.
        resource: ResourceId,
        /// The frame.
        pfn: Pfn,
    },
    /// A block is misaligned, leaves its first block, or names another region.
    BadBlock {
        /// The resource.
        resource: ResourceId,
        /// The block's head.
        pfn: Pfn,
        /// Its order.
        order: Order,
    },
    /// Two free buddies are not merged.
    Unmerged {
        /// The resource.
        resource: ResourceId,
        /// The head of the lower one.
        pfn: Pfn,
        /// The order of both.
        order: Order,
    },
    /// A free list does not hold what the walk over the blocks found.
    List {
        /// The resource.
        resource: ResourceId,
        /// The list's order.
        order: Order,
        /// What it holds.
        listed: u64,
        /// What the walk found.
        found: u64,
    },
    /// A free list's links do not fit each other.
    Link {
        /// The resource.
        resource: ResourceId,
        /// The list's order.
        order: Order,
        /// Where they break.
        pfn: Pfn,
    },
    /// A counter differs from what the walk over the blocks found.
    Counter {
        /// The resource.
        resource: ResourceId,
        /// Which counter.
        name: &'static str,
        /// What it says.
        counted: u64,
        /// What the walk found.
        found: u64,
    },
    /// A part of a resource is not mapped as it should be.
    Mapping {
        /// The resource.
        resource: ResourceId,
        /// Where.
        at: VirtAddr,
    },
    /// The sorted ranges are out of order, overlap, or name a slot that has another range.
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
                write!(f, "resource {resource}: free buddies of order {order} at {pfn} are not merged")
            }
            CheckError::List { resource, order, listed, found } => write!(
                f,
                "resource {resource}: the list of order {order} says {listed} blocks, there are {found}"
            ),
            CheckError::Link { resource, order, pfn } => {
                write!(f, "resource {resource}: the list of order {order} breaks at {pfn}")
            }
            CheckError::Counter { resource, name, counted, found } => {
                write!(f, "resource {resource}: {name} says {counted}, there are {found}")
            }
            CheckError::Mapping { resource, at } => {
                write!(f, "resource {resource}: {at} is not mapped as it should be")
            }
            CheckError::Index { range } => write!(f, "the index of ranges is wrong at {range}"),
        }
    }
}
