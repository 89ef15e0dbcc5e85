//! Correcting a loader's direct map to the one that the rest of the kernel expects.
//!
//! ```text
//!  loader:     [ RAM ][ hole ][ RAM, the kernel's image in it ][ nothing .......... ]   all mapped, writable
//!  sanitized:  [ RAM ]        [ RAM | text, constants: read-only | ]                    present memory only
//! ```
//!
//! The PVH shim maps it correctly from the start. Crate `bootloader`'s loaders map everything up to 4 GiB, or up to the
//! highest entry of the firmware's map, with writable 2 MiB leaves. Then a DIMM hot-added there would find its addresses
//! mapped, and the kernel's text could be written through its second mapping.
//!
//! Invariant: no address is newly mapped, and no leaf gains rights. Tables that become empty stay in the loader's memory,
//! which is never freed. Neighbours: the kernel calls it once, before `prepare_hotplug`; `replace` splits the leaves.

use crate::addr::{MAX_PFN, Pfn, PfnRange};
use crate::address_space::{KERNEL, direct};
use crate::machine::Machine;
use crate::page_table::entry::{Entry, EntryKind, Level, VaRange};
use crate::page_table::walk::{entry_addr, load_entry};
use crate::page_table::{FlushBatch, FrameSource, MapError, NewTables, PageTables, ReplaceError, Rights};

/// A change to leaves of the direct map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Unmap them.
    Unmap,
    /// Make them read-only.
    Protect,
}

impl PageTables {
    /// Unmaps everything outside `ranges` (ascending, disjoint) from the direct map, makes its leaves over the kernel's
    /// text and constants read-only, and flushes. `frames` provides the tables for split leaves, from memory that the
    /// direct map covers.
    ///
    /// # Errors
    /// [`MapError::OutOfFrames`]; changes made before stay.
    pub fn sanitize_direct_map<M: Machine>(
        &mut self,
        machine: &M,
        ranges: &[PfnRange],
        frames: &mut dyn FrameSource,
    ) -> Result<(), MapError> {
        let mut flush = FlushBatch::new();
        let mut new_tables = NewTables { frames, report: &mut |_, _, _| {}, flush: &mut flush };
        let changed = self.sanitize(machine, ranges, &mut new_tables);
        // Tables were unlinked as well.
        flush.everything();
        flush.run(machine);
        changed
    }

    fn sanitize<M: Machine>(
        &self,
        machine: &M,
        ranges: &[PfnRange],
        new_tables: &mut NewTables<'_>,
    ) -> Result<(), MapError> {
        let mut at = Pfn(0);
        for range in ranges.iter().copied().chain([PfnRange::new(MAX_PFN, MAX_PFN)]) {
            let hole = PfnRange::new(at, range.start.max(at));
            self.change_direct(machine, hole, Change::Unmap, new_tables)?;
            at = range.end;
        }
        let mut image = KERNEL.start;
        // Leaf by leaf, because the changes edit the tables that the walk reads.
        while let Some(leaf) = self.translate(machine, image) {
            if leaf.rights != Some(Rights::Data) && leaf.rights.is_some() {
                let run = PfnRange::of(leaf.phys.pfn(), leaf.size.pages());
                self.change_direct(machine, run, Change::Protect, new_tables)?;
            }
            image = image.offset(leaf.size.bytes());
        }
        Ok(())
    }

    fn change_direct<M: Machine>(
        &self,
        machine: &M,
        range: PfnRange,
        change: Change,
        new_tables: &mut NewTables<'_>,
    ) -> Result<(), MapError> {
        if range.is_empty() {
            return Ok(());
        }
        let range = VaRange::of(direct(range.start.start()), range.pages());
        let changed = self.change_below(machine, self.root(), Level::Pml4, range, change, new_tables);
        changed.map_err(|error| match error {
            ReplaceError::OutOfFrames { at } | ReplaceError::NotMapped { at } => MapError::OutOfFrames { at },
        })
    }

    fn change_below<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        range: VaRange,
        change: Change,
        new_tables: &mut NewTables<'_>,
    ) -> Result<(), ReplaceError> {
        for part in range.entries(level) {
            let entry = load_entry(machine, table, level, part.virt);
            let addr = entry_addr(table, level, part.virt);
            let whole = part.is_whole_entry(level);
            let next = match (entry.kind(level), change) {
                (EntryKind::Absent | EntryKind::Migrating(_), _) => continue,
                (EntryKind::Leaf(_), Change::Protect) if entry.rights() == Some(Rights::ReadOnly) => continue,
                (EntryKind::Leaf(size), Change::Protect) if whole => {
                    let phys = entry.leaf_phys(size);
                    machine.store(addr, Entry::leaf(phys, size, Rights::ReadOnly, entry.caching()).0);
                    continue;
                }
                (EntryKind::Leaf(_) | EntryKind::Table(_), Change::Unmap) if whole => {
                    machine.store(addr, Entry::ABSENT.0);
                    continue;
                }
                (EntryKind::Leaf(_), _) => self.split_leaf(machine, table, level, part.virt, new_tables)?,
                (EntryKind::Table(next), _) => next,
            };
            let Some(below) = level.below() else { continue };
            self.change_below(machine, next, below, part, change, new_tables)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::PhysAddr;
    use crate::boot_alloc::{BootAllocator, Occupied, Owner};
    use crate::machine::Support;
    use crate::page_table::{Caching, LeafSize, Mapping};
    use crate::sim::SimMachine;

    /// Proves page by page that of a direct map of large leaves exactly the present memory stays mapped, and that only
    /// the frames of the image's read-only leaves become read-only. Fails when a border is off by a page, or when
    /// splitting a leaf loses its other pages.
    #[test]
    fn holes_are_unmapped_and_text_is_protected() {
        let all = [PfnRange::new(Pfn(0x200), Pfn(0x2000))];
        let sim = SimMachine::boot(3, Support::No, &all);
        let boot = Occupied { range: sim.boot_tables(), owner: Owner::PageTables };
        let mut early = BootAllocator::new(&all, &[boot]);
        let mut tables = PageTables::new(sim.root(), sim.features());
        // A loader that maps absent memory too, like those of crate `bootloader`.
        let beyond = PfnRange::new(Pfn(0x2000), Pfn(0x10_0000));
        let more = Mapping::data(direct(beyond.start.start()), beyond.start.start(), beyond.pages());
        tables.map(&sim, &more, &mut early).unwrap();
        let text = PfnRange::of(Pfn(0x1234), 5);
        for (offset, rights) in [(0, Rights::Code), (3, Rights::ReadOnly), (4, Rights::Data)] {
            let at = KERNEL.start.offset(offset * LeafSize::K4.bytes());
            let pages = if offset == 0 { 3 } else { 1 };
            let page = Mapping::data(at, text.start.offset(offset).start(), pages);
            let page = page.largest(LeafSize::K4).with(rights, Caching::Memory);
            tables.map(&sim, &page, &mut early).unwrap();
        }
        let ranges = [PfnRange::new(Pfn(0x200), Pfn(0x1801)), PfnRange::new(Pfn(0x1803), Pfn(0x1fff))];
        tables.sanitize_direct_map(&sim, &ranges, &mut early).unwrap();
        for pfn in (0..0x2100).chain([0xf_ffff, 0x10_0000]).map(Pfn) {
            let found = tables.translate(&sim, direct(pfn.start()));
            let expected = ranges.iter().any(|range| range.contains(pfn));
            assert_eq!(found.map(|found| found.phys), expected.then_some(pfn.start()), "{pfn}");
            let protected = (0x1234..0x1238).contains(&pfn.0);
            let rights = found.and_then(|found| found.rights);
            let expected = expected.then_some(if protected { Rights::ReadOnly } else { Rights::Data });
            assert_eq!(rights, expected, "{pfn}");
        }
        let before = sim.leaves();
        tables.sanitize_direct_map(&sim, &ranges, &mut early).unwrap();
        assert_eq!(sim.leaves(), before, "a sanitized map stays unchanged");
        assert_eq!(tables.translate(&sim, KERNEL.start).unwrap().phys, PhysAddr(0x123_4000));
    }
}
