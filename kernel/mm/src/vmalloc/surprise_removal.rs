//! Surprise removal of memory that allocations use: their remaining frames are freed, and they stay in the state
//! `Lost` until their owner frees them.
//!
//! The page tables are no record of the blocks here: some tables may be gone as well. But the rmap of each remaining
//! block holds the address it was mapped at, and the rmap of each page table its level and address. So one walk over
//! the blocks of all present memory finds the blocks of lost allocations. Neighbours:
//! `hot_remove::surprise_removal` calls it.

use carapace_lock::MutexGuard;

use crate::addr::{PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::descriptor::BlockState;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FlushBatch, Hole};
use crate::rmap::RmapEntry;
use crate::vmalloc::provider::TableSink;
use crate::vmalloc::{AllocationState, Area, AreaTree, FrameProvider, Pending, VmallocArena};

/// The losses of a surprise removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Pages of allocations whose frames were removed.
    pub(crate) pages: u64,
    /// Allocations that used removed frames, as pages or as page tables.
    pub(crate) allocations: u64,
}

/// A surprise removal, of which no other CPU sees a part: it holds the arena's lock.
pub(crate) struct SurpriseRemoval<'a> {
    areas: MutexGuard<'a, AreaTree>,
}

impl VmallocArena {
    /// Begins a surprise removal, before the memory leaves the index.
    pub(crate) fn begin_surprise_removal(&self) -> SurpriseRemoval<'_> {
        SurpriseRemoval { areas: self.areas.lock() }
    }
}

impl SurpriseRemoval<'_> {
    /// Marks every allocation that uses removed frames (`gone`) as lost and frees its remaining frames.
    pub(crate) fn finish<M: Machine>(self, memory: &Memory<M>, gone: &dyn Fn(Pfn) -> bool) -> Lost {
        let mut areas = self.areas;
        let (mut lost, mut flush) = (Lost::default(), FlushBatch::new());
        for area in &mut areas.list {
            let (mut holes, start, reserved) = (0, area.allocation.start, area.reserved);
            memory.with_tables(|tables, machine| {
                tables.detach_unread(machine, start, reserved, gone, &mut flush, &mut |hole| {
                    holes += 1;
                    if let Hole::Frames { pages, .. } = hole {
                        lost.pages += pages;
                    }
                });
            });
            let unmapped = area.drop_lost_pending(gone);
            lost.pages += unmapped;
            if holes > 0 || unmapped > 0 {
                lost.allocations += mark_lost(memory, area);
            }
        }
        // A removed table shared by two allocations was reported as a hole of the first one only; the second one has
        // unmapped pages instead.
        for area in &mut areas.list {
            if !is_mapped(memory, area) {
                lost.allocations += mark_lost(memory, area);
            }
        }
        // Before a table is freed that a CPU may still walk.
        flush.run(memory.machine());
        let list = &areas.list;
        memory.free_orphans(&|at| {
            let holds = |area: &&Area| area.allocation.start <= at && at.0 < area.end();
            list.iter().find(holds).is_some_and(|area| area.allocation.state == AllocationState::Lost)
        });
        lost
    }
}

impl Area {
    /// Drops the removed frames among those that are not mapped. Returns the number of content frames among them,
    /// without which the allocation cannot be completed. Reserved table frames and an untouched migration target are
    /// not counted: others can replace them.
    fn drop_lost_pending(&mut self, gone: &dyn Fn(Pfn) -> bool) -> u64 {
        self.pending.reserve.retain(|frame| !gone(*frame));
        // A run or a block lies in one resource: either all of it was removed or nothing.
        let run = self.pending.run.take_if(|run| gone(run.start)).map_or(0, PfnRange::pages);
        let block = self.pending.block.take_if(|(block, _)| gone(block.head));
        self.migration.take_if(|migration| migration.is_untouched() && gone(migration.new));
        run + block.map_or(0, |(block, mapped)| block.order.pages() - mapped)
    }
}

/// Marks an allocation as lost and unmaps its remaining pages. `free_orphans` frees its blocks by their rmap, those
/// not mapped yet included. Returns 1 unless the allocation was lost before.
fn mark_lost<M: Machine>(memory: &Memory<M>, area: &mut Area) -> u64 {
    if area.allocation.state == AllocationState::Lost {
        return 0;
    }
    unmap_rest(memory, area);
    area.migration = None;
    area.pending.reserve.drain(..).for_each(|frame| memory.free_table(frame));
    area.pending = Pending::new();
    area.allocation.state = AllocationState::Lost;
    1
}

/// Returns whether every page that should be mapped is mapped.
fn is_mapped<M: Machine>(memory: &Memory<M>, area: &Area) -> bool {
    let (first, pages) = (area.page(area.freed), area.allocation.pages - area.freed);
    let mut at = first;
    memory.with_tables(|tables, machine| {
        tables.for_each_leaf(machine, first, pages, &mut |leaf| {
            if leaf.virt <= at {
                at = leaf.virt.offset(leaf.size.bytes());
            }
        });
    });
    at >= first.offset(pages * PAGE_SIZE)
}

/// Unmaps the remaining pages of an area.
fn unmap_rest<M: Machine>(memory: &Memory<M>, area: &Area) {
    let (start, pages) = (area.allocation.start, area.allocation.pages);
    memory.with_tables(|tables, machine| {
        tables.unmap_present(machine, start, pages, &mut TableSink(memory));
    });
}

impl<M: Machine> Memory<M> {
    /// Frees the blocks whose rmap address lies in a lost allocation (`lost`), and the page tables that no entry links
    /// any more. Recounts the remaining page tables.
    fn free_orphans(&self, lost: &dyn Fn(VirtAddr) -> bool) {
        let mut tables = 0;
        self.for_each_entry(|entry| {
            let mut at = entry.range.start;
            while let Some(block) = self.block_from(entry, &mut at) {
                match (block.state, block.rmap) {
                    (BlockState::Movable | BlockState::Pinned, RmapEntry::Mapping(virt)) if lost(virt) => {
                        self.free_owned(PfnRange::of(block.head, block.pages));
                    }
                    (BlockState::Pinned, RmapEntry::Table(virt, level)) => {
                        let linked =
                            self.with_tables(|tables, machine| tables.removable_table(machine, virt, level));
                        if linked.flatten() == Some(block.head) {
                            tables += block.pages;
                        } else {
                            self.free_owned(PfnRange::of(block.head, block.pages));
                        }
                    }
                    (BlockState::Pinned, RmapEntry::Reserve) => tables += block.pages,
                    (BlockState::Boot, RmapEntry::Owner(crate::boot_alloc::Owner::PageTables)) => {
                        tables += block.pages
                    }
                    _ => {}
                }
            }
        });
        self.page_tables.store(tables, core::sync::atomic::Ordering::Relaxed);
    }
}
