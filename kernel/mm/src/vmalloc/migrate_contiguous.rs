//! Migrating a contiguous allocation to one new run, piece by piece, while it is in use.
//!
//! ```text
//!  addresses   |  1 MiB  |  2 MiB  |  2 MiB  |  2 MiB |      map the new run up to `moved`, the old run
//!  old run     |  freed block  | freed |    block     |      from there on
//!  new run     |         allocated as a whole         |
//! ```
//!
//! An evacuation allocates all new runs before it migrates the first frame, so that it knows early that every
//! contiguous allocation fits. A migration that has begun is finished even when the removal is aborted, because an
//! allocation split over two runs is not contiguous.
//!
//! Invariants: the new run is congruent to the addresses modulo 2 MiB if such a run is free, so that large leaves
//! stay whole; a block of the old run is freed once all of it is migrated; the rmap of the new blocks is set from the
//! start. Neighbours: `migrate` remaps pages, `free` frees a half-migrated allocation.

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::layout::LARGE_PAGES;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{LeafSize, PageMove};
use crate::vmalloc::batch::{Batch, Part};
use crate::vmalloc::migrate::split_leaves;
use crate::vmalloc::migrate_error::{MigrateError, NoRun};
use crate::vmalloc::{
    Allocation, AllocationId, AllocationState, Area, AreaTree, FrameProvider, Shape, VmallocArena,
};

/// The migration of a contiguous allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    /// The first frame of the old run.
    old: Pfn,
    /// The first frame of the new run.
    pub(super) new: Pfn,
    /// Pages, from the first, that map the new run, or will when the batch in the making has run.
    moved: u64,
    /// Pages, from the first, whose old blocks are freed.
    freed: u64,
}

impl Migration {
    /// Returns whether no page is migrated yet.
    pub(super) const fn is_untouched(&self) -> bool {
        self.moved == 0
    }
}

impl VmallocArena {
    /// Allocates a new run for each contiguous allocation that overlaps isolated memory (`isolated`). Returns the number
    /// of page tables that splitting leaves will need.
    ///
    /// # Errors
    /// When no run fits one of them; no run stays allocated then.
    pub(crate) fn reserve_runs<M: Machine>(
        &self,
        memory: &Memory<M>,
        isolated: &dyn Fn(PfnRange) -> bool,
    ) -> Result<u64, MigrateError> {
        let mut batch = self.batch(memory);
        let (mut tables, mut after) = (0, None);
        while let Some((id, start)) = self.next_area(after, Area::is_migratable_run) {
            after = Some(start);
            match batch.reserve_run(id, isolated) {
                Ok(needed) => tables += needed,
                Err(error) => {
                    batch.cancel_untouched();
                    return Err(error);
                }
            }
        }
        Ok(tables)
    }

    /// Migrates about `most` pages of the allocations that [`VmallocArena::reserve_runs`] found. Returns the number of
    /// pages migrated; 0 when all are done.
    ///
    /// # Errors
    /// When frames for tables run out, or the page tables contradict an area.
    pub(crate) fn migrate_runs<M: Machine>(
        &self,
        memory: &Memory<M>,
        most: u64,
    ) -> Result<u64, MigrateError> {
        let mut moved = 0;
        while moved < most {
            let mut batch = self.batch(memory);
            while batch.pages() < most - moved
                && !batch.is_full()
                && batch.add_piece(Area::has_pages_left, most - moved - batch.pages())?
            {}
            let pages = batch.run()?.pages;
            if pages == 0 {
                break;
            }
            moved += pages;
        }
        Ok(moved)
    }

    /// Ends the migrations of [`VmallocArena::reserve_runs`]: finishes those that have begun, frees the runs of the others.
    pub(crate) fn finish_migrations<M: Machine>(&self, memory: &Memory<M>) {
        let mut batch = self.batch(memory);
        batch.cancel_untouched();
        let mut after = None;
        while let Some((id, start)) = self.next_area(after, Area::has_pages_left) {
            after = Some(start);
            // On an error the migration stays half done; the next evacuation continues it (`reserve_runs`).
            let _ = batch.finish_migration(id);
        }
    }

    /// Returns the id and the address of the first allocation above the address `after` of which `is_wanted` is true.
    fn next_area(
        &self,
        after: Option<VirtAddr>,
        is_wanted: impl Fn(&Area) -> bool,
    ) -> Option<(AllocationId, VirtAddr)> {
        let areas = self.areas.lock();
        let mut areas = areas.list.iter().filter(|area| Some(area.allocation.start) > after);
        areas.find(|area| is_wanted(area)).map(|area| (area.allocation.id, area.allocation.start))
    }
}

impl<M: Machine> Batch<'_, M> {
    /// Allocates a new run for an allocation if it is a contiguous one that overlaps isolated memory. Returns the number
    /// of page tables that splitting its leaves will need.
    fn reserve_run(
        &mut self,
        id: AllocationId,
        isolated: &dyn Fn(PfnRange) -> bool,
    ) -> Result<u64, MigrateError> {
        let (memory, arena) = (self.memory, self.arena);
        let mut areas = arena.areas.lock();
        let Some(area) = areas.migratable_run(id) else { return Ok(0) };
        if let Some(Migration { new, .. }) = area.migration {
            // An earlier survey began this migration. If its target is isolated by now, finish it first, then
            // migrate again.
            if !isolated(PfnRange::of(new, area.allocation.pages)) {
                return Ok(0);
            }
            cancel_untouched(memory, area);
            drop(areas);
            self.finish_migration(id)?;
            areas = arena.areas.lock();
        }
        let Some(area) = areas.migratable_run(id) else { return Ok(0) };
        let start = area.allocation.start;
        let found = memory.with_tables(|tables, machine| tables.translate(machine, start)).flatten();
        let found = found.ok_or(MigrateError::Corrupt { at: start })?;
        let old = PfnRange::of(found.phys.pfn(), area.allocation.pages);
        if !isolated(old) {
            return Ok(0);
        }
        let Some(new) = memory.allocate_run_like(old, start) else {
            let (id, pages) = (area.allocation.id, old.pages());
            return Err(MigrateError::NoRun(NoRun { id, pages, longest: memory.longest_run(pages) }));
        };
        let tables = tables_of_splits(memory, area, new.start);
        memory.set_owner(new, start);
        area.migration = Some(Migration { old: old.start, new: new.start, moved: 0, freed: 0 });
        Ok(tables)
    }

    /// Frees the new runs that no page maps yet.
    fn cancel_untouched(&mut self) {
        let memory = self.memory;
        self.arena.areas.lock().list.iter_mut().for_each(|area| cancel_untouched(memory, area));
    }

    /// Migrates all remaining pages of an allocation whose migration has begun.
    fn finish_migration(&mut self, id: AllocationId) -> Result<(), MigrateError> {
        loop {
            let wanted = |area: &Area| area.allocation.id == id && area.has_pages_left();
            let is_added = self.add_piece(wanted, u64::MAX)?;
            if !is_added || self.is_full() {
                self.run()?;
            }
            if !is_added {
                return Ok(());
            }
        }
    }

    /// Adds the next piece of the first migration that is wanted, about `most` pages and at most 2 MiB: a whole 2 MiB leaf
    /// if there is one. Splits the leaves that are not congruent with the new run before the first piece, so that no later
    /// piece can run out of table frames. Returns whether there was one.
    fn add_piece(&mut self, is_wanted: impl Fn(&Area) -> bool, most: u64) -> Result<bool, MigrateError> {
        let mut areas = self.arena.areas.lock();
        let Some(area) = areas.list.iter_mut().find(|area| is_wanted(area)) else { return Ok(false) };
        let Some(migration) = &mut area.migration else { return Ok(false) };
        let Migration { old, new, moved, .. } = *migration;
        let Allocation { start, pages, .. } = area.allocation;
        if moved == 0 {
            split_leaves(self.memory, &PageMove { at: start, old, new, pages }, &mut self.flush)?;
        }
        let at = start.offset(moved * PAGE_SIZE);
        let left = pages - moved;
        let into = (at.0 >> PAGE_SHIFT) % LARGE_PAGES;
        let whole_leaf = into == 0 && left >= LARGE_PAGES;
        let pages = if whole_leaf { LARGE_PAGES } else { most.min(left).min(LARGE_PAGES - into) };
        migration.moved += pages;
        let piece = PageMove { at, old: old.offset(moved), new: new.offset(moved), pages };
        self.push(&mut areas, piece, Part::Piece);
        Ok(true)
    }

    /// Frees the blocks of the old run that a piece has left. Or takes the piece back when it has not migrated.
    pub(super) fn end_piece(&self, pages: &PageMove, migrated: bool) {
        let memory = self.memory;
        let mut areas = self.arena.areas.lock();
        let Some(area) = areas.holding(pages.at) else { return };
        let Some(migration) = &mut area.migration else { return };
        if !migrated {
            migration.moved -= pages.pages;
            return;
        }
        while migration.freed < migration.moved
            && let Some(block) = memory.block_at(migration.old.offset(migration.freed))
            && migration.freed + block.order.pages() <= migration.moved
        {
            migration.freed += block.order.pages();
            memory.free_owned(block.range());
        }
        area.migration.take_if(|migration| migration.moved >= area.allocation.pages);
    }
}

impl AreaTree {
    fn migratable_run(&mut self, id: AllocationId) -> Option<&mut Area> {
        self.area(id).ok().filter(|area| area.is_migratable_run())
    }
}

impl Area {
    /// Returns whether this is a contiguous allocation that is ready.
    fn is_migratable_run(&self) -> bool {
        self.shape == Shape::Contiguous && self.allocation.state == AllocationState::Ready
    }

    /// Returns whether it is migrating and has pages that were not added to a batch yet.
    fn has_pages_left(&self) -> bool {
        self.migration.is_some_and(|migration| migration.moved < self.allocation.pages)
    }
}

/// Frees both runs of an allocation under migration, which is unmapped already.
pub(super) fn free<P: FrameProvider>(provider: &P, area: &mut Area) {
    let Some(Migration { old, new, freed, .. }) = area.migration.take() else { return };
    let pages = area.allocation.pages;
    for run in [PfnRange::of(new, pages), PfnRange::new(old.offset(freed), old.offset(pages))] {
        provider.free_owned(run);
    }
}

/// Frees the new run if no page maps it yet.
fn cancel_untouched<M: Machine>(memory: &Memory<M>, area: &mut Area) {
    if let Some(Migration { new, moved: 0, .. }) = area.migration {
        area.migration = None;
        memory.free_owned(PfnRange::of(new, area.allocation.pages));
    }
}

/// Counts the page tables that `area` needs for the leaves that must be split when it migrates to `new`.
fn tables_of_splits<M: Machine>(memory: &Memory<M>, area: &Area, new: Pfn) -> u64 {
    let congruent = ((area.allocation.start.0 >> PAGE_SHIFT) ^ new.0).is_multiple_of(LARGE_PAGES);
    let mut tables = 0;
    memory.with_tables(|page_tables, machine| {
        page_tables.for_each_leaf(machine, area.allocation.start, area.allocation.pages, &mut |leaf| {
            tables += match (leaf.size, congruent) {
                (LeafSize::K4, _) | (LeafSize::M2, true) => 0,
                (LeafSize::M2, false) | (LeafSize::G1, true) => 1,
                (LeafSize::G1, false) => 1 + LeafSize::G1.pages() / LARGE_PAGES,
            };
        });
    });
    tables
}
