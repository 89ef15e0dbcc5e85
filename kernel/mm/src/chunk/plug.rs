//! Plugging: the frames to ask a device for, and putting them into use. The first run of a chunk makes its region, later ones
//! extend it.
//!
//! Neighbours: `pieces::Shape` chooses within a chunk, `map` maps, `hot_add` publishes.

use crate::addr::{MAX_NODES, PAGE_SHIFT, Pfn, PfnRange};
use crate::descriptor::{BlockState, SlotNr};
use crate::error::AddError;
use crate::fault_injection::Step;
use crate::hot_add::{check_hotpluggable, check_range};
use crate::info::{AddRequest, AddStats, Policy, ResourceId};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FlushBatch, MapStats};
use crate::pieces::{Plug, Shape};
use crate::region::{IndexEntry, MAX_REGIONS, Region};
use crate::rmap::RmapEntry;

use super::{ChunkDevice, Plugged};

impl<M: Machine> Memory<M> {
    /// The frames that `device` should plug next, at most `want` of them below `limit`. `None` when there is nothing left
    /// to plug, or every chunk with unplugged pieces is being taken offline.
    pub fn next_to_plug(&self, device: &ChunkDevice, want: u64, limit: Pfn) -> Option<PfnRange> {
        let mut at = device.range.start;
        let end = device.range.end.min(limit);
        while at < end {
            let chunk = device.chunk_of(at);
            at = chunk.end;
            let entry = self.entry_of(chunk.start);
            let run = match entry {
                Some(entry) => {
                    let Some(region) = self.region(entry) else { continue };
                    let pieces = &self.slots[entry.slot.0 as usize].summary.pieces;
                    let shape = region.chunk.filter(|_| region.device == device.device);
                    let shape = shape.filter(|_| region.isolated.is_empty() && !pieces.is_whole());
                    shape.and_then(|shape| shape.next_to_plug(Some(pieces), want, limit))
                }
                None => shape_of(device, chunk).and_then(|shape| shape.next_to_plug(None, want, limit)),
            };
            if run.is_some() {
                return run;
            }
        }
        None
    }

    /// Puts frames that the device has plugged into use. They are a run of whole units in one chunk, whose memmap is
    /// plugged already or part of the run. `clock` returns nanoseconds.
    ///
    /// # Errors
    /// See [`AddError`]; nothing has changed then.
    pub fn plug(
        &self,
        device: &ChunkDevice,
        run: PfnRange,
        clock: &dyn Fn() -> u64,
    ) -> Result<Plugged, AddError> {
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(AddError::NotStarted)?;
        let start = clock();
        let free_before = self.free_everywhere();
        let size = run.pages() << PAGE_SHIFT;
        check_range(&AddRequest { base: run.start.start(), size, node: device.node }, hotplug)?;
        let chunk = device.chunk_of(run.start);
        let whole_units = |pfn: Pfn| pfn.0.is_multiple_of(device.unit);
        if !chunk.contains_range(run) || !whole_units(run.start) || !whole_units(run.end) {
            return Err(AddError::NotPluggable { range: run });
        }
        check_hotpluggable(run, hotplug)?;
        let entry = self.index.read().overlapping(chunk).copied();
        let mut plugged = match entry {
            Some(entry) => self.plug_more(device, entry, run)?,
            None => {
                let features = hotplug.features;
                let layout =
                    Layout::plan_chunk(chunk, features).ok_or(AddError::TooSmall { range: chunk })?;
                let plugged = self.plug_first(device, layout, ResourceId(hotplug.next), run)?;
                hotplug.next += 1;
                plugged
            }
        };
        let usable = if self.policy() == Policy::Offline { 0 } else { plugged.usable_pages };
        plugged.stats.existing_pages_used = (free_before + usable).saturating_sub(self.free_everywhere());
        plugged.stats.map_ns = clock().saturating_sub(start);
        if let Some(entry) = self.entry(plugged.resource) {
            // The sums over the chunk's runs.
            self.with_region(entry, |region, _| {
                region.stats.map_ns += plugged.stats.map_ns;
                region.stats.existing_pages_used += plugged.stats.existing_pages_used;
            });
        }
        Ok(plugged)
    }

    /// Makes the region of a chunk with its first run.
    fn plug_first(
        &self,
        device: &ChunkDevice,
        layout: Layout,
        id: ResourceId,
        run: PfnRange,
    ) -> Result<Plugged, AddError> {
        if run.start != layout.range.start {
            return Err(AddError::NotPluggable { range: run });
        }
        let free_slot = (0..MAX_REGIONS).find(|&slot| self.slots[slot].region.lock().is_none());
        let slot = SlotNr(free_slot.ok_or(AddError::TooManyResources { max: MAX_REGIONS })? as u16);
        self.probe_run(&layout, run)?;
        self.check_injected(Step::Check)?;
        let nodes_before = self.nodes.count();
        self.nodes.name(device.node).ok_or(AddError::TooManyNodes { max: MAX_NODES })?;
        let summary = &self.slots[slot.0 as usize].summary;
        summary.pieces.set(layout.range, Plug::Out);
        summary.pieces.set(run, Plug::In);
        let policy = self.policy();
        let mut region = Region {
            id,
            device: device.device,
            node: device.node,
            zone: policy.zone(),
            layout,
            metadata: layout.metadata(),
            max: layout.max_order(),
            stats: AddStats::default(),
            isolated: PfnRange::default(),
            chunk: Some(Shape { range: layout.range, data: layout.data, unit: device.unit }),
        };
        let result = self.map_run_or_fail(&layout, run).and_then(|mapped| {
            let buddy = region.buddy(&self.machine, slot, summary);
            let descriptors_written = buddy.init();
            for hole in summary.pieces.runs(layout.usable, Plug::Out) {
                let held = buddy.alloc_range(hole, BlockState::Unplugged, 0);
                debug_assert!(held.is_some(), "all of a fresh region is free");
            }
            let usable = run.intersection(layout.usable);
            if policy == Policy::Offline && !usable.is_empty() {
                let held = buddy.alloc_range(usable, BlockState::Offline, 0);
                debug_assert!(held.is_some(), "all plugged frames of a fresh region are free");
            }
            let MapStats { entries_written, tables } = mapped;
            let stats = AddStats { entries_written, tables, descriptors_written, ..AddStats::default() };
            region.stats = stats;
            self.check_injected(Step::Region)?;
            self.check_injected(Step::Online)?;
            Ok(Plugged { resource: id, is_new: true, usable_pages: usable.pages(), stats })
        });
        match result {
            Ok(_) => {
                self.publish(region, slot);
            }
            Err(_) => {
                let mut flush = FlushBatch::new();
                self.unlink_chunk(&layout, &mut flush);
                flush.run(&self.machine);
                summary.clear();
                self.nodes.truncate(nodes_before);
            }
        }
        result
    }

    /// Extends the region of a chunk by a run.
    fn plug_more(&self, device: &ChunkDevice, entry: IndexEntry, run: PfnRange) -> Result<Plugged, AddError> {
        let IndexEntry { slot, id, range } = entry;
        let region = self.region(entry).filter(|region| region.device == device.device);
        let region = region.filter(|_| range.contains_range(run));
        let overlap = AddError::OverlapsPresent { range: run, resource: id, present: range };
        let Some((region, shape)) = region.and_then(|region| Some((region, region.chunk?))) else {
            return Err(overlap);
        };
        if !region.isolated.is_empty() {
            return Err(AddError::GoingOffline { resource: id });
        }
        let pieces = &self.slots[slot.0 as usize].summary.pieces;
        let has_memmap = |index: u64| {
            let memmap = shape.metadata_unit(index).start;
            !shape.opened_by(index).overlaps(run) || !pieces.is_unplugged(memmap) || run.contains(memmap)
        };
        let all_out = pieces.next_run(run, Plug::In).is_none();
        if !all_out || !(0..shape.metadata_units()).all(has_memmap) {
            return Err(AddError::NotPluggable { range: run });
        }
        let layout = region.layout;
        self.probe_run(&layout, run)?;
        self.check_injected(Step::Check)?;
        let policy = self.policy();
        let result = self.map_run_or_fail(&layout, run).and_then(|mapped| {
            self.check_injected(Step::Region)?;
            self.check_injected(Step::Online)?;
            Ok(mapped)
        });
        let mapped = result.inspect_err(|_| {
            let mut flush = FlushBatch::new();
            self.unlink_run(&layout, run, &mut flush);
            flush.run(&self.machine);
        })?;
        let usable = run.intersection(layout.usable);
        self.with_region(entry, |region, buddy| {
            for border in [usable.start, usable.end] {
                if buddy.is_unplugged(border) {
                    buddy.split_at(border, RmapEntry::after);
                }
            }
            // The host has nothing behind them.
            buddy.untouch(usable);
            buddy.free_all(usable, BlockState::Unplugged);
            buddy.summary.pieces.set(run, Plug::In);
            if policy == Policy::Offline && !usable.is_empty() {
                let held = buddy.alloc_range(usable, BlockState::Offline, 0);
                debug_assert!(held.is_some(), "all of these frames are free");
            }
            region.stats.entries_written += mapped.entries_written;
        });
        let MapStats { entries_written, tables } = mapped;
        let stats = AddStats { entries_written, tables, ..AddStats::default() };
        Ok(Plugged { resource: id, is_new: false, usable_pages: usable.pages(), stats })
    }
}

/// The shape of a chunk that does not exist yet. The layout's metadata does not depend on the CPU.
fn shape_of(device: &ChunkDevice, chunk: PfnRange) -> Option<Shape> {
    let features = crate::machine::CpuFeatures { gib_leaves: crate::machine::Support::No, phys_bits: 46 };
    let layout = Layout::plan_chunk(chunk, features)?;
    Some(Shape { range: chunk, data: layout.data, unit: device.unit })
}
