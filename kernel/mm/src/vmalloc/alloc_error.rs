//! Why an allocation cannot be made, used or freed, in words.
//!
//! Neighbours: `alloc`, `free` and `pattern` return it; `migrate_error` has the reasons of a migration.

use core::fmt;

use crate::addr::VirtAddr;
use crate::address_space::ALLOC;
use crate::page_table::MapError;
use crate::vmalloc::{AllocationId, MAX_ALLOCATIONS};

/// The reason why an allocation cannot be made, used or freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocError {
    /// The request is for zero pages, or for [`Amount::All`](crate::vmalloc::Amount::All) with no frame free.
    Empty,
    /// The page tables are not set up yet.
    NotStarted,
    /// There are [`MAX_ALLOCATIONS`] allocations.
    TooManyAllocations,
    /// The vmalloc region has no free range of this size.
    NoAddresses {
        /// The requested size.
        pages: u64,
    },
    /// The request exceeds the free frames.
    NotEnough {
        /// The requested size.
        pages: u64,
        /// The free frames that the request may use.
        free: u64,
    },
    /// The frames ran out while the allocation grew; page tables need some as well.
    RanOut {
        /// The requested size.
        pages: u64,
        /// The pages that were mapped.
        got: u64,
    },
    /// No free run of frames is long enough.
    NoRun {
        /// The requested size.
        pages: u64,
    },
    /// No allocation has this id.
    Unknown {
        /// The id.
        id: AllocationId,
    },
    /// The allocation is growing or being freed.
    Busy {
        /// The id.
        id: AllocationId,
    },
    /// A surprise removal took memory of the allocation.
    Lost {
        /// The id.
        id: AllocationId,
    },
    /// The page range reaches past the end of the allocation.
    OutOfRange {
        /// The id.
        id: AllocationId,
        /// The allocation's size in pages.
        pages: u64,
    },
    /// Mapping failed.
    Map(MapError),
    /// The page tables contradict the area: memory is corrupted.
    Corrupt {
        /// The address.
        at: VirtAddr,
    },
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocError::Empty => f.write_str("nothing to allocate"),
            AllocError::NotStarted => f.write_str("the memory core is not set up yet"),
            AllocError::TooManyAllocations => {
                write!(f, "there are {MAX_ALLOCATIONS} allocations already; free one")
            }
            AllocError::NoAddresses { pages } => {
                write!(f, "no {pages} pages of free addresses in the {}", ALLOC.name)
            }
            AllocError::NotEnough { pages, free } => {
                let s = if *pages == 1 { "" } else { "s" };
                write!(f, "{pages} page{s} requested, but only {free} suitable frames are free")
            }
            AllocError::RanOut { pages, got } => {
                write!(f, "memory ran out at page {got} of {pages} (page tables need frames too)")
            }
            AllocError::NoRun { pages } => write!(f, "no run of {pages} free frames"),
            AllocError::Unknown { id } => write!(f, "there is no allocation {id}"),
            AllocError::Busy { id } => write!(f, "allocation {id} is being made or freed"),
            AllocError::Lost { id } => {
                write!(f, "allocation {id} is lost: its memory was surprise-removed; free it")
            }
            AllocError::OutOfRange { id, pages } => write!(f, "allocation {id} has {pages} pages"),
            AllocError::Map(error) => error.fmt(f),
            AllocError::Corrupt { at } => write!(f, "the page tables are corrupted at {at}"),
        }
    }
}

impl core::error::Error for AllocError {}

impl From<MapError> for AllocError {
    fn from(error: MapError) -> AllocError {
        AllocError::Map(error)
    }
}
