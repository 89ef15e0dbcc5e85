//! Offline and online: taking a resource or a range of frames out of use and back. Offline memory stays mapped and
//! registered, but cannot be allocated. Corresponds to Linux `offline_pages` and `online_pages`.
//!
//! ```text
//!  online  --begin--> isolated --steps--> empty --finish--> offline  --online--> online
//!             ^----------- error or abort ---'
//! ```
//!
//! A range may overlap several resources; a resource whose usable run lies in it completely is isolated as a whole.
//! Frames that are offline already stay offline. Invariants: between `finish` and `online` the frames are blocks in
//! the state offline, and no frame is isolated unless an evacuation is under way. A resource has one zone, which can
//! change only while all of it is offline. Neighbours: `hot_remove` isolates whole devices, `buddy::isolate` isolates
//! parts of regions.

use crate::addr::PfnRange;
use crate::descriptor::BlockState;
use crate::fault_injection::Step;
use crate::hot_remove::evacuate::Evacuation;
use crate::hot_remove::{OnlineError, RemoveError, RemoveStats};
use crate::hotplug_state::Underway;
use crate::info::{ResourceId, Zone};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::region::{IndexEntry, Region};
use crate::rmap::RmapEntry;
use crate::vmalloc::{Progress, VmallocArena};

/// The memory to take offline or to bring online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All of a resource.
    Resource(ResourceId),
    /// Those of these frames that are present and usable.
    Frames(PfnRange),
}

/// An offlining under way. Finish or abort it; dropping it leaves the memory isolated.
#[derive(Debug)]
#[must_use = "finish or abort it"]
pub struct Offlining {
    evacuation: Evacuation,
}

impl Offlining {
    /// Returns the cost so far.
    pub fn stats(&self) -> RemoveStats {
        self.evacuation.stats
    }

    /// Returns the allocation that the last step waited for, as [`RemoveError::Busy`]; `None` when it did not wait.
    pub fn waiting(&self) -> Option<RemoveError> {
        self.evacuation.waiting
    }
}

/// The result of an offlining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offlined {
    /// The frames that went offline, without those that were offline already.
    pub pages: u64,
    /// The cost.
    pub stats: RemoveStats,
}

/// The result of an onlining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onlined {
    /// The frames that came online, without those that were online already.
    pub pages: u64,
}

impl<M: Machine> Memory<M> {
    /// Begins to take `target` offline: isolates it, so that none of it can be allocated. `clock` returns microseconds.
    ///
    /// # Errors
    /// See [`RemoveError`]; nothing has changed then.
    pub fn begin_offline(&self, target: Target, clock: &dyn Fn() -> u64) -> Result<Offlining, RemoveError> {
        let start = clock();
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        let range = self.frames_of(target).map_err(|resource| RemoveError::NoResource { resource })?;
        hotplug.check_idle()?;
        let mut first = None;
        self.each_part(range, |entry, part| {
            first = first.or(Some(entry.id));
            self.isolate(entry, part);
        });
        let first = first.ok_or(RemoveError::Absent { range })?;
        if let Err(step) = self.should_fail(Step::Isolate) {
            self.rollback();
            return Err(RemoveError::Injected { step });
        }
        let id = hotplug.begin_evacuation(first);
        let stats = RemoveStats { isolate_us: clock().saturating_sub(start), ..RemoveStats::default() };
        Ok(Offlining { evacuation: Evacuation::new(id, stats) })
    }

    /// Runs one step of an offlining, which copies at most about `pages` frames for each CPU that shares the copy.
    ///
    /// # Errors
    /// See [`RemoveError`]; the offlining has ended and the memory is in use again then.
    pub fn offline_step(
        &self,
        arena: &VmallocArena,
        offlining: &mut Offlining,
        pages: u64,
        clock: &dyn Fn() -> u64,
    ) -> Result<Progress, RemoveError> {
        self.step(arena, &mut offlining.evacuation, pages, clock)
    }

    /// Finishes an offlining whose last step returned [`Progress::Done`]: the frames are offline.
    ///
    /// # Errors
    /// [`RemoveError::SurpriseRemoved`] when all of the memory is gone already; nothing changes then. When frames of it
    /// are still allocated, the memory is in use again.
    pub fn finish_offline(
        &self,
        arena: &VmallocArena,
        offlining: Offlining,
    ) -> Result<Offlined, RemoveError> {
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        hotplug.evacuation(offlining.evacuation.id())?;
        hotplug.underway = None;
        if let Err(error) = self.check_unused(arena) {
            self.rollback();
            return Err(error);
        }
        let mut pages = 0;
        self.each_isolated(|entry, _| {
            self.with_region(entry, |region, buddy| {
                let part = core::mem::take(&mut region.isolated);
                if part == region.layout.usable {
                    pages += buddy.alloc_free_blocks(part, BlockState::Offline);
                    self.attach(entry.slot, region);
                } else {
                    pages += buddy.change_state(part, BlockState::Isolated, BlockState::Offline);
                }
            });
        });
        Ok(Offlined { pages, stats: offlining.evacuation.stats })
    }

    /// Aborts an offlining: the memory is in use again. Finishes the migration of a half-migrated contiguous allocation
    /// first.
    pub fn abort_offline(&self, arena: &VmallocArena, offlining: Offlining) {
        self.abort(arena, offlining.evacuation.id());
    }

    /// Brings the offline frames of `target` online, in `zone` if given, else in the resource's current zone.
    ///
    /// # Errors
    /// See [`OnlineError`]; nothing has changed then.
    pub fn online(&self, target: Target, zone: Option<Zone>) -> Result<Onlined, OnlineError> {
        let hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_ref().ok_or(OnlineError::NotStarted)?;
        let range = self.frames_of(target).map_err(|resource| OnlineError::NoResource { resource })?;
        if let Some(Underway { first: resource, .. }) = hotplug.underway {
            return Err(OnlineError::UnderWay { resource });
        }
        let (mut found, mut refused) = (false, None);
        self.each_part(range, |entry, _| {
            found = true;
            self.with_region(entry, |region, buddy| {
                let usable = region.layout.usable.pages();
                let excluded = buddy.pages_in(BlockState::Offline) + buddy.pages_in(BlockState::Unplugged);
                if zone.is_some_and(|zone| zone != region.zone) && excluded < usable {
                    refused = Some(OnlineError::OtherZone { resource: entry.id, zone: region.zone });
                }
                if !self.has_end(region, buddy) {
                    refused = Some(OnlineError::NoMemoryBehind { pfn: region.layout.range.last() });
                }
            });
        });
        if let Some(error) = refused {
            return Err(error);
        }
        if !found {
            return Err(OnlineError::Absent { range });
        }
        let mut pages = 0;
        self.each_part(range, |entry, part| {
            self.with_region(entry, |region, buddy| {
                for border in [part.start, part.end] {
                    if buddy.find(border).is_some_and(|found| found.tag.state == BlockState::Offline) {
                        buddy.split_at(border, RmapEntry::after);
                    }
                }
                if let Some(zone) = zone.filter(|&zone| zone != region.zone) {
                    self.nodes.detach(entry.slot);
                    region.zone = zone;
                    self.attach(entry.slot, region);
                }
                pages += buddy.free_all(part, BlockState::Offline);
            });
        });
        Ok(Onlined { pages })
    }

    /// Isolates `part` of a region's usable run, so that none of it can be allocated. In this order: no frame cache may
    /// learn of the region any more, those that know it give its blocks back and forget it, its free blocks become
    /// isolated. A block that another CPU allocates of the part in between is one more to migrate.
    pub(crate) fn isolate(&self, entry: IndexEntry, part: PfnRange) {
        let whole = self.with_region(entry, |region, _| {
            region.isolated = part;
            let whole = region.is_fully_isolated();
            if whole {
                self.nodes.detach(entry.slot);
            }
            whole
        });
        self.drain(entry.slot);
        if whole != Some(false) {
            return;
        }
        self.with_region(entry, |_, buddy| {
            for border in [part.start, part.end] {
                // A pinned block is not split: the evacuation fails unless it is freed first (`Buddy::free` splits it).
                let splits = |state| matches!(state, BlockState::Movable | BlockState::Offline);
                if buddy.find(border).is_some_and(|found| splits(found.tag.state)) {
                    buddy.split_at(border, RmapEntry::after);
                }
            }
            buddy.alloc_free_blocks(part, BlockState::Isolated);
        });
    }

    /// Returns the frames of a target; the id when there is no such resource.
    fn frames_of(&self, target: Target) -> Result<PfnRange, ResourceId> {
        match target {
            Target::Resource(id) => self.entry(id).map(|entry| entry.range).ok_or(id),
            Target::Frames(range) => Ok(range),
        }
    }

    /// Calls `each` with every part of a usable run that lies in `range`.
    fn each_part(&self, range: PfnRange, mut each: impl FnMut(IndexEntry, PfnRange)) {
        self.for_each_entry(|entry| {
            let usable = self.region(entry).map(|Region { layout, .. }| layout.usable);
            let part = usable.unwrap_or_default().intersection(range);
            if !part.is_empty() {
                each(entry, part);
            }
        });
    }
}
