//! Memory that is gone: a device that went without having been asked for.
//!
//! ```text
//!  gone with it                 what is done, without a look at it
//!  its frames                   entries that lead there are cleared
//!  its header, descriptors      nobody finds them: slot and index first; its free frames were counted outside
//!  tables that neighbours use   built anew in the page that a neighbour keeps for them, from the layouts alone
//!  page tables of allocations   a hole; the blocks that they mapped are found by the reverse map
//!  allocated frames             lost, and the allocation says so
//! ```
//!
//! Invariant: no word of the device's memory is read or written. What cannot be helped: until the kernel hears of it,
//! the CPU may have walked tables there, or somebody read what is no memory any more. Neighbours: `unmap` is
//! for memory that goes with notice; `window` finds what allocations lost.

use arrayvec::ArrayVec;

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::hot_add::{direct_mapping, vmemmap_mapping};
use crate::hot_remove::{Detached, RemoveError};
use crate::info::{DeviceId, MAX_DEVICE_RANGES, ResourceId};
use crate::layout::{Layout, Table};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FrameSource, Mapping};
use crate::vmalloc::VmallocArena;

/// What went away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurpriseRemoved {
    /// The resources that are gone.
    pub ids: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// All their frames.
    pub pages: u64,
    /// Allocated frames that are gone with them.
    pub lost_pages: u64,
    /// Allocations that are lost: they had such frames, or page tables there.
    pub allocations: u64,
}

/// The one page that is kept for a table.
struct ReservedPage(Option<Pfn>);

impl FrameSource for ReservedPage {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        self.0.take()
    }

    fn free_frame(&mut self, frame: Pfn) {
        self.0 = Some(frame);
    }
}

impl<M: Machine> Memory<M> {
    /// Forgets the memory of `device`, which is gone already, without touching it. A removal of that device that is under
    /// way ends with [`RemoveError::SurpriseRemoved`] at its next step. Other memory that is leaving goes on to leave; what was to
    /// move there is surveyed anew.
    ///
    /// # Errors
    /// When nothing belongs to the device; nothing has changed then.
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
        let mut detached = Detached::new();
        let mut isolated = None;
        self.each_entry(|entry| match self.region(entry) {
            Some(region) if region.device == device => detached.push((entry.slot, region)),
            Some(region) if !region.isolated.is_empty() => isolated = isolated.or(Some(entry.id)),
            _ => {}
        });
        if detached.is_empty() {
            return Err(RemoveError::Unknown { device });
        }
        hotplug.note_surprise_removal(isolated);
        for (slot, region) in &detached {
            let place = &self.slots[slot.0 as usize];
            self.index.write().remove(region.id);
            self.cache.forget(*slot);
            self.poison.forget(region.layout.range);
            *place.region.lock() = None;
            self.nodes.detach(*slot);
            place.summary.clear();
        }
        let is_detached = |pfn: Pfn| detached.iter().any(|(_, region)| region.layout.range.contains(pfn));
        detached.iter().flat_map(|(_, region)| region.layout.border_tables()).for_each(|table| {
            self.rebuild_table(table, &is_detached);
        });
        self.unlink(&detached, vmemmap_mapping);
        self.unlink(&detached, direct_mapping);
        let lost = arena.surprise_removal(self, &is_detached);
        Ok(SurpriseRemoved {
            ids: detached.iter().map(|(_, region)| region.id).collect(),
            pages: detached.iter().map(|(_, region)| region.layout.range.pages()).sum(),
            lost_pages: lost.pages,
            allocations: lost.allocations,
        })
    }

    /// Builds `table` anew for those who are left, when it lay in what is gone.
    fn rebuild_table(&self, table: Table, is_detached: &dyn Fn(Pfn) -> bool) {
        let (at, level) = (table.address(), table.level());
        let frame = self.with_tables(|tables, machine| tables.removable_table(machine, at, level)).flatten();
        if !frame.is_some_and(is_detached) {
            return;
        }
        self.with_tables(|tables, machine| {
            tables.unlink_table(machine, at, level);
            machine.flush_all();
        });
        self.each_entry(|entry| {
            let Some(layout) = self.region(entry).map(|region| region.layout) else { return };
            if layout.is_boot() || !layout.range.overlaps(table.range()) {
                return;
            }
            // The first one's page becomes the table; for the others it is there.
            let mut page = ReservedPage(layout.page_for(table));
            let mapping = part_of(&layout, table);
            let mapped = self.with_tables(|tables, machine| tables.map(machine, &mapping, &mut page));
            debug_assert!(matches!(mapped, Some(Ok(_))), "the place is empty and its page is kept");
        });
    }
}

/// What of a resource's mapping goes through `table`.
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
