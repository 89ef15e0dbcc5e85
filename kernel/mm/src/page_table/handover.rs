//! Page tables of memory that is hot-removed: tables in it that other resources use move to one of these, then all
//! entries that lead to it are cleared without reading the tables inside.
//!
//! ```text
//!  hand over     PDPT ---> PD in A (A's and B's entries)      A is removed, B stays
//!                PDPT ---> PD in B (a copy)                   one store; the old table is never accessed again
//!  unlink        PDPT ---> x   PD with A's entries only       one store for the whole table
//!                PD in B: A's entries cleared one by one
//! ```
//!
//! Invariants: the copy is complete before the one store that links it; unlinking neither reads nor writes a table in
//! the removed memory; the flush comes after the last entry is cleared, and the caller may release the memory only
//! after the flush. Neighbours: `map` made the tables, `hot_remove` chooses the new owner, `unmap` is for memory that
//! stays.

use crate::addr::{Pfn, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, Entry, EntryKind, Level, VaRange};
use crate::page_table::walk::{entry_addr, load_entry};
use crate::page_table::{FlushBatch, Lifetime, PageTables};

impl PageTables {
    /// Copies the linked table of `level` that covers `at` to the frame `new_frame` and links the copy instead. Returns
    /// the frame of the old table; `None` when there is none or it is permanent. Until `flush` has run, CPUs may walk
    /// the old table: it stays as it is, and no entry of the copy may be added.
    pub(crate) fn hand_over<M: Machine>(
        &mut self,
        machine: &M,
        at: VirtAddr,
        level: Level,
        new_frame: Pfn,
        flush: &mut FlushBatch,
    ) -> Option<Pfn> {
        let (addr, old) = self.removable_link(machine, at, level)?;
        let view = self.map_unlinked(machine, new_frame, level);
        for index in 0..ENTRIES {
            let entry = machine.load(direct(old.start()).offset(index * 8));
            machine.store(view.offset(index * 8), entry);
        }
        machine.store(addr, Entry::table(new_frame, Lifetime::UntilEmpty).0);
        self.clear_slots(machine);
        flush.everything();
        Some(old)
    }

    /// Clears the entry that links the table of `level` for `at`, unless it is permanent.
    pub(crate) fn unlink_table<M: Machine>(
        &mut self,
        machine: &M,
        at: VirtAddr,
        level: Level,
        flush: &mut FlushBatch,
    ) {
        if let Some((addr, _)) = self.removable_link(machine, at, level) {
            machine.store(addr, Entry::ABSENT.0);
            flush.everything();
        }
    }

    /// Returns the linked table of `level` that covers `at`; `None` when there is none or it is permanent.
    pub(crate) fn removable_table<M: Machine>(&self, machine: &M, at: VirtAddr, level: Level) -> Option<Pfn> {
        self.removable_link(machine, at, level).map(|(_, table)| table)
    }

    /// Clears every entry that maps the `pages` pages at `virt`. Unlinks a table in removed memory (`removed`) as a
    /// whole, without reading it: it must hold no entry that is still needed. Skips pages that are not mapped. Returns
    /// the number of entries cleared.
    pub(crate) fn unlink_range<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        removed: &dyn Fn(Pfn) -> bool,
        flush: &mut FlushBatch,
    ) -> u64 {
        let cleared = unlink_range(machine, self.root, Level::Pml4, VaRange::of(virt, pages), removed);
        if cleared > 0 {
            flush.everything();
        }
        cleared
    }

    /// Returns the address of the entry that links the table, and the table.
    pub(super) fn removable_link<M: Machine>(
        &self,
        machine: &M,
        at: VirtAddr,
        level: Level,
    ) -> Option<(VirtAddr, Pfn)> {
        let (mut table, mut here) = (self.root, Level::Pml4);
        loop {
            let entry = load_entry(machine, table, here, at);
            let EntryKind::Table(next) = entry.kind(here) else { return None };
            let below = here.below()?;
            if below == level {
                return (!entry.is_permanent()).then(|| (entry_addr(table, here, at), next));
            }
            (table, here) = (next, below);
        }
    }
}

fn unlink_range<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    range: VaRange,
    removed: &dyn Fn(Pfn) -> bool,
) -> u64 {
    let mut cleared = 0;
    for part in range.entries(level) {
        let addr = entry_addr(table, level, part.virt);
        match (Entry(machine.load(addr)).kind(level), level.below()) {
            (EntryKind::Absent, _) => {}
            (EntryKind::Table(next), Some(below)) if !removed(next) => {
                cleared += unlink_range(machine, next, below, part, removed);
            }
            _ => {
                machine.store(addr, Entry::ABSENT.0);
                cleared += 1;
            }
        }
    }
    cleared
}
