//! Turns boot memory into regions like those of hot-added resources, with the metadata in a hole of each range.
//!
//! ```text
//!  range       |  occupied  | free |  kernel  | header, tables, memmap |        free          | early |
//!  usable run  |------------------------------ all of it ----------------------------------------------|
//!  blocks      | boot       | free | boot     | boot (memmap)          | free                 | boot  |
//! ```
//!
//! The loader has mapped the frames already, so only the vmemmap is new. Occupied frames are split off the fresh buddy
//! and stay pinned under their owner for good: boot memory is never removed, and the page tables made here are
//! permanent. Invariants: no two ranges share a page of descriptors (a range starts at a multiple of 64 frames above
//! the one before); a range's metadata lies in a hole that nothing occupies. Neighbours: `boot_alloc` supplied frames
//! until now, `layout` plans, `hot_add` publishes regions.

use core::sync::atomic::Ordering;

use crate::addr::{MAX_NODES, MAX_PFN, MAX_PHYS_BITS, PAGE_SHIFT, Pfn, PfnRange};
use crate::boot_alloc::{BootAllocator, Occupied, Owner};
use crate::buddy::Buddy;
use crate::descriptor::{BlockState, SlotNr};
use crate::error::BootError;
use crate::hot_add::{TablePages, vmemmap_mapping};
use crate::hotplug_state::Hotplug;
use crate::info::{AddStats, BootRange, DeviceId, ResourceId, Zone};
use crate::layout::{DESCRIPTORS_PER_PAGE, Layout, MIN_BOOT_PAGES};
use crate::machine::Machine;
use crate::memory::{BootMemory, Memory};
use crate::merge::merged;
use crate::page_table::{MapError, PageTables};
use crate::region::{MAX_REGIONS, Region};
use crate::rmap::RmapEntry;

impl From<MapError> for BootError {
    fn from(error: MapError) -> BootError {
        match error {
            MapError::AlreadyMapped { at } => BootError::MapConflict { at },
            _ => BootError::NoFrames,
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Takes over boot memory. Calls `left_out` with each range that is too small for a memmap of its own or has no
    /// hole for it. `early` supplies the page tables that later adds rely on and must not allocate afterwards.
    ///
    /// # Errors
    /// See [`BootError`]; the kernel cannot continue then.
    ///
    /// # Safety
    ///
    /// The caller guarantees that `boot` and `early` are true: [`Memory::take_tables`]'s guarantee for `root` and
    /// `features`; the direct map covers `ranges`, and they hold nothing but `occupied` and what `early` allocated; a
    /// range that is added later is unused memory, or no memory at all (`hotplug` bounds where).
    #[expect(unsafe_code, reason = "a declaration: no unsafe block")]
    pub unsafe fn boot(
        &self,
        boot: BootMemory<'_>,
        early: &mut BootAllocator,
        left_out: &mut dyn FnMut(PfnRange),
    ) -> Result<(), BootError> {
        let mut hotplug = self.hotplug.lock();
        if hotplug.is_some() {
            return Err(BootError::Started);
        }
        let mut state = Hotplug::new(boot.features);
        // A DIMM may span several of SRAT's pieces.
        let pieces = || boot.hotplug.iter().map(|piece| piece.start.0..piece.end.0);
        for range in merged(pieces) {
            let max = state.hotpluggable.capacity();
            let frames = PfnRange::new(Pfn(range.start), Pfn(range.end));
            state.hotpluggable.try_push(frames).map_err(|_| BootError::TooManyRanges { max })?;
        }
        self.prepare(&boot, &state.hotpluggable, early)?;
        let mut before = PfnRange::default();
        for range in boot.ranges {
            if range.range.start < before.end {
                return Err(BootError::Disordered { range: range.range });
            }
            before = range.range;
        }
        let mut free_from = Pfn(0);
        for range in boot.ranges {
            let whole = range.range.intersection(PfnRange::new(Pfn(0), MAX_PFN));
            let start = whole.start.max(free_from);
            let usable = PfnRange::new(start, whole.end.max(start));
            if usable.pages() >= MIN_BOOT_PAGES
                && self.boot_region(&boot, early, &mut state, range, usable)?
            {
                let lost = PfnRange::new(whole.start, start);
                if !lost.is_empty() {
                    left_out(lost);
                }
                free_from = Pfn(whole.end.0.next_multiple_of(DESCRIPTORS_PER_PAGE));
            } else {
                left_out(range.range);
            }
        }
        if state.next == 0 {
            return Err(BootError::NoMemory);
        }
        *hotplug = Some(state);
        Ok(())
    }

    /// Populates the page tables that later adds rely on, below those of the loader.
    fn prepare(
        &self,
        boot: &BootMemory<'_>,
        hotpluggable: &[PfnRange],
        early: &mut BootAllocator,
    ) -> Result<(), BootError> {
        let mut tables = self.tables.lock();
        let tables = tables.get_or_insert_with(|| PageTables::new(boot.root, boot.features));
        if tables.root() != boot.root {
            return Err(BootError::OtherTables { root: tables.root() });
        }
        for range in boot.ranges {
            tables.prepare_hotplug(&self.machine, range.range, early)?;
        }
        for &range in hotpluggable {
            tables.prepare_hotplug(&self.machine, range, early)?;
        }
        if hotpluggable.is_empty() {
            let bits = u32::from(boot.features.phys_bits).min(MAX_PHYS_BITS);
            let all = PfnRange::of(Pfn(0), 1 << bits.saturating_sub(PAGE_SHIFT));
            tables.prepare_hotplug(&self.machine, all, early)?;
        }
        Ok(())
    }

    /// Makes `range` a region; `false` when it has no hole for its metadata.
    fn boot_region(
        &self,
        boot: &BootMemory<'_>,
        early: &BootAllocator,
        state: &mut Hotplug,
        named: &BootRange,
        range: PfnRange,
    ) -> Result<bool, BootError> {
        let taken = || boot.occupied.iter().copied().chain(early.taken());
        let Some(layout) = holes(range, taken).find_map(|hole| Layout::plan_boot(range, hole)) else {
            return Ok(false);
        };
        let id = ResourceId(state.next);
        let slot = SlotNr(state.next as u16);
        let entry = self.slots.get(slot.0 as usize).ok_or(BootError::TooManyRanges { max: MAX_REGIONS })?;
        self.nodes.name(named.node).ok_or(BootError::TooManyNodes { max: MAX_NODES })?;

        let mut pages = TablePages::from(&layout, 0);
        let mapping = vmemmap_mapping(&layout).permanent();
        let mapped = self.with_tables(|tables, machine| tables.map(machine, &mapping, &mut pages));
        let mapped = mapped.ok_or(BootError::NoFrames)??;

        let stats = AddStats {
            entries_written: mapped.entries_written,
            tables: mapped.tables,
            ..AddStats::default()
        };
        let mut region = Region {
            id,
            device: DeviceId::BOOT,
            node: named.node,
            zone: Zone::Kernel,
            layout,
            metadata: layout.metadata(),
            max: layout.max_order(),
            stats,
            isolated: PfnRange::default(),
            chunk: None,
        };
        let buddy = region.buddy(&self.machine, slot, &entry.summary);
        region.stats.descriptors_written = buddy.init();
        buddy.touch_all();
        pin(&buddy, Occupied { range: layout.data, owner: Owner::Memmap });
        for occupied in taken() {
            let tables = pin(&buddy, occupied);
            if occupied.owner == Owner::PageTables {
                self.page_tables.fetch_add(tables, Ordering::Relaxed);
            }
        }
        self.publish(region, slot);
        state.next += 1;
        Ok(true)
    }
}

/// The parts of `range` that `taken` does not cover, ascending.
fn holes<I: Iterator<Item = Occupied>>(
    range: PfnRange,
    taken: impl Fn() -> I,
) -> impl Iterator<Item = PfnRange> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        while let Some(occupied) = taken().find(|occupied| occupied.range.contains(at)) {
            at = occupied.range.end;
        }
        if at >= range.end {
            return None;
        }
        let starts = taken().filter(|occupied| !occupied.range.is_empty() && occupied.range.start > at);
        let end = starts.map(|occupied| occupied.range.start).fold(range.end, Pfn::min);
        let hole = PfnRange::new(at, end);
        at = end;
        Some(hole)
    })
}

/// Marks occupied frames of a fresh region as pinned; skips parts that are marked already. Returns the number of frames
/// newly marked.
fn pin<M: Machine>(buddy: &Buddy<'_, M>, occupied: Occupied) -> u64 {
    let range = occupied.range.intersection(buddy.usable);
    let (mut at, mut pinned) = (range.start, 0);
    while at < range.end {
        let Some(found) = buddy.find(at) else { break };
        let run = PfnRange::new(at, found.range().end.min(range.end));
        if found.tag.state == BlockState::Free
            && buddy.alloc_range(run, BlockState::Boot, RmapEntry::Owner(occupied.owner).encode()).is_some()
        {
            pinned += run.pages();
        }
        at = run.end;
    }
    pinned
}
