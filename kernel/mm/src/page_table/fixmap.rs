//! The fixmap: a few virtual pages, reserved at boot, through which a frame is reached that the direct
//! map does not (or not yet, or no longer) cover. Corresponds to Linux `set_fixmap`.
//!
//! ```text
//!  FIXMAP + 0      the view of `view_page`
//!  FIXMAP + 4 KiB  a PT that is built or taken apart
//!  FIXMAP + 8 KiB  a PD
//!  FIXMAP + 12 KiB a PDPT
//! ```
//!
//! One slot a level, because a table is filled while those below it are built. Invariant: between two
//! calls into `page_table` no slot maps anything, so no memory that goes stays reachable here.
//! Neighbours: `edit` and `unmap` build and take apart through it, `prepare` makes its table.

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

    /// The slot for a table of `level` (the topmost level is never built).
    const fn of(level: Level) -> Slot {
        Slot(1 + level as u64)
    }

    const fn address(self) -> VirtAddr {
        FIXMAP.start.offset(self.0 * LeafSize::K4.bytes())
    }
}

const _: () = assert!(Slot::of(Level::Pdpt).0 < Slot::COUNT);

impl PageTables {
    /// Where the unlinked table in `frame` can be read and written, until another of its level is asked
    /// for.
    pub(super) fn unlinked<M: Machine>(&self, machine: &M, frame: Pfn, level: Level) -> VirtAddr {
        self.set_slot(machine, Slot::of(level), frame, Caching::Memory)
    }

    /// Runs `with` with the address of a page that maps `frame`, present or not in the direct map.
    pub fn view_page<M: Machine, R>(
        &mut self,
        machine: &M,
        frame: Pfn,
        with: impl FnOnce(VirtAddr) -> R,
    ) -> R {
        self.view(machine, frame, Caching::Memory, with)
    }

    /// The same with the CPU's caches out of the way: what is read is what memory (or an empty bus)
    /// answers. Nothing else may map the frame.
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

    /// Points `slot` at `frame`; before the fixmap exists the direct map serves (boot memory only).
    fn set_slot<M: Machine>(&self, machine: &M, slot: Slot, frame: Pfn, caching: Caching) -> VirtAddr {
        let Some(table) = self.fixmap else { return direct(frame.start()) };
        let entry = Entry::leaf(frame.start(), LeafSize::K4, Rights::Data, caching);
        machine.store(direct(table.start()).offset(slot.0 * 8), entry.0);
        machine.flush(slot.address());
        slot.address()
    }

    /// Empties the slots that are in use.
    pub(super) fn clear_slots<M: Machine>(&self, machine: &M) {
        let Some(table) = self.fixmap else { return };
        for slot in (0..Slot::COUNT).map(Slot) {
            let at = direct(table.start()).offset(slot.0 * 8);
            if Entry(machine.load(at)).is_present() {
                machine.store(at, Entry::ABSENT.0);
                machine.flush(slot.address());
            }
        }
    }
}
