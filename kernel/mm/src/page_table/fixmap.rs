//! The fixmap: virtual pages reserved at boot, through which the kernel accesses frames that the direct
//! map does not cover. Corresponds to Linux `set_fixmap`.
//!
//! ```text
//!  FIXMAP + 0      the page of `view_page`
//!  FIXMAP + 4 KiB  a PT that is being built or freed
//!  FIXMAP + 8 KiB  a PD
//!  FIXMAP + 12 KiB a PDPT
//!  FIXMAP + 2 MiB  the copy window (`copy_window`), which has tables and rules of its own
//! ```
//!
//! One slot per level, because a table is filled while those below it are built. Invariant: between two
//! calls into `page_table` all slots are empty, so removed memory is not reachable through them. The page tables' lock
//! gives the slots to one CPU at a time, which flushes them for itself before and after: no other CPU has a translation
//! of them, so an add asks nothing of the others.
//! Neighbours: `map` and `unmap` access unlinked tables through it, `populate` makes its table.

use crate::addr::{Pfn, VirtAddr};
use crate::address_space::{FIXMAP, direct};
use crate::machine::Machine;
use crate::page_table::entry::{Entry, Level};
use crate::page_table::{Caching, LeafSize, PageTables, Rights};

/// A slot of the fixmap.
#[derive(Clone, Copy)]
struct Slot(u64);

impl Slot {
    const VIEW: Slot = Slot(0);
    const COUNT: u64 = 4;

    /// Returns the slot for a table of `level`; a PML4 is never built.
    const fn of(level: Level) -> Slot {
        Slot(1 + level as u64)
    }

    const fn address(self) -> VirtAddr {
        FIXMAP.start.offset(self.0 * LeafSize::K4.bytes())
    }
}

const _: () = assert!(Slot::of(Level::Pdpt).0 < Slot::COUNT);

impl PageTables {
    /// Maps the unlinked table in `frame`. Returns its address, valid until the next call for the same level.
    pub(super) fn map_unlinked<M: Machine>(&self, machine: &M, frame: Pfn, level: Level) -> VirtAddr {
        self.set_slot(machine, Slot::of(level), frame, Caching::Memory)
    }

    /// Runs `with` with the address of a page that maps `frame`, which the direct map need not cover.
    pub fn view_page<M: Machine, R>(
        &mut self,
        machine: &M,
        frame: Pfn,
        with: impl FnOnce(VirtAddr) -> R,
    ) -> R {
        self.view(machine, frame, Caching::Memory, with)
    }

    /// Like [`PageTables::view_page`], but uncached: reads return what memory (or an empty bus) answers. No other
    /// mapping of the frame may exist.
    pub fn view_uncached<M: Machine, R>(
        &mut self,
        machine: &M,
        frame: Pfn,
        with: impl FnOnce(VirtAddr) -> R,
    ) -> R {
        self.view(machine, frame, Caching::Device, with)
    }

    fn view<M: Machine, R>(
        &mut self,
        machine: &M,
        frame: Pfn,
        caching: Caching,
        with: impl FnOnce(VirtAddr) -> R,
    ) -> R {
        let at = self.set_slot(machine, Slot::VIEW, frame, caching);
        let result = with(at);
        self.clear_slots(machine);
        result
    }

    /// Maps `frame` in `slot`. Before the fixmap exists, returns its address in the direct map (boot memory only).
    fn set_slot<M: Machine>(&self, machine: &M, slot: Slot, frame: Pfn, caching: Caching) -> VirtAddr {
        let Some(table) = self.fixmap else { return direct(frame.start()) };
        let entry = Entry::leaf(frame.start(), LeafSize::K4, Rights::Data, caching);
        machine.store(direct(table.start()).offset(slot.0 * 8), entry.0);
        machine.flush_local(slot.address());
        slot.address()
    }

    /// Clears all slots that are in use.
    pub(super) fn clear_slots<M: Machine>(&self, machine: &M) {
        let Some(table) = self.fixmap else { return };
        for slot in (0..Slot::COUNT).map(Slot) {
            let at = direct(table.start()).offset(slot.0 * 8);
            if Entry(machine.load(at)).is_present() {
                machine.store(at, Entry::ABSENT.0);
                machine.flush_local(slot.address());
            }
        }
    }
}
