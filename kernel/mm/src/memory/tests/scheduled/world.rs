//! What the CPUs share, what each of them does by turns, and the allocation that each has for itself.
//!
//! Invariant: the CPUs run in turn, so a host's lock is never waited for. Neighbours: `scheduled` has the tests, `schedule` decides
//! whose turn it is.

use std::boxed::Box;
use std::collections::BTreeSet;
use std::sync::Mutex as HostMutex;
use std::vec::Vec;

use carapace_lock::schedule::spin;

use super::super::threads::Random;
use super::super::*;
use crate::addr::{Block, PAGE_SIZE, VirtAddr};
use crate::error::FreeError;
use crate::fault::Fault;
use crate::hot_remove::{RemoveError, Target};
use crate::vmalloc::{AllocError, Allocation, Amount, Progress, Request, Shape, VmallocArena};

/// Two DIMMs that share a section and page tables, and one apart. Any of them vanishes.
pub(super) const DIMMS: [PfnRange; 3] = [
    PfnRange::of(Pfn(0x100000), 6 * MIB),
    PfnRange::of(Pfn(0x100000 + 6 * MIB), 4 * MIB),
    PfnRange::of(Pfn(0x180000), 4 * MIB),
];
pub(super) const NODE: NodeId = NodeId(7);
/// Pages of each CPU's own allocation, of which it reads and writes a word each.
pub(super) const OWN: u64 = 24;

/// What the CPUs share.
pub(super) struct World {
    pub(super) memory: Box<Memory<SimMachine>>,
    pub(super) arena: Box<VmallocArena>,
    pub(super) cpus: usize,
    pub(super) seed: u64,
    pub(super) taken: HostMutex<BTreeSet<Pfn>>,
    /// Blocks that a CPU allocated for others to free.
    pub(super) exchanged: HostMutex<Vec<Block>>,
    /// Allocations that any CPU verifies or frees.
    pub(super) allocations: HostMutex<Vec<Allocation>>,
    pub(super) arrived: Shared<usize>,
    pub(super) meetings: Shared<u64>,
    /// The DIMM that vanished in this round.
    pub(super) vanished: Shared<Option<PfnRange>>,
    /// Whether the CPUs free what they have at the end of this round.
    pub(super) empties: Shared<bool>,
    pub(super) counts: Counts,
}

/// What has succeeded.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) removed: Shared<u64>,
    pub(super) offlined: Shared<u64>,
    pub(super) vanished: Shared<u64>,
    pub(super) faults: Shared<u64>,
    pub(super) verified: Shared<u64>,
}

/// A value that the CPUs share. They run in turn, so nothing waits here.
#[derive(Debug, Default)]
pub(super) struct Shared<T>(HostMutex<T>);

impl<T: Copy> Shared<T> {
    pub(super) fn new(value: T) -> Shared<T> {
        Shared(HostMutex::new(value))
    }

    pub(super) fn get(&self) -> T {
        *self.0.lock().unwrap()
    }

    pub(super) fn set(&self, value: T) {
        *self.0.lock().unwrap() = value;
    }
}

pub(super) fn more(count: &Shared<u64>) {
    count.set(count.get() + 1);
}

impl World {
    pub(super) fn new(seed: u64, cpus: usize) -> World {
        World {
            memory: Box::new(booted(Support::No)),
            arena: Box::default(),
            cpus,
            seed,
            taken: HostMutex::default(),
            exchanged: HostMutex::default(),
            allocations: HostMutex::default(),
            arrived: Shared::new(0),
            meetings: Shared::new(0),
            vanished: Shared::new(None),
            empties: Shared::new(false),
            counts: Counts::default(),
        }
    }

    pub(super) fn random(&self, cpu: usize) -> Random {
        Random::new(self.seed.wrapping_mul(64) + cpu as u64)
    }

    /// Waits until all CPUs are here.
    pub(super) fn meet(&self) {
        let meeting = self.meetings.get();
        self.arrived.set(self.arrived.get() + 1);
        if self.arrived.get() == self.cpus {
            self.arrived.set(0);
            self.meetings.set(meeting + 1);
        }
        while self.meetings.get() == meeting {
            spin();
        }
    }

    /// Whether all other CPUs have reached the end of the round.
    pub(super) fn others_wait(&self) -> bool {
        self.arrived.get() + 1 == self.cpus
    }

    pub(super) fn take(&self, random: &mut Random) -> Option<Block> {
        let order = Order([0, 0, 0, 9, 1, 4][random.below(6) as usize]);
        let node = (random.below(3) == 0).then_some(NODE);
        let block = self.memory.allocate_block(order, node, Mobility::Movable)?;
        let mut taken = self.taken.lock().unwrap();
        block.range().each().for_each(|pfn| assert!(taken.insert(pfn), "{pfn} is given twice"));
        Some(block)
    }

    pub(super) fn give(&self, block: Block) {
        let vanished = || self.vanished.get().is_some_and(|dimm| dimm.contains(block.head));
        block.range().each().for_each(|pfn| assert!(self.taken.lock().unwrap().remove(&pfn)));
        // In parts, if it was split at the border of memory that goes offline.
        match self.memory.free_run(block.range()) {
            Err(FreeError::Absent { .. }) if vanished() => {}
            freed => assert_eq!(freed, Ok(()), "{block:?}"),
        }
    }

    /// Makes an allocation, fills some of it, and leaves it to any CPU.
    pub(super) fn allocate(&self, random: &mut Random) {
        let pages = [1, 3, 17, 40, 600][random.below(5) as usize];
        let shape = if random.below(4) == 0 { Shape::Contiguous } else { Shape::Scattered };
        let node = (random.below(3) > 0).then_some(NODE);
        let request = Request { amount: Amount::Pages(pages), node, mobility: Mobility::Movable, shape };
        match self.arena.allocate(&*self.memory, &request) {
            Ok(one) => match self.arena.fill(&*self.memory, one.id, 0, 1) {
                Ok(()) | Err(AllocError::Lost { .. }) => self.allocations.lock().unwrap().push(one),
                Err(error) => panic!("{error}"),
            },
            Err(AllocError::NotEnough { .. } | AllocError::RanOut { .. } | AllocError::NoRun { .. }) => {}
            Err(AllocError::Lost { .. }) if self.vanished.get().is_some() => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn verify(&self, random: &mut Random) {
        let one = {
            let all = self.allocations.lock().unwrap();
            if all.is_empty() {
                return;
            }
            all[random.below(all.len() as u64) as usize]
        };
        match self.arena.verify(&*self.memory, one.id, 0, 1) {
            Ok(verified) => assert_eq!(verified.bad, None),
            // Another CPU frees it.
            Err(AllocError::Unknown { .. } | AllocError::Busy { .. }) => {}
            Err(AllocError::Lost { .. }) => assert!(self.counts.vanished.get() > 0),
            Err(error) => panic!("{error}"),
        }
        more(&self.counts.verified);
    }

    pub(super) fn free(&self, random: &mut Random) {
        let one = {
            let mut all = self.allocations.lock().unwrap();
            if all.is_empty() {
                return;
            }
            let place = random.below(all.len() as u64) as usize;
            all.swap_remove(place)
        };
        self.arena.free(&*self.memory, one.id).unwrap();
    }

    /// Accesses a word as a program does. `false` when its memory vanished.
    pub(super) fn access(&self, at: VirtAddr, access: impl Fn(&SimMachine) -> bool) -> bool {
        carapace_lock::schedule::step();
        while !access(self.memory.machine()) {
            carapace_lock::schedule::step();
            more(&self.counts.faults);
            if self.memory.fault(at) == Fault::Real {
                assert!(self.counts.vanished.get() > 0, "{at} is mapped");
                return false;
            }
            spin();
        }
        true
    }

    /// What a CPU other than the first does.
    pub(super) fn work(&self, cpu: usize, rounds: u64) {
        let mut random = self.random(cpu);
        let mut held: Vec<Block> = Vec::new();
        let mut own = Own::new(self);
        for _ in 0..rounds {
            for _ in 0..10 + random.below(30) {
                match random.below(16) {
                    0..=4 => held.extend(self.take(&mut random)),
                    5..=8 if !held.is_empty() => {
                        let place = random.below(held.len() as u64) as usize;
                        self.give(held.swap_remove(place));
                    }
                    9 => {
                        let block = held.pop();
                        self.exchanged.lock().unwrap().extend(block);
                    }
                    10 => {
                        let block = self.exchanged.lock().unwrap().pop();
                        block.into_iter().for_each(|block| self.give(block));
                    }
                    11 => self.allocate(&mut random),
                    12 => self.verify(&mut random),
                    13 => self.free(&mut random),
                    _ => own.use_words(self, &mut random),
                }
            }
            if self.empties.get() {
                held.drain(..).for_each(|block| self.give(block));
            }
            self.meet();
            if let Some(dimm) = self.vanished.get() {
                held.retain(|block| !dimm.contains(block.head));
                own.renew(self);
            }
            own.check(self);
            self.meet();
            self.meet();
            if random.below(2) == 0 {
                own.renew(self);
            }
        }
        held.drain(..).for_each(|block| self.give(block));
        own.free(self);
        self.meet();
    }

    /// What CPU 0 does.
    pub(super) fn direct(&self, rounds: u64) {
        let mut random = self.random(0);
        let mut present = [false; DIMMS.len()];
        for _ in 0..rounds {
            self.empties.set(random.below(3) > 0);
            for (number, there) in present.iter_mut().enumerate() {
                if !*there {
                    self.memory.machine().plug(DIMMS[number]);
                    let request = request(DIMMS[number].start.0, DIMMS[number].pages(), NODE.0);
                    self.memory.add(DeviceId(number as u32 + 1), &[request], &|| 0).unwrap();
                    *there = true;
                }
            }
            let number = random.below(DIMMS.len() as u64) as usize;
            match random.below(8) {
                0 => {
                    self.memory.drain_all();
                }
                1 | 2 => self.offline(DIMMS[number], &mut random),
                3 => {
                    self.vanish(number);
                    present[number] = false;
                }
                _ => present[number] = !self.remove(number, &mut random),
            }
            self.exchange_ends();
            self.meet();
            if let Some(dimm) = self.vanished.get() {
                self.taken.lock().unwrap().retain(|pfn| !dimm.contains(*pfn));
            }
            self.meet();
            assert_invariants(&self.memory);
            self.each_is_there();
            self.vanished.set(None);
            self.meet();
        }
        self.meet();
    }

    /// CPU 0 frees the blocks that the others left, at the end of a round.
    pub(super) fn exchange_ends(&self) {
        while !self.others_wait() {
            spin();
        }
        let left: Vec<Block> = self.exchanged.lock().unwrap().drain(..).collect();
        left.into_iter().for_each(|block| self.give(block));
    }

    /// Every allocation has its bytes, or is lost.
    pub(super) fn each_is_there(&self) {
        for one in self.allocations.lock().unwrap().iter() {
            match self.arena.verify(&*self.memory, one.id, 0, 1) {
                Ok(verified) => assert_eq!(verified.bad, None),
                Err(AllocError::Lost { .. }) => assert!(self.counts.vanished.get() > 0),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Whether an evacuation that reported this goes on: others change what it waits for.
    pub(super) fn goes_on(&self, waiting: bool, tries: &mut u32) -> bool {
        if waiting {
            spin();
            *tries += 1;
        }
        *tries < 30 && !(waiting && self.others_wait())
    }

    /// Removes a DIMM. `false` when what others hold there kept it.
    pub(super) fn remove(&self, number: usize, random: &mut Random) -> bool {
        let mut tries = 0;
        while self.goes_on(tries > 0, &mut tries) {
            tries += 1;
            match self.try_remove(number, random) {
                Ok(()) => {
                    self.memory.machine().unplug(DIMMS[number]);
                    more(&self.counts.removed);
                    return true;
                }
                Err(error) => expected(error),
            }
        }
        false
    }

    pub(super) fn try_remove(&self, number: usize, random: &mut Random) -> Result<(), RemoveError> {
        let step = [1, 40, 512][random.below(3) as usize];
        let mut tries = 0;
        let mut removal = self.memory.begin_remove(DeviceId(number as u32 + 1), &|| 0)?;
        while self.memory.remove_step(&self.arena, &mut removal, step, &|| 0)? == Progress::More {
            if !self.goes_on(removal.waiting().is_some(), &mut tries) {
                let why = removal.waiting();
                self.memory.abort_remove(&self.arena, removal);
                return Err(why.expect("it waits"));
            }
        }
        self.memory.finish_remove(&self.arena, removal, &|| 0).map(|_| ())
    }

    /// Sets half of a DIMM offline, and online again.
    pub(super) fn offline(&self, dimm: PfnRange, random: &mut Random) {
        let half = PfnRange::new(dimm.start.offset(dimm.pages() / 2), dimm.end);
        match self.try_offline(half, random) {
            Ok(()) => {
                assert!(!self.taken.lock().unwrap().iter().any(|pfn| half.contains(*pfn)), "it is offline");
                more(&self.counts.offlined);
                self.memory.online(Target::Frames(half), None).unwrap();
            }
            Err(error) => expected(error),
        }
    }

    pub(super) fn try_offline(&self, part: PfnRange, random: &mut Random) -> Result<(), RemoveError> {
        let step = [1, 40, 512][random.below(3) as usize];
        let mut tries = 0;
        let mut offlining = self.memory.begin_offline(Target::Frames(part), &|| 0)?;
        while self.memory.offline_step(&self.arena, &mut offlining, step, &|| 0)? == Progress::More {
            if !self.goes_on(offlining.waiting().is_some(), &mut tries) {
                let why = offlining.waiting();
                self.memory.abort_offline(&self.arena, offlining);
                return Err(why.expect("it waits"));
            }
        }
        self.memory.finish_offline(&self.arena, offlining).map(|_| ())
    }

    /// A DIMM goes without notice. (The machine's memory goes once no CPU has a translation: until then it would only
    /// read as ones.)
    pub(super) fn vanish(&self, number: usize) {
        self.vanished.set(Some(DIMMS[number]));
        more(&self.counts.vanished);
        self.memory.surprise_remove(&self.arena, DeviceId(number as u32 + 1)).unwrap();
        self.memory.machine().unplug(DIMMS[number]);
    }

    /// Everything goes, and the machine is as it was.
    pub(super) fn end(&self, before: crate::info::Totals) {
        core::mem::take(&mut *self.allocations.lock().unwrap())
            .iter()
            .for_each(|one| self.arena.free(&*self.memory, one.id).unwrap());
        assert_eq!(self.taken.lock().unwrap().len(), 0);
        self.memory.drain_all();
        for (number, dimm) in DIMMS.into_iter().enumerate() {
            match self.try_remove(number, &mut self.random(9)) {
                Ok(()) => self.memory.machine().unplug(dimm),
                Err(RemoveError::Unknown { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(self.memory.totals(), before);
        assert_invariants(&self.memory);
    }
}

/// Reasons why memory in use stays.
pub(super) fn expected(error: RemoveError) {
    match error {
        RemoveError::Pinned(_)
        | RemoveError::Busy { .. }
        | RemoveError::InUse { .. }
        | RemoveError::NoRun(_)
        | RemoveError::NotEnoughFree { .. }
        | RemoveError::NotEnoughForTables { .. } => {}
        error => panic!("{error}"),
    }
}

/// A CPU's own allocation, and what it last wrote to each page.
pub(super) struct Own {
    pub(super) one: Option<Allocation>,
    pub(super) words: Vec<u64>,
}

impl Own {
    pub(super) fn new(world: &World) -> Own {
        let (amount, mobility) = (Amount::Pages(OWN), Mobility::Movable);
        let on = |node| Request { amount, node, mobility, shape: Shape::Scattered };
        let allocate = |node| world.arena.allocate(&*world.memory, &on(node)).ok();
        let one = allocate(Some(NODE)).or_else(|| allocate(None));
        let mut own = Own { one, words: (0..OWN).collect() };
        for page in 0..OWN {
            own.store(world, page, page);
        }
        own
    }

    /// Replaces what a surprise removal took.
    pub(super) fn renew(&mut self, world: &World) {
        self.free(world);
        *self = Own::new(world);
    }

    pub(super) fn free(&mut self, world: &World) {
        if let Some(one) = self.one.take() {
            world.arena.free(&*world.memory, one.id).unwrap();
        }
    }

    pub(super) fn at(&self, page: u64) -> Option<VirtAddr> {
        self.one.map(|one| one.start.offset(page * PAGE_SIZE + page * 8))
    }

    pub(super) fn store(&mut self, world: &World, page: u64, value: u64) {
        let Some(at) = self.at(page) else { return };
        if world.access(at, |machine| machine.try_store(at, value)) {
            self.words[page as usize] = value;
        }
    }

    pub(super) fn load(&self, world: &World, page: u64) {
        let Some(at) = self.at(page) else { return };
        let expected = self.words[page as usize];
        world.access(at, |machine| {
            machine
                .try_load(at)
                .inspect(|&word| assert_eq!(word, expected, "{at}: a store is lost"))
                .is_some()
        });
    }

    pub(super) fn use_words(&mut self, world: &World, random: &mut Random) {
        for _ in 0..8 {
            let page = random.below(OWN);
            self.load(world, page);
            self.store(world, page, random.below(u64::MAX));
        }
    }

    pub(super) fn check(&self, world: &World) {
        (0..OWN).for_each(|page| self.load(world, page));
    }
}
