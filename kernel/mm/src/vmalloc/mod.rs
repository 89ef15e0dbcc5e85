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
mod alloc_error;
mod area;
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

use carapace_lock::{Mutex, MutexGuard, Rank};

use crate::addr::{NodeId, PAGE_SIZE, VirtAddr};
use crate::address_space::ALLOC;
use crate::descriptor::Mobility;
use crate::sync::spin;

pub use alloc::AllocationBuilder;
use alloc::Pending;
pub use alloc_error::AllocError;
use area::{Area, AreaTree};
use batch::Moves;
pub(crate) use batch::{Batch, shares};
pub(crate) use migrate::{MappedBy, Planned, SINGLES, Single, Singles, Sizes};
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
            moves: Mutex::new(Rank::Migration, Moves::EMPTY),
            areas: Mutex::new(Rank::Vmalloc, AreaTree::new()),
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

const _: () = assert!(ALLOC.start.0.is_multiple_of(1 << 30), "blocks of 1 GiB are mapped by one leaf");
