//! Taking memory away: a device's resources, all of them or none.
//!
//! ```text
//!  isolate           off their node's list: nothing can be allocated there        undo: on it again
//!  hand-over         tables in them that others use move into the others          stays: both are right
//!  unmap-vmemmap     entries that lead to their descriptors                       undo: map again
//!  unmap-direct-map  entries that lead to their frames                            undo: map again
//!  remove            slot, index, sections are gone                               cannot fail
//! ```
//!
//! Invariants: at most one evacuation at a time, and the regions whose `leaving` has frames are its parts;
//! such a region's free frames count for nobody. What is known of the region is copied out of it before
//! the first entry is cleared; from then on no byte of it is read or written, its own tables included. An error
//! at any step leaves the resources mapped, known and online as before. The cost of removing memory
//! that nobody uses does not grow with its size, but for one entry a GiB or section. Everything runs under
//! the hotplug lock, which is free between the steps.
//!
//! Neighbours: `hotplug` brought the resources, `unmap` cuts them off, `page_table::leave` edits the tables,
//! `error` has the reasons.

mod error;
mod unmap;

use arrayvec::ArrayVec;

use crate::addr::PfnRange;
use crate::hotplug::Step;
use crate::info::{DeviceId, MAX_DEVICE_RANGES, ResourceId};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::node::Rank;
use crate::page::{SlotNr, State};
use crate::region::{Entry, Region};
use crate::window::{Progress, Window};

pub use error::{Pinned, RemoveError};

/// What a removal cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveStats {
    /// Frames that were copied elsewhere.
    pub migrated_pages: u64,
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
    stats: RemoveStats,
}

impl Removal {
    /// The device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// What it cost so far.
    pub fn stats(&self) -> RemoveStats {
        self.stats
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
        if let Some(resource) = hotplug.leaving {
            return Err(RemoveError::UnderWay { resource });
        }
        self.each_entry(|entry| {
            self.with_region(entry.slot, |region, buddy| {
                if region.device == device {
                    region.leaving = region.layout.usable;
                    self.nodes.detach(entry.slot, buddy.summary.free());
                }
            });
        });
        if let Err(step) = self.told_to_fail(Step::Isolate) {
            self.take_back();
            return Err(RemoveError::Injected { step });
        }
        hotplug.leaving = Some(first);
        let stats = RemoveStats { isolate_us: clock().saturating_sub(start), ..RemoveStats::default() };
        Ok(Removal { device, stats })
    }

    /// Does some more of a removal: at most about `pages` frames are copied.
    ///
    /// # Errors
    /// See [`RemoveError`]; the memory is in use again then, and the removal is over.
    pub fn remove_step(
        &self,
        _window: &Window,
        _removal: &mut Removal,
        _pages: u64,
        _clock: &dyn Fn() -> u64,
    ) -> Result<Progress, RemoveError> {
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        if let Err(error) = self.unused() {
            self.take_back();
            hotplug.leaving = None;
            return Err(error);
        }
        Ok(Progress::Done)
    }

    /// Whether nobody has a frame of what is leaving.
    fn unused(&self) -> Result<(), RemoveError> {
        let mut used = Ok(());
        self.each_leaving(|entry, _| {
            let pages = self.with_region(entry.slot, |_, buddy| {
                buddy.pages_in(State::Movable) + buddy.pages_in(State::Pinned)
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
    /// When it is not done, or a step was told to fail; the memory is in use again then.
    pub fn finish_remove(&self, removal: Removal, clock: &dyn Fn() -> u64) -> Result<Removed, RemoveError> {
        let start = clock();
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        let mut stats = removal.stats;
        let result = self.unused().and_then(|()| self.unmap_leaving(&mut stats));
        hotplug.leaving = None;
        let (ids, pages) = match result {
            Ok(gone) => gone,
            Err(error) => {
                self.take_back();
                return Err(error);
            }
        };
        stats.unmap_us = clock().saturating_sub(start);
        Ok(Removed { ids, pages, stats })
    }

    /// Gives up a removal: the memory is in use again as before.
    pub fn abort_remove(&self, _window: &Window, _removal: Removal) {
        let mut hotplug = self.hotplug.lock();
        self.take_back();
        if let Some(hotplug) = hotplug.as_mut() {
            hotplug.leaving = None;
        }
    }

    /// Puts what is leaving back on its nodes' lists.
    fn take_back(&self) {
        self.each_leaving(|entry, _| {
            self.with_region(entry.slot, |region, buddy| {
                region.leaving = PfnRange::default();
                if let Some(node) = self.nodes.find(region.node) {
                    let rank = Rank::of(region.device, region.zone);
                    self.nodes.attach(entry.slot, node, rank, buddy.summary.free());
                }
            });
        });
    }

    /// Calls `each` with every region that is leaving, no lock but the hotplug lock held.
    fn each_leaving(&self, mut each: impl FnMut(Entry, Region)) {
        self.each_entry(|entry| {
            if let Some(region) = self.region(entry).filter(|region| !region.leaving.is_empty()) {
                each(entry, region);
            }
        });
    }

    /// The region of an entry, as it is now.
    pub(crate) fn region(&self, entry: Entry) -> Option<Region> {
        self.with_region(entry.slot, |region, _| *region)
    }
}

/// A region taken out of its slot.
type Gone = ArrayVec<(SlotNr, Region), MAX_DEVICE_RANGES>;
