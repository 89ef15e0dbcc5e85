//! Migrating single pages of 4 KiB, many at a time: what `replace` does, with one look for the page table of all pages in
//! the same 2 MiB of addresses.
//!
//! Invariants: those of `replace`. Neighbours: `vmalloc::migrate` checks pages, `vmalloc::batch` migrates them.

use crate::addr::{Pfn, VirtAddr};
use crate::address_space::direct;
use crate::machine::Machine;
use crate::page_table::entry::{Entry, Level};
use crate::page_table::{FlushBatch, LeafSize, PageMove, PageTables, ReplaceError};

/// A page of 4 KiB that migrates: at `at`, from the frame `old` to `new`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleMove {
    pub(crate) at: VirtAddr,
    pub(crate) old: Pfn,
    pub(crate) new: Pfn,
    /// Where the copy reads the old frame, once the migration has begun.
    pub(crate) source: VirtAddr,
}

impl SingleMove {
    /// A move that has not begun.
    pub(crate) const fn new(at: VirtAddr, old: Pfn, new: Pfn) -> SingleMove {
        SingleMove { at, old, new, source: direct(old.start()) }
    }

    /// The same as a move of several pages.
    pub(crate) const fn pages(&self) -> PageMove {
        PageMove { at: self.at, old: self.old, new: self.new, pages: 1 }
    }
}

/// The page table that the last look at a page found, which the next page in the same 2 MiB of addresses has too. Valid
/// while the tables' lock is held and no table changes.
#[derive(Debug)]
pub(crate) struct LastTable {
    /// The first address that it maps, a multiple of 2 MiB.
    start: VirtAddr,
    /// The address of its entries.
    entries: VirtAddr,
}

impl Default for LastTable {
    /// None: no page has this start.
    fn default() -> LastTable {
        LastTable { start: VirtAddr(u64::MAX), entries: VirtAddr(0) }
    }
}

impl LastTable {
    /// Returns the address of the entry of the 4 KiB page at `at`; `None` when a larger leaf maps it, or none.
    #[inline(always)]
    pub(super) fn entry_of<M: Machine>(
        &mut self,
        tables: &PageTables,
        machine: &M,
        at: VirtAddr,
    ) -> Option<VirtAddr> {
        let start = VirtAddr(at.0 & !(LeafSize::M2.bytes() - 1));
        if self.start != start {
            let table = tables.linked_table(machine, at, Level::Pt)?;
            *self = LastTable { start, entries: direct(table.start()) };
        }
        Some(self.entries.offset(Level::Pt.index(at) * 8))
    }
}

impl PageTables {
    /// Returns whether a leaf of 4 KiB maps the page at `at` to `frame`.
    #[inline(always)]
    pub(crate) fn maps_single<M: Machine>(
        &self,
        machine: &M,
        at: VirtAddr,
        frame: Pfn,
        last: &mut LastTable,
    ) -> bool {
        let entry = last.entry_of(self, machine, at);
        entry.is_some_and(|entry| Entry(machine.load(entry)).maps_single(frame))
    }

    /// Makes the leaves of `singles` migration entries, and chooses where the copy reads each page. After `flush` has run,
    /// no CPU reads or writes the pages.
    ///
    /// # Errors
    /// [`ReplaceError::NotMapped`] when a page does not map its old frame by a leaf of 4 KiB. The pages before it have
    /// migration entries then.
    pub(crate) fn begin_singles<M: Machine>(
        &mut self,
        machine: &M,
        singles: &mut [SingleMove],
        flush: &mut FlushBatch,
    ) -> Result<(), ReplaceError> {
        let (mut last, mut window) = (LastTable::default(), LastTable::default());
        for single in singles {
            let SingleMove { at, old, new, .. } = *single;
            let mapped = last.entry_of(self, machine, at).map(|entry| (entry, Entry(machine.load(entry))));
            let Some((entry, leaf)) = mapped.filter(|(_, leaf)| leaf.maps_single(old)) else {
                return Err(ReplaceError::NotMapped { at });
            };
            flush.page(at);
            machine.store(entry, leaf.made_migrating().0);
            single.source = self.copy_source(machine, old, new, 1, &mut window, flush);
        }
        Ok(())
    }

    /// Makes the migration entries of `singles` leaves of the new frames, with the same rights.
    pub(crate) fn end_singles<M: Machine>(&mut self, machine: &M, singles: &[SingleMove]) {
        let mut last = LastTable::default();
        for single in singles {
            let Some(entry) = last.entry_of(self, machine, single.at) else { continue };
            let leaf = Entry(machine.load(entry));
            if leaf.is_used() {
                machine.store(entry, leaf.moved_to(single.new.start()).0);
            }
        }
    }
}
