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
//! * A batch is full at [`FULL`] frames for each CPU that would share the copy, [`MOST`] at most; the last part added may
//!   exceed it. So other CPUs wait for fewer than two times [`FULL`] frames of each CPU that copies, and a full batch
//!   costs one request. With several CPUs a request, and waking them for the copy, cost as much as hundreds of frames.
//!
//! Neighbours: `migrate` adds single frames, blocks and tables, `migrate_contiguous` pieces; `page_table` changes the leaves.

use core::ops::Range;

use arrayvec::ArrayVec;
use carapace_lock::MutexGuard;

use crate::addr::{PAGE_SIZE, PfnRange, VirtAddr};
use crate::address_space::direct;
use crate::fault_injection::Step;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{
    COPY_WINDOW_PAGES, FlushBatch, LastTable, LeafSize, Level, PageMove, ReplaceError, SingleMove,
};
use crate::parallel::STRIPE;
use crate::vmalloc::migrate_error::MigrateError;
use crate::vmalloc::{AreaTree, FrameProvider, VmallocArena};

/// The frames of a full batch, for each CPU that shares its copy.
pub(crate) const FULL: u64 = 512;
/// The most CPUs that are counted for a batch: an array has a place for each single frame.
const SHARES: u64 = 4;
/// The frames of the largest full batch.
const MOST: u64 = FULL * SHARES;
// The last part of a batch has at most 512 frames, and the batch was not full before it.
const _: () = assert!(MOST + LeafSize::M2.pages() <= COPY_WINDOW_PAGES);
/// The most parts other than single frames.
const OTHERS: usize = FULL as usize;

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

/// A part of a batch other than a single frame. For a table, `pages` is its frame, and an address that it maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pages: PageMove,
    part: Part,
    /// The pages of other parts to copy before it.
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
#[derive(Debug)]
pub(super) struct Moves {
    /// Single frames of scattered allocations: most parts where memory is fragmented.
    pub(super) singles: ArrayVec<SingleMove, { MOST as usize }>,
    /// All others.
    others: ArrayVec<Move, OTHERS>,
}

impl Moves {
    /// No parts.
    pub(super) const EMPTY: Moves = Moves { singles: ArrayVec::new_const(), others: ArrayVec::new_const() };

    fn is_empty(&self) -> bool {
        self.singles.is_empty() && self.others.is_empty()
    }

    /// The parts that are several pages, and not a table.
    fn pages(&self) -> impl Iterator<Item = &PageMove> {
        self.others.iter().filter(|one| one.has_pages()).map(|one| &one.pages)
    }
}

/// A batch in the making. It holds the lock of the moves.
#[must_use = "what was added migrates when it is run"]
pub(crate) struct Batch<'a, M: Machine> {
    pub(super) memory: &'a Memory<M>,
    pub(super) arena: &'a VmallocArena,
    pub(super) moves: MutexGuard<'a, Moves>,
    /// Leaves that were split.
    pub(super) flush: FlushBatch,
    pages: u64,
    /// The number of frames at which it is full.
    full: u64,
    /// The addresses of the pages, tables not counted: their entries stay present.
    addresses: Range<VirtAddr>,
}

/// No addresses.
const NOWHERE: Range<VirtAddr> = VirtAddr(u64::MAX)..VirtAddr(0);

/// Returns how many CPUs would share the copy of a batch now, at most [`SHARES`].
pub(crate) fn shares<M: Machine>(machine: &M) -> u64 {
    machine.sharing().clamp(1, SHARES)
}

impl VmallocArena {
    /// Begins a batch.
    pub(crate) fn batch<'a, M: Machine>(&'a self, memory: &'a Memory<M>) -> Batch<'a, M> {
        Batch {
            memory,
            arena: self,
            moves: self.moves.lock(),
            flush: FlushBatch::new(),
            pages: 0,
            full: FULL * shares(&memory.machine),
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
    pub(crate) fn is_full(&self) -> bool {
        self.pages >= self.full || self.moves.others.is_full()
    }

    /// Returns the number of frames until the batch is full.
    pub(crate) const fn space(&self) -> u64 {
        self.full.saturating_sub(self.pages)
    }

    /// Adds a part of an allocation, whose target is allocated.
    pub(super) fn push(&mut self, areas: &mut AreaTree, pages: PageMove, part: Part) {
        areas.put_in_batch(pages.at);
        let (start, end) = (pages.at, pages.at.offset(pages.pages * PAGE_SIZE));
        self.addresses = self.addresses.start.min(start)..self.addresses.end.max(end);
        self.push_move(pages, part);
    }

    /// Counts the single frames from the one numbered `from` on, which were added and whose targets are allocated.
    pub(super) fn count_singles(&mut self, areas: &mut AreaTree, from: usize) {
        let added = self.moves.singles.get(from..).unwrap_or_default();
        let (mut area, Range { mut start, mut end }) = (NOWHERE, self.addresses.clone());
        for &SingleMove { at, .. } in added {
            if !area.contains(&at) {
                area = areas.put_in_batch(at);
            }
            (start, end) = (start.min(at), end.max(at.offset(PAGE_SIZE)));
        }
        self.addresses = start..end;
        self.pages += added.len() as u64;
    }

    /// Adds a table, whose target is allocated.
    pub(super) fn push_table(&mut self, pages: PageMove, level: Level) {
        self.push_move(pages, Part::Table(level));
    }

    fn push_move(&mut self, pages: PageMove, part: Part) {
        let behind = self.moves.others.last().map_or(0, Move::end);
        let added =
            self.moves.others.try_push(Move { pages, part, behind, source: direct(pages.old.start()) });
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
            match copied {
                Ok(()) => {
                    tables.end_singles(machine, &moves.singles);
                    moves.pages().for_each(|pages| tables.end_migration(machine, pages));
                }
                Err(_) => {
                    let singles = moves.singles.iter().map(SingleMove::pages);
                    singles.for_each(|pages| tables.undo_migration(machine, &pages));
                    moves.pages().for_each(|pages| tables.undo_migration(machine, pages));
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
        let mut rest = self.moves.singles.as_slice();
        while !rest.is_empty() {
            let left = |single: &SingleMove| if pages_migrated { single.old } else { single.new };
            let freed = self.memory.free_singles(rest.iter().map(left));
            debug_assert!(freed > 0, "{:?} has frames that the batch owns", rest.first());
            rest = rest.get(freed.max(1)..).unwrap_or_default();
        }
        for &Move { pages, part, .. } in &self.moves.others {
            let left = if pages_migrated { pages.old } else { pages.new };
            match part {
                Part::Block => self.memory.free_owned(PfnRange::of(left, pages.pages)),
                Part::Table(_) => self.memory.free_table(if tables_migrated { pages.old } else { pages.new }),
                Part::Freed => self.memory.free_table(pages.new),
                Part::Piece => self.end_piece(&pages, pages_migrated),
            }
        }
        self.moves.singles.clear();
        self.moves.others.clear();
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

    /// The number of pages to copy.
    fn copied(&self) -> u64 {
        if self.has_pages() { self.pages.pages } else { 0 }
    }

    /// The pages of other parts to copy up to its end.
    fn end(&self) -> u64 {
        self.behind + self.copied()
    }
}

/// Counts what migrates. A freed table does not.
fn moved(moves: &Moves) -> Moved {
    let mut moved = Moved { pages: moves.singles.len() as u64, tables: 0 };
    for one in moves.others.iter().filter(|one| one.part != Part::Freed) {
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
        let begun = tables.begin_singles(machine, &mut moves.singles, flush);
        let begun = begun
            .and_then(|()| moves.pages().try_for_each(|pages| tables.begin_migration(machine, pages, flush)));
        let begun = begun.map_err(|(ReplaceError::NotMapped { at } | ReplaceError::OutOfFrames { at })| {
            MigrateError::Corrupt { at }
        });
        for Move { pages, part, .. } in &mut moves.others {
            if let (Ok(()), Part::Table(level)) = (begun, *part) {
                if tables.removable_table(machine, pages.at, level) == Some(pages.old) {
                    tables.hand_over(machine, pages.at, level, pages.new, flush);
                } else {
                    *part = Part::Freed;
                }
            }
        }
        let mut window = LastTable::default();
        for one in moves.others.iter_mut().filter(|one| begun.is_ok() && one.has_pages()) {
            let PageMove { old, new, pages, .. } = one.pages;
            one.source = tables.copy_source(machine, old, new, pages, &mut window, flush);
        }
        flush.run(machine);
        begun
    });
    begun.unwrap_or(Err(MigrateError::NotStarted))
}

/// Copies the pages, on several CPUs: the single ones, then the others.
fn copy<M: Machine>(memory: &Memory<M>, moves: &Moves) -> Result<(), MigrateError> {
    let Moves { singles, others } = moves;
    memory.machine.run_parallel((singles.len() as u64).div_ceil(STRIPE), &|machine, stripe| {
        let from = (stripe * STRIPE) as usize;
        for single in singles.iter().skip(from).take(STRIPE as usize) {
            machine.copy_pages(single.source, direct(single.new.start()), 1);
        }
    });
    let pages = others.last().map_or(0, Move::end);
    memory.machine.run_parallel(pages.div_ceil(STRIPE), &|machine, stripe| {
        // The part of each move that lies in this stripe of all pages.
        let (start, end) = (stripe * STRIPE, (stripe + 1) * STRIPE);
        let first = others.partition_point(|one| one.end() <= start);
        for one in others.iter().skip(first).take_while(|one| one.behind < end) {
            let (from, to) = (start.max(one.behind), end.min(one.end()));
            let offset = from - one.behind;
            let new = direct(one.pages.new.offset(offset).start());
            machine.copy_pages(one.source.offset(offset * PAGE_SIZE), new, to - from);
        }
    });
    memory.should_fail(Step::Copy).map_err(|step| MigrateError::Injected { step })
}
