//! Queries of resources, sections, frames, blocks and totals, for the shell and for tests.
//!
//! Each value is taken under the lock of one region and reported after the lock is released. A walk over resources or
//! blocks continues by frame number; so a resource added or removed meanwhile may or may not be reported, but never
//! twice. Neighbours: `info` has the types.

use core::sync::atomic::Ordering;

use crate::addr::{NodeId, Order, Pfn, PfnRange, SectionNr};
use crate::address_space::descriptor;
use crate::boot_alloc::Owner;
use crate::buddy::{Buddy, Found, page_state};
use crate::descriptor::BlockState;
use crate::info::{
    BlockInfo, Holder, NodeTotals, PageInfo, PageState, ResourceId, ResourceInfo, ResourceState, SectionRow,
    SectionState, Totals,
};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::pieces::Plug;
use crate::poison::{Finding, PoisonInfo};
use crate::region::{IndexEntry, Region};
use crate::rmap::RmapEntry;
use crate::section;

impl<M: Machine> Memory<M> {
    /// All resources, by ascending address.
    pub fn resources(&self, report: &mut dyn FnMut(ResourceInfo)) {
        self.for_each_entry(|entry| {
            if let Some(info) = self.info(entry) {
                report(info);
            }
        });
    }

    /// The resource `id`.
    pub fn resource(&self, id: ResourceId) -> Option<ResourceInfo> {
        self.info(self.entry(id)?)
    }

    /// The first resource above frame `after` (`None`: the first of all). For walks in steps.
    pub fn resource_after(&self, after: Option<Pfn>) -> Option<ResourceInfo> {
        let mut after = after;
        // Skips a resource that is removed between the two lookups.
        while let Some(entry) = self.entry_after(after) {
            if let Some(info) = self.info(entry) {
                return Some(info);
            }
            after = Some(entry.range.start);
        }
        None
    }

    /// The resource that contains the frame.
    pub fn resource_of(&self, pfn: Pfn) -> Option<ResourceId> {
        self.entry_of(pfn).map(|entry| entry.id)
    }

    /// Reports sections with a frame in `within`, one row per section and resource, by ascending resource.
    pub fn sections(&self, within: PfnRange, report: &mut dyn FnMut(SectionRow)) {
        self.for_each_entry(|entry| {
            for section in section::touched(entry.range.intersection(within)) {
                if let Some(row) = self.section_row(entry, section) {
                    report(row);
                }
            }
        });
    }

    /// One resource's part of one section; `None` when it has none. For walks in steps over the sections of a huge
    /// resource.
    pub fn section(&self, id: ResourceId, section: SectionNr) -> Option<SectionRow> {
        self.section_row(self.entry(id)?, section)
    }

    /// The state of a frame.
    pub fn page(&self, pfn: Pfn) -> PageInfo {
        let absent = PageInfo {
            pfn,
            descriptor: descriptor(pfn),
            state: PageState::Absent,
            order: None,
            head: None,
            resource: None,
            holder: Holder::None,
        };
        let Some(entry) = self.entry_of(pfn) else { return absent };
        let block = self.with_region(entry, |region, buddy| block_info(region, buddy, pfn));
        let Some(block) = block.flatten() else {
            let is_unplugged = self.slots[entry.slot.0 as usize].summary.pieces.is_unplugged(pfn);
            let state = if is_unplugged { PageState::Unplugged } else { PageState::Memmap };
            return PageInfo { state, resource: Some(entry.id), ..absent };
        };
        PageInfo {
            state: block.state,
            order: block.order,
            head: block.order.map(|_| block.range.start),
            resource: Some(entry.id),
            holder: block.holder,
            ..absent
        }
    }

    /// Free blocks per order, 0 above the resource's highest ([`ResourceInfo::max_order`]).
    pub fn free_blocks(&self, id: ResourceId) -> Option<[u64; Order::COUNT]> {
        let entry = self.entry(id)?;
        self.drain_own();
        self.with_region(entry, |region, buddy| {
            let cached = |order| self.caches.blocks_of(entry.slot, order);
            let free =
                |order| if region.is_fully_isolated() { 0 } else { buddy.free_blocks(order) + cached(order) };
            core::array::from_fn(|order| free(Order(order as u8)))
        })
    }

    /// The blocks of a resource by ascending address, including its metadata.
    pub fn blocks(&self, id: ResourceId, report: &mut dyn FnMut(BlockInfo)) {
        let Some(entry) = self.entry(id) else { return };
        let mut at = entry.range.start;
        while at < entry.range.end {
            let Some(block) = self.block_of(entry, at) else { return };
            at = block.range.end;
            report(block);
        }
    }

    /// The block that contains `pfn`. For walks in steps over the blocks of a huge resource.
    pub fn block(&self, pfn: Pfn) -> Option<BlockInfo> {
        let entry = self.entry_of(pfn)?;
        self.block_of(entry, pfn)
    }

    fn block_of(&self, entry: IndexEntry, pfn: Pfn) -> Option<BlockInfo> {
        self.with_region(entry, |region, buddy| {
            let data = region.layout.data;
            if !region.layout.is_boot() && data.contains(pfn) {
                let rest = PfnRange::new(pfn, data.end);
                let (pieces, is_out) = (&buddy.summary.pieces, buddy.is_unplugged(pfn));
                let plug = if is_out { Plug::Out } else { Plug::In };
                let run = if pieces.is_whole() { Some(data) } else { pieces.next_run(rest, plug) };
                return Some(BlockInfo {
                    range: run.unwrap_or(rest),
                    state: if is_out { PageState::Unplugged } else { PageState::Memmap },
                    order: None,
                    holder: Holder::None,
                });
            }
            block_info(region, buddy, pfn)
        })?
    }

    /// Totals over all resources.
    pub fn totals(&self) -> Totals {
        let page_table_pages = self.page_tables.load(Ordering::Relaxed);
        let mut totals = Totals { page_table_pages, ..Totals::default() };
        self.resources(&mut |info| {
            totals.total_pages += info.range.pages() - info.unplugged_pages;
            totals.usable_pages += info.usable_pages;
            totals.free_pages += info.free_pages;
            totals.offline_pages += info.offline_pages;
            totals.memmap_pages += info.memmap_pages;
            totals.resources += 1;
        });
        totals
    }

    /// Totals of each node's resources, in the order in which the nodes became known. Nodes without resources are
    /// skipped.
    pub fn nodes(&self, report: &mut dyn FnMut(NodeTotals)) {
        for nr in self.nodes.named() {
            let node = self.nodes.id(nr);
            let mut totals = NodeTotals { node, total_pages: 0, usable_pages: 0, free_pages: 0 };
            self.resources(&mut |info| {
                if info.node == node {
                    totals.total_pages += info.range.pages() - info.unplugged_pages;
                    totals.usable_pages += info.usable_pages;
                    totals.free_pages += info.free_pages;
                }
            });
            if totals.total_pages > 0 {
                report(totals);
            }
        }
    }

    /// The poison mode and its counters.
    pub fn poison_info(&self) -> PoisonInfo {
        self.poison.info()
    }

    /// Takes the oldest finding of the poison. Costs one load while there is none.
    pub fn next_finding(&self) -> Option<Finding> {
        self.poison.next_finding()
    }

    /// Compares the poisoned free frames of a resource from `from` on, at most `most` of them; they stay poisoned.
    /// Returns how many were compared and where to continue, if there are more.
    pub fn check_poison(
        &self,
        id: ResourceId,
        from: Pfn,
        most: u64,
        report: &mut dyn FnMut(Finding),
    ) -> (u64, Option<Pfn>) {
        let Some(entry) = self.entry(id) else { return (0, None) };
        let within = PfnRange::new(from, entry.range.end.max(from));
        let verified = self.with_region(entry, |_, _| self.poison.verify(&self.machine, within, most));
        let Some(verified) = verified else { return (0, None) };
        verified.findings.into_iter().for_each(report);
        (verified.pages, verified.next)
    }

    /// Free frames of all nodes: those that can be allocated.
    pub(crate) fn free_everywhere(&self) -> u64 {
        self.free_in(None)
    }

    /// Free frames of a node, or of all, cached ones included; exact while no other CPU allocates or frees.
    pub(crate) fn free_in(&self, node: Option<NodeId>) -> u64 {
        let nodes = self.nodes.named().filter(|&nr| node.is_none_or(|node| self.nodes.id(nr) == node));
        let listed: u64 = nodes.map(|nr| self.nodes.free(nr)).sum();
        let mut cached = 0;
        self.caches.each_region(|slot, pages| {
            let of_node = self.nodes.of(slot).is_some_and(|of| node.is_none_or(|node| of == node));
            cached += if of_node { pages } else { 0 };
        });
        listed + cached
    }

    /// Calls `each` with every entry of the index, without holding a lock.
    pub(crate) fn for_each_entry(&self, mut each: impl FnMut(IndexEntry)) {
        let mut after = None;
        while let Some(entry) = self.entry_after(after) {
            after = Some(entry.range.start);
            each(entry);
        }
    }

    fn info(&self, entry: IndexEntry) -> Option<ResourceInfo> {
        self.drain_own();
        self.with_region(entry, |region, buddy| region_info(region, buddy, self.caches.pages_of(entry.slot)))
    }

    fn section_row(&self, entry: IndexEntry, section: SectionNr) -> Option<SectionRow> {
        self.with_region(entry, |region, buddy| section_row(region, buddy, section))?
    }
}

/// `cached` frames of the region are in frame caches.
fn region_info<M: Machine>(region: &Region, buddy: &Buddy<'_, M>, cached: u64) -> ResourceInfo {
    let layout = &region.layout;
    let boot_pages = buddy.pages_in(BlockState::Boot);
    let pieces = &buddy.summary.pieces;
    let usable_pages = layout.usable.pages() - boot_pages - buddy.pages_in(BlockState::Unplugged);
    let unplugged_pages = pieces.unplugged_pages(layout.range);
    // Free frames that cannot be allocated count as offline.
    let free_there = buddy.summary.free() + cached;
    // Frames change between cached and movable without a counter: see `frame_cache`.
    let movable = buddy
        .pages_in(BlockState::Movable)
        .wrapping_add(buddy.pages_in(BlockState::Cached))
        .saturating_sub(cached);
    let free_pages = if region.is_fully_isolated() { 0 } else { free_there };
    let offline_pages = buddy.pages_in(BlockState::Offline)
        + buddy.pages_in(BlockState::Isolated)
        + (free_there - free_pages);
    let mut usable_start = layout.usable.start;
    if boot_pages > 0 {
        while let Some(found) = buddy.find(usable_start).filter(|found| found.tag.state == BlockState::Boot) {
            usable_start = found.range().end;
        }
    }
    ResourceInfo {
        id: region.id,
        device: region.device,
        range: layout.range,
        node: region.node,
        zone: region.zone,
        state: match offline_pages {
            0 => ResourceState::Online,
            all if all == usable_pages => ResourceState::Offline,
            _ => ResourceState::Partial,
        },
        memmap_start: layout.data.start,
        memmap_pages: layout.range.pages() - unplugged_pages - usable_pages,
        usable_start,
        usable_pages,
        free_pages,
        offline_pages,
        unplugged_pages,
        movable_pages: movable,
        pinned_pages: buddy.pages_in(BlockState::Pinned),
        largest_free_pages: if free_pages == 0 { 0 } else { buddy.summary.highest().map_or(0, Order::pages) },
        max_order: region.max,
        add: region.stats,
    }
}

/// Computes the row by a walk over the section's blocks; the cost depends on their number, not on the frames.
fn section_row<M: Machine>(region: &Region, buddy: &Buddy<'_, M>, section: SectionNr) -> Option<SectionRow> {
    let here = region.layout.range.intersection(section.range());
    if here.is_empty() {
        return None;
    }
    let present = here.pages() - buddy.summary.pieces.unplugged_pages(here);
    let usable_run = region.layout.usable.intersection(section.range());
    let (mut usable, mut free, mut offline) = (0, 0, 0);
    let mut at = usable_run.start;
    while at < usable_run.end {
        let found = buddy.find(at)?;
        let pages = found.range().intersection(usable_run).pages();
        match found.tag.state {
            BlockState::Boot | BlockState::Unplugged => {}
            BlockState::Free | BlockState::Cached if region.is_fully_isolated() => {
                (usable, offline) = (usable + pages, offline + pages);
            }
            BlockState::Free | BlockState::Cached => (usable, free) = (usable + pages, free + pages),
            BlockState::Movable | BlockState::Pinned => usable += pages,
            BlockState::Offline | BlockState::Isolated => {
                (usable, offline) = (usable + pages, offline + pages)
            }
        }
        at = found.range().end;
    }
    Some(SectionRow {
        section,
        resource: region.id,
        node: region.node,
        present_pages: present,
        memmap_pages: present - usable,
        usable_pages: usable,
        free_pages: free,
        state: match usable {
            0 if present == 0 => SectionState::Unplugged,
            0 => SectionState::Memmap,
            all if all == offline => SectionState::Offline,
            _ => SectionState::Online,
        },
    })
}

/// The block of the usable run that contains `pfn`.
fn block_info<M: Machine>(region: &Region, buddy: &Buddy<'_, M>, pfn: Pfn) -> Option<BlockInfo> {
    let found: Found = buddy.find(pfn)?;
    let word = if found.tag.state.is_allocated() || found.tag.state == BlockState::Boot {
        buddy.rmap(&found)
    } else {
        0
    };
    let block = |state, order, holder| BlockInfo { range: found.range(), state, order, holder };
    Some(match (found.tag.state, RmapEntry::of(word)) {
        (BlockState::Free, _) if region.is_fully_isolated() => {
            block(PageState::Offline, Some(found.tag.order), Holder::None)
        }
        (BlockState::Boot, RmapEntry::Owner(Owner::Memmap)) => {
            block(PageState::Memmap, None, Holder::Boot(Owner::Memmap))
        }
        (state, word) => block(page_state(state), Some(found.tag.order), word.shown()),
    })
}
