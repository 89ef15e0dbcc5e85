//! The page tables of a chunk: its plugged runs in the direct map, and their descriptors in the vmemmap. Tables that do not
//! exist yet take the pages that the chunk's layout keeps for them, so that nothing is allocated.
//!
//! Neighbours: `plug` and `unplug` call it; `check` walks `each_plugged_part`.

use arrayvec::ArrayVec;

use crate::addr::{PAGE_SHIFT, Pfn, PfnRange};
use crate::address_space::direct;
use crate::descriptor::SlotNr;
use crate::error::AddError;
use crate::fault_injection::Step;
use crate::hot_add::vmemmap_mapping;
use crate::layout::{GIB_PAGES, Layout, Table};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FlushBatch, FrameSource, LeafSize, MapStats, Mapping, NoFrames};
use crate::pieces::{PIECE_PAGES, Plug};
use crate::region::Region;
use crate::section;

/// The page kept for each table that a mapping of a chunk may need: given out only for tables that do not exist.
struct KeptPages(ArrayVec<Pfn, 16>);

impl FrameSource for KeptPages {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }

    /// The page is kept for that table again.
    fn free_frame(&mut self, _frame: Pfn) {}
}

impl<M: Machine> Memory<M> {
    /// Maps the plugged frames of a region, and their descriptors: all, or those of a chunk run by run.
    pub(crate) fn map_region(&self, slot: SlotNr, region: &Region) -> Result<(), AddError> {
        if region.chunk.is_none() {
            self.map_direct(&region.layout)?;
            return self.map_vmemmap(&region.layout).map(|_| ());
        }
        let pieces = &self.slots[slot.0 as usize].summary.pieces;
        pieces
            .runs(region.layout.range, Plug::In)
            .try_for_each(|run| self.map_run(&region.layout, run).map(|_| ()))
    }

    /// Maps a run of a chunk's frames, and the descriptors that lie in it.
    pub(super) fn map_run(&self, layout: &Layout, run: PfnRange) -> Result<MapStats, AddError> {
        let mut stats = self.map_run_direct(layout, run)?;
        let more = self.map_run_vmemmap(layout, run)?;
        stats.entries_written += more.entries_written;
        stats.tables += more.tables;
        Ok(stats)
    }

    /// As [`Memory::map_run`], with the injected failures of an add; a rollback must not fail.
    pub(super) fn map_run_or_fail(&self, layout: &Layout, run: PfnRange) -> Result<MapStats, AddError> {
        let mut stats = self.map_run_direct(layout, run)?;
        self.check_injected(Step::DirectMap)?;
        let more = self.map_run_vmemmap(layout, run)?;
        self.check_injected(Step::Vmemmap)?;
        stats.entries_written += more.entries_written;
        stats.tables += more.tables;
        Ok(stats)
    }

    fn map_run_direct(&self, layout: &Layout, run: PfnRange) -> Result<MapStats, AddError> {
        let frames = Mapping::data(direct(run.start.start()), run.start.start(), run.pages());
        self.map_kept(layout, &frames.largest(layout.largest), [Table::Direct(run.start)].into_iter())
    }

    fn map_run_vmemmap(&self, layout: &Layout, run: PfnRange) -> Result<MapStats, AddError> {
        let Some(memmap) = memmap_mapping(layout, run) else { return Ok(MapStats::default()) };
        let first = run.start.max(layout.array.start).0 - layout.array.start.0;
        let described = first * crate::layout::DESCRIPTORS_PER_PAGE;
        let frames = PfnRange::of(
            layout.range.start.offset(described),
            memmap.pages * crate::layout::DESCRIPTORS_PER_PAGE,
        );
        let sections = section::touched(frames).map(Table::Vmemmap);
        let by_page = |table: &Table| layout.vmemmap_leaf(table.address()) == LeafSize::K4;
        self.map_kept(layout, &memmap, sections.filter(by_page))
    }

    /// Maps with the kept page of each of `tables` that is not linked yet.
    fn map_kept(
        &self,
        layout: &Layout,
        mapping: &Mapping,
        tables: impl Iterator<Item = Table>,
    ) -> Result<MapStats, AddError> {
        let mapped = self.with_tables(|page_tables, machine| {
            let missing =
                |table: &Table| page_tables.linked_table(machine, table.address(), table.level()).is_none();
            let kept = tables.filter(missing).filter_map(|table| layout.page_for(table));
            let mut pages = KeptPages(kept.take(16).collect());
            page_tables.map(machine, mapping, &mut pages)
        });
        mapped.ok_or(AddError::NotStarted)?.map_err(AddError::from)
    }

    /// Clears the entries that map a run of a chunk, and those of the descriptors that lie in it.
    pub(super) fn unlink_run(&self, layout: &Layout, run: PfnRange, flush: &mut FlushBatch) {
        self.with_tables(|tables, machine| {
            if let Some(Mapping { virt, pages, .. }) = memmap_mapping(layout, run) {
                if layout.vmemmap_leaf(virt) == LeafSize::M2 && pages.is_multiple_of(PIECE_PAGES) {
                    tables.unlink_range(machine, virt, pages, &|_| false, flush);
                } else {
                    // Its tables may become empty.
                    tables.unmap_present(machine, virt, pages, &mut NoFrames);
                }
            }
            let virt = direct(run.start.start());
            tables.unlink_range(machine, virt, run.pages(), &|_| false, flush);
        });
    }

    /// Clears all entries that map a chunk, its own tables included.
    pub(super) fn unlink_chunk(&self, layout: &Layout, flush: &mut FlushBatch) {
        let own = |pfn: Pfn| layout.range.contains(pfn);
        self.with_tables(|tables, machine| {
            for mapping in [vmemmap_mapping(layout), crate::hot_add::direct_mapping(layout)] {
                tables.unlink_range(machine, mapping.virt, mapping.pages, &own, flush);
            }
        });
    }

    /// Calls `map` with the mappings of a chunk's plugged frames, or of their descriptors, that `table` covers.
    pub(crate) fn each_plugged_part(
        &self,
        slot: SlotNr,
        layout: &Layout,
        table: Table,
        mut map: impl FnMut(Mapping),
    ) {
        let pages = match table {
            Table::Direct(_) => GIB_PAGES,
            Table::Vmemmap(_) => PIECE_PAGES,
        };
        let covered = (table.address(), table.address().offset(pages << PAGE_SHIFT));
        for run in self.slots[slot.0 as usize].summary.pieces.runs(layout.range, Plug::In) {
            let mapping = match table {
                Table::Direct(_) => Some(
                    Mapping::data(direct(run.start.start()), run.start.start(), run.pages())
                        .largest(layout.largest),
                ),
                Table::Vmemmap(_) => memmap_mapping(layout, run),
            };
            let Some(whole) = mapping else { continue };
            let start = whole.virt.max(covered.0);
            let end = whole.virt.offset(whole.pages << PAGE_SHIFT).min(covered.1);
            if start < end {
                let skipped = (start.0 - whole.virt.0) >> PAGE_SHIFT;
                let phys = whole.phys.pfn().offset(skipped).start();
                map(Mapping { virt: start, phys, pages: (end.0 - start.0) >> PAGE_SHIFT, ..whole });
            }
        }
    }
}

/// The mapping of the descriptors that lie in a run of a chunk.
fn memmap_mapping(layout: &Layout, run: PfnRange) -> Option<Mapping> {
    let part = run.intersection(layout.array);
    let whole = vmemmap_mapping(layout);
    let virt = whole.virt.offset((part.start.0.saturating_sub(layout.array.start.0)) << PAGE_SHIFT);
    (!part.is_empty()).then(|| Mapping { virt, phys: part.start.start(), pages: part.pages(), ..whole })
}
