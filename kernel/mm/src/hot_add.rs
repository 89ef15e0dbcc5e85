//! Hot add: the ranges of a device become resources, all of them or none. Linux: `add_memory_resource`, with
//! `memmap_on_memory`.
//!
//! ```text
//!  check       every range: valid, no overlap, hotpluggable, large enough           nothing changed yet
//!              and memory answers there (`probe`)                                   overwrites the probed words
//!  direct-map  map its frames (page tables from the resource itself)                undo: unmap
//!  vmemmap     map its descriptors                                                  undo: unmap
//!  region      write header and initial groups, inside the resource                 undo: nothing to do
//!  online      publish slot, index entry and node membership                        cannot fail
//!              (policy `offline`: the frames are present but cannot be allocated)
//! ```
//!
//! Invariants: outside the new ranges only empty page-table entries are written, and in the last step slots, index and
//! nodes; an error at any step restores all of these (tests compare the whole simulated memory). No frame of existing
//! memory is used: page tables come from `Layout::table_page`, and a device's ranges do not depend on each other. All
//! of it runs under the hotplug lock. Neighbours: `layout` plans the metadata, `probe` checks that memory answers,
//! `page_table` maps, `buddy` initialises the region.

use arrayvec::ArrayVec;

use crate::addr::{MAX_NODES, MAX_PHYS_BITS, NodeId, PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange};
use crate::address_space::direct;
use crate::buddy::End;
use crate::descriptor::{BlockState, SlotNr};
use crate::error::AddError;
use crate::hotplug_state::Hotplug;
use crate::info::{
    AddRequest, AddStats, Added, DeviceId, MAX_DEVICE_RANGES, Policy, ProbeEnd, ResourceId, Zone,
};
use crate::layout::{LARGE_PAGES, Layout, Table};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FrameSource, LeafSize, MapError, MapStats, Mapping, NoFrames};
use crate::publish::publish;
use crate::region::{MAX_REGIONS, Region};
use crate::zonelist::ZonePreference;

use crate::fault_injection::Step;

/// A range that passed the checks, and its progress.
struct Plan {
    layout: Layout,
    node: NodeId,
    slot: SlotNr,
    stats: AddStats,
    /// The mappings that an undo must remove.
    mapped: Mapped,
}

/// How much of a range is mapped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mapped {
    Nothing,
    Direct,
    All,
}

type Plans = ArrayVec<Plan, MAX_DEVICE_RANGES>;

/// The pages that a resource reserves for page tables, each for one particular table. Mapping allocates tables by
/// ascending address, and only the first or the last table can exist already (shared with a neighbour), so each table
/// gets its own page.
pub(crate) struct TablePages<'a> {
    layout: &'a Layout,
    next: u64,
}

impl<'a> TablePages<'a> {
    /// The reserved pages of `layout` from the `next`th on.
    pub(crate) fn from(layout: &'a Layout, next: u64) -> Self {
        TablePages { layout, next }
    }
}

impl FrameSource for TablePages<'_> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        let page = self.layout.table_page(self.next)?;
        self.next += 1;
        Some(page)
    }

    /// Ignored: frames are returned only when mapping failed, and then the whole layout is discarded.
    fn free_frame(&mut self, _frame: Pfn) {}
}

impl<M: Machine> Memory<M> {
    /// Adds all memory of a device, or nothing, and probes the ends of its ranges at once. `clock` returns nanoseconds.
    ///
    /// # Errors
    /// See [`AddError`]; nothing has changed then.
    pub fn add(
        &self,
        device: DeviceId,
        requests: &[AddRequest],
        clock: &dyn Fn() -> u64,
    ) -> Result<Added, AddError> {
        self.add_with(device, requests, ProbeEnd::AtOnce, clock)
    }

    /// [`Memory::add`], with a choice when the ends are probed.
    ///
    /// # Errors
    /// See [`AddError`]; nothing has changed then.
    pub fn add_with(
        &self,
        device: DeviceId,
        requests: &[AddRequest],
        end: ProbeEnd,
        clock: &dyn Fn() -> u64,
    ) -> Result<Added, AddError> {
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(AddError::NotStarted)?;
        let nodes_before = self.nodes.count();
        let mut plans = Plans::new();
        let result = self.add_all(device, requests, (end, clock), hotplug, &mut plans);
        if result.is_err() {
            self.undo(&plans);
            self.nodes.truncate(nodes_before);
        }
        result
    }

    fn add_all(
        &self,
        device: DeviceId,
        requests: &[AddRequest],
        (end, clock): (ProbeEnd, &dyn Fn() -> u64),
        hotplug: &mut Hotplug,
        plans: &mut Plans,
    ) -> Result<Added, AddError> {
        let start = clock();
        // Of this CPU: the others allocate meanwhile.
        let before = self.cpu_stats(self.machine.cpu()).allocations;
        // Read once, so that all ranges of the device get the same policy.
        let policy = self.policy();
        self.check_requests(requests, end, hotplug, plans)?;
        let checked = clock();
        for plan in plans.iter_mut() {
            self.map(plan)?;
        }
        let mapped = clock();
        for plan in plans.iter_mut() {
            let region = region(plan, device, ResourceId(hotplug.next), policy.zone());
            let summary = &self.slots[plan.slot.0 as usize].summary;
            let buddy = region.buddy(&self.machine, plan.slot, summary);
            plan.stats.descriptors_written = buddy.init();
            (plan.stats.frames_written, plan.stats.large_frames_written) = region.layout.count_written(end);
            if end == ProbeEnd::AtFirstUse {
                summary.set_end(End::Unknown);
            }
            if policy == Policy::Offline {
                let carved = buddy.alloc_range(region.layout.usable, BlockState::Offline, 0);
                debug_assert!(carved.is_some(), "all of a fresh region is free");
            }
            self.check_injected(Step::Region)?;
        }
        self.check_injected(Step::Online)?;
        let new: u64 = plans.iter().map(|plan| plan.layout.usable.pages()).sum();
        // Page tables are allocated one frame at a time.
        let used = self.cpu_stats(self.machine.cpu()).allocations.wrapping_sub(before);
        let online = clock();

        // Nothing below can fail.
        let whole = AddStats {
            check_ns: checked.saturating_sub(start),
            map_ns: mapped.saturating_sub(checked),
            online_ns: online.saturating_sub(mapped),
            existing_pages_used: used,
            ..AddStats::default()
        };
        let mut added = Added { ids: ArrayVec::new(), usable_pages: new, stats: whole };
        for plan in plans.iter_mut() {
            plan.stats = AddStats {
                check_ns: whole.check_ns,
                map_ns: whole.map_ns,
                online_ns: whole.online_ns,
                existing_pages_used: used,
                ..plan.stats
            };
            added
                .ids
                .push(self.publish(region(plan, device, ResourceId(hotplug.next), policy.zone()), plan.slot));
            added.stats.entries_written += plan.stats.entries_written;
            added.stats.tables += plan.stats.tables;
            added.stats.descriptors_written += plan.stats.descriptors_written;
            added.stats.frames_written += plan.stats.frames_written;
            added.stats.large_frames_written += plan.stats.large_frames_written;
            hotplug.next += 1;
        }
        Ok(added)
    }

    /// Checks all ranges against present memory and against each other, and plans each.
    fn check_requests(
        &self,
        requests: &[AddRequest],
        end: ProbeEnd,
        hotplug: &Hotplug,
        plans: &mut Plans,
    ) -> Result<(), AddError> {
        if requests.is_empty() {
            return Err(AddError::NoRanges);
        }
        if requests.len() > MAX_DEVICE_RANGES {
            return Err(AddError::TooManyRanges { ranges: requests.len() });
        }
        // From the index, which changes under the hotplug lock only: a region's lock may be held elsewhere.
        let mut taken = [false; MAX_REGIONS];
        for entry in self.index.read().entries() {
            if let Some(taken) = taken.get_mut(entry.slot.0 as usize) {
                *taken = true;
            }
        }
        let mut free_slots = taken.iter().enumerate().filter(|(_, taken)| !**taken).map(|(slot, _)| slot);
        for request in requests {
            let range = check_range(request, hotplug)?;
            if let Some(other) = plans.iter().find(|plan| plan.layout.range.overlaps(range)) {
                return Err(AddError::OverlapsItself { range, other: other.layout.range });
            }
            if let Some(entry) = self.index.read().overlapping(range) {
                return Err(AddError::OverlapsPresent { range, resource: entry.id, present: entry.range });
            }
            check_hotpluggable(range, hotplug)?;
            let layout = Layout::plan(range, hotplug.features).ok_or(AddError::TooSmall { range })?;
            let slot = free_slots.next().ok_or(AddError::TooManyResources { max: MAX_REGIONS })?;
            self.nodes.name(request.node).ok_or(AddError::TooManyNodes { max: MAX_NODES })?;
            let plan = Plan {
                layout,
                node: request.node,
                slot: SlotNr(slot as u16),
                stats: AddStats::default(),
                mapped: Mapped::Nothing,
            };
            if plans.try_push(plan).is_err() {
                return Err(AddError::TooManyRanges { ranges: requests.len() });
            }
        }
        plans.iter().try_for_each(|plan| self.probe(&plan.layout, end))?;
        self.check_injected(Step::Check)
    }

    /// Maps a range's frames, then its descriptors, with page tables from the range itself.
    fn map(&self, plan: &mut Plan) -> Result<(), AddError> {
        let layout = plan.layout;
        let mut count = |stats: MapStats| {
            plan.stats.entries_written += stats.entries_written;
            plan.stats.tables += stats.tables;
        };
        count(self.map_direct(&layout)?);
        plan.mapped = Mapped::Direct;
        self.check_injected(Step::DirectMap)?;
        count(self.map_vmemmap(&layout)?);
        plan.mapped = Mapped::All;
        self.check_injected(Step::Vmemmap)
    }

    /// Maps the frames of a hot-added resource.
    pub(crate) fn map_direct(&self, layout: &Layout) -> Result<MapStats, AddError> {
        let first = layout.border_tables().find(|table| matches!(table, Table::Direct(_)));
        self.map_one(&direct_mapping(layout), layout, 0, first)
    }

    /// Maps the descriptors of a hot-added resource.
    pub(crate) fn map_vmemmap(&self, layout: &Layout) -> Result<MapStats, AddError> {
        let first = layout.border_tables().find(|table| matches!(table, Table::Vmemmap(_)));
        self.map_one(&vmemmap_mapping(layout), layout, layout.direct_tables, first)
    }

    /// Maps with page tables from the reserved pages of `layout` from the `from`th on, which belongs to table `first`.
    fn map_one(
        &self,
        mapping: &Mapping,
        layout: &Layout,
        from: u64,
        first: Option<Table>,
    ) -> Result<MapStats, AddError> {
        let mapped = self.with_tables(|tables, machine| {
            let is_there =
                |table: Table| tables.linked_table(machine, table.address(), table.level()).is_some();
            let from = from + u64::from(first.is_some_and(is_there));
            tables.map(machine, mapping, &mut TablePages::from(layout, from))
        });
        mapped.ok_or(AddError::NotStarted)?.map_err(AddError::from)
    }

    /// Undoes a failed add in reverse order. The page tables lie in the ranges themselves.
    fn undo(&self, plans: &Plans) {
        for plan in plans.iter().rev() {
            self.slots[plan.slot.0 as usize].summary.clear();
            for (mapping, at) in
                [(vmemmap_mapping(&plan.layout), Mapped::All), (direct_mapping(&plan.layout), Mapped::Direct)]
            {
                if plan.mapped >= at {
                    let unmapped = self.with_tables(|tables, machine| {
                        tables.unmap(machine, mapping.virt, mapping.pages, &mut NoFrames)
                    });
                    debug_assert!(matches!(unmapped, Some(Ok(_))), "what was mapped can be unmapped");
                }
            }
        }
    }

    /// Publishes a region. The checks ensured that slot, index and node table have a free entry.
    pub(crate) fn publish(&self, region: Region, slot: SlotNr) -> ResourceId {
        let known = publish(&self.index, &self.slots[slot.0 as usize].region, slot, region);
        debug_assert!(known.is_ok(), "checked before");
        if let Some(node) = self.nodes.find(region.node) {
            let preference = ZonePreference::of(region.device, region.zone);
            self.locked(slot, |_, _| self.nodes.attach(slot, node, preference));
            // The new region may be preferred from now on. Other CPUs choose anew when their caches are empty.
            self.drain_own();
        }
        region.id
    }
}

impl From<MapError> for AddError {
    fn from(error: MapError) -> AddError {
        match error {
            MapError::AlreadyMapped { at } => AddError::MapConflict { at },
            MapError::OutOfFrames { at } | MapError::Unaligned { at } => AddError::NoTable { at },
            MapError::BadRange { virt, .. } => AddError::NoTable { at: virt },
            MapError::BeyondPhysBits { phys, pages } => {
                AddError::BeyondPhysBits { base: phys, size: pages << PAGE_SHIFT, bits: MAX_PHYS_BITS as u8 }
            }
        }
    }
}

/// The mapping of a resource's frames.
pub(crate) fn direct_mapping(layout: &Layout) -> Mapping {
    let start = layout.range.start.start();
    Mapping::data(direct(start), start, layout.range.pages()).largest(layout.largest)
}

/// The mapping of a resource's descriptors: without 1 GiB leaves, because boot populated the vmemmap's page
/// directories.
pub(crate) fn vmemmap_mapping(layout: &Layout) -> Mapping {
    let (start, bytes) = layout.vmemmap();
    Mapping::data(start, layout.array.start.start(), bytes >> PAGE_SHIFT).largest(LeafSize::M2)
}

fn region(plan: &Plan, device: DeviceId, id: ResourceId, zone: Zone) -> Region {
    Region {
        id,
        device,
        node: plan.node,
        zone,
        layout: plan.layout,
        metadata: plan.layout.metadata(),
        max: plan.layout.max_order(),
        stats: plan.stats,
        isolated: PfnRange::default(),
        chunk: None,
    }
}

/// The checks that need only the range and the CPU.
pub(crate) fn check_range(request: &AddRequest, hotplug: &Hotplug) -> Result<PfnRange, AddError> {
    let AddRequest { base, size, .. } = *request;
    if size == 0 {
        return Err(AddError::Empty { base });
    }
    // Uses the last byte, so that a range that ends at 2^64 does not wrap.
    let last = base.0.checked_add(size - 1).ok_or(AddError::Wraps { base, size })?;
    let bits = u32::from(hotplug.features.phys_bits).min(MAX_PHYS_BITS);
    if last >> bits != 0 {
        return Err(AddError::BeyondPhysBits { base, size, bits: bits as u8 });
    }
    let unit = LARGE_PAGES * PAGE_SIZE;
    if !base.0.is_multiple_of(unit) || !size.is_multiple_of(unit) {
        return Err(AddError::Unaligned { base, size });
    }
    Ok(PfnRange::of(base.pfn(), size >> PAGE_SHIFT))
}

/// Checks that the range lies in hotpluggable memory. Runs last, because an overlap is the more helpful reason.
pub(crate) fn check_hotpluggable(range: PfnRange, hotplug: &Hotplug) -> Result<(), AddError> {
    if !hotplug.hotpluggable.is_empty() && !hotplug.hotpluggable.iter().any(|ours| ours.contains_range(range))
    {
        return Err(AddError::OutsideHotpluggable { range });
    }
    Ok(())
}
