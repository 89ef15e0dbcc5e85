//! Surprise removal: cleaning up after a device whose memory is gone already.
//!
//! ```text
//!  lost with the device         handling, without reading it
//!  its frames                   the entries that map them are cleared
//!  its header, descriptors      removed from slot and index first; its free frames were counted outside of it
//!  tables that others share     replaced, by one store each, by tables that are built from the layouts, in the page
//!                               that another resource reserves for them: no page of the others is ever unmapped
//!  page tables of allocations   a hole; the rmap finds the blocks that they mapped
//!  allocated frames             lost; the allocation reports that
//! ```
//!
//! Invariant: no word of the device's memory is read or written. Limit: before the kernel is notified, the
//! CPU may walk tables there, and code may read absent memory. Neighbours: `unmap` serves orderly
//! removal; `vmalloc::surprise_removal` finds the losses of allocations.

use arrayvec::ArrayVec;

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::descriptor::SlotNr;
use crate::hot_add::{direct_mapping, vmemmap_mapping};
use crate::hot_remove::{Detached, RemoveError};
use crate::info::{DeviceId, MAX_DEVICE_RANGES, ResourceId};
use crate::layout::{Layout, Table};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FlushBatch, Mapping};
use crate::publish::withdraw;
use crate::region::Region;
use crate::vmalloc::VmallocArena;

/// The result of a surprise removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurpriseRemoved {
    /// The removed resources.
    pub ids: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// The sum of their frames.
    pub pages: u64,
    /// The allocated frames among them.
    pub lost_pages: u64,
    /// Allocations that became lost: they had frames or page tables there.
    pub allocations: u64,
}

impl<M: Machine> Memory<M> {
    /// Removes the memory of `device`, which is gone already, without accessing it. If a removal of that device is under
    /// way, its next step fails with [`RemoveError::SurpriseRemoved`]. An evacuation of other memory continues with a
    /// new survey, because its target frames may be gone.
    ///
    /// # Errors
    /// [`RemoveError::Unknown`] when no resource belongs to the device; nothing has changed then.
    pub fn surprise_remove(
        &self,
        arena: &VmallocArena,
        device: DeviceId,
    ) -> Result<SurpriseRemoved, RemoveError> {
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        if device == DeviceId::BOOT {
            return Err(RemoveError::Boot);
        }
        let allocations = arena.begin_surprise_removal();
        let mut detached = Detached::new();
        let mut isolated = None;
        self.for_each_entry(|entry| match self.region(entry) {
            // A chunk is unplugged instead.
            Some(region) if region.device == device && region.chunk.is_none() => {
                detached.push((entry.slot, region))
            }
            Some(region) if !region.isolated.is_empty() => isolated = isolated.or(Some(entry.id)),
            _ => {}
        });
        if detached.is_empty() {
            return Err(RemoveError::Unknown { device });
        }
        hotplug.note_surprise_removal(isolated);
        for (slot, region) in &detached {
            let entry = &self.slots[slot.0 as usize];
            withdraw(&self.index, &entry.region, region.id, || {
                self.nodes.detach(*slot);
                entry.summary.clear();
            });
            // Drops the blocks that caches have of it. From here on no CPU writes a descriptor of the region.
            self.drain(*slot);
            self.poison.removed(region.layout.range);
        }
        self.accesses.wait(&self.machine);
        let is_detached = |pfn: Pfn| detached.iter().any(|(_, region)| region.layout.range.contains(pfn));
        let mut flush = FlushBatch::new();
        for table in detached.iter().flat_map(|(_, region)| region.layout.border_tables()) {
            self.replace_lost_table(table, &is_detached, &mut flush);
        }
        self.unlink(&detached, vmemmap_mapping, &mut flush);
        self.unlink(&detached, direct_mapping, &mut flush);
        flush.run(&self.machine);
        let lost = allocations.finish(self, &is_detached);
        Ok(SurpriseRemoved {
            ids: detached.iter().map(|(_, region)| region.id).collect(),
            pages: detached.iter().map(|(_, region)| region.layout.range.pages()).sum(),
            lost_pages: lost.pages,
            allocations: lost.allocations,
        })
    }

    /// Replaces `table`, if it lay in removed memory, by one in the page that the first of the remaining resources which
    /// use it reserves for it. Unlinks it if there is none.
    fn replace_lost_table(&self, table: Table, is_detached: &dyn Fn(Pfn) -> bool, flush: &mut FlushBatch) {
        let (at, level) = (table.address(), table.level());
        let mut page = None;
        self.each_user(table, &mut |_, Region { layout, .. }| page = page.or(layout.page_for(table)));
        self.with_tables(|tables, machine| {
            if !tables.removable_table(machine, at, level).is_some_and(is_detached) {
                return;
            }
            let Some(page) = page else { return tables.unlink_table(machine, at, level, flush) };
            let each_mapping = |map: &mut dyn FnMut(Mapping)| {
                self.each_user(table, &mut |slot, Region { layout, chunk, .. }| match chunk {
                    None => map(part_of(&layout, table)),
                    Some(_) => self.each_plugged_part(slot, &layout, table, &mut *map),
                });
            };
            tables.replace_lost_table(machine, (at, level), page, each_mapping, flush);
        });
    }

    /// Calls `each` with the hot-added resources that are left and use `table`.
    fn each_user(&self, table: Table, each: &mut dyn FnMut(SlotNr, Region)) {
        self.for_each_entry(|entry| {
            let user =
                |region: &Region| !region.layout.is_boot() && region.layout.range.overlaps(table.range());
            if let Some(region) = self.region(entry).filter(user) {
                each(entry.slot, region);
            }
        });
    }
}

/// Returns the part of a resource's mapping that `table` covers.
fn part_of(layout: &Layout, table: Table) -> Mapping {
    let (whole, covered) = match table {
        Table::Direct(_) => (direct_mapping(layout), table.range().pages()),
        Table::Vmemmap(_) => (vmemmap_mapping(layout), crate::layout::LARGE_PAGES),
    };
    let start = whole.virt.0.max(table.address().0);
    let end = (whole.virt.0 + whole.pages * PAGE_SIZE).min(table.address().0 + covered * PAGE_SIZE);
    let phys = crate::addr::PhysAddr(whole.phys.0 + (start - whole.virt.0));
    Mapping { virt: VirtAddr(start), phys, pages: (end - start) >> PAGE_SHIFT, ..whole }
}
