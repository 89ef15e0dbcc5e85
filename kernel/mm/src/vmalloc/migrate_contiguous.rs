//! Moving a contiguous allocation: all of it to one run elsewhere, piece by piece, while it is in use.
//!
//! ```text
//!  addresses   |  1 MiB  |  2 MiB  |  2 MiB  |  2 MiB |      lead to the new run up to `moved`, to the old one
//!  old run     |  freed block  | freed |    block     |      from there on
//!  new run     |            taken as a whole          |
//! ```
//!
//! The new run is taken before the first frame of anything moves: so whether there is room for every contiguous
//! allocation is known by then, and no one else can take it. Once begun, an allocation is moved to its end,
//! also when the removal is given up: half here and half there it would not be contiguous.
//!
//! Invariants: the run is congruent to the addresses modulo 2 MiB where one can be had, so that large leaves stay; a
//! block of the old run is free when all of it was moved; blocks of the new one know their addresses from the
//! start. Neighbours: `migrate` changes areas, `release` frees what is half moved.

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange};
use crate::hot_remove::RemoveError;
use crate::layout::LARGE_PAGES;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::LeafSize;
use crate::vmalloc::migrate::{remap, split_leaves};
use crate::vmalloc::{AllocationState, Area, FrameProvider, Shape, VmallocArena};

/// A contiguous allocation on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    /// Where it was.
    old: Pfn,
    /// Where it goes.
    pub(super) new: Pfn,
    /// Pages from the first on that are there.
    moved: u64,
    /// Pages from the first on whose old blocks are free.
    freed: u64,
}

impl Moving {
    /// Whether nothing was moved yet.
    pub(super) const fn is_untouched(&self) -> bool {
        self.moved == 0
    }
}

impl VmallocArena {
    /// Takes a run elsewhere for each contiguous allocation with frames for which `leaving` holds. Returns how many
    /// frames the tables of split leaves will need.
    ///
    /// # Errors
    /// When one has nowhere to go; nothing is taken then.
    pub(crate) fn take_runs<M: Machine>(
        &self,
        memory: &Memory<M>,
        leaving: &dyn Fn(PfnRange) -> bool,
    ) -> Result<u64, RemoveError> {
        let mut areas = self.areas.lock();
        let mut tables = 0;
        let mut failed = None;
        for place in areas.list.iter_mut().filter(|place| place.is_run()) {
            if let Some(Moving { new, .. }) = place.moving {
                // On its way since an earlier survey. Where it goes to is leaving as well now, it has to go there first.
                if !leaving(PfnRange::of(new, place.allocation.pages)) {
                    continue;
                }
                give_unused(memory, place);
                if let Err(error) = finish_move(memory, place) {
                    failed = Some(error);
                    break;
                }
            }
            let start = place.allocation.start;
            let Some(old) = memory.with_tables(|tables, machine| tables.translate(machine, start)).flatten()
            else {
                failed = Some(RemoveError::Corrupt { at: start });
                break;
            };
            let old = PfnRange::of(old.phys.pfn(), place.allocation.pages);
            if !leaving(old) {
                continue;
            }
            let Some(new) = memory.allocate_run_like(old, start) else {
                let (id, pages) = (place.allocation.id, old.pages());
                failed = Some(RemoveError::NoRun { id, pages, longest: memory.longest_run(pages) });
                break;
            };
            tables += tables_of_splits(memory, place, new.start);
            each_block(memory, new, |head, into| memory.set_owner(head, start.offset(into * PAGE_SIZE)));
            place.moving = Some(Moving { old: old.start, new: new.start, moved: 0, freed: 0 });
        }
        match failed {
            None => Ok(tables),
            Some(error) => {
                areas.list.iter_mut().for_each(|place| give_unused(memory, place));
                Err(error)
            }
        }
    }

    /// Moves about `most` pages of the allocations that [`VmallocArena::take_runs`] found. Returns how many; none: all is
    /// done.
    ///
    /// # Errors
    /// When there is no frame for a table, or the page tables do not hold what they must.
    pub(crate) fn move_runs<M: Machine>(&self, memory: &Memory<M>, most: u64) -> Result<u64, RemoveError> {
        let mut areas = self.areas.lock();
        let mut moved = 0;
        for place in &mut areas.list {
            while moved < most && place.moving.is_some() {
                moved += move_piece(memory, place, most - moved)?;
            }
        }
        Ok(moved)
    }

    /// Ends what [`VmallocArena::take_runs`] began: what is half way goes on to its end, the other runs are given back.
    pub(crate) fn settle_moves<M: Machine>(&self, memory: &Memory<M>) {
        let mut areas = self.areas.lock();
        for place in &mut areas.list {
            give_unused(memory, place);
            // What fails here stays half-way; the next evacuation goes on with it (`take_runs`).
            let _ = finish_move(memory, place);
        }
    }
}

impl Area {
    /// Whether it is a contiguous allocation in use.
    fn is_run(&self) -> bool {
        self.shape == Shape::Contiguous && self.allocation.state == AllocationState::Ready
    }
}

/// Frees an allocation that is on its way, wherever its pages lie. It is unmapped already.
pub(super) fn free<P: FrameProvider>(provider: &P, place: &mut Area) {
    let Some(Moving { old, new, freed, .. }) = place.moving.take() else { return };
    let pages = place.allocation.pages;
    for run in [PfnRange::of(new, pages), PfnRange::new(old.offset(freed), old.offset(pages))] {
        each_block(provider, run, |head, _| provider.free_owned(head));
    }
}

/// Moves what is half-way to its end.
fn finish_move<M: Machine>(memory: &Memory<M>, place: &mut Area) -> Result<(), RemoveError> {
    while place.moving.is_some() {
        move_piece(memory, place, u64::MAX)?;
    }
    Ok(())
}

/// Gives the new run back when nothing was moved there yet.
fn give_unused<M: Machine>(memory: &Memory<M>, place: &mut Area) {
    if let Some(Moving { new, moved: 0, .. }) = place.moving {
        place.moving = None;
        each_block(memory, PfnRange::of(new, place.allocation.pages), |head, _| memory.free_owned(head));
    }
}

/// Moves the next piece, of about `most` pages: whole leaves of 2 MiB where there are some. Leaves that the new
/// run cannot have are split before the first piece, so that nothing is missing on the way.
fn move_piece<M: Machine>(memory: &Memory<M>, place: &mut Area, most: u64) -> Result<u64, RemoveError> {
    let Some(mut moving) = place.moving else { return Ok(0) };
    if moving.moved == 0 {
        split_leaves(memory, place.allocation.start, moving.new.start(), place.allocation.pages)?;
    }
    let at = place.page(moving.moved);
    let left = place.allocation.pages - moving.moved;
    let into = (at.0 >> PAGE_SHIFT) % LARGE_PAGES;
    let pages = if into > 0 || left < LARGE_PAGES {
        most.min(left).min(LARGE_PAGES - into)
    } else {
        most.min(left).max(LARGE_PAGES) / LARGE_PAGES * LARGE_PAGES
    };
    let (old, new) = (moving.old.offset(moving.moved), moving.new.offset(moving.moved));
    remap(memory, at, old, new, pages)?;
    moving.moved += pages;
    while moving.freed < moving.moved
        && let Some(block) = memory.block_at(moving.old.offset(moving.freed))
        && moving.freed + block.order.pages() <= moving.moved
    {
        moving.freed += block.order.pages();
        memory.free_owned(block.head);
    }
    place.moving = (moving.moved < place.allocation.pages).then_some(moving);
    Ok(pages)
}

/// How many leaves of `place` cannot stay as large as they are when it goes to `new`.
fn tables_of_splits<M: Machine>(memory: &Memory<M>, place: &Area, new: Pfn) -> u64 {
    let congruent = ((place.allocation.start.0 >> PAGE_SHIFT) ^ new.0).is_multiple_of(LARGE_PAGES);
    let mut tables = 0;
    memory.with_tables(|page_tables, machine| {
        page_tables.leaves(machine, place.allocation.start, place.allocation.pages, &mut |leaf| {
            tables += match (leaf.size, congruent) {
                (LeafSize::K4, _) | (LeafSize::M2, true) => 0,
                (LeafSize::M2, false) | (LeafSize::G1, true) => 1,
                (LeafSize::G1, false) => 1 + LeafSize::G1.pages() / LARGE_PAGES,
            };
        });
    });
    tables
}

/// Calls `each` with the heads of a run's blocks and how many frames into it they lie.
fn each_block<P: FrameProvider>(provider: &P, run: PfnRange, mut each: impl FnMut(Pfn, u64)) {
    let mut at = run.start;
    while at < run.end
        && let Some(block) = provider.block_at(at)
    {
        at = block.range().end;
        each(block.head, block.head.0 - run.start.0);
    }
}
