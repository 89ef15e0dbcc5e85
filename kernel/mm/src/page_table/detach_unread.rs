//! Clearing the entries that lead to surprise-removed memory, which held frames, tables, or both.
//!
//! Invariant: removed memory is never read: a removed table counts as a hole of everything that it covered. All
//! entries that lead to removed memory are cleared, then the caller flushes. A remaining table that becomes empty is
//! unlinked; its owner finds it by the rmap of its frame. Neighbours: `vmalloc::surprise_removal` calls it;
//! `handover` serves orderly removal.

use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, Entry, EntryKind, Level, VaRange};
use crate::page_table::walk::entry_addr;
use crate::page_table::{FlushBatch, PageTables};

/// A range that a surprise removal unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// Pages whose frames were removed.
    Frames {
        /// The first address.
        at: VirtAddr,
        /// The number of pages.
        pages: u64,
    },
    /// Pages whose table was removed; their frames may still be present.
    Table {
        /// The first address that the table covered.
        at: VirtAddr,
        /// The number of pages that it covered.
        pages: u64,
    },
}

impl PageTables {
    /// Clears the entries of the `pages` pages at `virt` that lead to removed frames (`gone`), which `flush` collects.
    /// Reports each hole, in ascending order.
    pub(crate) fn detach_unread<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        gone: &dyn Fn(Pfn) -> bool,
        flush: &mut FlushBatch,
        report: &mut dyn FnMut(Hole),
    ) {
        detach_unread(machine, self.root, Level::Pml4, VaRange::of(virt, pages), gone, &mut |hole| {
            // Tables go as well as leaves.
            flush.everything();
            report(hole);
        });
    }
}

/// Returns whether the linked `table` has no entry in use.
fn is_empty<M: Machine>(machine: &M, table: Pfn) -> bool {
    (0..ENTRIES).all(|index| !Entry(machine.load(direct(table.start()).offset(index * 8))).is_used())
}

fn detach_unread<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    range: VaRange,
    gone: &dyn Fn(Pfn) -> bool,
    report: &mut dyn FnMut(Hole),
) {
    for part in range.entries(level) {
        let addr = entry_addr(table, level, part.virt);
        let entry = Entry(machine.load(addr));
        let covered = level.entry_pages();
        let at = VirtAddr(part.virt.0 & !(covered * PAGE_SIZE - 1));
        match (entry.kind(level), level.below()) {
            (EntryKind::Leaf(size) | EntryKind::Migrating(size), _) if gone(entry.leaf_phys(size).pfn()) => {
                machine.store(addr, Entry::ABSENT.0);
                report(Hole::Frames { at, pages: covered });
            }
            (EntryKind::Table(next), _) if gone(next) => {
                machine.store(addr, Entry::ABSENT.0);
                report(Hole::Table { at, pages: covered });
            }
            (EntryKind::Table(next), Some(below)) => {
                let mut holes = false;
                detach_unread(machine, next, below, part, gone, &mut |hole| {
                    holes = true;
                    report(hole);
                });
                if holes && !entry.is_permanent() && is_empty(machine, next) {
                    machine.store(addr, Entry::ABSENT.0);
                }
            }
            _ => {}
        }
    }
}
