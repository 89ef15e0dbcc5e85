//! Populating tables at boot, so that a hot add needs no frames of boot memory: the upper tables
//! of the direct map and of the vmemmap for the range where memory may be added, the fixmap and the copy window.
//!
//! All tables linked at that time, the loader's included, become permanent: boot memory is never removed.
//! Neighbours: `memory` calls it while `boot_alloc` provides frames.

use crate::addr::{MAX_PFN, PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::address_space::{ALLOC, DESCRIPTOR_SIZE, FIXMAP, descriptor, direct};
use crate::machine::Machine;
use crate::page_table::copy_window::WINDOW;
use crate::page_table::entry::{ENTRIES, Entry, EntryKind, Level, VaRange};
use crate::page_table::walk::{entry_addr, load_entry};
use crate::page_table::{FrameSource, Lifetime, MapError, MapStats, PageTables};

impl PageTables {
    /// Populates the tables for memory that may be added in `hotplug`: the PDPTs of the direct map, the PDPTs and PDs
    /// of the vmemmap, the tables of fixmap and copy window and the first PDPT of the vmalloc region. May be called
    /// again with another range. `frames` must provide memory that the direct map covers.
    ///
    /// # Errors
    /// [`MapError::OutOfFrames`]; the tables made before stay and are used by the next call.
    pub fn prepare_hotplug<M: Machine>(
        &mut self,
        machine: &M,
        hotplug: PfnRange,
        frames: &mut dyn FrameSource,
    ) -> Result<MapStats, MapError> {
        let mut stats = MapStats::default();
        if self.fixmap.is_none() {
            for index in ENTRIES / 2..ENTRIES {
                mark_permanent(machine, direct(self.root.start()).offset(index * 8), Level::Pml4);
            }
            self.populate(machine, VaRange::of(FIXMAP.start, 1), Level::Pt, frames, &mut stats)?;
            self.populate(machine, WINDOW, Level::Pt, frames, &mut stats)?;
            self.fixmap = self.linked_table(machine, FIXMAP.start, Level::Pt);
            self.populate(machine, VaRange::of(ALLOC.start, 1), Level::Pdpt, frames, &mut stats)?;
        }
        let hotplug = hotplug.intersection(PfnRange::new(Pfn(0), MAX_PFN));
        if hotplug.is_empty() {
            return Ok(stats);
        }
        let map = VaRange::of(direct(hotplug.start.start()), hotplug.pages());
        self.populate(machine, map, Level::Pdpt, frames, &mut stats)?;
        let first = VirtAddr(descriptor(hotplug.start).0 & !(PAGE_SIZE - 1));
        let end = descriptor(hotplug.start).0 + hotplug.pages() * DESCRIPTOR_SIZE;
        let memmap = VaRange::between(first, VirtAddr(end.next_multiple_of(PAGE_SIZE)));
        self.populate(machine, memmap, Level::Pd, frames, &mut stats)?;
        Ok(stats)
    }

    /// Makes all tables of the `pages` pages at `virt`, down to the PTs, so that mapping 4 KiB leaves there never needs
    /// a frame.
    ///
    /// # Errors
    /// [`MapError::OutOfFrames`]; the tables made before stay.
    pub fn populate_range<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        frames: &mut dyn FrameSource,
    ) -> Result<MapStats, MapError> {
        let mut stats = MapStats::default();
        self.populate(machine, VaRange::of(virt, pages), Level::Pt, frames, &mut stats)?;
        Ok(stats)
    }

    /// Makes every missing table of `level` and above that covers a part of `range`, as a permanent one.
    fn populate<M: Machine>(
        &self,
        machine: &M,
        range: VaRange,
        level: Level,
        frames: &mut dyn FrameSource,
        stats: &mut MapStats,
    ) -> Result<(), MapError> {
        populate_below(machine, self.root, Level::Pml4, range, level, frames, stats)
    }

    /// Returns the linked table of `level` that covers `at`, permanent or not.
    pub fn linked_table<M: Machine>(&self, machine: &M, at: VirtAddr, level: Level) -> Option<Pfn> {
        let (mut table, mut here) = (self.root, Level::Pml4);
        while here != level {
            match load_entry(machine, table, here, at).kind(here) {
                EntryKind::Table(next) => (table, here) = (next, here.below()?),
                _ => return None,
            }
        }
        Some(table)
    }
}

fn populate_below<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    range: VaRange,
    lowest: Level,
    frames: &mut dyn FrameSource,
    stats: &mut MapStats,
) -> Result<(), MapError> {
    let Some(below) = level.below().filter(|_| level > lowest) else { return Ok(()) };
    for part in range.entries(level) {
        let addr = entry_addr(table, level, part.virt);
        let next = match Entry(machine.load(addr)).kind(level) {
            EntryKind::Table(next) => next,
            EntryKind::Leaf(_) | EntryKind::Migrating(_) => {
                return Err(MapError::AlreadyMapped { at: part.virt });
            }
            EntryKind::Absent => {
                let next = frames.alloc_frame().ok_or(MapError::OutOfFrames { at: part.virt })?;
                machine.zero_page(direct(next.start()));
                machine.store(addr, Entry::table(next, Lifetime::Permanent).0);
                stats.tables += 1;
                stats.entries_written += 1;
                next
            }
        };
        populate_below(machine, next, below, part, lowest, frames, stats)?;
    }
    Ok(())
}

/// Marks the table that the entry at `addr` links, and all tables below it, as permanent.
fn mark_permanent<M: Machine>(machine: &M, addr: VirtAddr, level: Level) {
    let entry = Entry(machine.load(addr));
    if let (EntryKind::Table(table), Some(below)) = (entry.kind(level), level.below()) {
        machine.store(addr, entry.made_permanent().0);
        if below > Level::Pt {
            for index in 0..ENTRIES {
                mark_permanent(machine, direct(table.start()).offset(index * 8), below);
            }
        }
    }
}
