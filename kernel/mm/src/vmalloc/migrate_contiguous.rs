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

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange};
use crate::layout::LARGE_PAGES;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FlushBatch, LeafSize, PageMove};
use crate::vmalloc::migrate::{MigrateError, NoRun, remap, split_leaves};
use crate::vmalloc::{AllocationState, Area, FrameProvider, Shape, VmallocArena};

/// The migration of a contiguous allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    /// The first frame of the old run.
    old: Pfn,
    /// The first frame of the new run.
    pub(super) new: Pfn,
    /// Pages, from the first, that map the new run.
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
        let mut areas = self.areas.lock();
        let mut tables = 0;
        let mut failed = None;
        for area in areas.list.iter_mut().filter(|area| area.is_migratable_run()) {
            if let Some(Migration { new, .. }) = area.migration {
                // An earlier survey began this migration. If its target is isolated by now, finish it first, then
                // migrate again.
                if !isolated(PfnRange::of(new, area.allocation.pages)) {
                    continue;
                }
                cancel_untouched(memory, area);
                if let Err(error) = finish_migration(memory, area) {
                    failed = Some(error);
                    break;
                }
            }
            let start = area.allocation.start;
            let Some(old) = memory.with_tables(|tables, machine| tables.translate(machine, start)).flatten()
            else {
                failed = Some(MigrateError::Corrupt { at: start });
                break;
            };
            let old = PfnRange::of(old.phys.pfn(), area.allocation.pages);
            if !isolated(old) {
                continue;
            }
            let Some(new) = memory.allocate_run_like(old, start) else {
                let (id, pages) = (area.allocation.id, old.pages());
                failed = Some(MigrateError::NoRun(NoRun { id, pages, longest: memory.longest_run(pages) }));
                break;
            };
            tables += tables_of_splits(memory, area, new.start);
            each_block(memory, new, |head, into| memory.set_owner(head, start.offset(into * PAGE_SIZE)));
            area.migration = Some(Migration { old: old.start, new: new.start, moved: 0, freed: 0 });
        }
        match failed {
            None => Ok(tables),
            Some(error) => {
                areas.list.iter_mut().for_each(|area| cancel_untouched(memory, area));
                Err(error)
            }
        }
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
        let mut areas = self.areas.lock();
        let mut moved = 0;
        for area in &mut areas.list {
            while moved < most && area.migration.is_some() {
                moved += migrate_piece(memory, area, most - moved)?;
            }
        }
        Ok(moved)
    }

    /// Ends the migrations of [`VmallocArena::reserve_runs`]: finishes those that have begun, frees the runs of the others.
    pub(crate) fn finish_migrations<M: Machine>(&self, memory: &Memory<M>) {
        let mut areas = self.areas.lock();
        for area in &mut areas.list {
            cancel_untouched(memory, area);
            // On an error the migration stays half done; the next evacuation continues it (`reserve_runs`).
            let _ = finish_migration(memory, area);
        }
    }
}

impl Area {
    /// Returns whether this is a contiguous allocation that is ready.
    fn is_migratable_run(&self) -> bool {
        self.shape == Shape::Contiguous && self.allocation.state == AllocationState::Ready
    }
}

/// Frees both runs of an allocation under migration, which is unmapped already.
pub(super) fn free<P: FrameProvider>(provider: &P, area: &mut Area) {
    let Some(Migration { old, new, freed, .. }) = area.migration.take() else { return };
    let pages = area.allocation.pages;
    for run in [PfnRange::of(new, pages), PfnRange::new(old.offset(freed), old.offset(pages))] {
        each_block(provider, run, |head, _| provider.free_owned(head));
    }
}

/// Migrates all remaining pages of a migration that has begun.
fn finish_migration<M: Machine>(memory: &Memory<M>, area: &mut Area) -> Result<(), MigrateError> {
    while area.migration.is_some() {
        migrate_piece(memory, area, u64::MAX)?;
    }
    Ok(())
}

/// Frees the new run if no page maps it yet.
fn cancel_untouched<M: Machine>(memory: &Memory<M>, area: &mut Area) {
    if let Some(Migration { new, moved: 0, .. }) = area.migration {
        area.migration = None;
        each_block(memory, PfnRange::of(new, area.allocation.pages), |head, _| memory.free_owned(head));
    }
}

/// Migrates the next piece of about `most` pages: whole 2 MiB leaves where there are any. Splits the leaves that are
/// not congruent with the new run before the first piece, so that no later piece can run out of table frames.
fn migrate_piece<M: Machine>(memory: &Memory<M>, area: &mut Area, most: u64) -> Result<u64, MigrateError> {
    let Some(mut migration) = area.migration else { return Ok(0) };
    if migration.moved == 0 {
        let (at, pages) = (area.allocation.start, area.allocation.pages);
        let mut flush = FlushBatch::new();
        let all = PageMove { at, old: migration.old, new: migration.new, pages };
        let split = split_leaves(memory, &all, &mut flush);
        flush.run(memory.machine());
        split?;
    }
    let at = area.page(migration.moved);
    let left = area.allocation.pages - migration.moved;
    let into = (at.0 >> PAGE_SHIFT) % LARGE_PAGES;
    let pages = if into > 0 || left < LARGE_PAGES {
        most.min(left).min(LARGE_PAGES - into)
    } else {
        most.min(left).max(LARGE_PAGES) / LARGE_PAGES * LARGE_PAGES
    };
    let (old, new) = (migration.old.offset(migration.moved), migration.new.offset(migration.moved));
    remap(memory, at, old, new, pages)?;
    migration.moved += pages;
    while migration.freed < migration.moved
        && let Some(block) = memory.block_at(migration.old.offset(migration.freed))
        && migration.freed + block.order.pages() <= migration.moved
    {
        migration.freed += block.order.pages();
        memory.free_owned(block.head);
    }
    area.migration = (migration.moved < area.allocation.pages).then_some(migration);
    Ok(pages)
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

/// Calls `each` with the head of each block of a run and the block's offset in the run, in frames.
fn each_block<P: FrameProvider>(provider: &P, run: PfnRange, mut each: impl FnMut(Pfn, u64)) {
    let mut at = run.start;
    while at < run.end
        && let Some(block) = provider.block_at(at)
    {
        at = block.range().end;
        each(block.head, block.head.0 - run.start.0);
    }
}
