//! Taking mappings out. A table that would be left empty is detached whole, top down, before anything
//! below it is touched: it may lie in the very memory that it maps.
//!
//! ```text
//!  1 look      every page of the range is mapped, no leaf reaches across its border
//!  2 clear     parents' entries first; a detached table is read through the fixmap and put on a list
//!              that runs through the first words of the detached tables (not present for the CPU)
//!  3 flush     once
//!  4 give back the tables on the list
//! ```
//!
//! Neighbours: `edit` undoes by it. Permanent tables stay, empty or not.

use core::fmt;

use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, Entry, Kind, Level, VaRange};
use crate::page_table::walk::{entry_of, slot_of};
use crate::page_table::{FrameSource, LeafSize, MapError, PageTables, check_range};

/// Up to how many leaves are flushed one by one (Linux: `tlb_single_page_flush_ceiling`, 33).
const SINGLE_FLUSHES: usize = 32;

/// What a call of [`PageTables::unmap`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnmapStats {
    /// Tables given back.
    pub tables: u64,
}

/// Why nothing was unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmapError {
    /// A page of the range is not mapped.
    NotMapped {
        /// The first such part.
        at: VirtAddr,
    },
    /// A leaf reaches across the border of the range.
    PartOfLeaf {
        /// Where the range and the leaf meet.
        at: VirtAddr,
        /// The leaf's size.
        size: LeafSize,
    },
    /// The range itself is impossible.
    Range(MapError),
}

impl fmt::Display for UnmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnmapError::NotMapped { at } => write!(f, "virtual address {at} is not mapped"),
            UnmapError::PartOfLeaf { at, size } => {
                write!(f, "the range covers only a part of the {size} leaf at {at}")
            }
            UnmapError::Range(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for UnmapError {}

/// What was cleared and not yet flushed.
struct Cleared {
    /// The leaves, while they are few.
    leaves: [VirtAddr; SINGLE_FLUSHES],
    /// How many leaves; more than the array holds means: flush everything.
    count: usize,
    /// The last detached table; its first word names the one before.
    tables: Option<Pfn>,
}

impl Cleared {
    fn add_leaf(&mut self, at: VirtAddr) {
        if let Some(place) = self.leaves.get_mut(self.count) {
            *place = at;
        }
        self.count = self.count.saturating_add(1);
    }
}

impl VaRange {
    /// The pages from `start` up to `end`.
    pub(super) const fn between(start: VirtAddr, end: VirtAddr) -> VaRange {
        VaRange::of(start, end.0.wrapping_sub(start.0) >> PAGE_SHIFT)
    }
}

impl PageTables {
    /// Unmaps the `pages` pages from `virt` on, flushes, and gives the tables that became empty to
    /// `frames`. All or nothing: an error changes nothing.
    ///
    /// The range may map the tables themselves, as long as each table with entries beside the range lies
    /// outside of it.
    ///
    /// # Errors
    /// When a page is not mapped, or a leaf covers pages outside the range.
    pub fn unmap<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        frames: &mut dyn FrameSource,
    ) -> Result<UnmapStats, UnmapError> {
        check_range(virt, pages).map_err(UnmapError::Range)?;
        let piece = VaRange::of(virt, pages);
        check_mapped(machine, self.root, Level::Pml4, piece)?;
        Ok(self.take_out(machine, piece, frames))
    }

    /// Clears every present entry of `piece`, known to be whole, flushes and gives back.
    pub(super) fn take_out<M: Machine>(
        &self,
        machine: &M,
        piece: VaRange,
        frames: &mut dyn FrameSource,
    ) -> UnmapStats {
        let mut cleared = Cleared { leaves: [VirtAddr(0); SINGLE_FLUSHES], count: 0, tables: None };
        self.clear(machine, self.root, Level::Pml4, piece, &mut cleared);
        if cleared.tables.is_some() || cleared.count > SINGLE_FLUSHES {
            machine.flush_all();
        } else {
            cleared.leaves.iter().take(cleared.count).for_each(|at| machine.flush(*at));
        }
        let mut stats = UnmapStats::default();
        let mut next = cleared.tables;
        while let Some(table) = next {
            next = link_of(machine.load(self.unlinked(machine, table, Level::Pt)));
            frames.free_frame(table);
            stats.tables += 1;
        }
        self.clear_slots(machine);
        stats
    }

    /// Clears `piece` below the linked `table` of `level`, which stays.
    fn clear<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        piece: VaRange,
        cleared: &mut Cleared,
    ) {
        for part in piece.entries(level) {
            let entry = entry_of(machine, table, level, part.virt);
            let slot = slot_of(table, level, part.virt);
            match (entry.kind(level), level.below()) {
                (Kind::Leaf(_), _) => {
                    machine.store(slot, Entry::ABSENT.0);
                    cleared.add_leaf(part.virt);
                }
                (Kind::Table(next), Some(below)) => {
                    if !entry.is_permanent() && left_empty(machine, next, below, part) {
                        machine.store(slot, Entry::ABSENT.0);
                        self.detach(machine, next, below, cleared);
                    } else {
                        self.clear(machine, next, below, part, cleared);
                    }
                }
                _ => {}
            }
        }
    }

    /// Puts `table`, which nothing links any more, and all tables below it on the list.
    fn detach<M: Machine>(&self, machine: &M, table: Pfn, level: Level, cleared: &mut Cleared) {
        let view = self.unlinked(machine, table, level);
        if let Some(below) = level.below() {
            for index in 0..ENTRIES {
                if let Kind::Table(next) = Entry(machine.load(view.offset(index * 8))).kind(level) {
                    self.detach(machine, next, below, cleared);
                }
            }
        }
        // A CPU that still knows the table reads this word as an entry that is not present.
        machine.store(view, link_to(cleared.tables));
        cleared.tables = Some(table);
    }

    /// Gives back a table that was never linked, with all below it.
    pub(super) fn give_back_all<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        frames: &mut dyn FrameSource,
    ) {
        let view = self.unlinked(machine, table, level);
        if let Some(below) = level.below() {
            for index in 0..ENTRIES {
                if let Kind::Table(next) = Entry(machine.load(view.offset(index * 8))).kind(level) {
                    self.give_back_all(machine, next, below, frames);
                }
            }
        }
        frames.free_frame(table);
    }
}

/// A word that names a table and is not present as an entry (bit 0); bit 1 tells it from the end.
const fn link_to(table: Option<Pfn>) -> u64 {
    match table {
        Some(table) => table.start().0 | 2,
        None => 0,
    }
}

const fn link_of(word: u64) -> Option<Pfn> {
    if word & 2 != 0 { Some(Pfn(word >> PAGE_SHIFT)) } else { None }
}

/// Whether the linked `table` has no entry but those that `piece` covers.
fn left_empty<M: Machine>(machine: &M, table: Pfn, level: Level, piece: VaRange) -> bool {
    let first = level.index(piece.virt);
    let last = level.index(piece.end().offset(0u64.wrapping_sub(1)));
    let outside = (0..first).chain(last + 1..ENTRIES);
    for index in outside {
        if Entry(machine.load(direct(table.start()).offset(index * 8))).is_present() {
            return false;
        }
    }
    // Only the first and the last entry can be covered in part.
    let mut parts = piece.entries(level).filter(|part| !part.is_whole_entry(level));
    parts.all(|part| {
        let entry = entry_of(machine, table, level, part.virt);
        match (entry.kind(level), level.below()) {
            (Kind::Table(next), Some(below)) => {
                !entry.is_permanent() && left_empty(machine, next, below, part)
            }
            _ => true,
        }
    })
}

/// Whether all of `piece` is mapped by leaves that do not reach across its border.
fn check_mapped<M: Machine>(machine: &M, table: Pfn, level: Level, piece: VaRange) -> Result<(), UnmapError> {
    for part in piece.entries(level) {
        match (entry_of(machine, table, level, part.virt).kind(level), level.below()) {
            (Kind::Leaf(_), _) if part.is_whole_entry(level) => {}
            (Kind::Leaf(size), _) => return Err(UnmapError::PartOfLeaf { at: part.virt, size }),
            (Kind::Table(next), Some(below)) => check_mapped(machine, next, below, part)?,
            _ => return Err(UnmapError::NotMapped { at: part.virt }),
        }
    }
    Ok(())
}
