//! The number of page tables that a mapping needs: the tests compare `layout`'s reservations and `map` with it.
//!
//! The cost depends on the tables at the range's borders, not on its length.
//! Neighbours: `map` must allocate exactly `new` frames.

use core::ops::Add;

use crate::addr::{PAGE_SIZE, Pfn};
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, EntryKind, Level, VaRange};
use crate::page_table::walk::load_entry;
use crate::page_table::{LeafSize, Mapping, PageTables};

/// The tables that a mapping needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableNeed {
    /// New tables.
    pub new: u64,
    /// Existing, not permanent tables that get further entries. Another resource made them; when it is removed, they
    /// are handed over.
    pub shared: u64,
}

impl Add for TableNeed {
    type Output = TableNeed;

    fn add(self, other: TableNeed) -> TableNeed {
        TableNeed { new: self.new + other.new, shared: self.shared + other.shared }
    }
}

impl PageTables {
    /// Counts the tables that [`PageTables::map`] would allocate and share for `mapping`. Meaningless when `map` would
    /// refuse it.
    pub(crate) fn tables_needed<M: Machine>(&self, machine: &M, mapping: &Mapping) -> TableNeed {
        if mapping.check().is_err() {
            return TableNeed::default();
        }
        let range = VaRange { virt: mapping.virt, phys: mapping.phys, pages: mapping.pages };
        let largest = usable_leaf(mapping, self.largest_leaf());
        let mut need = TableNeed::default();
        count(machine, self.root, Level::Pml4, range, largest, &mut need);
        need
    }
}

/// Returns the largest leaf size modulo which virtual and physical address are congruent.
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
    range: VaRange,
    largest: LeafSize,
    need: &mut TableNeed,
) {
    let Some(below) = level.below() else { return };
    for part in range.entries(level) {
        let entry = load_entry(machine, table, level, part.virt);
        match entry.kind(level) {
            EntryKind::Table(next) => {
                need.shared += u64::from(!entry.is_permanent());
                count(machine, next, below, part, largest, need);
            }
            EntryKind::Absent if part.is_whole_entry(level) && is_leaf(level, largest) => {}
            EntryKind::Absent => need.new += new_tables(below, part, largest),
            EntryKind::Leaf(_) | EntryKind::Migrating(_) => {}
        }
    }
}

/// Counts the tables of a new subtree of `level` that maps `range`.
fn new_tables(level: Level, range: VaRange, largest: LeafSize) -> u64 {
    let Some(below) = level.below() else { return 1 };
    let covered = level.entry_pages();
    let start = range.virt.0 / PAGE_SIZE;
    let end = start + range.pages;
    let (first_whole, last_whole) = (start.div_ceil(covered), end / covered);
    if first_whole > last_whole {
        return 1 + new_tables(below, range, largest);
    }
    let head = first_whole * covered - start;
    let tail = end - last_whole * covered;
    let mut tables = 1 + (last_whole - first_whole) * whole_entry(level, largest);
    if head > 0 {
        tables += new_tables(below, VaRange { pages: head, ..range }, largest);
    }
    if tail > 0 {
        let at = VaRange::of(range.virt.offset((range.pages - tail) * PAGE_SIZE), tail);
        tables += new_tables(below, at, largest);
    }
    tables
}

/// Counts the tables below one completely mapped entry of `level`.
fn whole_entry(level: Level, largest: LeafSize) -> u64 {
    match level.below() {
        Some(below) if !is_leaf(level, largest) => 1 + ENTRIES * whole_entry(below, largest),
        _ => 0,
    }
}
