//! A machine in use, for tests that drive it at random or in every order: DIMMs of awkward sizes come, go and are
//! torn out, steps fail, allocations are made and freed, and after every operation the simple truth is compared.
//!
//! ```text
//!  who chooses the operations            Model::run                       what must hold after each
//!  proptest  (memory/tests/comings)  ──┐                                  refusals are true ones
//!  libFuzzer (fuzz_targets/memory)   ──┼─> Memory and VmallocArena, simulated   every usable frame is accounted for
//!  all of them (memory/tests/orders) ──┘                                  `check`; the reverse map; filled bytes
//! ```
//!
//! Memory that is gone panics when it is touched, and so does a descriptor that is read before it was written. A
//! [`Model`] panics as soon as something does not hold. Neighbours: `sim` is the machine under it.

use std::collections::VecDeque;
use std::vec::Vec;

use super::SimMachine;
use crate::Memory;
use crate::addr::{NodeId, Order, Pfn, PfnRange, SectionNr};
use crate::boot_alloc::{BootAllocator, Occupied, Owner};
use crate::descriptor::Kind;
use crate::error::AddError;
use crate::fault_injection::Step;
use crate::hot_remove::{Offlining, OnlineError, Removal, RemoveError, Target};
use crate::info::{AddRequest, BootRange, DeviceId, Holder, PageState, Policy, ResourceState, Zone};
use crate::machine::Support;
use crate::memory::BootMemory;
use crate::vmalloc::{
    AllocError, AllocationBuilder, AllocationId, AllocationState, Amount, NoRun, Progress, Request, Shape,
    Verified, VmallocArena,
};

/// One behind the other from 4 GiB on, in units of 2 MiB: sections and GiBs are shared in every way.
const UNITS: [u64; 8] = [1, 50, 31, 64, 14, 128, 5, 290];
/// How many DIMMs there are; their numbers are those below.
pub const DIMMS: usize = UNITS.len();
/// The nodes that DIMMs of even and of odd numbers belong to.
pub const NODES: [NodeId; 2] = [NodeId(7), NodeId(8)];
/// Pages of an allocation that are filled and looked at: not all of a large one, so that the simulation is fast.
const FILLED: u64 = 5;

/// The frames of a DIMM.
fn dimm(number: usize) -> PfnRange {
    let before: u64 = UNITS[..number].iter().sum();
    PfnRange::of(Pfn(0x100000 + before * 512), UNITS[number] * 512)
}

/// What can be done. One that makes no sense at the moment (plugging what is there) does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Plugs a DIMM.
    Plug(usize),
    /// Begins to take a DIMM away.
    Remove(usize),
    /// Begins to take a section of it out of use.
    Offline(usize, u64),
    /// Begins to take frames of it out of use, and of the DIMMs behind it: from so many frames on, so many.
    OfflineFrames(usize, u64, u64),
    /// Goes on with what was begun, so often and so many frames at a time.
    Steps(u8, u64),
    /// Ends what was begun before it is done.
    Finish,
    /// Gives up what was begun.
    GiveUp,
    /// Uses a handle of an evacuation whose memory vanished.
    Stale(Use),
    /// Takes it back into use, in this zone.
    Online(usize, Option<Zone>),
    /// Says what becomes of DIMMs that are plugged from now on.
    Policy(Policy),
    /// The next run of this step fails.
    Fail(Step),
    /// A DIMM goes without having been asked for.
    TearOut(usize),
    /// Makes an allocation.
    Allocate(Request),
    /// Begins to make one.
    Begin(Request),
    /// Goes on making one of those that were begun.
    Grow(u64),
    /// Says that one is made before it is.
    FinishGrowing,
    /// Gives one up.
    Abandon,
    /// Frees an allocation: one of those that are held.
    Free(usize),
    /// Takes a block, as the kernel does for itself: nobody can move it.
    Take(Order, Kind, Option<NodeId>),
    /// Takes all of boot memory in blocks: page tables come from DIMMs then.
    Exhaust,
    /// Gives such a block back.
    Give(usize),
    /// Reads all that was filled.
    Verify,
}

/// How a handle of what has ended is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// For a step.
    Step,
    /// To finish.
    Finish,
    /// To give up.
    Abort,
}

impl Use {
    /// All of them.
    pub const ALL: [Use; 3] = [Use::Step, Use::Finish, Use::Abort];
}

/// The handle of an evacuation.
#[derive(Debug)]
enum Handle {
    Removal(Removal, usize),
    Offlining(Offlining),
}

/// An evacuation that was begun, and which DIMMs it still empties.
#[derive(Debug)]
struct Going {
    handle: Handle,
    dimms: Vec<usize>,
}

impl Going {
    /// The DIMM that is removed.
    fn leaving_device(&self) -> Option<usize> {
        match self.handle {
            Handle::Removal(_, number) => Some(number),
            Handle::Offlining(_) => None,
        }
    }
}

/// Allocations that are made at a time, and handles of evacuations that have ended, at most.
const MOST: usize = 4;

/// The machine, and what is known of it.
#[derive(Debug)]
pub struct Model {
    memory: Memory<SimMachine>,
    window: VmallocArena,
    present: [bool; DIMMS],
    held: Vec<(AllocationId, Kind)>,
    growing: VecDeque<(AllocationBuilder, Kind)>,
    /// Blocks that no allocation has.
    blocks: Vec<PfnRange>,
    going: Option<Going>,
    /// Handles of evacuations all of whose memory was torn out.
    stale: Vec<Handle>,
    /// Steps that are to fail.
    armed: Vec<Step>,
    at_first: State,
}

/// What must be as at first when everything is freed and taken away.
#[derive(Debug, PartialEq, Eq)]
struct State {
    leaves: Vec<super::SimLeaf>,
    tables: std::collections::BTreeSet<Pfn>,
    totals: crate::info::Totals,
    blocks: Vec<Option<[u64; Order::COUNT]>>,
}

impl State {
    fn of(memory: &Memory<SimMachine>) -> State {
        let mut ids = Vec::new();
        memory.resources(&mut |info| ids.push(info.id));
        let blocks = ids.into_iter().map(|id| memory.free_blocks(id)).collect();
        let machine = memory.machine();
        State { leaves: machine.leaves(), tables: machine.tables(), totals: memory.totals(), blocks }
    }
}

impl Model {
    /// A world on a machine that has booted.
    pub fn new(memory: Memory<SimMachine>) -> Model {
        let at_first = State::of(&memory);
        Model {
            memory,
            window: VmallocArena::new(),
            present: [false; DIMMS],
            held: Vec::new(),
            growing: VecDeque::new(),
            blocks: Vec::new(),
            going: None,
            stale: Vec::new(),
            armed: Vec::new(),
            at_first,
        }
    }

    /// A world of 128 MiB in two nodes: quick to make.
    pub fn small(gib_leaves: Support) -> Model {
        let ram = PfnRange::new(Pfn(0x100), Pfn(0x8000));
        let machine = SimMachine::boot(7, gib_leaves, &[ram]);
        let memory = Memory::new(machine);
        let machine = memory.machine();
        let occupied = [Occupied { range: machine.boot_tables(), owner: Owner::PageTables }];
        let mut early = BootAllocator::new(&[ram], &occupied);
        let middle = Pfn(0x4000);
        let boot = BootMemory {
            root: machine.root(),
            features: machine.features(),
            ranges: &[
                BootRange { range: PfnRange::new(ram.start, middle), node: NodeId(0) },
                BootRange { range: PfnRange::new(middle, ram.end), node: NodeId(1) },
            ],
            occupied: &occupied,
            hotplug: &[PfnRange::of(dimm(0).start, 1 << 20)],
        };
        super::boot(&memory, boot, &mut early, &mut |_| {}).expect("so much memory is enough");
        Model::new(memory)
    }

    /// Whether `op` would do something now: what is not tried in every order.
    pub fn is_possible(&self, op: &Op) -> bool {
        match *op {
            Op::Plug(number) => !self.present[number],
            Op::Remove(number)
            | Op::Offline(number, _)
            | Op::OfflineFrames(number, ..)
            | Op::TearOut(number)
            | Op::Online(number, _) => self.present[number],
            Op::Steps(..) | Op::Finish | Op::GiveUp => self.going.is_some(),
            Op::Stale(_) => !self.stale.is_empty(),
            Op::Begin(_) => self.growing.len() < MOST,
            Op::Grow(_) | Op::FinishGrowing | Op::Abandon => !self.growing.is_empty(),
            Op::Free(_) => !self.held.is_empty(),
            Op::Give(_) => !self.blocks.is_empty(),
            Op::Fail(step) => !self.armed.contains(&step),
            Op::Policy(_) | Op::Allocate(_) | Op::Take(..) | Op::Exhaust | Op::Verify => true,
        }
    }

    /// Does it, and compares.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn run(&mut self, op: &Op) {
        self.apply(op);
        self.balance();
        if self.going.is_none() && self.growing.is_empty() {
            reverse_map(&self.memory, &|pfn| self.blocks.iter().any(|block| block.contains(pfn)));
        }
        assert_invariants(&self.memory);
    }

    /// Frees all and takes all away: everything must be as it was at first.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn finish(mut self) {
        self.run(&Op::Verify);
        while !self.growing.is_empty() {
            self.run(&Op::Abandon);
        }
        while !self.held.is_empty() {
            self.apply(&Op::Free(0));
        }
        while !self.blocks.is_empty() {
            self.apply(&Op::Give(0));
        }
        self.run(&Op::GiveUp);
        while !self.stale.is_empty() {
            self.run(&Op::Stale(Use::ALL[self.stale.len() % Use::ALL.len()]));
        }
        self.armed.drain(..).for_each(|step| self.memory.inject(step, 0));
        for number in 0..DIMMS {
            if self.present[number] {
                self.run(&Op::Remove(number));
                self.apply(&Op::Steps(u8::MAX, 9000));
                assert!(!self.present[number], "nobody uses it");
            }
        }
        assert_invariants(&self.memory);
        let mut offline = 0;
        self.memory.resources(&mut |info| offline += u64::from(info.state != ResourceState::Online));
        assert_eq!(offline, 0);
        assert!(State::of(&self.memory) == self.at_first, "something is left behind");
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            _ if !self.is_possible(op)
                && !matches!(op, Op::Remove(_) | Op::Offline(..) | Op::OfflineFrames(..)) => {}
            Op::Plug(number) => self.plug(number),
            Op::Remove(number) => match self.memory.begin_remove(DeviceId(number as u32), &|| 0) {
                Ok(removal) => {
                    let (handle, dimms) = (Handle::Removal(removal, number), Vec::from([number]));
                    self.begin(Going { handle, dimms });
                }
                Err(error) => self.expect(&error, Some(number)),
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
                if let Some(going) = self.going.take() {
                    self.finish_going(going);
                }
            }
            Op::GiveUp => {
                if let Some(going) = self.going.take() {
                    self.abort(going.handle);
                }
            }
            Op::Stale(how) => self.use_stale(how),
            Op::Online(number, zone) => match self.memory.online(Target::Frames(dimm(number)), zone) {
                Ok(_) => {}
                Err(OnlineError::UnderWay { .. }) => assert!(self.going.is_some()),
                Err(OnlineError::OtherZone { zone: other, .. }) => {
                    assert!(zone.is_some_and(|zone| zone != other));
                }
                Err(error) => panic!("{error}"),
            },
            Op::Policy(policy) => self.memory.set_policy(policy),
            Op::Fail(step) => {
                self.memory.inject(step, 1);
                self.armed.push(step);
            }
            Op::TearOut(number) => self.tear_out(number),
            Op::Allocate(request) => match self.window.allocate(&self.memory, &request) {
                Ok(one) => self.mark_used(one.id, request.kind),
                Err(error) => no_fault(&error),
            },
            Op::Begin(request) => match self.window.begin(&self.memory, &request) {
                Ok(growing) => self.growing.push_back((growing, request.kind)),
                Err(error) => no_fault(&error),
            },
            Op::Grow(pages) => self.grow(pages),
            Op::FinishGrowing => {
                if let Some((growing, kind)) = self.growing.pop_front() {
                    self.finish_growing(growing, kind);
                }
            }
            Op::Abandon => {
                if let Some((growing, _)) = self.growing.pop_front() {
                    self.window.cancel(&self.memory, growing).unwrap();
                }
            }
            Op::Free(place) => {
                let (id, _) = self.held.swap_remove(place % self.held.len());
                self.window.free(&self.memory, id).unwrap();
            }
            Op::Take(order, kind, node) => {
                if let Some(block) = self.memory.allocate_block(order, node, kind) {
                    self.take(block.range());
                }
            }
            Op::Exhaust => {
                for node in [NodeId(0), NodeId(1)] {
                    while let Some(block) = self.memory.allocate_up_to(Order(10), Some(node), Kind::Pinned) {
                        self.take(block.range());
                    }
                }
            }
            Op::Give(place) => {
                // By its frames: at the border of a section that goes offline it may have been split.
                let block = self.blocks.swap_remove(place % self.blocks.len());
                self.memory.free_run(block).unwrap();
                assert!(self.memory.free_block(block.start).is_err(), "{block} was freed twice");
            }
            Op::Verify => assert_contents(&self.memory, &self.window),
        }
    }

    fn take(&mut self, block: PfnRange) {
        assert!(!self.blocks.iter().any(|other| other.overlaps(block)), "{block} twice");
        self.blocks.push(block);
    }

    fn begin(&mut self, going: Going) {
        assert!(self.going.is_none(), "one at a time");
        self.going = Some(going);
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
            Ok(offlining) => self.begin(Going { handle: Handle::Offlining(offlining), dimms }),
            Err(error) => self.expect(&error, None),
        }
    }

    fn abort(&mut self, handle: Handle) {
        match handle {
            Handle::Removal(removal, _) => self.memory.abort_remove(&self.window, removal),
            Handle::Offlining(offlining) => self.memory.abort_offline(&self.window, offlining),
        }
    }

    /// A handle that outlived its memory changes nothing, whatever is under way now.
    fn use_stale(&mut self, how: Use) {
        let handle = self.stale.remove(0);
        let before = (self.memory.totals(), self.memory.machine().tables());
        let refused = match (how, handle) {
            (Use::Step, Handle::Removal(mut removal, _)) => {
                self.memory.remove_step(&self.window, &mut removal, 64, &|| 0).map(drop)
            }
            (Use::Step, Handle::Offlining(mut offlining)) => {
                self.memory.offline_step(&self.window, &mut offlining, 64, &|| 0).map(drop)
            }
            (Use::Finish, Handle::Removal(removal, _)) => {
                self.memory.finish_remove(&self.window, removal, &|| 0).map(drop)
            }
            (Use::Finish, Handle::Offlining(offlining)) => {
                self.memory.finish_offline(&self.window, offlining).map(drop)
            }
            (Use::Abort, handle) => {
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
        match self.memory.add(DeviceId(number as u32), &[request], &|| 0) {
            Ok(added) => {
                assert_eq!(added.stats.existing_pages_used, 0);
                self.present[number] = true;
            }
            Err(AddError::Injected { step }) => {
                self.failed(step);
                assert_eq!(self.memory.totals(), before, "{step}: something changed");
                self.memory.machine().unplug(range);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The kernel hears of it at once; handles of what was to leave stay.
    fn tear_out(&mut self, number: usize) {
        let range = dimm(number);
        let lost_before = self.count_lost();
        self.memory.machine().tear_out(range);
        let forgotten = self.memory.surprise_remove(&self.window, DeviceId(number as u32)).unwrap();
        assert_eq!((forgotten.ids.len(), forgotten.pages), (1, range.pages()));
        assert_eq!(self.count_lost() - lost_before, forgotten.allocations);
        self.present[number] = false;
        self.blocks.retain(|block| !range.overlaps(*block));
        if let Some(mut going) = self.going.take() {
            going.dimms.retain(|&other| other != number);
            match going.dimms.is_empty() {
                true => self.stale.push(going.handle),
                false => self.going = Some(going),
            }
        }
        if self.stale.len() > MOST {
            self.use_stale(Use::Finish);
        }
    }

    fn finish_growing(&mut self, growing: AllocationBuilder, kind: Kind) {
        match self.window.finish(&self.memory, growing) {
            Ok(one) => self.mark_used(one.id, kind),
            Err(error) => {
                assert!(matches!(error, AllocError::RanOut { .. } | AllocError::Lost { .. }), "{error}")
            }
        }
    }

    fn grow(&mut self, pages: u64) {
        let Some((mut growing, kind)) = self.growing.pop_front() else { return };
        match self.window.grow(&self.memory, &mut growing, pages) {
            Ok(Progress::More) => self.growing.push_back((growing, kind)),
            // It may be finished much later.
            Ok(Progress::Done) if pages.is_multiple_of(3) => self.growing.push_back((growing, kind)),
            Ok(Progress::Done) => self.finish_growing(growing, kind),
            Err(error) => {
                assert!(!matches!(error, AllocError::Map(_) | AllocError::Corrupt { .. }), "{error}");
                self.window.cancel(&self.memory, growing).unwrap();
            }
        }
    }

    fn mark_used(&mut self, id: AllocationId, kind: Kind) {
        let pages = self.window.get(id).expect("it was just made").pages;
        self.window.fill(&self.memory, id, 0, pages.min(FILLED)).unwrap();
        self.held.push((id, kind));
    }

    fn step(&mut self, pages: u64) {
        let Some(mut going) = self.going.take() else { return };
        let done = match &mut going.handle {
            Handle::Removal(removal, _) => self.memory.remove_step(&self.window, removal, pages, &|| 0),
            Handle::Offlining(offlining) => self.memory.offline_step(&self.window, offlining, pages, &|| 0),
        };
        match done {
            Ok(Progress::More) => self.going = Some(going),
            Ok(Progress::Done) => self.finish_going(going),
            Err(error) => self.expect(&error, going.leaving_device()),
        }
    }

    fn finish_going(&mut self, going: Going) {
        let device = going.leaving_device();
        let result = match going.handle {
            Handle::Removal(removal, number) => self
                .memory
                .finish_remove(&self.window, removal, &|| 0)
                .map(|removed| self.unplug(number, removed.pages)),
            Handle::Offlining(offlining) => self.memory.finish_offline(&self.window, offlining).map(drop),
        };
        if let Err(error) = result {
            self.expect(&error, device);
        }
    }

    fn unplug(&mut self, number: usize, pages: u64) {
        assert_eq!(pages, dimm(number).pages());
        // Old bytes or new ones: what is plugged next must not care.
        match number % 2 {
            0 => self.memory.machine().pull(dimm(number)),
            _ => self.memory.machine().unplug(dimm(number)),
        }
        self.present[number] = false;
    }

    /// A step failed that was told to.
    fn failed(&mut self, step: Step) {
        let place = self.armed.iter().position(|armed| *armed == step);
        self.armed.swap_remove(place.unwrap_or_else(|| panic!("{step} was not told to fail")));
        assert_eq!(self.memory.injections_left(step), 0);
    }

    /// A refusal is a true one.
    fn expect(&mut self, error: &RemoveError, number: Option<usize>) {
        let there = number.is_some_and(|number| self.present[number]);
        match *error {
            RemoveError::Unknown { .. } => assert!(!there),
            RemoveError::UnderWay { .. } => assert!(self.going.is_some()),
            RemoveError::InUse { resource, pages } => {
                let info = self.memory.resource(resource).expect("it is there");
                // Some may have moved away since: a contiguous allocation on its way moves to its end.
                assert!(pages > 0 && pages <= info.usable_pages);
            }
            RemoveError::Absent { .. } => {}
            RemoveError::Pinned(pinned) => {
                match pinned.holder {
                    Holder::Mapping(at) => {
                        // What is growing may have a run that is not mapped yet.
                        let held = self.window.holding(at).map(|one| one.id);
                        let is_held = held.is_some_and(|id| self.held.contains(&(id, Kind::Pinned)));
                        assert!(is_held || !self.growing.is_empty(), "{pinned}");
                    }
                    Holder::None => {
                        assert!(self.blocks.iter().any(|block| block.contains(pinned.pfn)), "{pinned}");
                    }
                    _ => panic!("{pinned}"),
                }
                assert_eq!(self.memory.resource_of(pinned.pfn), Some(pinned.resource));
            }
            RemoveError::NotEnoughFree { needed, free }
            | RemoveError::NotEnoughForTables { needed, free } => {
                assert!(needed > free);
            }
            RemoveError::NoRun(NoRun { pages, longest, .. }) => assert!(pages > longest),
            RemoveError::Injected { step } => self.failed(step),
            ref other => panic!("{other}"),
        }
    }

    fn count_lost(&self) -> u64 {
        let mut lost = 0;
        let mut last = None;
        while let Some(one) = self.window.next_after(last) {
            last = Some(one.id);
            lost += u64::from(one.state == AllocationState::Lost);
        }
        lost
    }

    /// Every usable frame is free, offline, in an allocation, a block, or a page table of an allocation.
    fn balance(&self) {
        let totals = self.memory.totals();
        let mut taken: u64 = self.blocks.iter().map(|block| block.pages()).sum();
        let mut last = None;
        while let Some(one) = self.window.next_after(last) {
            last = Some(one.id);
            taken += if one.state == AllocationState::Lost { 0 } else { one.pages };
        }
        let (mut movable, mut pinned) = (0, 0);
        self.memory.resources(&mut |info| {
            movable += info.movable_pages;
            pinned += info.pinned_pages;
        });
        assert_eq!(totals.free_pages + totals.offline_pages + movable + pinned, totals.usable_pages);
        // A contiguous allocation on its way has two runs.
        assert!(movable + pinned >= taken);
    }
}

/// An allocation was refused for want of something.
fn no_fault(error: &AllocError) {
    let wanting = matches!(
        error,
        AllocError::Empty
            | AllocError::TooManyAllocations
            | AllocError::NoAddresses { .. }
            | AllocError::NotEnough { .. }
            | AllocError::RanOut { .. }
            | AllocError::NoRun { .. }
    );
    assert!(wanting, "{error}");
}

/// A wish for `pages` movable or pinned pages.
pub fn wish(pages: u64, node: Option<NodeId>, kind: Kind, shape: Shape) -> Request {
    Request { amount: Amount::Pages(pages), node, kind, shape }
}

/// `check` finds nothing, and did look.
///
/// # Panics
/// When it finds something.
pub fn assert_invariants(memory: &Memory<SimMachine>) {
    let mut errors = Vec::new();
    let checked = memory.check(&mut |error| errors.push(error));
    assert!(errors.is_empty(), "{errors:?}");
    assert!(checked > 0);
}

/// Every allocation that can be used has its bytes, and one that is lost says so.
///
/// # Panics
/// When one does not.
pub fn assert_contents(memory: &Memory<SimMachine>, window: &VmallocArena) {
    let mut last = None;
    while let Some(one) = window.next_after(last) {
        last = Some(one.id);
        let expected = match one.state {
            AllocationState::Ready => Ok(Verified { pages: one.filled, bad: None }),
            AllocationState::Lost => Err(AllocError::Lost { id: one.id }),
            AllocationState::Allocating | AllocationState::Freeing => Err(AllocError::Busy { id: one.id }),
        };
        assert_eq!(window.verify(memory, one.id, 0, one.pages), expected, "{one:?}");
    }
}

/// Every movable block knows where it is mapped, and is, but for those that are not mapped. (Not while a contiguous
/// allocation is being made or on its way.)
///
/// # Panics
/// When one does not.
pub fn reverse_map(memory: &Memory<SimMachine>, is_unmapped: &dyn Fn(Pfn) -> bool) {
    let mut ids = Vec::new();
    memory.resources(&mut |info| ids.push(info.id));
    for id in ids {
        let mut movable = Vec::new();
        memory.blocks(id, &mut |block| {
            if block.state == PageState::Movable && !is_unmapped(block.range.start) {
                movable.push(block);
            }
        });
        for block in movable {
            let Holder::Mapping(at) = block.holder else { panic!("{block:?} is held by nobody") };
            let found = memory.with_tables(|tables, machine| tables.translate(machine, at)).flatten();
            assert_eq!(found.map(|found| found.phys), Some(block.range.start.start()), "{block:?}");
        }
    }
}
