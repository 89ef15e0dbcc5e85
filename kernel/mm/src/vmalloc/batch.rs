//! Migrating in batches: many blocks, pieces of contiguous allocations and page tables with one request to the other CPUs,
//! which go on reading and writing what migrates.
//!
//! ```text
//!  add      a target block or table for each; split leaves          nothing is seen yet     dropped: targets are freed
//!  run  1   publish the addresses (`fault`)
//!       2   leaves become migration entries; tables are copied, and the copies linked       both under the tables' lock
//!           old pages are mapped in the copy window, where that makes the copy faster
//!       3   flush                                                    an access faults and is tried again
//!       4   copy                                                     failed: the leaves are as they were
//!       5   leaves map the new frames
//!       6   withdraw the addresses; free the old blocks and tables
//! ```
//!
//! Invariants:
//! * One batch at a time: it holds the lock of the moves. Memory neither comes nor goes meanwhile: its caller holds the
//!   hotplug lock.
//! * An allocation is marked (`Area::in_batch`) from the first `add` of a part of it to the end of `run`, so no other CPU
//!   maps, unmaps, fills, verifies or frees there. The arena's lock is held to add a part, and not while the batch runs:
//!   other allocations are made, used and freed.
//! * A table belongs to no allocation alone. It is copied, its copy linked and every CPU flushed under the tables' lock, so
//!   no entry is added to a copy that a CPU does not walk yet. If another CPU has freed it since it was added, it is left
//!   alone ([`Part::Freed`]).
//! * All allocations happen before step 1, so that a shortage changes nothing.
//! * Nothing is freed before the flush: until then a CPU may write to an old block and walk an old table.
//! * Nothing is copied before the flush, so that no byte is written to an old block after it is copied.
//! * A batch is full at [`FULL`] frames; the last one added may exceed it. So other CPUs wait for the copy of fewer than
//!   two times [`FULL`] frames, and [`FULL`] frames cost at most one request.
//!
//! Neighbours: `migrate` adds blocks and tables, `migrate_contiguous` pieces; `page_table` changes the leaves.

use core::ops::Range;

use arrayvec::ArrayVec;
use carapace_lock::MutexGuard;

use crate::addr::{PAGE_SIZE, PfnRange, VirtAddr};
use crate::address_space::direct;
use crate::fault_injection::Step;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FlushBatch, LastTable, Level, PageMove};
use crate::parallel::STRIPE;
use crate::vmalloc::migrate_error::MigrateError;
use crate::vmalloc::{AreaTree, FrameProvider, VmallocArena};

/// The frames of a full batch.
pub(crate) const FULL: u64 = 512;

/// What migrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A block of a scattered allocation.
    Block,
    /// A piece of a contiguous allocation.
    Piece,
    /// A page table of the window.
    Table(Level),
    /// A page table that was freed before it migrated.
    Freed,
}

/// A part of a batch. For a table, `pages` is its frame, and an address that it maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pages: PageMove,
    part: Part,
    /// The pages to copy before it.
    behind: u64,
    /// Where the copy reads the old pages.
    source: VirtAddr,
}

/// What was migrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Frames, those of page tables included.
    pub(crate) pages: u64,
    /// Page tables.
    pub(crate) tables: u64,
}

/// The parts of a batch, each of at least one frame. They are kept in the arena, because a stack is too small.
pub(super) type Moves = ArrayVec<Move, { FULL as usize }>;

/// A batch in the making. It holds the lock of the moves.
#[must_use = "what was added migrates when it is run"]
pub(crate) struct Batch<'a, M: Machine> {
    pub(super) memory: &'a Memory<M>,
    pub(super) arena: &'a VmallocArena,
    moves: MutexGuard<'a, Moves>,
    /// Leaves that were split.
    pub(super) flush: FlushBatch,
    pages: u64,
    /// The addresses of the pages, tables not counted: their entries stay present.
    addresses: Range<VirtAddr>,
}

/// No addresses.
const NOWHERE: Range<VirtAddr> = VirtAddr(u64::MAX)..VirtAddr(0);

impl VmallocArena {
    /// Begins a batch.
    pub(crate) fn batch<'a, M: Machine>(&'a self, memory: &'a Memory<M>) -> Batch<'a, M> {
        Batch {
            memory,
            arena: self,
            moves: self.moves.lock(),
            flush: FlushBatch::new(),
            pages: 0,
            addresses: NOWHERE,
        }
    }
}

impl<M: Machine> Batch<'_, M> {
    /// Returns the number of frames added.
    pub(crate) const fn pages(&self) -> u64 {
        self.pages
    }

    /// Returns whether nothing more may be added.
    pub(crate) const fn is_full(&self) -> bool {
        self.pages >= FULL
    }

    /// Returns the number of frames until the batch is full.
    pub(crate) const fn space(&self) -> u64 {
        FULL.saturating_sub(self.pages)
    }

    /// Adds a part of an allocation, whose target is allocated.
    pub(super) fn push(&mut self, areas: &mut AreaTree, pages: PageMove, part: Part) {
        areas.put_in_batch(pages.at);
        let (start, end) = (pages.at, pages.at.offset(pages.pages * PAGE_SIZE));
        self.addresses = self.addresses.start.min(start)..self.addresses.end.max(end);
        self.push_move(pages, part);
    }

    /// Adds a table, whose target is allocated.
    pub(super) fn push_table(&mut self, pages: PageMove, level: Level) {
        self.push_move(pages, Part::Table(level));
    }

    fn push_move(&mut self, pages: PageMove, part: Part) {
        let behind = self.moves.last().map_or(0, |one| one.behind + one.copied());
        let added = self.moves.try_push(Move { pages, part, behind, source: direct(pages.old.start()) });
        debug_assert!(added.is_ok(), "a full batch gets no more parts");
        self.pages += pages.pages;
    }

    /// Migrates what was added, and frees the old blocks and tables. The batch is empty then.
    ///
    /// # Errors
    /// [`MigrateError::Corrupt`] when a page does not map its block, [`MigrateError::Injected`]. Every page maps its old
    /// frame then, and the targets are free.
    pub(crate) fn run(&mut self) -> Result<Moved, MigrateError> {
        let Batch { memory, moves, flush, addresses, .. } = self;
        let machine = &memory.machine;
        if moves.is_empty() {
            return Ok(Moved::default());
        }
        memory.migrating.begin(machine.cpu(), addresses.start, addresses.end);
        let begun = begin(memory, moves, flush);
        let copied = begun.and_then(|()| copy(memory, moves));
        memory.with_tables(|tables, machine| {
            tables.clear_window(machine);
            let mut last = LastTable::default();
            for one in moves.iter().filter(|one| one.has_pages()) {
                match copied {
                    Ok(()) => tables.end_migration(machine, &one.pages, &mut last),
                    Err(_) => tables.undo_migration(machine, &one.pages),
                }
            }
        });
        memory.migrating.end();
        let moved = moved(moves);
        self.free(copied.is_ok(), begun.is_ok());
        copied.map(|()| moved)
    }

    /// Empties the batch: frees the old frames of what migrated, and the targets of the rest.
    fn free(&mut self, pages_migrated: bool, tables_migrated: bool) {
        let left = |pages: &PageMove| if pages_migrated { pages.old } else { pages.new };
        let mut rest = self.moves.as_slice();
        while let Some((&Move { pages, part, .. }, behind)) = rest.split_first() {
            rest = behind;
            match part {
                Part::Block if pages.pages == 1 => {
                    let others = behind.iter().take_while(|one| one.is_single()).count();
                    let singles = [pages].into_iter().chain(behind.iter().take(others).map(|one| one.pages));
                    let freed = self.memory.free_singles(singles.map(|pages| left(&pages)));
                    debug_assert!(freed > 0, "{pages:?} has frames that the batch owns");
                    rest = behind.get(freed.saturating_sub(1)..).unwrap_or_default();
                }
                Part::Block => self.memory.free_owned(PfnRange::of(left(&pages), pages.pages)),
                Part::Table(_) => self.memory.free_table(if tables_migrated { pages.old } else { pages.new }),
                Part::Freed => self.memory.free_table(pages.new),
                Part::Piece => self.end_piece(&pages, pages_migrated),
            }
        }
        self.moves.clear();
        (self.pages, self.addresses) = (0, NOWHERE);
        self.arena.areas.lock().end_batch();
    }
}

impl<M: Machine> Drop for Batch<'_, M> {
    /// Gives up what was added and not run.
    fn drop(&mut self) {
        self.free(false, false);
        self.flush.run(&self.memory.machine);
    }
}

impl Move {
    /// Whether it is pages, and not a table.
    fn has_pages(&self) -> bool {
        matches!(self.part, Part::Block | Part::Piece)
    }

    /// Whether it is a block of a single frame.
    fn is_single(&self) -> bool {
        self.part == Part::Block && self.pages.pages == 1
    }

    /// The number of pages to copy.
    fn copied(&self) -> u64 {
        if self.has_pages() { self.pages.pages } else { 0 }
    }
}

/// Counts what migrates. A freed table does not.
fn moved(moves: &Moves) -> Moved {
    let mut moved = Moved::default();
    for one in moves.iter().filter(|one| one.part != Part::Freed) {
        moved.pages += one.pages.pages;
        moved.tables += u64::from(!one.has_pages());
    }
    moved
}

/// Makes the leaves migration entries, then hands over the tables that are still there, and flushes. After an error no
/// table is handed over.
fn begin<M: Machine>(
    memory: &Memory<M>,
    moves: &mut Moves,
    flush: &mut FlushBatch,
) -> Result<(), MigrateError> {
    let begun = memory.with_tables(|tables, machine| {
        let mut last = LastTable::default();
        let mut leaves = || {
            let mut pages = moves.iter().filter(|one| one.has_pages()).map(|one| one.pages);
            pages.try_for_each(|pages| {
                let begun = tables.begin_migration(machine, &pages, &mut last, flush);
                begun.map_err(|_| MigrateError::Corrupt { at: pages.at })
            })
        };
        let begun = leaves();
        for Move { pages, part, .. } in moves.iter_mut() {
            if let (Ok(()), Part::Table(level)) = (begun, *part) {
                if tables.removable_table(machine, pages.at, level) == Some(pages.old) {
                    tables.hand_over(machine, pages.at, level, pages.new, flush);
                } else {
                    *part = Part::Freed;
                }
            }
        }
        let mut window = LastTable::default();
        for one in moves.iter_mut().filter(|one| begun.is_ok() && one.has_pages()) {
            let PageMove { old, new, pages, .. } = one.pages;
            one.source = tables.copy_source(machine, PfnRange::of(old, pages), new, &mut window, flush);
        }
        flush.run(machine);
        begun
    });
    begun.unwrap_or(Err(MigrateError::NotStarted))
}

/// Copies the pages, on several CPUs.
fn copy<M: Machine>(memory: &Memory<M>, moves: &Moves) -> Result<(), MigrateError> {
    let end_of = |one: &Move| one.behind + one.copied();
    let all = moves.last().map_or(0, end_of);
    memory.machine.run_parallel(all.div_ceil(STRIPE), &|machine, stripe| {
        // The part of each move that lies in this stripe of all pages.
        let (start, end) = (stripe * STRIPE, (stripe + 1) * STRIPE);
        let first = moves.partition_point(|one| end_of(one) <= start);
        for one in moves.iter().skip(first).take_while(|one| one.behind < end) {
            let (from, to) = (start.max(one.behind), end.min(end_of(one)));
            let offset = from - one.behind;
            let new = direct(one.pages.new.offset(offset).start());
            machine.copy_pages(one.source.offset(offset * PAGE_SIZE), new, to - from);
        }
    });
    memory.should_fail(Step::Copy).map_err(|step| MigrateError::Injected { step })
}
