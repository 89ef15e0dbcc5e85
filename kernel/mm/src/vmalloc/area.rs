//! The areas of the vmalloc region: which addresses each allocation has, and its stage of life.
//!
//! Invariants: the list is sorted by address, areas do not overlap, and ids are never reused. The tree is used under
//! the arena's lock. Neighbours: `alloc`, `free`, `migrate` and `surprise_removal` change areas step by step.

use core::ops::Range;

use arrayvec::ArrayVec;

use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::address_space::ALLOC;
use crate::vmalloc::alloc::Pending;
use crate::vmalloc::migrate_contiguous::Migration;
use crate::vmalloc::{AllocError, Allocation, AllocationId, AllocationState, MAX_ALLOCATIONS, Shape};

/// An allocation and its reserved address range. Corresponds to Linux `struct vmap_area`.
#[derive(Clone, Debug)]
pub(super) struct Area {
    /// The allocation; `pages` counts the pages mapped so far.
    pub(super) allocation: Allocation,
    /// Pages of address space reserved from the start.
    pub(super) reserved: u64,
    /// Pages from the start that are unmapped and freed.
    pub(super) freed: u64,
    /// The physical layout.
    pub(super) shape: Shape,
    /// The migration under way; contiguous allocations only.
    pub(super) migration: Option<Migration>,
    /// Frames that are allocated but not mapped yet; while it grows.
    pub(super) pending: Pending,
    /// A part of it is in the batch that is in the making or migrates.
    pub(super) in_batch: bool,
}

impl Area {
    /// Returns the address behind it.
    pub(super) fn end(&self) -> u64 {
        self.allocation.start.0 + self.reserved * PAGE_SIZE
    }

    /// Returns the address of page `index`.
    pub(super) fn page(&self, index: u64) -> VirtAddr {
        self.allocation.start.offset(index * PAGE_SIZE)
    }
}

/// The areas, sorted by address.
#[derive(Debug)]
pub(super) struct AreaTree {
    /// The last allocation's id. From 0, so that the initial state is all zeros and lies in `.bss`.
    last: u64,
    pub(super) list: ArrayVec<Area, MAX_ALLOCATIONS>,
    /// The number of areas that are in a batch.
    pub(super) in_batch: usize,
}

impl AreaTree {
    /// A tree without areas.
    pub(super) const fn new() -> AreaTree {
        AreaTree { last: 0, list: ArrayVec::new_const(), in_batch: 0 }
    }

    /// Reserves `pages` pages of address space, first fit; the start lies `offset` pages above a multiple of
    /// `align` pages.
    pub(super) fn reserve(
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
        self.last += 1;
        let id = AllocationId(self.last);
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
    pub(super) fn is_in_batch(&self, id: AllocationId) -> bool {
        self.in_batch > 0 && self.list.iter().any(|area| area.allocation.id == id && area.in_batch)
    }

    /// Marks the area that contains the address `at` as being in a batch. Returns its addresses.
    pub(super) fn put_in_batch(&mut self, at: VirtAddr) -> Range<VirtAddr> {
        let Some(area) = self.holding(at) else { return at..at };
        let (is_new, addresses) = (!area.in_batch, area.page(0)..area.page(area.reserved));
        area.in_batch = true;
        self.in_batch += usize::from(is_new);
        addresses
    }

    /// Ends the batch: no area is in it any more.
    pub(super) fn end_batch(&mut self) {
        if self.in_batch > 0 {
            self.list.iter_mut().for_each(|area| area.in_batch = false);
            self.in_batch = 0;
        }
    }

    /// Returns the area that contains the address `at`.
    pub(super) fn holding(&mut self, at: VirtAddr) -> Option<&mut Area> {
        let behind = self.list.partition_point(|area| area.allocation.start <= at);
        self.list.get_mut(behind.checked_sub(1)?).filter(|area| at.0 < area.end())
    }

    /// Returns the place of allocation `id` in the list.
    pub(super) fn index(&self, id: AllocationId) -> Result<usize, AllocError> {
        let found = self.list.iter().position(|area| area.allocation.id == id);
        found.ok_or(AllocError::Unknown { id })
    }

    /// Returns the area of allocation `id`.
    pub(super) fn area(&mut self, id: AllocationId) -> Result<&mut Area, AllocError> {
        let index = self.index(id)?;
        self.list.get_mut(index).ok_or(AllocError::Unknown { id })
    }

    /// Returns the area of allocation `id` if it is usable.
    pub(super) fn ready(&mut self, id: AllocationId) -> Result<&mut Area, AllocError> {
        let area = self.area(id)?;
        match area.allocation.state {
            AllocationState::Ready => Ok(area),
            AllocationState::Allocating | AllocationState::Freeing => Err(AllocError::Busy { id }),
            AllocationState::Lost => Err(AllocError::Lost { id }),
        }
    }
}
