//! The copy window: a second mapping, at other addresses, of pages that are about to be copied.
//!
//! ```text
//!  direct map   old frame, page number n      new frame, page number n + 64 k      they share a translation's place
//!  window       old frame, page number n + 1, read only                            they do not
//! ```
//!
//! A table of translations has places that the page number, modulo a power of two, chooses: QEMU's TCG has one entry in
//! each, a processor some. A copy between pages that share a place translates each word twice on an emulator. Blocks of
//! 2 MiB always share it, so their old frames are copied from the window.
//!
//! Invariants: an entry is written before the flush that lies between it and the copy, so no CPU uses what was mapped
//! there before. After the copy all entries are cleared. A CPU may keep translations until the next flush of
//! everything; no code uses them, and memory that is removed ends with such a flush ([`PageTables::unlink_range`]).
//!
//! Neighbours: `vmalloc::batch` copies; `populate` makes the tables. Linux has no counterpart: `vmap` with its lazily
//! flushed addresses is the nearest.

use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::address_space::{FIXMAP, direct};
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, Entry, Level, VaRange};
use crate::page_table::walk::entry_addr;
use crate::page_table::{Caching, FlushBatch, LastTable, LeafSize, PageTables, Rights};

/// The pages of the window: at least those of a batch (`vmalloc::batch` checks that).
pub(crate) const PAGES: u64 = 5 * ENTRIES;
/// The places of the smallest table of translations (QEMU's `CPU_TLB_DYN_MIN_BITS`): pages whose numbers differ modulo
/// this never share one.
const PLACES: u64 = 64;

/// The addresses of the window: the fixmap's slots have a table before it.
pub(super) const WINDOW: VaRange = VaRange::of(FIXMAP.start.offset(LeafSize::M2.bytes()), PAGES);

/// The state of the window.
#[derive(Debug)]
pub(super) struct CopyWindow {
    /// Entries from this one on are absent.
    used: u64,
}

impl CopyWindow {
    /// A window that maps nothing.
    pub(super) const EMPTY: CopyWindow = CopyWindow { used: 0 };
}

/// Returns the address of a page of the window.
const fn slot(number: u64) -> VirtAddr {
    WINDOW.virt.offset(number << PAGE_SHIFT)
}

/// Returns whether the pages at `one` and `other` share the place of their translations.
const fn share_place(one: VirtAddr, other: VirtAddr) -> bool {
    ((one.0 ^ other.0) >> PAGE_SHIFT).is_multiple_of(PLACES)
}

impl PageTables {
    /// Returns an address from which the `pages` frames at `old` can be copied to those at `new`, until
    /// [`PageTables::clear_window`]: in the direct map if that is as fast, or if the window is full. `flush` must run before
    /// the copy.
    #[inline(always)] // a constant number of pages for single frames
    pub(crate) fn copy_source<M: Machine>(
        &mut self,
        machine: &M,
        old: Pfn,
        new: Pfn,
        pages: u64,
        last: &mut LastTable,
        flush: &mut FlushBatch,
    ) -> VirtAddr {
        let [source, target] = [old, new].map(|pfn| direct(pfn.start()));
        if !share_place(source, target) {
            return source;
        }
        let first = self.window.used + u64::from(share_place(slot(self.window.used), target));
        if first + pages > PAGES {
            return source;
        }
        // Before the entries: they are cleared even if a table is missing behind them.
        self.window.used = first + pages;
        for page in 0..pages {
            let Some(entry) = last.entry_of(self, machine, slot(first + page)) else { return source };
            let leaf = Entry::leaf(old.offset(page).start(), LeafSize::K4, Rights::ReadOnly, Caching::Memory);
            machine.store(entry, leaf.0);
        }
        flush.everything();
        slot(first)
    }

    /// Clears the window after the copy.
    pub(crate) fn clear_window<M: Machine>(&mut self, machine: &M) {
        let used = core::mem::take(&mut self.window.used);
        let mut number = 0;
        while number < used {
            let end = used.min((number / ENTRIES + 1) * ENTRIES);
            if let Some(table) = self.linked_table(machine, slot(number), Level::Pt) {
                (number..end).for_each(|number| {
                    machine.store(entry_addr(table, Level::Pt, slot(number)), Entry::ABSENT.0)
                });
            }
            number = end;
        }
    }
}
