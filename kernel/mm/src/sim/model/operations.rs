//! Runs the operations of a [`Model`].

use std::vec::Vec;

use super::checks::{assert_contents, assert_shortage};
use super::{Evacuation, Handle, HandleUse, MAX_OPEN, Model, NODES, Op, dimm, piece_device};
use crate::addr::{NodeId, Order, PfnRange, SectionNr};
use crate::descriptor::Mobility;
use crate::error::AddError;
use crate::fault_injection::Step;
use crate::hot_remove::{OnlineError, RemoveError, Target};
use crate::info::{AddRequest, DeviceId, ProbeEnd};
use crate::vmalloc::{AllocError, AllocationBuilder, AllocationId, Progress};

/// The number of pages of an allocation that are filled and verified. More would make the simulation slow.
const FILLED: u64 = 5;

impl Model {
    pub(super) fn apply(&mut self, op: &Op) {
        match *op {
            _ if !self.is_possible(op)
                && !matches!(op, Op::Remove(_) | Op::Offline(..) | Op::OfflineFrames(..)) => {}
            Op::Plug(number) => self.plug(number),
            Op::Remove(number) => match self.memory.begin_remove(DeviceId(number as u32), &|| 0) {
                Ok(removal) => {
                    let (handle, dimms) = (Handle::Removal(removal, number), Vec::from([number]));
                    self.begin(Evacuation { handle, dimms });
                }
                Err(error) => self.assert_justified(&error, Some(number)),
            },
            Op::Offline(number, section) => {
                self.offline(SectionNr(dimm(number).start.section().0 + section).range());
            }
            Op::OfflineFrames(number, from, pages) => {
                let from = dimm(number).start.offset(from % dimm(number).pages());
                self.offline(PfnRange::of(from, pages));
            }
            Op::Steps(steps, pages) => (0..steps).for_each(|_| self.step(pages)),
            Op::Finish => {
                if let Some(evacuation) = self.evacuation.take() {
                    self.finish_evacuation(evacuation);
                }
            }
            Op::Abort => {
                if let Some(evacuation) = self.evacuation.take() {
                    self.abort(evacuation.handle);
                }
            }
            Op::Stale(how) => self.use_stale(how),
            Op::Online(number, zone) => match self.memory.online(Target::Frames(dimm(number)), zone) {
                Ok(_) => {}
                Err(OnlineError::UnderWay { .. }) => assert!(self.evacuation.is_some()),
                Err(OnlineError::OtherZone { zone: other, .. }) => {
                    assert!(zone.is_some_and(|zone| zone != other));
                }
                Err(error) => panic!("{error}"),
            },
            Op::Policy(policy) => self.memory.set_policy(policy),
            Op::Inject(step) => {
                self.memory.inject(step, 1);
                self.injected.push(step);
            }
            Op::SurpriseRemove(number) => self.surprise_remove(number),
            Op::Allocate(request) => match self.arena.allocate(&*self.memory, &request) {
                Ok(one) => self.record(one.id, request.mobility),
                Err(error) => assert_shortage(&error),
            },
            Op::BeginAllocate(request) => match self.arena.begin(&*self.memory, &request) {
                Ok(growing) => self.growing.push_back((growing, request.mobility)),
                Err(error) => assert_shortage(&error),
            },
            Op::Grow(pages) => self.grow(pages),
            Op::FinishGrowing => {
                if let Some((growing, mobility)) = self.growing.pop_front() {
                    self.finish_growing(growing, mobility);
                }
            }
            Op::CancelGrowing => {
                if let Some((growing, _)) = self.growing.pop_front() {
                    self.arena.cancel(&*self.memory, growing).unwrap();
                }
            }
            Op::Free(index) => {
                let (id, _) = self.allocations.swap_remove(index % self.allocations.len());
                self.arena.free(&*self.memory, id).unwrap();
            }
            Op::AllocateBlock(order, mobility, node) => {
                if let Some(block) = self.memory.allocate_block(order, node, mobility) {
                    self.hold(block.range());
                }
            }
            Op::ExhaustBoot => {
                for node in [NodeId(0), NodeId(1)] {
                    while let Some(block) =
                        self.memory.allocate_up_to(Order(10), Some(node), Mobility::Pinned)
                    {
                        self.hold(block.range());
                    }
                }
            }
            Op::FreeBlock(index) => {
                // Freed as a run: offlining may have split it at a section boundary.
                let block = self.blocks.swap_remove(index % self.blocks.len());
                self.memory.free_run(block).unwrap();
                assert!(self.memory.free_block(block.start).is_err(), "{block} was freed twice");
            }
            Op::PlugPieces(pages) => self.plug_pieces(pages),
            Op::UnplugPieces(pages) => self.unplug_pieces(pages),
            Op::Verify => assert_contents(&self.memory, &self.arena),
        }
    }

    fn hold(&mut self, block: PfnRange) {
        assert!(!self.blocks.iter().any(|other| other.overlaps(block)), "{block} was allocated twice");
        self.blocks.push(block);
    }

    fn begin(&mut self, evacuation: Evacuation) {
        assert!(self.evacuation.is_none(), "two evacuations are under way");
        self.evacuation = Some(evacuation);
    }

    fn offline(&mut self, range: PfnRange) {
        let mut dimms = Vec::new();
        self.memory.resources(&mut |info| {
            let usable = PfnRange::of(info.usable_start, info.usable_pages);
            if info.device != DeviceId::BOOT && usable.overlaps(range) {
                dimms.push(info.device.0 as usize);
            }
        });
        match self.memory.begin_offline(Target::Frames(range), &|| 0) {
            Ok(offlining) => self.begin(Evacuation { handle: Handle::Offlining(offlining), dimms }),
            Err(error) => self.assert_justified(&error, None),
        }
    }

    fn abort(&mut self, handle: Handle) {
        match handle {
            Handle::Removal(removal, _) => self.memory.abort_remove(&self.arena, removal),
            Handle::Offlining(offlining) => self.memory.abort_offline(&self.arena, offlining),
        }
    }

    /// Uses a handle whose memory is gone: it is refused and changes nothing, whatever is under way now.
    fn use_stale(&mut self, how: HandleUse) {
        let handle = self.stale.remove(0);
        let before = (self.memory.totals(), self.memory.machine().tables());
        let refused = match (how, handle) {
            (HandleUse::Step, Handle::Removal(mut removal, _)) => {
                self.memory.remove_step(&self.arena, &mut removal, 64, &|| 0).map(drop)
            }
            (HandleUse::Step, Handle::Offlining(mut offlining)) => {
                self.memory.offline_step(&self.arena, &mut offlining, 64, &|| 0).map(drop)
            }
            (HandleUse::Finish, Handle::Removal(removal, _)) => {
                self.memory.finish_remove(&self.arena, removal, &|| 0).map(drop)
            }
            (HandleUse::Finish, Handle::Offlining(offlining)) => {
                self.memory.finish_offline(&self.arena, offlining).map(drop)
            }
            (HandleUse::Abort, handle) => {
                self.abort(handle);
                Err(RemoveError::SurpriseRemoved)
            }
        };
        assert_eq!(refused, Err(RemoveError::SurpriseRemoved));
        assert_eq!((self.memory.totals(), self.memory.machine().tables()), before);
    }

    fn plug(&mut self, number: usize) {
        let range = dimm(number);
        self.memory.machine().plug(range);
        let size = range.pages() << 12;
        let request = AddRequest { base: range.start.start(), size, node: NODES[number % 2] };
        let before = self.memory.totals();
        match self.memory.add_with(DeviceId(number as u32), &[request], ProbeEnd::AtFirstUse, &|| 0) {
            Ok(added) => {
                assert_eq!(added.stats.existing_pages_used, 0);
                self.present[number] = true;
            }
            Err(AddError::Injected { step }) => {
                self.consume_injection(step);
                assert_eq!(self.memory.totals(), before, "a failed {step} left changes behind");
                self.memory.machine().unplug(range);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Removes a DIMM without notice. Handles of its evacuation become stale when they have no other memory.
    fn surprise_remove(&mut self, number: usize) {
        let range = dimm(number);
        let lost_before = self.lost_allocations();
        self.memory.machine().surprise_remove(range);
        let removed = self.memory.surprise_remove(&self.arena, DeviceId(number as u32)).unwrap();
        assert_eq!((removed.ids.len(), removed.pages), (1, range.pages()));
        assert_eq!(self.lost_allocations() - lost_before, removed.allocations);
        self.present[number] = false;
        self.blocks.retain(|block| !range.overlaps(*block));
        if let Some(mut evacuation) = self.evacuation.take() {
            evacuation.dimms.retain(|&other| other != number);
            match evacuation.dimms.is_empty() {
                true => self.stale.push(evacuation.handle),
                false => self.evacuation = Some(evacuation),
            }
        }
        if self.stale.len() > MAX_OPEN {
            self.use_stale(HandleUse::Finish);
        }
    }

    fn finish_growing(&mut self, growing: AllocationBuilder, mobility: Mobility) {
        match self.arena.finish(&*self.memory, growing) {
            Ok(one) => self.record(one.id, mobility),
            Err(error) => {
                assert!(matches!(error, AllocError::RanOut { .. } | AllocError::Lost { .. }), "{error}")
            }
        }
    }

    fn grow(&mut self, pages: u64) {
        let Some((mut growing, mobility)) = self.growing.pop_front() else { return };
        match self.arena.grow(&*self.memory, &mut growing, pages) {
            Ok(Progress::More) => self.growing.push_back((growing, mobility)),
            // Some are finished later, to leave a complete allocation open.
            Ok(Progress::Done) if pages.is_multiple_of(3) => self.growing.push_back((growing, mobility)),
            Ok(Progress::Done) => self.finish_growing(growing, mobility),
            Err(error) => {
                assert!(!matches!(error, AllocError::Map(_) | AllocError::Corrupt { .. }), "{error}");
                self.arena.cancel(&*self.memory, growing).unwrap();
            }
        }
    }

    /// Fills a new allocation's first pages and adds it to the list.
    fn record(&mut self, id: AllocationId, mobility: Mobility) {
        let pages = self.arena.get(id).expect("it was just allocated").pages;
        self.arena.fill(&*self.memory, id, 0, pages.min(FILLED)).unwrap();
        self.allocations.push((id, mobility));
    }

    fn step(&mut self, pages: u64) {
        let Some(mut evacuation) = self.evacuation.take() else { return };
        let done = match &mut evacuation.handle {
            Handle::Removal(removal, _) => self.memory.remove_step(&self.arena, removal, pages, &|| 0),
            Handle::Offlining(offlining) => self.memory.offline_step(&self.arena, offlining, pages, &|| 0),
        };
        match done {
            Ok(Progress::More) => self.evacuation = Some(evacuation),
            Ok(Progress::Done) => self.finish_evacuation(evacuation),
            Err(error) => self.assert_justified(&error, evacuation.device()),
        }
    }

    fn finish_evacuation(&mut self, evacuation: Evacuation) {
        let device = evacuation.device();
        let result = match evacuation.handle {
            Handle::Removal(removal, number) => self
                .memory
                .finish_remove(&self.arena, removal, &|| 0)
                .map(|removed| self.unplug(number, removed.pages)),
            Handle::Offlining(offlining) => self.memory.finish_offline(&self.arena, offlining).map(drop),
        };
        if let Err(error) = result {
            self.assert_justified(&error, device);
        }
    }

    fn unplug(&mut self, number: usize, pages: u64) {
        assert_eq!(pages, dimm(number).pages());
        // Half of the DIMMs come back with their old contents.
        match number % 2 {
            0 => self.memory.machine().unplug_keeping(dimm(number)),
            _ => self.memory.machine().unplug(dimm(number)),
        }
        self.present[number] = false;
    }

    fn plug_pieces(&mut self, pages: u64) {
        let device = piece_device();
        let mut want = pages;
        while let Some(run) = self.memory.next_to_plug(&device, want, device.range().end) {
            self.memory.machine().plug(run);
            let before = (self.memory.totals(), self.memory.machine().tables());
            match self.memory.plug(&device, run, &|| 0) {
                Ok(plugged) => {
                    assert_eq!(plugged.stats.existing_pages_used, 0);
                    self.pieces.push(run);
                    want -= run.pages();
                }
                Err(AddError::Injected { step }) => {
                    self.consume_injection(step);
                    let after = (self.memory.totals(), self.memory.machine().tables());
                    assert_eq!(after, before, "a failed {step} left changes behind");
                    self.memory.machine().unplug(run);
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.assert_pieces();
    }

    fn unplug_pieces(&mut self, pages: u64) {
        let device = piece_device();
        let unplugged = self.memory.unplug_unused(&device, pages);
        // A failed step of a removal leaves the chunk in use, which the free pieces may leave all the same.
        let spent: Vec<Step> =
            self.injected.iter().copied().filter(|&step| self.memory.injections_left(step) == 0).collect();
        spent.into_iter().for_each(|step| self.consume_injection(step));
        for run in unplugged.runs {
            self.memory.machine().unplug(run);
            let rest = |have: PfnRange| {
                let (before, behind) = (have.end.min(run.start), have.start.max(run.end));
                [
                    PfnRange::new(have.start, before.max(have.start)),
                    PfnRange::new(behind.min(have.end), have.end),
                ]
            };
            let left = self.pieces.iter().flat_map(|&have| rest(have)).filter(|part| !part.is_empty());
            self.pieces = left.collect();
        }
        self.assert_pieces();
    }

    /// The memory core has exactly the plugged pieces.
    fn assert_pieces(&self) {
        let plugged: u64 = self.pieces.iter().map(|run| run.pages()).sum();
        assert_eq!(self.memory.chunk_totals(&piece_device()).plugged, plugged);
    }

    /// Checks that the failure of `step` was injected, and counts it.
    pub(super) fn consume_injection(&mut self, step: Step) {
        let index = self.injected.iter().position(|&other| other == step);
        self.injected.swap_remove(index.unwrap_or_else(|| panic!("no failure of {step} was injected")));
        assert_eq!(self.memory.injections_left(step), 0);
    }
}
