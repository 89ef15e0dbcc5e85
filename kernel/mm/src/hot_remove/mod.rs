//! Taking memory out of use: a device's resources, all of them or none, for good (here); a resource or a range
//! of frames, until it comes back (`offline`).
//!
//! ```text
//!  isolate           nothing can be allocated there any more                      undo: it can again
//!  migrate           what is in use moves elsewhere, in steps (`evacuate`)        stays where it is
//!  hand-over         tables in it that others use move into the others            stays: both are right
//!  unmap-vmemmap     entries that lead to its descriptors                         undo: map again
//!  unmap-direct-map  entries that lead to its frames                              undo: map again
//!  remove            slot, index, sections are gone                               cannot fail
//! ```
//!
//! Invariants: at most one evacuation at a time, and the regions whose `leaving` has frames are its parts. It has a
//! number that is never used again, in its handle and in the state under the hotplug lock; each step compares the two,
//! so that the handle of an evacuation that has ended (its memory was torn out) never touches the next one. A region
//! that leaves as a whole is off its node's list, and what is free in it counts for nobody; of one that leaves in
//! part, what is free there is isolated (`buddy::isolate`). What is known of a region is copied out of it
//! before the first entry is cleared; from then on no byte of it is read or written, its own tables
//! included. An error at any step leaves everything mapped, known and in use as before. The cost of removing
//! memory that nobody uses does not grow with its size, but for one entry a GiB or section. Everything runs under
//! the hotplug lock, which is free between the steps.
//!
//! Neighbours: `hotplug` brought the resources, `evacuate` empties them, `unmap` cuts them off, `error` has the
//! reasons.

mod capacity;
mod error;
mod evacuate;
mod offline;
mod retry;
mod surprise_removal;
mod unmap;

use arrayvec::ArrayVec;

use crate::buddy::Walk;
use crate::descriptor::{SlotNr, State};
use crate::fault_injection::Step;
use crate::info::{DeviceId, MAX_DEVICE_RANGES, ResourceId};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::region::{Entry, Region};
use crate::rmap::RmapEntry;
use crate::vmalloc::{Progress, VmallocArena};
use crate::zonelist::ZonePreference;

pub use error::{OnlineError, Pinned, RemoveError};
use evacuate::Evacuation;
pub(crate) use evacuate::{EvacuationId, Underway};
pub use offline::{Offlined, Offlining, Onlined, Target};
pub use retry::Retry;
pub use surprise_removal::SurpriseRemoved;

/// What a removal cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveStats {
    /// Frames that were copied elsewhere.
    pub migrated_pages: u64,
    /// Page tables of allocations that moved elsewhere.
    pub tables_moved: u64,
    /// Page tables of others that moved out of the memory that left.
    pub tables_handed_over: u64,
    /// Page-table entries cleared.
    pub entries_cleared: u64,
    /// Microseconds until nothing could be allocated there any more.
    pub isolate_us: u64,
    /// Microseconds for looking and copying, without the pauses between the steps.
    pub migrate_us: u64,
    /// Microseconds from the hand-over to the end.
    pub unmap_us: u64,
}

/// What a removal took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The resources that are gone.
    pub ids: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// All their frames.
    pub pages: u64,
    /// What it cost.
    pub stats: RemoveStats,
}

/// The removal of a device under way. To be finished or aborted; dropped, its memory stays out of use.
#[derive(Debug)]
#[must_use = "finish or abort it"]
pub struct Removal {
    device: DeviceId,
    evacuation: Evacuation,
}

impl Removal {
    /// The device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// What it cost so far.
    pub fn stats(&self) -> RemoveStats {
        self.evacuation.stats
    }

    /// What the last step waited for, when it did nothing.
    pub fn waiting(&self) -> Option<RemoveError> {
        self.evacuation.waiting
    }
}

impl<M: Machine> Memory<M> {
    /// Begins to remove the memory of `device`: from now on nothing of it can be allocated. `clock` tells
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
        let mut first = None;
        self.each_entry(|entry| {
            if first.is_none() && self.region(entry).is_some_and(|region| region.device == device) {
                first = Some(entry.id);
            }
        });
        let first = first.ok_or(RemoveError::Unknown { device })?;
        hotplug.check_idle()?;
        self.each_entry(|entry| {
            if let Some(region) = self.region(entry).filter(|region| region.device == device) {
                self.isolate(entry.slot, region.layout.usable);
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

    /// Does some more of a removal: at most about `pages` frames are copied.
    ///
    /// # Errors
    /// See [`RemoveError`]; the memory is in use again then, and the removal is over.
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
        let result = self.evacuate(arena, evacuation, pages);
        if result.is_err() {
            arena.finish_migrations(self);
            self.rollback();
            hotplug.underway = None;
        }
        evacuation.stats.migrate_us += clock().saturating_sub(start);
        result
    }

    /// Gives up: what is leaving is in use again. Does nothing when that evacuation has ended.
    fn abort(&self, arena: &VmallocArena, id: EvacuationId) {
        let mut hotplug = self.hotplug.lock();
        let Some(hotplug) = hotplug.as_mut() else { return };
        if hotplug.evacuation(id).is_ok() {
            arena.finish_migrations(self);
            self.rollback();
            hotplug.underway = None;
        }
    }

    /// That no frame of what is leaving is allocated.
    fn unused(&self) -> Result<(), RemoveError> {
        let mut used = Ok(());
        self.each_isolated(|entry, _| {
            let pages = self.with_region(entry.slot, |region, buddy| {
                let in_use = [State::Movable, State::Pinned, State::Boot];
                let all = in_use.iter().map(|&state| buddy.pages_in(state)).sum();
                if all == 0 || region.is_isolated_whole() {
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

    /// Ends a removal whose last step said [`Progress::Done`]: the resources are gone, and no byte of the device is
    /// touched any more.
    ///
    /// # Errors
    /// [`RemoveError::SurpriseRemoved`] when the memory went away meanwhile: nothing changes then. When it is not done, or a step
    /// was told to fail, the memory is in use again.
    pub fn finish_remove(&self, removal: Removal, clock: &dyn Fn() -> u64) -> Result<Removed, RemoveError> {
        let start = clock();
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        hotplug.evacuation(removal.evacuation.id())?;
        let mut stats = removal.evacuation.stats;
        let result = self.unused().and_then(|()| self.unmap_isolated(&mut stats));
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

    /// Gives up a removal: the memory is in use again as before. A contiguous allocation that is half way is moved to
    /// its end first. Does nothing when the memory went away meanwhile.
    pub fn abort_remove(&self, arena: &VmallocArena, removal: Removal) {
        self.abort(arena, removal.evacuation.id());
    }

    /// The first block of a resource that stays where it is; `None` when all that is in use there can move. Page
    /// tables of allocations can.
    pub fn first_pinned(&self, id: ResourceId) -> Option<Pinned> {
        let entry = self.entry(id)?;
        self.with_region(entry.slot, |region, buddy| {
            let mut pinned = None;
            if buddy.pages_in(State::Pinned) + buddy.pages_in(State::Boot) == 0 {
                return None;
            }
            buddy.walk(region.layout.usable, |found| {
                let word = || RmapEntry::of(buddy.page(found.head).rmap());
                let stays = match found.tag.state {
                    State::Boot => true,
                    State::Pinned => !matches!(word(), RmapEntry::Table(..) | RmapEntry::Reserve),
                    _ => false,
                };
                if !stays {
                    return Walk::Continue;
                }
                let (pfn, pages) = (found.head, found.tag.order.pages());
                pinned = Some(Pinned { resource: id, pfn, pages, holder: word().shown() });
                Walk::Stop
            });
            pinned
        })?
    }

    /// Puts what is leaving back into use.
    fn rollback(&self) {
        self.each_isolated(|entry, _| {
            self.with_region(entry.slot, |region, buddy| {
                let part = core::mem::take(&mut region.isolated);
                if part == region.layout.usable {
                    self.attach(entry.slot, region);
                } else {
                    buddy.free_all(part, State::Isolated);
                }
            });
        });
    }

    /// Puts a region on its node's list.
    fn attach(&self, slot: SlotNr, region: &Region) {
        if let Some(node) = self.nodes.find(region.node) {
            self.nodes.attach(slot, node, ZonePreference::of(region.device, region.zone));
        }
    }

    /// Calls `each` with every region that is leaving, no lock but the hotplug lock held.
    fn each_isolated(&self, mut each: impl FnMut(Entry, Region)) {
        self.each_entry(|entry| {
            if let Some(region) = self.region(entry).filter(|region| !region.isolated.is_empty()) {
                each(entry, region);
            }
        });
    }

    /// The region of an entry, as it is now.
    pub(crate) fn region(&self, entry: Entry) -> Option<Region> {
        self.locked(entry.slot, |region, _| *region)
    }
}

/// A region taken out of its slot.
type Detached = ArrayVec<(SlotNr, Region), MAX_DEVICE_RANGES>;
