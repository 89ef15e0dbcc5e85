//! Virtually contiguous allocations, mapped in the vmalloc region. Corresponds to Linux `mm/vmalloc.c`.
//!
//! ```text
//!  ALLOC  [ allocation 1 | hole | allocation 3 ......... | hole ]      virtual, first fit
//!              |  |  |            | one leaf or many a block |
//!            buddy blocks; the head frame's descriptor holds the block's address here (rmap)
//! ```
//!
//! The page table is the only record of an allocation's blocks: an allocation is a virtual range, and freeing reads
//! the blocks from the tables. The number of areas is limited ([`MAX_ALLOCATIONS`]); ids are never reused. Growing,
//! filling, verifying and freeing run in bounded steps, so that the caller can yield between them.
//!
//! Invariants:
//! * Each frame of an allocation is mapped or recorded in its area (`Pending`, `Migration`), so that
//!   `surprise_removal` finds it.
//! * Areas do not overlap.
//! * Outside of growing and freeing, every page of an allocation is mapped, and each of its blocks is mapped whole.
//! * Frames for page tables are reserved before the block that needs them is allocated.
//! * Blocks and tables are freed after the TLB flush.
//! * What a batch of a migration changes is marked (`Area::in_batch`): no step on such an allocation runs before the
//!   batch has ended. Steps on other allocations do.
//!
//! Locks: each step holds the arena's lock, which is taken after `hotplug` and before the page tables. A batch holds a
//! lock of its own, and the arena's only to add a part and to end ([`Rank::Migration`]).
//! Neighbours: `provider` connects to the buddy allocators, `page_table` maps.

mod alloc;
mod batch;
mod free;
mod migrate;
mod migrate_contiguous;
mod migrate_error;
mod pattern;
mod provider;
mod surprise_removal;

#[cfg(test)]
mod tests;

use core::fmt;

use arrayvec::ArrayVec;
use carapace_lock::{Mutex, MutexGuard, Rank};

use crate::addr::{NodeId, PAGE_SIZE, VirtAddr};
use crate::address_space::ALLOC;
use crate::descriptor::Mobility;
use crate::page_table::MapError;
use crate::sync::spin;

pub use alloc::AllocationBuilder;
use alloc::Pending;
pub(crate) use batch::Batch;
use batch::Moves;
pub(crate) use migrate::{MappedBy, Planned, SINGLES, Single, Singles, Sizes};
use migrate_contiguous::Migration;
pub(crate) use migrate_error::MigrateError;
pub use migrate_error::NoRun;
pub use pattern::{BadWord, Verified};
pub(crate) use provider::FrameProvider;

/// The maximum number of simultaneous allocations.
pub const MAX_ALLOCATIONS: usize = 1024;

/// Identifies an allocation; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u64);

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The size of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Exactly this many pages; fewer are an error.
    Pages(u64),
    /// All frames that are free at the start, less those that the page tables need.
    All,
}

/// The physical layout of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any frames.
    Scattered,
    /// Single frames, as in memory that is fragmented completely.
    Frames,
    /// Physically contiguous frames.
    Contiguous,
}

/// The parameters of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The size.
    pub amount: Amount,
    /// Restricts the allocation to this node.
    pub node: Option<NodeId>,
    /// Whether the frames may be migrated.
    pub mobility: Mobility,
    /// The physical layout.
    pub shape: Shape,
}

/// A snapshot of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Identifies it.
    pub id: AllocationId,
    /// The first address.
    pub start: VirtAddr,
    /// The size in pages.
    pub pages: u64,
    /// The number of pages, from the first, that contain the test pattern.
    pub filled: u64,
    /// Its stage of life.
    pub state: AllocationState,
}

/// The stage of life of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocationState {
    /// Growing; not usable yet.
    Allocating,
    /// Usable.
    Ready,
    /// Being freed; not usable any more.
    Freeing,
    /// A surprise removal took frames of it; its other frames are free.
    Lost,
}

/// The outcome of one step of a longer operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another step is needed.
    More,
    /// The operation is complete.
    Done,
}

/// The reason why an allocation cannot be made, used or freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocError {
    /// The request is for zero pages, or for [`Amount::All`] with no frame free.
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

/// An allocation and its reserved address range. Corresponds to Linux `struct vmap_area`.
#[derive(Clone, Debug)]
struct Area {
    /// The allocation; `pages` counts the pages mapped so far.
    allocation: Allocation,
    /// Pages of address space reserved from the start.
    reserved: u64,
    /// Pages from the start that are unmapped and freed.
    freed: u64,
    /// The physical layout.
    shape: Shape,
    /// The migration under way; contiguous allocations only.
    migration: Option<Migration>,
    /// Frames that are allocated but not mapped yet; while it grows.
    pending: Pending,
    /// A part of it is in the batch that is in the making or migrates.
    in_batch: bool,
}

impl Area {
    fn end(&self) -> u64 {
        self.allocation.start.0 + self.reserved * PAGE_SIZE
    }

    fn page(&self, index: u64) -> VirtAddr {
        self.allocation.start.offset(index * PAGE_SIZE)
    }
}

/// The areas, sorted by address.
#[derive(Debug)]
struct AreaTree {
    next: u64,
    list: ArrayVec<Area, MAX_ALLOCATIONS>,
    /// The number of areas that are in a batch.
    in_batch: usize,
}

/// The vmalloc region's areas and their lock. See the module's documentation.
#[derive(Debug)]
pub struct VmallocArena {
    /// What migrates together; empty unless a batch is in the making.
    moves: Mutex<Moves>,
    areas: Mutex<AreaTree>,
}

impl Default for VmallocArena {
    fn default() -> VmallocArena {
        VmallocArena::new()
    }
}

impl VmallocArena {
    /// Creates an arena without allocations.
    pub const fn new() -> VmallocArena {
        VmallocArena {
            moves: Mutex::new(Rank::Migration, Moves::new_const()),
            areas: Mutex::new(Rank::Vmalloc, AreaTree { next: 1, list: ArrayVec::new_const(), in_batch: 0 }),
        }
    }

    /// Locks the areas for a step on allocation `id`. Waits for the end of a batch that it is in.
    fn lock_for(&self, id: AllocationId) -> MutexGuard<'_, AreaTree> {
        self.lock_for_all(&[id])
    }

    /// [`VmallocArena::lock_for`], for a step on several allocations.
    fn lock_for_all(&self, ids: &[AllocationId]) -> MutexGuard<'_, AreaTree> {
        loop {
            let areas = self.areas.lock();
            if !ids.iter().any(|&id| areas.is_in_batch(id)) {
                return areas;
            }
            drop(areas);
            spin();
        }
    }

    /// Runs `work` with the lock of the moves held.
    #[cfg(test)]
    pub(crate) fn while_migrating(&self, work: &dyn Fn()) {
        let _moves = self.moves.lock();
        work();
    }

    /// Runs `work` with the areas' lock held.
    #[cfg(test)]
    pub(crate) fn while_locked(&self, work: &dyn Fn()) {
        let _areas = self.areas.lock();
        work();
    }

    /// Returns the allocation `id`.
    pub fn get(&self, id: AllocationId) -> Option<Allocation> {
        let areas = self.areas.lock();
        areas.list.iter().map(|area| area.allocation).find(|allocation| allocation.id == id)
    }

    /// Returns the allocation with the lowest id above `after`, or with the lowest of all for `None`. Iterates over
    /// the allocations without holding a lock in between.
    pub fn next_after(&self, after: Option<AllocationId>) -> Option<Allocation> {
        let areas = self.areas.lock();
        let allocations = areas.list.iter().map(|area| area.allocation);
        allocations.filter(|one| after.is_none_or(|after| one.id > after)).min_by_key(|one| one.id)
    }

    /// Returns the allocation that contains the address `at`.
    pub fn holding(&self, at: VirtAddr) -> Option<Allocation> {
        let areas = self.areas.lock();
        let holds = |one: &Allocation| at >= one.start && at.0 - one.start.0 < one.pages * PAGE_SIZE;
        areas.list.iter().map(|area| area.allocation).find(holds)
    }
}

impl AreaTree {
    /// Reserves `pages` pages of address space, first fit; the start lies `offset` pages above a multiple of
    /// `align` pages.
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
        for area in &self.list {
            if start + bytes <= area.allocation.start.0 {
                break;
            }
            // The window's start is a multiple of every alignment, so only the remainder of `end` matters.
            let end = area.end();
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
        self.list.insert(
            index,
            Area { allocation, reserved: pages, freed: 0, shape, migration: None, pending, in_batch: false },
        );
        Ok(id)
    }

    /// Returns whether allocation `id` is in a batch.
    fn is_in_batch(&self, id: AllocationId) -> bool {
        self.in_batch > 0 && self.list.iter().any(|area| area.allocation.id == id && area.in_batch)
    }

    /// Marks the area that contains the address `at` as being in a batch.
    fn put_in_batch(&mut self, at: VirtAddr) {
        if let Some(area) = self.holding(at).filter(|area| !area.in_batch) {
            area.in_batch = true;
            self.in_batch += 1;
        }
    }

    /// Ends the batch: no area is in it any more.
    fn end_batch(&mut self) {
        if self.in_batch > 0 {
            self.list.iter_mut().for_each(|area| area.in_batch = false);
            self.in_batch = 0;
        }
    }

    /// Returns the area that contains the address `at`.
    fn holding(&mut self, at: VirtAddr) -> Option<&mut Area> {
        let behind = self.list.partition_point(|area| area.allocation.start <= at);
        self.list.get_mut(behind.checked_sub(1)?).filter(|area| at.0 < area.end())
    }

    fn index(&self, id: AllocationId) -> Result<usize, AllocError> {
        let found = self.list.iter().position(|area| area.allocation.id == id);
        found.ok_or(AllocError::Unknown { id })
    }

    fn area(&mut self, id: AllocationId) -> Result<&mut Area, AllocError> {
        let index = self.index(id)?;
        self.list.get_mut(index).ok_or(AllocError::Unknown { id })
    }

    fn ready(&mut self, id: AllocationId) -> Result<&mut Area, AllocError> {
        let area = self.area(id)?;
        match area.allocation.state {
            AllocationState::Ready => Ok(area),
            AllocationState::Allocating | AllocationState::Freeing => Err(AllocError::Busy { id }),
            AllocationState::Lost => Err(AllocError::Lost { id }),
        }
    }
}

const _: () = assert!(ALLOC.start.0.is_multiple_of(1 << 30), "blocks of 1 GiB are mapped by one leaf");
