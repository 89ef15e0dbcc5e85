//! Chunks: memory that a device plugs piece by piece (virtio-mem), each at most a GiB with its own memmap in its first
//! pieces. No kernel of this kind has the memmap of such memory in that memory for more than 128 MiB at a time.
//!
//! ```text
//!  the device's region   |   chunk (GiB)   |   chunk (GiB)   | ...      cut at absolute GiB borders
//!  next_to_plug          which pieces to ask the device for             nothing changed
//!  plug                  probe, map, free: the first run makes the region, later ones extend it
//!  unplug_unused         whole chunks without content leave; then free pieces from the highest chunk down
//!  to_evacuate           where migration makes pieces unused            (then offline, unplug_unused, online)
//! ```
//!
//! A chunk is a `Region` with the layout of any resource. Its pieces that are not plugged are blocks in the state
//! `Unplugged`: held, neither mapped nor touched, known by the region's `PieceMap` and not by
//! a descriptor. The piece of the memmap that describes a section is plugged with the section's first piece.
//!
//! Invariants: plugging takes no frame of existing memory and no heap; an error leaves every frame as it was; after
//! `unplug_unused` no CPU has a translation of what it returns. Each function holds the hotplug lock. Neighbours: `pieces`
//! decides what to plug, `hot_add` has the checks and `publish`, `hot_remove` takes whole chunks away.

use arrayvec::ArrayVec;

use crate::addr::{NodeId, Order, PAGE_SHIFT, Pfn, PfnRange};
use crate::address_space::direct;
use crate::buddy::{Buddy, Walk};
use crate::descriptor::{BlockState, SlotNr};
use crate::error::AddError;
use crate::fault_injection::Step;
use crate::hot_add::{check_hotpluggable, check_range, vmemmap_mapping};
use crate::hot_remove::RemoveStats;
use crate::info::{AddRequest, AddStats, DeviceId, MAX_DEVICE_RANGES, Policy, ResourceId};
use crate::layout::{Layout, Table};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FlushBatch, FrameSource, LeafSize, MapStats, Mapping, NoFrames};
use crate::pieces::{PIECE_PAGES, Plug, Shape};
use crate::region::{IndexEntry, MAX_REGIONS, Region};
use crate::rmap::RmapEntry;
use crate::section;
use crate::zonelist::MAX_NODES;

pub use crate::layout::GIB_PAGES;

/// The most runs that one call of [`Memory::unplug_unused`] takes.
pub const MAX_RUNS: usize = 32;
/// The largest unit of a device, in frames.
pub const MAX_UNIT: u64 = GIB_PAGES;

/// A device that plugs pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkDevice {
    /// Its number.
    pub device: DeviceId,
    /// The node of its memory.
    pub node: NodeId,
    /// The frames where it can ever plug memory.
    range: PfnRange,
    /// Frames of a unit.
    unit: u64,
}

impl ChunkDevice {
    /// A device with memory in the `bytes` bytes from `base` on, plugged by `block` bytes. The range is rounded inward to
    /// units. `None` when the block is no power of two or larger than a GiB, or no unit is left.
    pub fn new(device: DeviceId, node: NodeId, base: u64, bytes: u64, block: u64) -> Option<ChunkDevice> {
        let unit = (block >> PAGE_SHIFT).max(PIECE_PAGES);
        if !block.is_power_of_two() || unit > MAX_UNIT {
            return None;
        }
        let end = base.checked_add(bytes)? >> PAGE_SHIFT;
        let start = (base.div_ceil(1 << PAGE_SHIFT)).checked_next_multiple_of(unit)?;
        let end = end / unit * unit;
        let range = PfnRange::new(Pfn(start), Pfn(end));
        (start < end).then_some(ChunkDevice { device, node, range, unit })
    }

    /// The frames where it can ever plug memory.
    pub const fn range(&self) -> PfnRange {
        self.range
    }

    /// Frames of a unit, the least that can be plugged.
    pub const fn unit(&self) -> u64 {
        self.unit
    }

    /// The chunk that contains `pfn`.
    fn chunk_of(&self, pfn: Pfn) -> PfnRange {
        PfnRange::of(Pfn(pfn.0 / GIB_PAGES * GIB_PAGES), GIB_PAGES).intersection(self.range)
    }

    /// All chunks, from the highest down.
    fn descending(&self) -> impl Iterator<Item = PfnRange> + use<> {
        let device = *self;
        let gibs = self.range.start.0 / GIB_PAGES..self.range.end.0.div_ceil(GIB_PAGES);
        gibs.rev().map(move |gib| device.chunk_of(Pfn(gib * GIB_PAGES).max(device.range.start)))
    }
}

/// Memory that was plugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plugged {
    /// The chunk's resource.
    pub resource: ResourceId,
    /// Whether the run is the chunk's first one.
    pub is_new: bool,
    /// Frames that can be allocated now, or are offline by the policy.
    pub usable_pages: u64,
    /// The cost.
    pub stats: AddStats,
}

/// Memory taken out of use, to be unplugged by the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unplugged {
    /// Its runs, ascending, not adjacent.
    pub runs: ArrayVec<PfnRange, MAX_RUNS>,
    /// The resources that are gone.
    pub gone: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
}

impl Unplugged {
    /// Frames of all runs.
    pub fn pages(&self) -> u64 {
        self.runs.iter().map(|run| run.pages()).sum()
    }

    /// Adds a run and merges it with its neighbours. `false` when the list is full.
    fn push(&mut self, run: PfnRange) -> bool {
        let at = self.runs.partition_point(|other| other.start < run.start);
        if let Some(next) = self.runs.get_mut(at).filter(|next| next.start == run.end) {
            next.start = run.start;
        } else if self.runs.try_insert(at, run).is_err() {
            let before = at.checked_sub(1).and_then(|before| self.runs.get_mut(before));
            let Some(before) = before.filter(|before| before.end == run.start) else { return false };
            before.end = run.end;
            return true;
        }
        if at > 0 && self.runs[at - 1].end == self.runs[at].start {
            self.runs[at - 1].end = self.runs[at].end;
            self.runs.remove(at);
        }
        true
    }
}

/// The sums over a device's chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkTotals {
    /// Plugged frames, those of the memmap included.
    pub plugged: u64,
    /// Frames of allocations.
    pub used: u64,
    /// Chunks with a plugged piece.
    pub chunks: u64,
}

/// The page kept for each table that a mapping of a chunk may need: given out only for tables that do not exist.
struct KeptPages(ArrayVec<Pfn, 16>);

impl FrameSource for KeptPages {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }

    /// The page is kept for that table again.
    fn free_frame(&mut self, _frame: Pfn) {}
}

impl<M: Machine> Memory<M> {
    /// The frames that `device` should plug next, at most `want` of them below `limit`. `None` when there is nothing left
    /// to plug, or every chunk with unplugged pieces is being taken offline.
    pub fn next_to_plug(&self, device: &ChunkDevice, want: u64, limit: Pfn) -> Option<PfnRange> {
        let mut at = device.range.start;
        let end = device.range.end.min(limit);
        while at < end {
            let chunk = device.chunk_of(at);
            at = chunk.end;
            let entry = self.index.read().find(chunk.start).copied();
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

    /// Maps the plugged frames of a region, and their descriptors: all, or those of a chunk run by run.
    pub(crate) fn map_region(&self, slot: SlotNr, region: &Region) -> Result<(), AddError> {
        if region.chunk.is_none() {
            self.map_direct(&region.layout)?;
            return self.map_vmemmap(&region.layout).map(|_| ());
        }
        let pieces = &self.slots[slot.0 as usize].summary.pieces;
        pieces
            .runs(region.layout.range, Plug::In)
            .try_for_each(|run| self.map_run(&region.layout, run).map(|_| ()))
    }

    /// Maps a run of a chunk's frames, and the descriptors that lie in it.
    fn map_run(&self, layout: &Layout, run: PfnRange) -> Result<MapStats, AddError> {
        let mut stats = self.map_run_direct(layout, run)?;
        let more = self.map_run_vmemmap(layout, run)?;
        stats.entries_written += more.entries_written;
        stats.tables += more.tables;
        Ok(stats)
    }

    /// As [`Memory::map_run`], with the injected failures of an add; a rollback must not fail.
    fn map_run_or_fail(&self, layout: &Layout, run: PfnRange) -> Result<MapStats, AddError> {
        let mut stats = self.map_run_direct(layout, run)?;
        self.check_injected(Step::DirectMap)?;
        let more = self.map_run_vmemmap(layout, run)?;
        self.check_injected(Step::Vmemmap)?;
        stats.entries_written += more.entries_written;
        stats.tables += more.tables;
        Ok(stats)
    }

    fn map_run_direct(&self, layout: &Layout, run: PfnRange) -> Result<MapStats, AddError> {
        let frames = Mapping::data(direct(run.start.start()), run.start.start(), run.pages());
        self.map_kept(layout, &frames.largest(layout.largest), [Table::Direct(run.start)].into_iter())
    }

    fn map_run_vmemmap(&self, layout: &Layout, run: PfnRange) -> Result<MapStats, AddError> {
        let Some(memmap) = memmap_mapping(layout, run) else { return Ok(MapStats::default()) };
        let first = run.start.max(layout.array.start).0 - layout.array.start.0;
        let described = first * crate::layout::DESCRIPTORS_PER_PAGE;
        let frames = PfnRange::of(
            layout.range.start.offset(described),
            memmap.pages * crate::layout::DESCRIPTORS_PER_PAGE,
        );
        let sections = section::touched(frames).map(Table::Vmemmap);
        let by_page = |table: &Table| layout.vmemmap_leaf(table.address()) == LeafSize::K4;
        self.map_kept(layout, &memmap, sections.filter(by_page))
    }

    /// Maps with the kept page of each of `tables` that is not linked yet.
    fn map_kept(
        &self,
        layout: &Layout,
        mapping: &Mapping,
        tables: impl Iterator<Item = Table>,
    ) -> Result<MapStats, AddError> {
        let mapped = self.with_tables(|page_tables, machine| {
            let missing =
                |table: &Table| page_tables.linked_table(machine, table.address(), table.level()).is_none();
            let kept = tables.filter(missing).filter_map(|table| layout.page_for(table));
            let mut pages = KeptPages(kept.take(16).collect());
            page_tables.map(machine, mapping, &mut pages)
        });
        mapped.ok_or(AddError::NotStarted)?.map_err(AddError::from)
    }

    /// Clears the entries that map a run of a chunk, and those of the descriptors that lie in it.
    fn unlink_run(&self, layout: &Layout, run: PfnRange, flush: &mut FlushBatch) {
        self.with_tables(|tables, machine| {
            if let Some(Mapping { virt, pages, .. }) = memmap_mapping(layout, run) {
                if layout.vmemmap_leaf(virt) == LeafSize::M2 && pages.is_multiple_of(PIECE_PAGES) {
                    tables.unlink_range(machine, virt, pages, &|_| false, flush);
                } else {
                    // Its tables may become empty.
                    tables.unmap_present(machine, virt, pages, &mut NoFrames);
                }
            }
            let virt = direct(run.start.start());
            tables.unlink_range(machine, virt, run.pages(), &|_| false, flush);
        });
    }

    /// Clears all entries that map a chunk, its own tables included.
    fn unlink_chunk(&self, layout: &Layout, flush: &mut FlushBatch) {
        let own = |pfn: Pfn| layout.range.contains(pfn);
        self.with_tables(|tables, machine| {
            for mapping in [vmemmap_mapping(layout), crate::hot_add::direct_mapping(layout)] {
                tables.unlink_range(machine, mapping.virt, mapping.pages, &own, flush);
            }
        });
    }

    /// Calls `map` with the mappings of a chunk's plugged frames, or of their descriptors, that `table` covers.
    pub(crate) fn each_plugged_part(
        &self,
        slot: SlotNr,
        layout: &Layout,
        table: Table,
        mut map: impl FnMut(Mapping),
    ) {
        let pages = match table {
            Table::Direct(_) => GIB_PAGES,
            Table::Vmemmap(_) => PIECE_PAGES,
        };
        let covered = (table.address(), table.address().offset(pages << PAGE_SHIFT));
        for run in self.slots[slot.0 as usize].summary.pieces.runs(layout.range, Plug::In) {
            let mapping = match table {
                Table::Direct(_) => Some(
                    Mapping::data(direct(run.start.start()), run.start.start(), run.pages())
                        .largest(layout.largest),
                ),
                Table::Vmemmap(_) => memmap_mapping(layout, run),
            };
            let Some(whole) = mapping else { continue };
            let start = whole.virt.max(covered.0);
            let end = whole.virt.offset(whole.pages << PAGE_SHIFT).min(covered.1);
            if start < end {
                let skipped = (start.0 - whole.virt.0) >> PAGE_SHIFT;
                let phys = whole.phys.pfn().offset(skipped).start();
                map(Mapping { virt: start, phys, pages: (end.0 - start.0) >> PAGE_SHIFT, ..whole });
            }
        }
    }

    /// Takes at most `want` unused frames of a device out of use: chunks without content as a whole, memmap included;
    /// then free or offline units, from the highest chunk down. Nothing of them is mapped any more, and no CPU has a
    /// translation of them. Nothing while an offlining is under way.
    pub fn unplug_unused(&self, device: &ChunkDevice, want: u64) -> Unplugged {
        let mut taken = Unplugged::default();
        let mut hotplug = self.hotplug.lock();
        if hotplug.as_mut().is_none_or(|hotplug| hotplug.underway.is_some()) {
            return taken;
        }
        self.unplug_whole(device, want, &mut taken);
        let mut flush = FlushBatch::new();
        for chunk in device.descending() {
            let left = want - taken.pages();
            if left < device.unit {
                break;
            }
            if let Some((entry, region, shape)) = self.chunk_at(device, chunk) {
                self.unplug_units(entry, &region.layout, &shape, left, &mut taken, &mut flush);
            }
        }
        flush.run(&self.machine);
        taken
    }

    /// The entry and the region of a chunk that exists and is not going offline.
    fn chunk_at(&self, device: &ChunkDevice, chunk: PfnRange) -> Option<(IndexEntry, Region, Shape)> {
        let entry = self.index.read().find(chunk.start).copied()?;
        let region = self.region(entry)?;
        let shape = region.chunk.filter(|_| region.device == device.device && region.isolated.is_empty())?;
        Some((entry, region, shape))
    }

    /// Frames of a chunk that are allocated.
    fn used_in(&self, entry: IndexEntry) -> u64 {
        let cached = self.caches.pages_of(entry.slot);
        let used = self.with_region(entry, |_, buddy| {
            let held = buddy.pages_in(BlockState::Movable).wrapping_add(buddy.pages_in(BlockState::Cached));
            held.saturating_sub(cached) + buddy.pages_in(BlockState::Pinned)
        });
        used.unwrap_or(0)
    }

    fn plugged_in(&self, entry: IndexEntry) -> u64 {
        let pieces = &self.slots[entry.slot.0 as usize].summary.pieces;
        entry.range.pages() - pieces.unplugged_pages(entry.range)
    }

    /// Removes chunks without content that are not larger than what is wanted.
    fn unplug_whole(&self, device: &ChunkDevice, want: u64, taken: &mut Unplugged) {
        loop {
            let mut left = want - taken.pages();
            let mut leaving = ArrayVec::<IndexEntry, MAX_DEVICE_RANGES>::new();
            let mut runs = Unplugged { runs: taken.runs.clone(), ..Unplugged::default() };
            for chunk in device.descending() {
                let Some((entry, region, _)) = self.chunk_at(device, chunk) else { continue };
                let plugged = self.plugged_in(entry);
                if leaving.is_full() || left < device.unit {
                    break;
                }
                if plugged > left || self.used_in(entry) > 0 {
                    continue;
                }
                let pieces = &self.slots[entry.slot.0 as usize].summary.pieces;
                let mut with = Unplugged { runs: runs.runs.clone(), ..Unplugged::default() };
                if !pieces.runs(entry.range, Plug::In).all(|run| with.push(run)) {
                    continue;
                }
                self.isolate(entry, region.layout.usable);
                if self.used_in(entry) > 0 {
                    self.reattach(entry);
                    continue;
                }
                runs = with;
                left -= plugged;
                leaving.push(entry);
            }
            if leaving.is_empty() {
                return;
            }
            let mut stats = RemoveStats::default();
            if self.unmap_isolated(&mut stats).is_err() {
                self.rollback();
                return;
            }
            taken.runs = runs.runs;
            for entry in &leaving {
                // Full: the caller learns the rest by the resources.
                let _ = taken.gone.try_push(entry.id);
            }
            if leaving.len() < leaving.capacity() {
                return;
            }
        }
    }

    /// Ends the isolation of a chunk that is in use after all.
    fn reattach(&self, entry: IndexEntry) {
        self.with_region(entry, |region, _| {
            region.isolated = PfnRange::default();
            self.attach(entry.slot, region);
        });
    }

    /// Takes unused units of a chunk out of use, from the top down, and the memmap of sections that become empty.
    fn unplug_units(
        &self,
        entry: IndexEntry,
        layout: &Layout,
        shape: &Shape,
        left: u64,
        taken: &mut Unplugged,
        flush: &mut FlushBatch,
    ) {
        if self.caches.pages_of(entry.slot) > 0 {
            self.drain(entry.slot);
        }
        let mut runs = ArrayVec::<PfnRange, MAX_RUNS>::new();
        self.with_region(entry, |_, buddy| {
            let mut left = left;
            let mut take = |unit: PfnRange, left: &mut u64| {
                let fits = unit.pages() <= *left && taken.runs.len() < MAX_RUNS - 1 && !runs.is_full();
                if !fits || !take_unit(buddy, unit.intersection(layout.usable)) {
                    return;
                }
                buddy.summary.pieces.set(unit, Plug::Out);
                taken.push(unit);
                match runs.last_mut().filter(|run| run.start == unit.end) {
                    Some(run) => run.start = unit.start,
                    None => runs.push(unit),
                }
                *left -= unit.pages();
            };
            let may_have = buddy.summary.highest() >= Some(Order(shape.unit.trailing_zeros() as u8))
                || buddy.pages_in(BlockState::Offline) > 0;
            for index in (0..shape.metadata_units()).rev() {
                let memmap = shape.metadata_unit(index);
                if left < shape.unit || buddy.is_unplugged(memmap.start) {
                    continue;
                }
                let opened = shape.opened_by(index);
                let mut at = opened.end;
                while may_have && at > opened.start && left >= shape.unit {
                    at = Pfn(at.0 - shape.unit);
                    if !buddy.is_unplugged(at) {
                        take(PfnRange::of(at, shape.unit), &mut left);
                    }
                }
                let is_empty = buddy.summary.pieces.next_run(opened, Plug::In).is_none();
                if index > 0 && is_empty {
                    take(memmap, &mut left);
                }
            }
        });
        for run in runs {
            self.poison.removed(run);
            self.unlink_run(layout, run, flush);
        }
    }

    /// The sums over a device's chunks.
    pub fn chunk_totals(&self, device: &ChunkDevice) -> ChunkTotals {
        let mut totals = ChunkTotals::default();
        for chunk in device.descending() {
            let entry = self.index.read().find(chunk.start).copied();
            let Some(entry) = entry else { continue };
            if self.region(entry).is_some_and(|region| region.device == device.device) {
                totals.plugged += self.plugged_in(entry);
                totals.used += self.used_in(entry);
                totals.chunks += 1;
            }
        }
        totals
    }

    /// The frames whose content should migrate so that `want` more can be unplugged: of the chunk with least content that
    /// has movable content and is not in `tried`, up to the highest pinned block. Returns the chunk and the frames.
    pub fn to_evacuate(
        &self,
        device: &ChunkDevice,
        want: u64,
        tried: &dyn Fn(ResourceId) -> bool,
    ) -> Option<(ResourceId, PfnRange)> {
        let chunks = device.descending().filter_map(|chunk| self.chunk_at(device, chunk));
        let (entry, region, shape) = chunks
            .filter(|(entry, ..)| !tried(entry.id) && self.used_in(*entry) > 0)
            .min_by_key(|(entry, ..)| self.used_in(*entry))?;
        let mut run = PfnRange::new(region.layout.usable.start, region.layout.usable.start);
        let mut best = PfnRange::default();
        let pieces = &self.slots[entry.slot.0 as usize].summary.pieces;
        let units = |run: PfnRange| {
            let start = run.start.0.next_multiple_of(shape.unit).min(run.end.0);
            let start = if run.start == region.layout.usable.start { run.start } else { Pfn(start) };
            PfnRange::new(start, Pfn(run.end.0 / shape.unit * shape.unit).max(start))
        };
        let is_better = |run: PfnRange| pieces.next_run(units(run), Plug::In).is_some();
        self.with_region(entry, |region, buddy| {
            buddy.walk(region.layout.usable, |found| {
                let rmap = || RmapEntry::of(buddy.page(found.head).rmap());
                let stays = found.tag.state == BlockState::Pinned
                    && !matches!(rmap(), RmapEntry::Table(..) | RmapEntry::Reserve);
                if stays {
                    best = if is_better(run) { units(run) } else { best };
                    run.start = found.range().end;
                }
                run.end = found.range().end;
                Walk::Continue
            });
        })?;
        best = if is_better(run) { units(run) } else { best };
        // From the top down, as much as is wanted.
        let (mut at, mut plugged) = (best.end, 0);
        while at > best.start && plugged < want {
            at = Pfn(at.0.saturating_sub(shape.unit)).max(best.start);
            plugged += if pieces.is_unplugged(at) { 0 } else { shape.unit };
        }
        let part = PfnRange::new(at, best.end);
        (!part.is_empty()).then_some((entry.id, part))
    }

    /// A number that changes when memory is freed or allocated: then a shrink that could not go on may be possible.
    pub fn free_version(&self) -> u64 {
        self.free_everywhere()
    }

    /// A device's chunk with a block that cannot migrate, and that block.
    pub fn pinned_in_chunks(&self, device: &ChunkDevice) -> Option<crate::hot_remove::Pinned> {
        let chunks = device.descending().filter_map(|chunk| self.chunk_at(device, chunk));
        chunks.filter_map(|(entry, ..)| self.first_pinned(entry.id)).next()
    }
}

/// The mapping of the descriptors that lie in a run of a chunk.
fn memmap_mapping(layout: &Layout, run: PfnRange) -> Option<Mapping> {
    let part = run.intersection(layout.array);
    let whole = vmemmap_mapping(layout);
    let virt = whole.virt.offset((part.start.0.saturating_sub(layout.array.start.0)) << PAGE_SHIFT);
    (!part.is_empty()).then(|| Mapping { virt, phys: part.start.start(), pages: part.pages(), ..whole })
}

/// The shape of a chunk that does not exist yet. The layout's metadata does not depend on the CPU.
fn shape_of(device: &ChunkDevice, chunk: PfnRange) -> Option<Shape> {
    let features = crate::machine::CpuFeatures { gib_leaves: crate::machine::Support::No, phys_bits: 46 };
    let layout = Layout::plan_chunk(chunk, features)?;
    Some(Shape { range: chunk, data: layout.data, unit: device.unit })
}

/// Takes the usable frames of a unit out of the allocator if all of them are free or offline.
fn take_unit<M: Machine>(buddy: &Buddy<'_, M>, frames: PfnRange) -> bool {
    if frames.is_empty() {
        return true;
    }
    let (mut all, mut offline) = (true, false);
    let end = buddy.walk(frames, |found| {
        all = matches!(found.tag.state, BlockState::Free | BlockState::Offline);
        offline |= found.tag.state == BlockState::Offline;
        if all { Walk::Continue } else { Walk::Stop }
    });
    if !all || end < frames.end {
        return false;
    }
    if offline {
        for border in [frames.start, frames.end] {
            if buddy.find(border).is_some_and(|found| found.tag.state == BlockState::Offline) {
                buddy.split_at(border, RmapEntry::after);
            }
        }
        buddy.free_all(frames, BlockState::Offline);
    }
    buddy.alloc_range(frames, BlockState::Unplugged, 0).is_some()
}
