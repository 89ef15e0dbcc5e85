//! A model of a machine under load, for tests that run random or exhaustive sequences of operations: DIMMs of awkward
//! sizes are plugged, removed and surprise-removed, steps fail, allocations are made and freed.
//!
//! ```text
//!  source of the operations                Model::run (operations)          checked after each (checks)
//!  proptest   (memory/tests/random_ops)  --+                                a refusal states a true reason
//!  libFuzzer  (fuzz_targets/memory)      --+-> Memory and VmallocArena      every usable frame is accounted for
//!  exhaustive (memory/tests/interleavings)-+   on the simulated machine     `check`, the rmap, filled bytes
//! ```
//!
//! The simulated machine panics on an access to unplugged memory and on a read of an unwritten descriptor. [`Model`]
//! panics on the first failed check. Neighbours: `sim` is the machine.

mod checks;
mod operations;

use std::boxed::Box;
use std::collections::{BTreeSet, VecDeque};
use std::vec::Vec;

pub use checks::{assert_contents, assert_invariants, assert_rmap};

use super::{SimLeaf, SimMachine};
use crate::Memory;
use crate::addr::{NodeId, Order, Pfn, PfnRange};
use crate::boot_alloc::{BootAllocator, Occupied, Owner};
use crate::chunk::ChunkDevice;
use crate::descriptor::Mobility;
use crate::fault_injection::Step;
use crate::hot_remove::{Offlining, Removal};
use crate::info::{BootRange, DeviceId, Policy, ResourceState, Totals, Zone};
use crate::machine::Support;
use crate::memory::BootMemory;
use crate::vmalloc::{AllocationBuilder, AllocationId, Amount, Request, Shape, VmallocArena};

/// The DIMMs' sizes in units of 2 MiB. They follow each other from 4 GiB on, so they share sections and page tables in
/// every way.
const UNITS: [u64; 8] = [1, 50, 31, 64, 14, 128, 5, 290];
/// The number of DIMMs. A DIMM's number is below it.
pub const DIMMS: usize = UNITS.len();
/// The nodes of DIMMs with even and with odd numbers.
pub const NODES: [NodeId; 2] = [NodeId(7), NodeId(8)];
/// The most growing allocations, and the most stale handles.
const MAX_OPEN: usize = 4;

/// The frames of a DIMM.
fn dimm(number: usize) -> PfnRange {
    let before: u64 = UNITS[..number].iter().sum();
    PfnRange::of(Pfn(0x100000 + before * 512), UNITS[number] * 512)
}

/// The device that plugs pieces: behind the DIMMs, from the middle of a section on, in two chunks.
fn piece_device() -> ChunkDevice {
    let before: u64 = UNITS.iter().sum();
    let start = 0x100000 + before * 512;
    let device = ChunkDevice::new(DeviceId(DIMMS as u32), NODES[0], start << 12, 1000 << 20, 2 << 20);
    device.expect("it has whole pieces")
}

/// A request for `pages` pages.
pub fn request(pages: u64, node: Option<NodeId>, mobility: Mobility, shape: Shape) -> Request {
    Request { amount: Amount::Pages(pages), node, mobility, shape }
}

/// An operation. Without effect where it is impossible, such as plugging a present DIMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Plugs a DIMM.
    Plug(usize),
    /// Begins the removal of a DIMM.
    Remove(usize),
    /// Begins to offline a section of a DIMM.
    Offline(usize, u64),
    /// Begins to offline frames of a DIMM and of those behind it: the first frame in the DIMM, the number of frames.
    OfflineFrames(usize, u64, u64),
    /// Runs this many steps of the evacuation, of this many frames each.
    Steps(u8, u64),
    /// Finishes the evacuation early.
    Finish,
    /// Aborts the evacuation.
    Abort,
    /// Uses the handle of an evacuation whose memory was surprise-removed.
    Stale(HandleUse),
    /// Onlines a DIMM's offline memory, in this zone.
    Online(usize, Option<Zone>),
    /// Sets the policy for memory that is added.
    Policy(Policy),
    /// Makes this step fail once.
    Inject(Step),
    /// Surprise-removes a DIMM.
    SurpriseRemove(usize),
    /// Makes an allocation.
    Allocate(Request),
    /// Begins an allocation.
    BeginAllocate(Request),
    /// Grows the oldest begun allocation.
    Grow(u64),
    /// Finishes the oldest begun allocation, grown or not.
    FinishGrowing,
    /// Cancels the oldest begun allocation.
    CancelGrowing,
    /// Frees an allocation.
    Free(usize),
    /// Allocates a block outside of the arena. It cannot be migrated.
    AllocateBlock(Order, Mobility, Option<NodeId>),
    /// Allocates all of boot memory in blocks, so that page tables come from DIMMs.
    ExhaustBoot,
    /// Frees such a block.
    FreeBlock(usize),
    /// Plugs at most so many frames of the device that plugs pieces.
    PlugPieces(u64),
    /// Unplugs at most so many unused frames of it.
    UnplugPieces(u64),
    /// Verifies all filled pages.
    Verify,
}

/// A use of a stale handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleUse {
    /// Runs a step.
    Step,
    /// Finishes.
    Finish,
    /// Aborts.
    Abort,
}

impl HandleUse {
    /// All uses.
    pub const ALL: [HandleUse; 3] = [HandleUse::Step, HandleUse::Finish, HandleUse::Abort];
}

/// The handle of an evacuation.
#[derive(Debug)]
enum Handle {
    Removal(Removal, usize),
    Offlining(Offlining),
}

/// The evacuation under way, and the DIMMs that it still empties.
#[derive(Debug)]
struct Evacuation {
    handle: Handle,
    dimms: Vec<usize>,
}

impl Evacuation {
    /// The DIMM of a removal.
    fn device(&self) -> Option<usize> {
        match self.handle {
            Handle::Removal(_, number) => Some(number),
            Handle::Offlining(_) => None,
        }
    }
}

/// The machine, and its expected state.
#[derive(Debug)]
pub struct Model {
    /// Boxed, so that a deep test does not fill its stack.
    memory: Box<Memory<SimMachine>>,
    arena: VmallocArena,
    present: [bool; DIMMS],
    allocations: Vec<(AllocationId, Mobility)>,
    growing: VecDeque<(AllocationBuilder, Mobility)>,
    /// Blocks allocated outside of the arena.
    blocks: Vec<PfnRange>,
    /// The runs that the device has plugged.
    pieces: Vec<PfnRange>,
    evacuation: Option<Evacuation>,
    /// Handles of evacuations whose memory was all surprise-removed.
    stale: Vec<Handle>,
    /// Steps that will fail once.
    injected: Vec<Step>,
    baseline: Baseline,
}

/// The state that must return when everything is freed and removed.
#[derive(Debug, PartialEq, Eq)]
struct Baseline {
    leaves: Vec<SimLeaf>,
    tables: BTreeSet<Pfn>,
    totals: Totals,
    blocks: Vec<Option<[u64; Order::COUNT]>>,
}

impl Baseline {
    fn of(memory: &Memory<SimMachine>) -> Baseline {
        let mut ids = Vec::new();
        memory.resources(&mut |info| ids.push(info.id));
        let blocks = ids.into_iter().map(|id| memory.free_blocks(id)).collect();
        let machine = memory.machine();
        Baseline { leaves: machine.leaves(), tables: machine.tables(), totals: memory.totals(), blocks }
    }
}

impl Model {
    /// A model of a booted machine.
    pub fn new(memory: Memory<SimMachine>) -> Model {
        let baseline = Baseline::of(&memory);
        Model {
            memory: Box::new(memory),
            arena: VmallocArena::new(),
            present: [false; DIMMS],
            allocations: Vec::new(),
            growing: VecDeque::new(),
            blocks: Vec::new(),
            pieces: Vec::new(),
            evacuation: None,
            stale: Vec::new(),
            injected: Vec::new(),
            baseline,
        }
    }

    /// A model of a machine with 128 MiB on two nodes, which boots quickly.
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
        super::boot(&memory, boot, &mut early, &mut |_| {}).expect("128 MiB are enough to boot");
        Model::new(memory)
    }

    /// Whether `op` has an effect now. Exhaustive tests skip the others.
    pub fn is_possible(&self, op: &Op) -> bool {
        match *op {
            Op::Plug(number) => !self.present[number],
            Op::Remove(number)
            | Op::Offline(number, _)
            | Op::OfflineFrames(number, ..)
            | Op::SurpriseRemove(number)
            | Op::Online(number, _) => self.present[number],
            Op::Steps(..) | Op::Finish | Op::Abort => self.evacuation.is_some(),
            Op::Stale(_) => !self.stale.is_empty(),
            Op::BeginAllocate(_) => self.growing.len() < MAX_OPEN,
            Op::Grow(_) | Op::FinishGrowing | Op::CancelGrowing => !self.growing.is_empty(),
            Op::Free(_) => !self.allocations.is_empty(),
            Op::FreeBlock(_) => !self.blocks.is_empty(),
            Op::Inject(step) => !self.injected.contains(&step),
            Op::UnplugPieces(_) => !self.pieces.is_empty(),
            Op::PlugPieces(_)
            | Op::Policy(_)
            | Op::Allocate(_)
            | Op::AllocateBlock(..)
            | Op::ExhaustBoot
            | Op::Verify => true,
        }
    }

    /// Runs `op` and checks the model.
    ///
    /// # Panics
    /// When a check fails.
    pub fn run(&mut self, op: &Op) {
        self.apply(op);
        self.assert_accounting();
        if self.evacuation.is_none() && self.growing.is_empty() {
            assert_rmap(&self.memory, &|pfn| self.blocks.iter().any(|block| block.contains(pfn)));
        }
        assert_invariants(&self.memory);
    }

    /// Frees all allocations, removes all DIMMs, and checks that the machine is as it was at the start.
    ///
    /// # Panics
    /// When a check fails.
    pub fn finish(mut self) {
        self.run(&Op::Verify);
        while !self.growing.is_empty() {
            self.run(&Op::CancelGrowing);
        }
        while !self.allocations.is_empty() {
            self.apply(&Op::Free(0));
        }
        while !self.blocks.is_empty() {
            self.apply(&Op::FreeBlock(0));
        }
        self.run(&Op::Abort);
        while !self.stale.is_empty() {
            self.run(&Op::Stale(HandleUse::ALL[self.stale.len() % HandleUse::ALL.len()]));
        }
        self.injected.drain(..).for_each(|step| self.memory.inject(step, 0));
        self.run(&Op::UnplugPieces(u64::MAX));
        assert!(self.pieces.is_empty(), "{:?} hold no allocation", self.pieces);
        for number in 0..DIMMS {
            if self.present[number] {
                self.run(&Op::Remove(number));
                self.apply(&Op::Steps(u8::MAX, 9000));
                assert!(!self.present[number], "DIMM {number} holds no allocation");
            }
        }
        assert_invariants(&self.memory);
        self.memory.resources(&mut |info| assert_eq!(info.state, ResourceState::Online));
        assert!(Baseline::of(&self.memory) == self.baseline, "the removals left something behind");
    }
}
