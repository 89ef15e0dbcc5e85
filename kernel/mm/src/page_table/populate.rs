//! What is made once, at boot, so that a hot-add later needs nothing from boot memory: the upper tables
//! of the direct map and of the vmemmap for the window where memory may appear, and the fixmap.
//!
//! Neighbours: called by `memory` while `early` hands out boot frames. All tables that are linked when it
//! runs, the loader's too, become permanent: boot memory never goes.

use crate::addr::{MAX_PFN, PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::address_space::{ALLOC, DESCRIPTOR_SIZE, FIXMAP, descriptor, direct};
use crate::machine::Machine;
use crate::page_table::entry::{ENTRIES, Entry, Kind, Level, VaRange};
use crate::page_table::walk::{entry_of, slot_of};
use crate::page_table::{FrameSource, Lifetime, MapError, MapStats, PageTables};

impl PageTables {
    /// Prepares the tables for memory that may be added in `window`: the PDPTs of the direct map, the
    /// PDPTs and PDs of the vmemmap, the fixmap's tables and the first PDPT of the alloc window. May be
    /// called again with another window. `frames` must give memory that the direct map covers.
    ///
    /// # Errors
    /// [`MapError::OutOfFrames`]; what was made by then stays and is used by the next call.
    pub fn prepare_hotplug<M: Machine>(
        &mut self,
        machine: &M,
        window: PfnRange,
        frames: &mut dyn FrameSource,
    ) -> Result<MapStats, MapError> {
        let mut stats = MapStats::default();
        if self.fixmap.is_none() {
            for index in ENTRIES / 2..ENTRIES {
                keep(machine, direct(self.root.start()).offset(index * 8), Level::Pml4);
            }
            self.ensure(machine, VaRange::of(FIXMAP.start, 1), Level::Pt, frames, &mut stats)?;
            self.fixmap = self.linked_table(machine, FIXMAP.start, Level::Pt);
            self.ensure(machine, VaRange::of(ALLOC.start, 1), Level::Pdpt, frames, &mut stats)?;
        }
        let window = window.intersection(PfnRange::new(Pfn(0), MAX_PFN));
        if window.is_empty() {
            return Ok(stats);
        }
        let map = VaRange::of(direct(window.start.start()), window.pages());
        self.ensure(machine, map, Level::Pdpt, frames, &mut stats)?;
        let first = VirtAddr(descriptor(window.start).0 & !(PAGE_SIZE - 1));
        let end = descriptor(window.start).0 + window.pages() * DESCRIPTOR_SIZE;
        let memmap = VaRange::between(first, VirtAddr(end.next_multiple_of(PAGE_SIZE)));
        self.ensure(machine, memmap, Level::Pd, frames, &mut stats)?;
        Ok(stats)
    }

    /// Makes all tables of a window of `pages` pages from `virt` on, down to the lowest, so that mapping
    /// in it by leaves of 4 KiB never needs a frame again.
    ///
    /// # Errors
    /// [`MapError::OutOfFrames`]; what was made by then stays.
    pub fn prepare_window<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        pages: u64,
        frames: &mut dyn FrameSource,
    ) -> Result<MapStats, MapError> {
        let mut stats = MapStats::default();
        self.ensure(machine, VaRange::of(virt, pages), Level::Pt, frames, &mut stats)?;
        Ok(stats)
    }

    /// Makes every table of `level` that covers a part of `piece`, and those above it, permanent.
    fn ensure<M: Machine>(
        &self,
        machine: &M,
        piece: VaRange,
        level: Level,
        frames: &mut dyn FrameSource,
        stats: &mut MapStats,
    ) -> Result<(), MapError> {
        ensure_below(machine, self.root, Level::Pml4, piece, level, frames, stats)
    }

    /// The linked table of `level` that covers `at`.
    pub fn linked_table<M: Machine>(&self, machine: &M, at: VirtAddr, level: Level) -> Option<Pfn> {
        let (mut table, mut here) = (self.root, Level::Pml4);
        while here != level {
            match entry_of(machine, table, here, at).kind(here) {
                Kind::Table(next) => (table, here) = (next, here.below()?),
                _ => return None,
            }
        }
        Some(table)
    }
}

fn ensure_below<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    piece: VaRange,
    lowest: Level,
    frames: &mut dyn FrameSource,
    stats: &mut MapStats,
) -> Result<(), MapError> {
    let Some(below) = level.below().filter(|_| level > lowest) else { return Ok(()) };
    for part in piece.entries(level) {
        let slot = slot_of(table, level, part.virt);
        let next = match Entry(machine.load(slot)).kind(level) {
            Kind::Table(next) => next,
            Kind::Leaf(_) => return Err(MapError::AlreadyMapped { at: part.virt }),
            Kind::Absent => {
                let next = frames.alloc_frame().ok_or(MapError::OutOfFrames { at: part.virt })?;
                machine.zero_page(direct(next.start()));
                machine.store(slot, Entry::table(next, Lifetime::Permanent).0);
                stats.tables += 1;
                stats.entries_written += 1;
                next
            }
        };
        ensure_below(machine, next, below, part, lowest, frames, stats)?;
    }
    Ok(())
}

/// Marks the table that the entry at `slot` links, and all below it, as permanent.
fn keep<M: Machine>(machine: &M, slot: VirtAddr, level: Level) {
    let entry = Entry(machine.load(slot));
    if let (Kind::Table(table), Some(below)) = (entry.kind(level), level.below()) {
        machine.store(slot, entry.made_permanent().0);
        if below > Level::Pt {
            for index in 0..ENTRIES {
                keep(machine, direct(table.start()).offset(index * 8), below);
            }
        }
    }
}
