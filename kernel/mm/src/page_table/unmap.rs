//! Unmapping. A table that becomes empty is detached, top down, before the entries below it are
//! cleared, because it may lie in the memory that it maps.
//!
//! ```text
//!  1 check     every page of the range is mapped, no leaf crosses its border
//!  2 clear     parents' entries first; a detached table is read through the fixmap and put on a list
//!              linked through the first words of the detached tables (not present for the CPU)
//!  3 flush     once
//!  4 free      the tables on the list
//! ```
//!
//! Permanent tables stay, even empty. Neighbours: `map` undoes a failed mapping with it.

use core::fmt;

use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, Entry, EntryKind, Level, VaRange};
use crate::page_table::walk::{entry_addr, load_entry};
use crate::page_table::{FlushBatch, FrameSource, LeafSize, MapError, PageTables, check_range};

/// The work done by one call of [`PageTables::unmap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnmapStats {
    /// The tables freed.
    pub tables: u64,
}

/// The reason why nothing was unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmapError {
    /// A page of the range is not mapped.
    NotMapped {
        /// The first such page.
        at: VirtAddr,
    },
    /// A leaf crosses the border of the range.
    PartOfLeaf {
        /// The first address that both the range and the leaf cover.
        at: VirtAddr,
        /// The leaf's size.
        size: LeafSize,
    },
    /// The range is invalid: see [`MapError`].
    Range(MapError),
}

impl fmt::Display for UnmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnmapError::NotMapped { at } => write!(f, "virtual address {at} is not mapped"),
            UnmapError::PartOfLeaf { at, size } => {
                write!(f, "the range covers only part of the {size} leaf at {at}")
            }
            UnmapError::Range(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for UnmapError {}

/// Entries that are cleared but not flushed.
struct Cleared {
    flush: FlushBatch,
    /// The last detached table, the head of the list; its first word links the next one.
    tables: Option<Pfn>,
}

impl VaRange {
    /// Makes the range of the pages in `start..end`.
    pub(super) const fn between(start: VirtAddr, end: VirtAddr) -> VaRange {
        VaRange::of(start, end.0.wrapping_sub(start.0) >> PAGE_SHIFT)
    }
}

impl PageTables {
    /// Unmaps the `pages` pages at `virt`, flushes, and frees the tables that become empty to
    /// `frames`. All or nothing: an error changes nothing.
    ///
    /// The range may map its own tables, as long as each table with entries outside the range lies
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
        let range = VaRange::of(virt, pages);
        check_mapped(machine, self.root, Level::Pml4, range)?;
        Ok(self.clear_and_flush(machine, range, frames))
    }

    /// Unmaps the mapped ones of the `pages` pages at `virt`, whose border no leaf crosses, flushes, and frees the tables
    /// that become empty to `frames`. Makes at most one request to the other CPUs.
    pub(crate) fn unmap_present<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        frames: &mut dyn FrameSource,
    ) {
        self.clear_and_flush(machine, VaRange::of(virt, pages), frames);
    }

    /// Clears every present entry of `range`, which no leaf crosses, flushes, and frees empty tables.
    pub(super) fn clear_and_flush<M: Machine>(
        &self,
        machine: &M,
        range: VaRange,
        frames: &mut dyn FrameSource,
    ) -> UnmapStats {
        let mut cleared = Cleared { flush: FlushBatch::new(), tables: None };
        self.clear(machine, self.root, Level::Pml4, range, &mut cleared);
        cleared.flush.run(machine);
        let mut stats = UnmapStats::default();
        let mut next = cleared.tables;
        while let Some(table) = next {
            next = link_of(machine.load(self.map_unlinked(machine, table, Level::Pt)));
            frames.free_frame(table);
            stats.tables += 1;
        }
        self.clear_slots(machine);
        stats
    }

    /// Clears `range` below the linked `table` of `level`, which stays linked.
    fn clear<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        range: VaRange,
        cleared: &mut Cleared,
    ) {
        for part in range.entries(level) {
            let entry = load_entry(machine, table, level, part.virt);
            let addr = entry_addr(table, level, part.virt);
            match (entry.kind(level), level.below()) {
                (EntryKind::Leaf(_) | EntryKind::Migrating(_), _) => {
                    machine.store(addr, Entry::ABSENT.0);
                    cleared.flush.page(part.virt);
                }
                (EntryKind::Table(next), Some(below)) => {
                    if !entry.is_permanent() && becomes_empty(machine, next, below, part) {
                        machine.store(addr, Entry::ABSENT.0);
                        self.detach(machine, next, below, cleared);
                    } else {
                        self.clear(machine, next, below, part, cleared);
                    }
                }
                _ => {}
            }
        }
    }

    /// Puts the unlinked `table` and all tables below it on the list.
    fn detach<M: Machine>(&self, machine: &M, table: Pfn, level: Level, cleared: &mut Cleared) {
        let view = self.map_unlinked(machine, table, level);
        if let Some(below) = level.below() {
            for index in 0..ENTRIES {
                if let EntryKind::Table(next) = Entry(machine.load(view.offset(index * 8))).kind(level) {
                    self.detach(machine, next, below, cleared);
                }
            }
        }
        // A CPU with a stale link to the table reads this word as an absent entry.
        machine.store(view, link_to(cleared.tables));
        cleared.tables = Some(table);
        cleared.flush.everything();
    }

    /// Frees a table that was never linked, and all tables below it.
    pub(super) fn free_unlinked<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        frames: &mut dyn FrameSource,
    ) {
        let view = self.map_unlinked(machine, table, level);
        if let Some(below) = level.below() {
            for index in 0..ENTRIES {
                if let EntryKind::Table(next) = Entry(machine.load(view.offset(index * 8))).kind(level) {
                    self.free_unlinked(machine, next, below, frames);
                }
            }
        }
        frames.free_frame(table);
    }
}

/// Encodes a link of the list as an absent entry (bit 0 clear); bit 1 distinguishes a link from the end.
const fn link_to(table: Option<Pfn>) -> u64 {
    match table {
        Some(table) => table.start().0 | 2,
        None => 0,
    }
}

const fn link_of(word: u64) -> Option<Pfn> {
    if word & 2 != 0 { Some(Pfn(word >> PAGE_SHIFT)) } else { None }
}

/// Returns whether the linked `table` has no entries outside `range`.
fn becomes_empty<M: Machine>(machine: &M, table: Pfn, level: Level, range: VaRange) -> bool {
    let first = level.index(range.virt);
    let last = level.index(range.end().offset(0u64.wrapping_sub(1)));
    let outside = (0..first).chain(last + 1..ENTRIES);
    for index in outside {
        if Entry(machine.load(direct(table.start()).offset(index * 8))).is_used() {
            return false;
        }
    }
    // Only the first and the last entry can be covered partially.
    let mut parts = range.entries(level).filter(|part| !part.is_whole_entry(level));
    parts.all(|part| {
        let entry = load_entry(machine, table, level, part.virt);
        match (entry.kind(level), level.below()) {
            (EntryKind::Table(next), Some(below)) => {
                !entry.is_permanent() && becomes_empty(machine, next, below, part)
            }
            _ => true,
        }
    })
}

/// Checks that `range` is completely mapped and that no leaf crosses its border.
fn check_mapped<M: Machine>(machine: &M, table: Pfn, level: Level, range: VaRange) -> Result<(), UnmapError> {
    for part in range.entries(level) {
        match (load_entry(machine, table, level, part.virt).kind(level), level.below()) {
            (EntryKind::Leaf(_), _) if part.is_whole_entry(level) => {}
            (EntryKind::Leaf(size), _) => return Err(UnmapError::PartOfLeaf { at: part.virt, size }),
            (EntryKind::Table(next), Some(below)) => check_mapped(machine, next, below, part)?,
            _ => return Err(UnmapError::NotMapped { at: part.virt }),
        }
    }
    Ok(())
}
