//! A resource or a range of frames out of use for a while, and back: it stays mapped and known, and nobody can have a
//! frame of it.
//!
//! ```text
//!  online  --begin--> isolated --steps--> empty --finish--> offline  --online--> online
//!             ^----------- error or abort ---'
//! ```
//!
//! A range may have parts of several resources; a part that is all of a resource's usable run leaves as a whole. What is
//! offline already is passed over. Invariants: between `finish` and `online` the frames are blocks in the state
//! offline, and nothing is isolated while no evacuation is under way. A resource has one zone, which can change only
//! while all of it is offline. Neighbours: `remove` isolates whole devices, `buddy::isolate` keeps the parts.

use crate::addr::PfnRange;
use crate::descriptor::{SlotNr, State};
use crate::fault_injection::Step;
use crate::hot_remove::evacuate::{Evacuation, Underway};
use crate::hot_remove::{OnlineError, RemoveError, RemoveStats};
use crate::info::{ResourceId, Zone};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::region::Region;
use crate::rmap::RmapEntry;
use crate::vmalloc::{Progress, VmallocArena};

/// What is to go out of use or to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All of a resource.
    Resource(ResourceId),
    /// The present ones of these frames.
    Frames(PfnRange),
}

/// Memory on its way out of use. To be finished or aborted; dropped, it stays isolated.
#[derive(Debug)]
#[must_use = "finish or abort it"]
pub struct Offlining {
    evacuation: Evacuation,
}

impl Offlining {
    /// What it cost so far.
    pub fn stats(&self) -> RemoveStats {
        self.evacuation.stats
    }

    /// What the last step waited for, when it did nothing.
    pub fn waiting(&self) -> Option<RemoveError> {
        self.evacuation.waiting
    }
}

/// What went out of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offlined {
    /// Frames that were in use or free before.
    pub pages: u64,
    /// What it cost.
    pub stats: RemoveStats,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onlined {
    /// Frames that were offline before.
    pub pages: u64,
}

impl<M: Machine> Memory<M> {
    /// Begins to take `target` out of use: from now on nothing of it can be allocated. `clock` tells microseconds.
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
        self.each_part(range, |id, slot, part| {
            first = first.or(Some(id));
            self.isolate(slot, part);
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

    /// Does some more of it: at most about `pages` frames are copied.
    ///
    /// # Errors
    /// See [`RemoveError`]; the memory is in use again then, and the offlining is over.
    pub fn offline_step(
        &self,
        arena: &VmallocArena,
        offlining: &mut Offlining,
        pages: u64,
        clock: &dyn Fn() -> u64,
    ) -> Result<Progress, RemoveError> {
        self.step(arena, &mut offlining.evacuation, pages, clock)
    }

    /// Ends it, when the last step said [`Progress::Done`]: the frames are offline.
    ///
    /// # Errors
    /// [`RemoveError::SurpriseRemoved`] when all of the memory went away meanwhile: nothing changes then. When frames of it are
    /// allocated (it is not done) it is in use again.
    pub fn finish_offline(&self, offlining: Offlining) -> Result<Offlined, RemoveError> {
        let mut hotplug = self.hotplug.lock();
        let hotplug = hotplug.as_mut().ok_or(RemoveError::NotStarted)?;
        hotplug.evacuation(offlining.evacuation.id())?;
        hotplug.underway = None;
        if let Err(error) = self.unused() {
            self.rollback();
            return Err(error);
        }
        let mut pages = 0;
        self.each_isolated(|entry, _| {
            self.with_region(entry.slot, |region, buddy| {
                let part = core::mem::take(&mut region.isolated);
                if part == region.layout.usable {
                    pages += buddy.alloc_free_blocks(part, State::Offline);
                    self.attach(entry.slot, region);
                } else {
                    pages += buddy.change_state(part, State::Isolated, State::Offline);
                }
            });
        });
        Ok(Offlined { pages, stats: offlining.evacuation.stats })
    }

    /// Gives it up: the memory is in use again as before. A contiguous allocation that is half way is moved to its end
    /// first.
    pub fn abort_offline(&self, arena: &VmallocArena, offlining: Offlining) {
        self.abort(arena, offlining.evacuation.id());
    }

    /// Brings what is offline of `target` back into use, in `zone` if one is named.
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
        self.each_part(range, |id, slot, _| {
            found = true;
            self.with_region(slot, |region, buddy| {
                let usable = region.layout.usable.pages();
                if zone.is_some_and(|zone| zone != region.zone) && buddy.pages_in(State::Offline) < usable {
                    refused = Some(OnlineError::OtherZone { resource: id, zone: region.zone });
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
        self.each_part(range, |_, slot, part| {
            self.with_region(slot, |region, buddy| {
                for border in [part.start, part.end] {
                    if buddy.find(border).is_some_and(|found| found.tag.state == State::Offline) {
                        buddy.split_at(border, RmapEntry::after);
                    }
                }
                if let Some(zone) = zone.filter(|&zone| zone != region.zone) {
                    self.nodes.detach(slot);
                    region.zone = zone;
                    self.attach(slot, region);
                }
                pages += buddy.free_all(part, State::Offline);
            });
        });
        Ok(Onlined { pages })
    }

    /// Keeps `part` of a region's usable run from everybody.
    pub(super) fn isolate(&self, slot: SlotNr, part: PfnRange) {
        self.with_region(slot, |region, buddy| {
            region.isolated = part;
            if part == region.layout.usable {
                self.nodes.detach(slot);
                return;
            }
            for border in [part.start, part.end] {
                // What is pinned stays whole: it refuses the evacuation, unless it is freed before (`Buddy::free`).
                let splits = |state| matches!(state, State::Movable | State::Offline);
                if buddy.find(border).is_some_and(|found| splits(found.tag.state)) {
                    buddy.split_at(border, RmapEntry::after);
                }
            }
            buddy.alloc_free_blocks(part, State::Isolated);
        });
    }

    /// The frames of a target; the number when there is no such resource.
    fn frames_of(&self, target: Target) -> Result<PfnRange, ResourceId> {
        match target {
            Target::Resource(id) => self.entry(id).map(|entry| entry.range).ok_or(id),
            Target::Frames(range) => Ok(range),
        }
    }

    /// Calls `each` with the parts of usable runs in `range`.
    fn each_part(&self, range: PfnRange, mut each: impl FnMut(ResourceId, SlotNr, PfnRange)) {
        self.each_entry(|entry| {
            let usable = self.region(entry).map(|Region { layout, .. }| layout.usable);
            let part = usable.unwrap_or_default().intersection(range);
            if !part.is_empty() {
                each(entry.id, entry.slot, part);
            }
        });
    }
}
