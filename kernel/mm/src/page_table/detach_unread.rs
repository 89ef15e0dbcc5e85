//! Cutting off what is gone already: memory that was taken without asking, and with it the tables that lay in it.
//!
//! Invariant: nothing in the memory that is gone is read, a table there counts as a hole of all that it covered; every
//! entry that leads there is cleared, then all is flushed. A table that is left empty is unlinked; who owns it finds it
//! by the holder's word of its frame. Neighbours: `remove::forget` asks; `leave` is for memory
//! that goes with notice.

use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::PageTables;
use crate::page_table::entry::{ENTRIES, Entry, Kind, Level, VaRange};
use crate::page_table::walk::slot_of;

/// A hole in what was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// Pages whose frames are gone.
    Frames {
        /// The first address.
        at: VirtAddr,
        /// How many.
        pages: u64,
    },
    /// Pages whose table is gone; their frames may be there.
    Table {
        /// The first address that the table covered.
        at: VirtAddr,
        /// Pages that it covered.
        pages: u64,
    },
}

impl PageTables {
    /// Clears the entries for the `pages` pages from `virt` on that lead to frames for which `gone` holds, and flushes.
    /// Tells each hole, in ascending order.
    pub(crate) fn cut_out<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        gone: &dyn Fn(Pfn) -> bool,
        report: &mut dyn FnMut(Hole),
    ) {
        cut_out(machine, self.root, Level::Pml4, VaRange::of(virt, pages), gone, report);
        machine.flush_all();
    }
}

/// Whether the linked `table` has no entry.
fn is_empty<M: Machine>(machine: &M, table: Pfn) -> bool {
    (0..ENTRIES).all(|index| !Entry(machine.load(direct(table.start()).offset(index * 8))).is_present())
}

fn cut_out<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    piece: VaRange,
    gone: &dyn Fn(Pfn) -> bool,
    report: &mut dyn FnMut(Hole),
) {
    for part in piece.entries(level) {
        let slot = slot_of(table, level, part.virt);
        let entry = Entry(machine.load(slot));
        let covered = level.entry_pages();
        let at = VirtAddr(part.virt.0 & !(covered * PAGE_SIZE - 1));
        match (entry.kind(level), level.below()) {
            (Kind::Leaf(size), _) if gone(entry.leaf_phys(size).pfn()) => {
                machine.store(slot, Entry::ABSENT.0);
                report(Hole::Frames { at, pages: covered });
            }
            (Kind::Table(next), _) if gone(next) => {
                machine.store(slot, Entry::ABSENT.0);
                report(Hole::Table { at, pages: covered });
            }
            (Kind::Table(next), Some(below)) => {
                let mut holes = false;
                cut_out(machine, next, below, part, gone, &mut |hole| {
                    holes = true;
                    report(hole);
                });
                if holes && !entry.is_permanent() && is_empty(machine, next) {
                    machine.store(slot, Entry::ABSENT.0);
                }
            }
            _ => {}
        }
    }
}
