//! The last part of a removal: hand over shared page tables, remove the resources from slots and index, clear every
//! entry that maps them.
//!
//! One flush, of one request to the other CPUs, ends it, whatever the size: until then a CPU may use an old translation,
//! or walk the old copy of a table that was handed over, which is complete and in memory that is still there.
//!
//! Invariants: slot and index are empty before the first entry is cleared, so that no look-up finds partly
//! unmapped descriptors; a table that only isolated memory uses is unlinked unread. The undo flushes, then maps
//! everything again: the tables' pages are still reserved, and the descriptors are still intact. Neighbours:
//! `layout` knows the shared tables and the page reserved for each.

use crate::addr::{Pfn, PfnRange};
use crate::fault_injection::Step;
use crate::hot_add::{direct_mapping, vmemmap_mapping};
use crate::hot_remove::{Detached, RemoveError, RemoveStats};
use crate::info::{DeviceId, ResourceId};
use crate::layout::{Layout, Table};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FlushBatch, Mapping};
use crate::publish::{publish, withdraw};

use super::{ArrayVec, MAX_DEVICE_RANGES};

impl<M: Machine> Memory<M> {
    /// Unmaps and removes all isolated regions, which must be unused. Returns their ids and the sum of their frames.
    pub(crate) fn unmap_isolated(
        &self,
        stats: &mut RemoveStats,
    ) -> Result<(ArrayVec<ResourceId, MAX_DEVICE_RANGES>, u64), RemoveError> {
        let mut flush = FlushBatch::new();
        self.each_isolated(|_, region| {
            for table in region.layout.border_tables() {
                stats.tables_handed_over += u64::from(self.hand_over(table, &mut flush).is_some());
            }
        });
        if let Err(step) = self.should_fail(Step::HandOver) {
            // Entries are added to the new tables from now on.
            flush.run(&self.machine);
            return Err(RemoveError::Injected { step });
        }
        let mut detached = Detached::new();
        self.each_isolated(|entry, region| detached.push((entry.slot, region)));
        for (slot, region) in &detached {
            withdraw(&self.index, &self.slots[slot.0 as usize].region, region.id, || {});
            self.poison.removed(region.layout.range);
        }
        match self.unlink_all(&detached, &mut flush) {
            Ok(entries) => stats.entries_cleared = entries,
            Err(step) => {
                self.remap(&detached, &mut flush);
                return Err(RemoveError::Injected { step });
            }
        }
        for (slot, _) in &detached {
            self.slots[slot.0 as usize].summary.clear();
        }
        let pages = detached.iter().map(|(_, region)| region.layout.range.pages()).sum();
        Ok((detached.iter().map(|(_, region)| region.id).collect(), pages))
    }

    /// Clears the entries that map the regions and flushes. The regions are not accessed from the first entry on. After
    /// an error nothing is flushed yet.
    fn unlink_all(&self, detached: &Detached, flush: &mut FlushBatch) -> Result<u64, Step> {
        let mut entries = self.unlink(detached, vmemmap_mapping, flush);
        self.should_fail(Step::UnmapVmemmap)?;
        entries += self.unlink(detached, direct_mapping, flush);
        self.should_fail(Step::UnmapDirectMap)?;
        self.should_fail(Step::Remove)?;
        flush.run(&self.machine);
        Ok(entries)
    }

    /// Clears the entries of one mapping of the regions. Returns the number of entries cleared.
    pub(super) fn unlink(
        &self,
        detached: &Detached,
        mapping: impl Fn(&Layout) -> Mapping,
        flush: &mut FlushBatch,
    ) -> u64 {
        let isolated = |pfn: Pfn| detached.iter().any(|(_, region)| region.layout.range.contains(pfn));
        let cleared = self.with_tables(|tables, machine| {
            let mut cleared = 0;
            for (_, region) in detached {
                let Mapping { virt, pages, .. } = mapping(&region.layout);
                cleared += tables.unlink_range(machine, virt, pages, &isolated, flush);
            }
            cleared
        });
        cleared.unwrap_or(0)
    }

    /// Undoes [`Memory::unlink_all`], complete or not.
    fn remap(&self, detached: &Detached, flush: &mut FlushBatch) {
        // Clear the rest first: a region may have been unlinked with the table of another one.
        self.unlink(detached, vmemmap_mapping, flush);
        self.unlink(detached, direct_mapping, flush);
        // Before the tables are built again: a CPU may walk them as they were.
        flush.run(&self.machine);
        for (slot, region) in detached {
            let mapped = self.map_region(*slot, region);
            debug_assert!(mapped.is_ok(), "the range is unmapped and the tables' pages are reserved");
            let known = publish(&self.index, &self.slots[slot.0 as usize].region, *slot, *region);
            debug_assert!(known.is_ok(), "the index contained it before");
        }
    }

    /// Moves `table` to another resource that uses it, if the table lies in isolated memory and such a resource exists.
    fn hand_over(&self, table: Table, flush: &mut FlushBatch) -> Option<()> {
        let (at, level) = (table.address(), table.level());
        let frame = self.with_tables(|tables, machine| tables.removable_table(machine, at, level))??;
        let owner = self.entry_of(frame)?;
        if self.region(owner)?.isolated.is_empty() {
            return None;
        }
        let new_page = self.user_of(table.range())?.page_for(table)?;
        self.with_tables(|tables, machine| tables.hand_over(machine, at, level, new_page, flush))?.map(|_| ())
    }

    /// Returns the layout of a hot-added resource that is not isolated and has frames in `unit`.
    fn user_of(&self, unit: PfnRange) -> Option<Layout> {
        let mut after = None;
        while let Some(entry) = self.entry_after(after) {
            after = Some(entry.range.start);
            if entry.range.overlaps(unit)
                && let Some(region) = self.region(entry)
                && region.isolated.is_empty()
                && region.device != DeviceId::BOOT
            {
                return Some(region.layout);
            }
        }
        None
    }
}
