//! What memory that leaves needs: tables that lie in it and that others use move out of it, and then all that
//! leads into it is cut off, without a look at what lies inside.
//!
//! ```text
//!  hand over     PDPT ---> PD in A (A's and B's entries)      A leaves, B stays
//!                PDPT ---> PD in B (a copy)                   one store; the old one is never touched again
//!  cut off       PDPT ---> x   PD of A's own                  one store for the whole table
//!                PD in B: A's entries cleared one by one
//! ```
//!
//! Invariants: a handed-over table is complete before the one store that puts it in the old one's place; cutting
//! off reads and writes no table that lies in the leaving memory; nothing is flushed before the last entry
//! is cleared, and the caller may let the memory go only after the flush. Neighbours: `edit` mapped,
//! `remove` decides who inherits, `unmap` is for memory that stays.

use crate::addr::{Pfn, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, Entry, Kind, Level, VaRange};
use crate::page_table::walk::{entry_of, slot_of};
use crate::page_table::{Lifetime, PageTables};

impl PageTables {
    /// Copies the linked table of `level` that covers `at` into the frame `heir`, puts that in its place and
    /// flushes. Returns the frame of the old one; `None` when there is none, or a permanent one.
    pub(crate) fn hand_over<M: Machine>(
        &mut self,
        machine: &M,
        at: VirtAddr,
        level: Level,
        heir: Pfn,
    ) -> Option<Pfn> {
        let (slot, old) = self.own_table(machine, at, level)?;
        let view = self.unlinked(machine, heir, level);
        for index in 0..ENTRIES {
            let entry = machine.load(direct(old.start()).offset(index * 8));
            machine.store(view.offset(index * 8), entry);
        }
        machine.store(slot, Entry::table(heir, Lifetime::UntilEmpty).0);
        self.clear_slots(machine);
        machine.flush_all();
        Some(old)
    }

    /// Clears the entry that links the table of `level` for `at`, unless it is permanent. The caller flushes.
    pub(crate) fn unlink<M: Machine>(&mut self, machine: &M, at: VirtAddr, level: Level) {
        if let Some((slot, _)) = self.own_table(machine, at, level) {
            machine.store(slot, Entry::ABSENT.0);
        }
    }

    /// The linked table of `level` that covers `at`, if there is one and it is not permanent.
    pub(crate) fn table_of<M: Machine>(&self, machine: &M, at: VirtAddr, level: Level) -> Option<Pfn> {
        self.own_table(machine, at, level).map(|(_, table)| table)
    }

    /// Clears every entry that leads to the `pages` pages from `virt` on. A table for which `leaving` holds is cut
    /// off as a whole and not looked at: it must have no entry that anybody still needs. What is not
    /// mapped is passed over. Returns how many entries it cleared; the caller flushes.
    pub(crate) fn cut_off<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        leaving: &dyn Fn(Pfn) -> bool,
    ) -> u64 {
        cut_off(machine, self.root, Level::Pml4, VaRange::of(virt, pages), leaving)
    }

    /// The entry that links the table, and the table.
    fn own_table<M: Machine>(&self, machine: &M, at: VirtAddr, level: Level) -> Option<(VirtAddr, Pfn)> {
        let (mut table, mut here) = (self.root, Level::Pml4);
        loop {
            let entry = entry_of(machine, table, here, at);
            let Kind::Table(next) = entry.kind(here) else { return None };
            let below = here.below()?;
            if below == level {
                return (!entry.is_permanent()).then(|| (slot_of(table, here, at), next));
            }
            (table, here) = (next, below);
        }
    }
}

fn cut_off<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    piece: VaRange,
    leaving: &dyn Fn(Pfn) -> bool,
) -> u64 {
    let mut cleared = 0;
    for part in piece.entries(level) {
        let slot = slot_of(table, level, part.virt);
        match (Entry(machine.load(slot)).kind(level), level.below()) {
            (Kind::Absent, _) => {}
            (Kind::Table(next), Some(below)) if !leaving(next) => {
                cleared += cut_off(machine, next, below, part, leaving);
            }
            _ => {
                machine.store(slot, Entry::ABSENT.0);
                cleared += 1;
            }
        }
    }
    cleared
}
