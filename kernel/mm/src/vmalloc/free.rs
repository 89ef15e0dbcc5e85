//! Freeing an allocation, step by step: read the next blocks from the page tables, unmap them, flush, then
//! give them back.
//!
//! Invariant: no block is free while a translation to it may still be cached. Neighbours: `grow` hands over
//! what it cancelled, the last block of which may be mapped in part.

use arrayvec::ArrayVec;

use crate::addr::Pfn;
use crate::vmalloc::provider::Returning;
use crate::vmalloc::{
    AllocError, Allocation, AllocationId, AllocationState, Area, FrameProvider, Progress, VmallocArena,
    migrate_contiguous,
};

/// Blocks that are unmapped together, with one flush.
const BLOCKS: usize = 64;

impl VmallocArena {
    /// Frees about `step` pages of allocation `id`. From the first step on it cannot be used any more.
    ///
    /// # Errors
    /// [`AllocError::Unknown`] and, while it is being made, [`AllocError::Busy`];
    /// [`AllocError::Corrupt`] when the page tables do not hold it.
    pub fn free_step<P: FrameProvider>(
        &self,
        provider: &P,
        id: AllocationId,
        step: u64,
    ) -> Result<Progress, AllocError> {
        let mut areas = self.areas.lock();
        let index = areas.index(id)?;
        let Some(place) = areas.list.get_mut(index) else { return Err(AllocError::Unknown { id }) };
        if place.allocation.state == AllocationState::Allocating {
            return Err(AllocError::Busy { id });
        }
        if place.allocation.state == AllocationState::Lost {
            areas.list.remove(index);
            return Ok(Progress::Done);
        }
        place.allocation.state = AllocationState::Freeing;
        if place.moving.is_some() {
            free_moving(provider, place)?;
        }
        let goal = place.freed.saturating_add(step.max(1)).min(place.allocation.pages);
        while place.freed < goal {
            free_some(provider, place, goal)?;
        }
        if place.freed < place.allocation.pages {
            return Ok(Progress::More);
        }
        areas.list.remove(index);
        Ok(Progress::Done)
    }

    /// Frees allocation `id` in one go.
    ///
    /// # Errors
    /// As [`VmallocArena::free_step`].
    pub fn free<P: FrameProvider>(&self, provider: &P, id: AllocationId) -> Result<(), AllocError> {
        while self.free_step(provider, id, u64::MAX)? == Progress::More {}
        Ok(())
    }
}

/// Frees all of an allocation that is half way to another run: the page tables do not tell its blocks.
fn free_moving<P: FrameProvider>(provider: &P, place: &mut Area) -> Result<(), AllocError> {
    let Allocation { start, pages, .. } = place.allocation;
    let unmapped =
        provider.with_tables(|tables, machine| tables.unmap(machine, start, pages, &mut Returning(provider)));
    unmapped.ok_or(AllocError::NotStarted)?.map_err(|_| AllocError::Corrupt { at: start })?;
    migrate_contiguous::free(provider, place);
    place.freed = pages;
    Ok(())
}

/// Frees the next blocks of `place`, until page `goal` or until the list is full.
fn free_some<P: FrameProvider>(provider: &P, place: &mut Area, goal: u64) -> Result<(), AllocError> {
    let mut heads: ArrayVec<Pfn, BLOCKS> = ArrayVec::new();
    let first = place.freed;
    let mut next = first;
    while next < goal && !heads.is_full() {
        let at = place.page(next);
        let found = provider.with_tables(|tables, machine| tables.translate(machine, at));
        let found = found.ok_or(AllocError::NotStarted)?.ok_or(AllocError::Corrupt { at })?;
        let block = provider.block_at(found.phys.pfn()).ok_or(AllocError::Corrupt { at })?;
        heads.push(block.head);
        next += block.order.pages().min(place.allocation.pages - next);
    }
    let unmapped = provider.with_tables(|tables, machine| {
        tables.unmap(machine, place.page(first), next - first, &mut Returning(provider))
    });
    let corrupt = |_| AllocError::Corrupt { at: place.page(first) };
    unmapped.ok_or(AllocError::NotStarted)?.map_err(corrupt)?;
    heads.into_iter().for_each(|head| provider.free_owned(head));
    place.freed = next;
    Ok(())
}
