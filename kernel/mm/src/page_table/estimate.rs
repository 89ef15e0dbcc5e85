//! Which tables a mapping would need, told beforehand, so that room can be reserved for them.
//!
//! The cost is that of the tables at the borders, not of the length: what lies between is arithmetic.
//! Neighbours: `layout` reserves pages of a resource by it; `edit` must take exactly `new` frames.

use core::ops::Add;

use crate::addr::{PAGE_SIZE, Pfn};
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, Kind, Level, VaRange};
use crate::page_table::walk::entry_of;
use crate::page_table::{LeafSize, Mapping, PageTables};

/// Tables that a mapping would need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableNeed {
    /// How many it would make.
    pub new: u64,
    /// How many that exist, and are not permanent, it would add entries to: a neighbour made them, and
    /// they have to be handed over when he leaves.
    pub shared: u64,
}

impl Add for TableNeed {
    type Output = TableNeed;

    fn add(self, other: TableNeed) -> TableNeed {
        TableNeed { new: self.new + other.new, shared: self.shared + other.shared }
    }
}

impl PageTables {
    /// The tables that [`PageTables::map`] would make and share for `mapping`. Where the mapping would
    /// be refused the answer means nothing.
    pub(crate) fn tables_needed<M: Machine>(&self, machine: &M, mapping: &Mapping) -> TableNeed {
        if mapping.check().is_err() {
            return TableNeed::default();
        }
        let piece = VaRange { virt: mapping.virt, phys: mapping.phys, pages: mapping.pages };
        let largest = usable_leaf(mapping, self.largest_leaf());
        let mut need = TableNeed::default();
        count(machine, self.root, Level::Pml4, piece, largest, &mut need);
        need
    }
}

/// The largest leaf whose alignment the virtual and the physical side can share.
fn usable_leaf(mapping: &Mapping, cpu: LeafSize) -> LeafSize {
    let differ = mapping.virt.0 ^ mapping.phys.0;
    let allowed = |size: &LeafSize| *size <= mapping.largest && *size <= cpu;
    let congruent = |size: &LeafSize| differ & (size.bytes() - 1) == 0;
    LeafSize::ALL.into_iter().rev().filter(allowed).find(congruent).unwrap_or(LeafSize::K4)
}

fn is_leaf(level: Level, largest: LeafSize) -> bool {
    level.leaf().is_some_and(|size| size <= largest)
}

fn count<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    piece: VaRange,
    largest: LeafSize,
    need: &mut TableNeed,
) {
    let Some(below) = level.below() else { return };
    for part in piece.entries(level) {
        let entry = entry_of(machine, table, level, part.virt);
        match entry.kind(level) {
            Kind::Table(next) => {
                need.shared += u64::from(!entry.is_permanent());
                count(machine, next, below, part, largest, need);
            }
            Kind::Absent if part.is_whole_entry(level) && is_leaf(level, largest) => {}
            Kind::Absent => need.new += new_tables(below, part, largest),
            Kind::Leaf(_) => {}
        }
    }
}

/// The tables of a new subtree of `level` that maps `piece`.
fn new_tables(level: Level, piece: VaRange, largest: LeafSize) -> u64 {
    let Some(below) = level.below() else { return 1 };
    let covered = level.entry_pages();
    let start = piece.virt.0 / PAGE_SIZE;
    let end = start + piece.pages;
    let (first_whole, last_whole) = (start.div_ceil(covered), end / covered);
    if first_whole > last_whole {
        return 1 + new_tables(below, piece, largest);
    }
    let head = first_whole * covered - start;
    let tail = end - last_whole * covered;
    let mut tables = 1 + (last_whole - first_whole) * whole_entry(level, largest);
    if head > 0 {
        tables += new_tables(below, VaRange { pages: head, ..piece }, largest);
    }
    if tail > 0 {
        let at = VaRange::of(piece.virt.offset((piece.pages - tail) * PAGE_SIZE), tail);
        tables += new_tables(below, at, largest);
    }
    tables
}

/// The tables below one entry of `level` that is mapped whole.
fn whole_entry(level: Level, largest: LeafSize) -> u64 {
    match level.below() {
        Some(below) if !is_leaf(level, largest) => 1 + ENTRIES * whole_entry(below, largest),
        _ => 0,
    }
}
