//! Allocations mapped in the ALLOC window: what `alloc` hands out.
//!
//! ```text
//!  ALLOC  [ allocation 1 | hole | allocation 3 ......... | hole ]      virtual, first fit
//!              |  |  |            | one leaf or many a block |
//!            blocks of the buddy, each head knows its address here (the reverse map)
//! ```
//!
//! The page table is the only record of the blocks: an allocation is a virtual range, and freeing it reads
//! block after block from the tables. The list of allocations has a fixed maximum; numbers are never used
//! again. Everything goes in steps, so that the caller can give way: growing, filling, verifying, freeing.
//!
//! Invariants: every frame that an allocation has is mapped, or in the list (`Pending`, `Moving`), so that `lose` finds
//! it; ranges do not overlap; every page of an allocation is mapped, and each of its blocks is
//! mapped whole, except while it grows or goes; the frames of a table are reserved before the block that
//! needs them is taken; blocks and tables are given back after the flush.
//!
//! Locks: the window's lock is held during a step and comes after `hotplug` and before the page tables.
//! Neighbours: `provider` is the door to the buddy allocators, `page_table` maps. Corresponds to Linux
//! `mm/vmalloc.c`.

mod alloc;
mod free;
mod migrate;
mod migrate_contiguous;
mod pattern;
mod provider;
mod surprise_removal;

#[cfg(test)]
mod tests;

use core::fmt;

use arrayvec::ArrayVec;
use spin::Mutex;

use crate::addr::{NodeId, PAGE_SIZE, VirtAddr};
use crate::address_space::ALLOC;
use crate::descriptor::Kind;
use crate::page_table::MapError;

pub use alloc::AllocationBuilder;
use alloc::Pending;
pub(crate) use migrate::{Held, Moved, Sizes};
use migrate_contiguous::Moving;
pub use pattern::{BadWord, Verified};
pub(crate) use provider::FrameProvider;

/// The most allocations at a time.
pub const MAX_ALLOCATIONS: usize = 1024;

/// The number of an allocation, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u64);

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many pages, or nothing.
    Pages(u64),
    /// Every frame that is free when it begins, except those that the page tables take.
    All,
}

/// How the frames may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Anywhere.
    Scattered,
    /// One run of frames.
    Contiguous,
}

/// A wish for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How much.
    pub amount: Amount,
    /// From which node alone.
    pub node: Option<NodeId>,
    /// Whether it may be migrated.
    pub kind: Kind,
    /// How the frames may lie.
    pub shape: Shape,
}

/// An allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Its number.
    pub id: AllocationId,
    /// Its first address.
    pub start: VirtAddr,
    /// Its pages.
    pub pages: u64,
    /// How many of them, from the first on, were filled with the pattern.
    pub filled: u64,
    /// Where it stands.
    pub state: AllocationState,
}

/// Where an allocation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocationState {
    /// It is being made.
    Allocating,
    /// It can be used.
    Ready,
    /// It is being freed.
    Freeing,
    /// Frames of it went away with their device; what was left of it is free again.
    Lost,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another step is needed.
    More,
    /// That was the last step.
    Done,
}

/// Why an allocation cannot be made, used or freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocError {
    /// Nothing was asked for, or there is nothing free.
    Empty,
    /// Page tables are not set up yet.
    NotStarted,
    /// The list is full.
    TooManyAllocations,
    /// No room in the window.
    NoAddresses {
        /// What was wanted.
        pages: u64,
    },
    /// Less is free than was asked for.
    NotEnough {
        /// What was wanted.
        pages: u64,
        /// What is free where it was wanted.
        free: u64,
    },
    /// Free frames, or those for page tables, ran out on the way.
    RanOut {
        /// What was wanted.
        pages: u64,
        /// How far it came.
        got: u64,
    },
    /// No contiguous run is so long.
    NoRun {
        /// What was wanted.
        pages: u64,
    },
    /// There is no allocation of that number.
    Unknown {
        /// The number.
        id: AllocationId,
    },
    /// The allocation is just being made or freed.
    Busy {
        /// The number.
        id: AllocationId,
    },
    /// Memory of the allocation went away with its device.
    Lost {
        /// The number.
        id: AllocationId,
    },
    /// The pages asked for are not all in the allocation.
    OutOfRange {
        /// The number.
        id: AllocationId,
        /// The allocation's pages.
        pages: u64,
    },
    /// The page tables refused.
    Map(MapError),
    /// The page tables do not hold what they must: memory is corrupted.
    Corrupt {
        /// Where.
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
                write!(f, "{pages} page{s} wanted, {free} of that kind are free there")
            }
            AllocError::RanOut { pages, got } => {
                write!(f, "memory ran out at page {got} of {pages} (page tables need frames too)")
            }
            AllocError::NoRun { pages } => write!(f, "no run of {pages} free frames"),
            AllocError::Unknown { id } => write!(f, "there is no allocation {id}"),
            AllocError::Busy { id } => write!(f, "allocation {id} is being made or freed"),
            AllocError::Lost { id } => write!(f, "allocation {id} is lost: its memory went away; free it"),
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

/// An allocation and its part of the window.
#[derive(Clone, Debug)]
struct Area {
    /// What is mapped so far.
    allocation: Allocation,
    /// Pages of the window from its start on that nobody else gets.
    reserved: u64,
    /// Pages from the start on that are gone again.
    freed: u64,
    /// How its frames may lie.
    shape: Shape,
    /// The run that its frames are on the way to (of a contiguous one).
    moving: Option<Moving>,
    /// What it has taken and not mapped yet, while it is being made.
    pending: Pending,
}

impl Area {
    fn end(&self) -> u64 {
        self.allocation.start.0 + self.reserved * PAGE_SIZE
    }

    fn page(&self, index: u64) -> VirtAddr {
        self.allocation.start.offset(index * PAGE_SIZE)
    }
}

/// The list of allocations, in the order of their addresses.
#[derive(Debug)]
struct AreaTree {
    next: u64,
    list: ArrayVec<Area, MAX_ALLOCATIONS>,
}

/// The window. See the module's head.
#[derive(Debug)]
pub struct VmallocArena {
    areas: Mutex<AreaTree>,
}

impl Default for VmallocArena {
    fn default() -> VmallocArena {
        VmallocArena::new()
    }
}

impl VmallocArena {
    /// An empty window.
    pub const fn new() -> VmallocArena {
        VmallocArena { areas: Mutex::new(AreaTree { next: 1, list: ArrayVec::new_const() }) }
    }

    /// The allocation `id`.
    pub fn get(&self, id: AllocationId) -> Option<Allocation> {
        let areas = self.areas.lock();
        areas.list.iter().map(|place| place.allocation).find(|allocation| allocation.id == id)
    }

    /// The allocation with the lowest number above `after` (`None`: of all). To walk over them without a
    /// lock held in between.
    pub fn next_after(&self, after: Option<AllocationId>) -> Option<Allocation> {
        let areas = self.areas.lock();
        let allocations = areas.list.iter().map(|place| place.allocation);
        allocations.filter(|one| after.is_none_or(|after| one.id > after)).min_by_key(|one| one.id)
    }

    /// The allocation whose addresses `at` is among.
    pub fn holding(&self, at: VirtAddr) -> Option<Allocation> {
        let areas = self.areas.lock();
        let holds = |one: &Allocation| at >= one.start && at.0 - one.start.0 < one.pages * PAGE_SIZE;
        areas.list.iter().map(|place| place.allocation).find(holds)
    }
}

impl AreaTree {
    /// Reserves `pages` addresses, the first of them `offset` pages above a multiple of `align` pages.
    fn reserve(
        &mut self,
        pages: u64,
        align: u64,
        offset: u64,
        shape: Shape,
    ) -> Result<AllocationId, AllocError> {
        if self.list.is_full() {
            return Err(AllocError::TooManyAllocations);
        }
        let align = align * PAGE_SIZE;
        let offset = offset * PAGE_SIZE % align;
        let bytes = pages.checked_mul(PAGE_SIZE).filter(|bytes| *bytes <= ALLOC.size);
        let bytes = bytes.ok_or(AllocError::NoAddresses { pages })?;
        let mut start = ALLOC.start.0 + offset;
        let mut index = 0;
        for place in &self.list {
            if start + bytes <= place.allocation.start.0 {
                break;
            }
            // The window's start is a multiple of every alignment, so the remainder is all that counts.
            let end = place.end();
            start = end + (offset + align - end % align) % align;
            index += 1;
        }
        if start - ALLOC.start.0 > ALLOC.size - bytes {
            return Err(AllocError::NoAddresses { pages });
        }
        let id = AllocationId(self.next);
        self.next += 1;
        let state = AllocationState::Allocating;
        let allocation = Allocation { id, start: VirtAddr(start), pages: 0, filled: 0, state };
        let pending = Pending::new();
        self.list.insert(index, Area { allocation, reserved: pages, freed: 0, shape, moving: None, pending });
        Ok(id)
    }

    /// The place whose addresses `at` is among.
    fn holding(&mut self, at: VirtAddr) -> Option<&mut Area> {
        let behind = self.list.partition_point(|place| place.allocation.start <= at);
        self.list.get_mut(behind.checked_sub(1)?).filter(|place| at.0 < place.end())
    }

    fn index(&self, id: AllocationId) -> Result<usize, AllocError> {
        let found = self.list.iter().position(|place| place.allocation.id == id);
        found.ok_or(AllocError::Unknown { id })
    }

    fn place(&mut self, id: AllocationId) -> Result<&mut Area, AllocError> {
        let index = self.index(id)?;
        self.list.get_mut(index).ok_or(AllocError::Unknown { id })
    }

    fn ready(&mut self, id: AllocationId) -> Result<&mut Area, AllocError> {
        let place = self.place(id)?;
        match place.allocation.state {
            AllocationState::Ready => Ok(place),
            AllocationState::Allocating | AllocationState::Freeing => Err(AllocError::Busy { id }),
            AllocationState::Lost => Err(AllocError::Lost { id }),
        }
    }
}

const _: () = assert!(ALLOC.start.0.is_multiple_of(1 << 30), "blocks of 1 GiB are mapped by one leaf");
