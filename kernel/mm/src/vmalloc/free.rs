//! Freeing an allocation in steps: read the next blocks from the page tables, unmap them, flush, then free them.
//! Corresponds to Linux `vfree`.
//!
//! Invariant: no block is freed while a TLB may still hold a translation to it. Neighbours: `alloc` passes on
//! cancelled allocations, whose last block it has split where it is mapped no further.

use arrayvec::ArrayVec;

use crate::addr::PfnRange;
use crate::vmalloc::provider::TableSink;
use crate::vmalloc::{
    AllocError, Allocation, AllocationId, AllocationState, Area, FrameProvider, Progress, VmallocArena,
    migrate_contiguous,
};

/// The number of blocks unmapped with one flush.
const BLOCKS: usize = 64;

impl VmallocArena {
    /// Frees about `step` pages of allocation `id`. The first step makes the allocation unusable.
    ///
    /// # Errors
    /// [`AllocError::Unknown`]; [`AllocError::Busy`] while it grows; [`AllocError::Corrupt`] when the page tables
    /// contradict the area.
    pub fn free_step<P: FrameProvider>(
        &self,
        provider: &P,
        id: AllocationId,
        step: u64,
    ) -> Result<Progress, AllocError> {
        let mut areas = self.lock_for(id);
        let index = areas.index(id)?;
        let Some(area) = areas.list.get_mut(index) else { return Err(AllocError::Unknown { id }) };
        if area.allocation.state == AllocationState::Allocating {
            return Err(AllocError::Busy { id });
        }
        if area.allocation.state == AllocationState::Lost {
            areas.list.remove(index);
            return Ok(Progress::Done);
        }
        area.allocation.state = AllocationState::Freeing;
        if area.migration.is_some() {
            free_half_migrated(provider, area)?;
        }
        let goal = area.freed.saturating_add(step.max(1)).min(area.allocation.pages);
        while area.freed < goal {
            free_some(provider, area, goal)?;
        }
        if area.freed < area.allocation.pages {
            return Ok(Progress::More);
        }
        areas.list.remove(index);
        Ok(Progress::Done)
    }

    /// Frees allocation `id` in one call.
    ///
    /// # Errors
    /// See [`VmallocArena::free_step`].
    pub fn free<P: FrameProvider>(&self, provider: &P, id: AllocationId) -> Result<(), AllocError> {
        while self.free_step(provider, id, u64::MAX)? == Progress::More {}
        Ok(())
    }
}

/// Frees an allocation whose migration is under way. The page tables are no record of its blocks then.
fn free_half_migrated<P: FrameProvider>(provider: &P, area: &mut Area) -> Result<(), AllocError> {
    let Allocation { start, pages, .. } = area.allocation;
    let unmapped =
        provider.with_tables(|tables, machine| tables.unmap(machine, start, pages, &mut TableSink(provider)));
    unmapped.ok_or(AllocError::NotStarted)?.map_err(|_| AllocError::Corrupt { at: start })?;
    migrate_contiguous::free(provider, area);
    area.freed = pages;
    Ok(())
}

/// Frees the next blocks of `area`, up to page `goal` or [`BLOCKS`] blocks.
fn free_some<P: FrameProvider>(provider: &P, area: &mut Area, goal: u64) -> Result<(), AllocError> {
    let mut blocks: ArrayVec<PfnRange, BLOCKS> = ArrayVec::new();
    let first = area.freed;
    let mut next = first;
    while next < goal && !blocks.is_full() {
        let at = area.page(next);
        let found = provider.with_tables(|tables, machine| tables.translate(machine, at));
        let found = found.ok_or(AllocError::NotStarted)?.ok_or(AllocError::Corrupt { at })?;
        let block = provider.block_at(found.phys.pfn()).ok_or(AllocError::Corrupt { at })?;
        blocks.push(block.range());
        next += block.order.pages().min(area.allocation.pages - next);
    }
    let unmapped = provider.with_tables(|tables, machine| {
        tables.unmap(machine, area.page(first), next - first, &mut TableSink(provider))
    });
    let corrupt = |_| AllocError::Corrupt { at: area.page(first) };
    unmapped.ok_or(AllocError::NotStarted)?.map_err(corrupt)?;
    // A block may have been split meanwhile, at the border of memory that is being isolated: its parts are freed.
    blocks.into_iter().for_each(|block| provider.free_owned(block));
    area.freed = next;
    Ok(())
}
