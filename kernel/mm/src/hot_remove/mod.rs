//! Hot remove: removing a device's resources, all or none (here), and taking a resource or a range of frames offline
//! (`offline`). Corresponds to Linux `mm/memory_hotplug.c` (`remove_memory`, `offline_pages`).
//!
//! ```text
//!  isolate           no frame of it can be allocated any more                     undo: it can be again
//!  migrate           used blocks migrate elsewhere, in steps (`evacuate`)         no undo: they stay there
//!  hand-over         shared page tables in it move to other resources             no undo: both places are valid
//!  unmap-vmemmap     clear the entries that map its descriptors                   undo: map again
//!  unmap-direct-map  clear the entries that map its frames                        undo: map again
//!  remove            slot, index and sections are free                            cannot fail
//! ```
//!
//! Invariants:
//! * At most one evacuation is under way; its frames are the `isolated` parts of all regions.
//! * An evacuation has an id that is never reused, in its handle and in the state under the hotplug lock. Each step
//!   compares the two, so the handle of an evacuation that a surprise removal ended cannot affect the next one.
//! * A region isolated as a whole is off its node's list, and its free frames are not counted. In a region isolated
//!   in part, the free blocks of the part are isolated (`buddy::isolate`).
//! * The removal copies a region's data before it clears the first entry. From then on it reads and writes no byte
//!   of the region, page tables included.
//! * An error at any step leaves the memory mapped, registered and in use.
//! * The cost of removing unused memory does not grow with its size, except for one page-table entry per GiB or
//!   section.
//!
//! Each step holds the hotplug lock, which is released between the steps.
//!
//! Neighbours: `hot_add` adds resources, `evacuate` migrates their contents, `unmap` clears the entries, `error` lists
//! the reasons for a refusal.

mod capacity;
mod error;
mod evacuate;
mod offline;
mod retry;
mod surprise_removal;
mod unmap;
mod wait_limit;

use arrayvec::ArrayVec;

use crate::buddy::Walk;
use crate::descriptor::{BlockState, SlotNr};
use crate::fault_injection::Step;
use crate::hotplug_state::EvacuationId;
use crate::info::{DeviceId, MAX_DEVICE_RANGES, ResourceId};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::region::{IndexEntry, Region};
use crate::rmap::RmapEntry;
use crate::vmalloc::{Progress, VmallocArena, shares};
use crate::zonelist::ZonePreference;

pub use error::{OnlineError, Pinned, RemoveError};
use evacuate::Evacuation;
pub use offline::{Offlined, Offlining, Onlined, Target};
pub use retry::Retry;
pub use surprise_removal::SurpriseRemoved;
pub use wait_limit::WaitLimit;

/// The cost of a removal or offlining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveStats {
    /// Frames copied.
    pub migrated_pages: u64,
    /// Page tables of allocations migrated.
    pub tables_moved: u64,
    /// Shared page tables moved to other resources.
    pub tables_handed_over: u64,
    /// Page-table entries cleared.
    pub entries_cleared: u64,
    /// Time to isolate the memory, in microseconds.
    pub isolate_us: u64,
    /// Time to survey and migrate, in microseconds, without the pauses between steps.
    pub migrate_us: u64,
    /// Time from the hand-over to the end, in microseconds.
    pub unmap_us: u64,
}

/// The result of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The removed resources.
    pub ids: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// The sum of their frames.
    pub pages: u64,
    /// The cost.
    pub stats: RemoveStats,
}

/// A device's removal under way. Finish or abort it; dropping it leaves the memory isolated.
#[derive(Debug)]
#[must_use = "finish or abort it"]
pub struct Removal {
    device: DeviceId,
    evacuation: Evacuation,
}

impl Removal {
    /// Returns the device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns the cost so far.
    pub fn stats(&self) -> RemoveStats {
        self.evacuation.stats
    }

    /// Returns the allocation that the last step waited for, as [`RemoveError::Busy`]; `None` when it did not wait.
    pub fn waiting(&self) -> Option<RemoveError> {
        self.evacuation.waiting
    }
}

impl<M: Machine> Memory<M> {
    /// Begins to remove the memory of `device`: isolates it, so that none of it can be allocated. `clock` returns
    /// microseconds.
    ///
    /// # Errors
    /// See [`RemoveError`]; nothing has changed then.
    pub fn begin_remove(&self, device: DeviceId, clock: &dyn Fn() -> u64) -> Result<Removal, RemoveError> {
        let start = clock();
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        if device == DeviceId::BOOT {
            return Err(RemoveError::Boot);
        }
        // A chunk is unplugged instead.
        let belongs = |region: &Region| region.device == device && region.chunk.is_none();
        let mut first = None;
        self.for_each_entry(|entry| {
            if first.is_none() && self.region(entry).is_some_and(|region| belongs(&region)) {
                first = Some(entry.id);
            }
        });
        let first = first.ok_or(RemoveError::Unknown { device })?;
        hotplug.check_idle()?;
        self.for_each_entry(|entry| {
            if let Some(region) = self.region(entry).filter(belongs) {
                self.isolate(entry, region.layout.usable);
            }
        });
        if let Err(step) = self.should_fail(Step::Isolate) {
            self.rollback();
            return Err(RemoveError::Injected { step });
        }
        let id = hotplug.begin_evacuation(first);
        let stats = RemoveStats { isolate_us: clock().saturating_sub(start), ..RemoveStats::default() };
        Ok(Removal { device, evacuation: Evacuation::new(id, stats) })
    }

    /// Runs one step of a removal, which copies at most about `pages` frames for each CPU that shares the copy.
    ///
    /// # Errors
    /// See [`RemoveError`]; the removal has ended and the memory is in use again then.
    pub fn remove_step(
        &self,
        arena: &VmallocArena,
        removal: &mut Removal,
        pages: u64,
        clock: &dyn Fn() -> u64,
    ) -> Result<Progress, RemoveError> {
        self.step(arena, &mut removal.evacuation, pages, clock)
    }

    fn step(
        &self,
        arena: &VmallocArena,
        evacuation: &mut Evacuation,
        pages: u64,
        clock: &dyn Fn() -> u64,
    ) -> Result<Progress, RemoveError> {
        let start = clock();
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        let underway = hotplug.evacuation(evacuation.id())?;
        evacuation.restart_if_stale(underway);
        let pages = pages.max(1).saturating_mul(shares(&self.machine));
        let result = self.evacuate(arena, evacuation, pages);
        if result.is_err() {
            arena.finish_migrations(self);
            self.rollback();
            hotplug.underway = None;
        }
        evacuation.stats.migrate_us += clock().saturating_sub(start);
        result
    }

    /// Aborts an evacuation: its memory is in use again. Does nothing when it has ended.
    fn abort(&self, arena: &VmallocArena, id: EvacuationId) {
        let mut hotplug = self.hotplug.lock();
        let Some(hotplug) = hotplug.as_mut() else { return };
        if hotplug.evacuation(id).is_ok() {
            arena.finish_migrations(self);
            self.rollback();
            hotplug.underway = None;
        }
    }

    /// Finishes the migrations that have begun, and checks that no isolated frame is allocated. A contiguous allocation
    /// may have left the isolated frames and not yet have migrated as a whole, when an evacuation is finished too early.
    fn check_unused(&self, arena: &VmallocArena) -> Result<(), RemoveError> {
        arena.finish_migrations(self);
        let mut used = Ok(());
        self.each_isolated(|entry, _| {
            let pages = self.with_region(entry, |region, buddy| {
                let in_use = [BlockState::Movable, BlockState::Pinned, BlockState::Boot];
                let all = in_use.iter().map(|&state| buddy.pages_in(state)).sum();
                if all == 0 || region.is_fully_isolated() {
                    return all;
                }
                let mut pages = 0;
                buddy.walk(region.isolated, |found| {
                    pages += if in_use.contains(&found.tag.state) { found.tag.order.pages() } else { 0 };
                    Walk::Continue
                });
                pages
            });
            if let Some(pages) = pages.filter(|&pages| pages > 0) {
                used = Err(RemoveError::InUse { resource: entry.id, pages });
            }
        });
        used
    }

    /// Finishes a removal whose last step returned [`Progress::Done`]: unmaps and removes the resources. No byte of the
    /// device is accessed any more.
    ///
    /// # Errors
    /// [`RemoveError::SurpriseRemoved`] when the memory is gone already; nothing changes then. After any other error
    /// (frames are still allocated, or a fault was injected) the memory is in use again.
    pub fn finish_remove(
        &self,
        arena: &VmallocArena,
        removal: Removal,
        clock: &dyn Fn() -> u64,
    ) -> Result<Removed, RemoveError> {
        let start = clock();
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        hotplug.evacuation(removal.evacuation.id())?;
        let mut stats = removal.evacuation.stats;
        let result = self.check_unused(arena).and_then(|()| self.unmap_isolated(&mut stats));
        hotplug.underway = None;
        let (ids, pages) = match result {
            Ok(detached) => detached,
            Err(error) => {
                self.rollback();
                return Err(error);
            }
        };
        stats.unmap_us = clock().saturating_sub(start);
        Ok(Removed { ids, pages, stats })
    }

    /// Aborts a removal: the memory is in use again. Finishes the migration of a half-migrated contiguous allocation
    /// first. Does nothing when the memory was surprise-removed.
    pub fn abort_remove(&self, arena: &VmallocArena, removal: Removal) {
        self.abort(arena, removal.evacuation.id());
    }

    /// Returns the first block of a resource that cannot be migrated; `None` when all can. Page
    /// tables of allocations can.
    pub fn first_pinned(&self, id: ResourceId) -> Option<Pinned> {
        let entry = self.entry(id)?;
        self.with_region(entry, |region, buddy| {
            let mut pinned = None;
            if buddy.pages_in(BlockState::Pinned) + buddy.pages_in(BlockState::Boot) == 0 {
                return None;
            }
            buddy.walk(region.layout.usable, |found| {
                let rmap = || RmapEntry::of(buddy.rmap(found));
                let is_pinned = match found.tag.state {
                    BlockState::Boot => true,
                    BlockState::Pinned => !matches!(rmap(), RmapEntry::Table(..) | RmapEntry::Reserve),
                    _ => false,
                };
                if !is_pinned {
                    return Walk::Continue;
                }
                let (pfn, pages) = (found.head, found.tag.order.pages());
                pinned = Some(Pinned { resource: id, pfn, pages, holder: rmap().shown() });
                Walk::Stop
            });
            pinned
        })?
    }

    /// Puts all isolated memory back into use.
    pub(crate) fn rollback(&self) {
        self.each_isolated(|entry, _| {
            self.with_region(entry, |region, buddy| {
                let part = core::mem::take(&mut region.isolated);
                if part == region.layout.usable {
                    self.attach(entry.slot, region);
                } else {
                    buddy.free_all(part, BlockState::Isolated);
                }
            });
        });
    }

    /// Puts a region on its node's list, so that its frames can be allocated. The region's lock is held.
    pub(crate) fn attach(&self, slot: SlotNr, region: &Region) {
        if let Some(node) = self.nodes.find(region.node) {
            self.nodes.attach(slot, node, ZonePreference::of(region.device, region.zone));
        }
    }

    /// Calls `each` with every region that has an isolated part, holding no lock but the hotplug lock.
    fn each_isolated(&self, mut each: impl FnMut(IndexEntry, Region)) {
        self.for_each_entry(|entry| {
            if let Some(region) = self.region(entry).filter(|region| !region.isolated.is_empty()) {
                each(entry, region);
            }
        });
    }

    /// Returns a copy of an entry's region.
    pub(crate) fn region(&self, entry: IndexEntry) -> Option<Region> {
        self.with_region(entry, |region, _| *region)
    }
}

/// Regions removed from their slots, with the slots' numbers.
type Detached = ArrayVec<(SlotNr, Region), MAX_DEVICE_RANGES>;
