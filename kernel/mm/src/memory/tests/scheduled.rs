//! The whole core on 2 to 4 CPUs, in orders that a seed decides (`schedule`), on the simulated machine, whose TLB per CPU
//! keeps each translation until it is flushed.
//!
//! ```text
//!  CPU 0     DIMMs come, go, vanish; parts go offline and come back; caches are drained
//!  the rest  allocate and free blocks, their own and others'; allocate, fill, verify and free in the vmalloc region;
//!            read and write memory that migrates, and try again when a fault says so
//!  all       meet at the end of each round: all invariants hold, each byte is there
//! ```
//!
//! Runs: 12 seeds by default, `MM_ROUNDS` for more; `MM_SEED` repeats the one that a failure prints.

use std::boxed::Box;
use std::collections::BTreeSet;
use std::sync::Mutex as HostMutex;
use std::vec::Vec;

use carapace_lock::schedule::spin;

use super::schedule::{Program, run};
use super::threads::Random;
use super::*;
use crate::addr::{Block, PAGE_SIZE, VirtAddr};
use crate::error::FreeError;
use crate::fault::Fault;
use crate::hot_remove::{RemoveError, Target};
use crate::vmalloc::{AllocError, Allocation, Amount, Progress, Request, Shape, VmallocArena};

/// Two DIMMs that share a section and page tables, and one apart. Any of them vanishes.
const DIMMS: [PfnRange; 3] = [
    PfnRange::of(Pfn(0x100000), 6 * MIB),
    PfnRange::of(Pfn(0x100000 + 6 * MIB), 4 * MIB),
    PfnRange::of(Pfn(0x180000), 4 * MIB),
];
const NODE: NodeId = NodeId(7);
/// Pages of each CPU's own allocation, of which it reads and writes a word each.
const OWN: u64 = 24;

/// What the CPUs share.
struct World {
    memory: Box<Memory<SimMachine>>,
    arena: Box<VmallocArena>,
    cpus: usize,
    seed: u64,
    taken: HostMutex<BTreeSet<Pfn>>,
    /// Blocks that a CPU allocated for others to free.
    exchanged: HostMutex<Vec<Block>>,
    /// Allocations that any CPU verifies or frees.
    allocations: HostMutex<Vec<Allocation>>,
    arrived: Shared<usize>,
    meetings: Shared<u64>,
    /// The DIMM that vanished in this round.
    vanished: Shared<Option<PfnRange>>,
    /// Whether the CPUs free what they have at the end of this round.
    empties: Shared<bool>,
    counts: Counts,
}

/// What has succeeded.
#[derive(Debug, Default)]
struct Counts {
    removed: Shared<u64>,
    offlined: Shared<u64>,
    vanished: Shared<u64>,
    faults: Shared<u64>,
    verified: Shared<u64>,
}

/// A value that the CPUs share. They run in turn, so nothing waits here.
#[derive(Debug, Default)]
struct Shared<T>(HostMutex<T>);

impl<T: Copy> Shared<T> {
    fn new(value: T) -> Shared<T> {
        Shared(HostMutex::new(value))
    }

    fn get(&self) -> T {
        *self.0.lock().unwrap()
    }

    fn set(&self, value: T) {
        *self.0.lock().unwrap() = value;
    }
}

fn more(count: &Shared<u64>) {
    count.set(count.get() + 1);
}

impl World {
    fn new(seed: u64, cpus: usize) -> World {
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

    fn random(&self, cpu: usize) -> Random {
        Random::new(self.seed.wrapping_mul(64) + cpu as u64)
    }

    /// Waits until all CPUs are here.
    fn meet(&self) {
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
    fn others_wait(&self) -> bool {
        self.arrived.get() + 1 == self.cpus
    }

    fn take(&self, random: &mut Random) -> Option<Block> {
        let order = Order([0, 0, 0, 9, 1, 4][random.below(6) as usize]);
        let node = (random.below(3) == 0).then_some(NODE);
        let block = self.memory.allocate_block(order, node, Mobility::Movable)?;
        let mut taken = self.taken.lock().unwrap();
        block.range().each().for_each(|pfn| assert!(taken.insert(pfn), "{pfn} is given twice"));
        Some(block)
    }

    fn give(&self, block: Block) {
        let vanished = || self.vanished.get().is_some_and(|dimm| dimm.contains(block.head));
        block.range().each().for_each(|pfn| assert!(self.taken.lock().unwrap().remove(&pfn)));
        // In parts, if it was split at the border of memory that goes offline.
        match self.memory.free_run(block.range()) {
            Err(FreeError::Absent { .. }) if vanished() => {}
            freed => assert_eq!(freed, Ok(()), "{block:?}"),
        }
    }

    /// Makes an allocation, fills some of it, and leaves it to any CPU.
    fn allocate(&self, random: &mut Random) {
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

    fn verify(&self, random: &mut Random) {
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

    fn free(&self, random: &mut Random) {
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
    fn access(&self, at: VirtAddr, access: impl Fn(&SimMachine) -> bool) -> bool {
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
    fn work(&self, cpu: usize, rounds: u64) {
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
    fn direct(&self, rounds: u64) {
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
    fn exchange_ends(&self) {
        while !self.others_wait() {
            spin();
        }
        let left: Vec<Block> = self.exchanged.lock().unwrap().drain(..).collect();
        left.into_iter().for_each(|block| self.give(block));
    }

    /// Every allocation has its bytes, or is lost.
    fn each_is_there(&self) {
        for one in self.allocations.lock().unwrap().iter() {
            match self.arena.verify(&*self.memory, one.id, 0, 1) {
                Ok(verified) => assert_eq!(verified.bad, None),
                Err(AllocError::Lost { .. }) => assert!(self.counts.vanished.get() > 0),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Whether an evacuation that reported this goes on: others change what it waits for.
    fn goes_on(&self, waiting: bool, tries: &mut u32) -> bool {
        if waiting {
            spin();
            *tries += 1;
        }
        *tries < 30 && !(waiting && self.others_wait())
    }

    /// Removes a DIMM. `false` when what others hold there kept it.
    fn remove(&self, number: usize, random: &mut Random) -> bool {
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

    fn try_remove(&self, number: usize, random: &mut Random) -> Result<(), RemoveError> {
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
    fn offline(&self, dimm: PfnRange, random: &mut Random) {
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

    fn try_offline(&self, part: PfnRange, random: &mut Random) -> Result<(), RemoveError> {
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
    fn vanish(&self, number: usize) {
        self.vanished.set(Some(DIMMS[number]));
        more(&self.counts.vanished);
        self.memory.surprise_remove(&self.arena, DeviceId(number as u32 + 1)).unwrap();
        self.memory.machine().unplug(DIMMS[number]);
    }

    /// Everything goes, and the machine is as it was.
    fn end(&self, before: crate::info::Totals) {
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
fn expected(error: RemoveError) {
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
struct Own {
    one: Option<Allocation>,
    words: Vec<u64>,
}

impl Own {
    fn new(world: &World) -> Own {
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
    fn renew(&mut self, world: &World) {
        self.free(world);
        *self = Own::new(world);
    }

    fn free(&mut self, world: &World) {
        if let Some(one) = self.one.take() {
            world.arena.free(&*world.memory, one.id).unwrap();
        }
    }

    fn at(&self, page: u64) -> Option<VirtAddr> {
        self.one.map(|one| one.start.offset(page * PAGE_SIZE + page * 8))
    }

    fn store(&mut self, world: &World, page: u64, value: u64) {
        let Some(at) = self.at(page) else { return };
        if world.access(at, |machine| machine.try_store(at, value)) {
            self.words[page as usize] = value;
        }
    }

    fn load(&self, world: &World, page: u64) {
        let Some(at) = self.at(page) else { return };
        let expected = self.words[page as usize];
        world.access(at, |machine| {
            machine
                .try_load(at)
                .inspect(|&word| assert_eq!(word, expected, "{at}: a store is lost"))
                .is_some()
        });
    }

    fn use_words(&mut self, world: &World, random: &mut Random) {
        for _ in 0..8 {
            let page = random.below(OWN);
            self.load(world, page);
            self.store(world, page, random.below(u64::MAX));
        }
    }

    fn check(&self, world: &World) {
        (0..OWN).for_each(|page| self.load(world, page));
    }
}

/// Runs two programs on as many CPUs with 30 seeds (`MM_ROUNDS`: 10 times as many), CPU 0's with a delay, on a machine with
/// the DIMM `number`. Then every invariant holds. Returns how many page faults there were.
fn at_once(number: usize, programs: impl Fn(&World) -> [Program<'_>; 2]) -> u64 {
    let mut faults = 0;
    let first = super::threads::seed() >> 10;
    for seed in first..first + 10 * super::threads::rounds(3) {
        let world = World::new(seed, 2);
        let dimm = DIMMS[number];
        world.memory.machine().plug(dimm);
        let request = request(dimm.start.0, dimm.pages(), NODE.0);
        world.memory.add(DeviceId(number as u32 + 1), &[request], &|| 0).unwrap();
        let delay = Random::new(seed).below(1500);
        let [zero, one] = programs(&world);
        let zero = move || {
            (0..delay).for_each(|_| carapace_lock::schedule::step());
            zero();
        };
        run(seed, 3000, Vec::from([Box::new(zero) as Program<'_>, one]));
        assert_invariants(&world.memory);
        faults += world.counts.faults.get();
    }
    faults
}

/// A scattered movable allocation of `pages` pages, on the DIMMs' node.
fn scattered(pages: u64) -> Request {
    let (amount, mobility) = (Amount::Pages(pages), Mobility::Movable);
    Request { amount, node: Some(NODE), mobility, shape: Shape::Scattered }
}

/// Sets offline what lies behind a border inside of blocks, while the other CPU does something until they meet. After that
/// nothing is waited for.
fn offline_behind_a_border(world: &World, dimm: PfnRange) {
    let part = PfnRange::new(dimm.start.offset(3 * MIB + 0x20), dimm.end);
    let mut offlining = world.memory.begin_offline(Target::Frames(part), &|| 0).unwrap();
    world.meet();
    for tries in 0.. {
        match world.memory.offline_step(&world.arena, &mut offlining, 512, &|| 0) {
            Ok(Progress::Done) => break,
            Ok(Progress::More) => assert!(tries < 50, "{:?}", offlining.waiting()),
            Err(error) => panic!("{error}"),
        }
    }
    world.memory.finish_offline(&world.arena, offlining).unwrap();
}

/// Proves that memory which a CPU allocates while a part of a DIMM is isolated, on both sides of the border, goes to other
/// memory as soon as the allocation is made. Fails when a block that is split gets an owner in its first half only.
#[test]
fn what_is_allocated_at_the_border_migrates() {
    at_once(0, |world| {
        let allocates = || {
            match world.arena.allocate(&*world.memory, &scattered(4 * MIB)) {
                Ok(_) | Err(AllocError::NotEnough { .. } | AllocError::RanOut { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            world.meet();
        };
        let offlines = || {
            // From the moment at which the block at the border is allocated.
            let border = DIMMS[0].start.offset(3 * MIB + 0x20);
            for _ in 0..20_000 {
                if world.memory.page(border).state == crate::info::PageState::Movable {
                    break;
                }
                spin();
            }
            offline_behind_a_border(world, DIMMS[0]);
        };
        [Box::new(offlines), Box::new(allocates)]
    });
}

/// Proves that an allocation is freed as a whole while a part of a DIMM is isolated, whose border splits its blocks. Fails
/// when the second half of a block stays allocated.
#[test]
fn what_is_freed_at_the_border_is_freed_whole() {
    at_once(0, |world| {
        let one = world.arena.allocate(&*world.memory, &scattered(5 * MIB)).unwrap();
        let frees = move || {
            world.arena.free(&*world.memory, one.id).unwrap();
            world.meet();
        };
        let offlines = || {
            offline_behind_a_border(world, DIMMS[0]);
            let id = world.memory.resource_of(DIMMS[0].start).unwrap();
            let resource = world.memory.resource(id).unwrap();
            assert_eq!(resource.free_pages + resource.offline_pages, resource.usable_pages);
        };
        [Box::new(offlines), Box::new(frees)]
    });
}

/// Proves that a CPU which reads and writes memory that goes offline meets page faults, all to be tried again, and that no
/// store is lost. Fails when the flush is left out, comes after the copy, or a fault is called real.
#[test]
fn memory_in_use_migrates() {
    let faults = at_once(0, |world| {
        let uses = || {
            let mut random = world.random(1);
            let mut own = Own::new(world);
            world.meet();
            while !world.empties.get() {
                own.use_words(world, &mut random);
                // By priority, the other CPU would not run otherwise.
                spin();
            }
            own.check(world);
        };
        let offlines = || {
            world.meet();
            let dimm = DIMMS[0];
            while let Err(error) = world.try_offline(dimm, &mut world.random(0)) {
                expected(error);
            }
            world.empties.set(true);
        };
        [Box::new(offlines), Box::new(uses)]
    });
    assert!(faults > 0);
}

/// Proves that an allocation can be freed while its memory is removed by surprise: it is freed before, or lost and freed.
/// Fails when the CPU that frees finds memory gone of an allocation that is not lost yet.
#[test]
fn an_allocation_is_freed_before_or_lost() {
    at_once(0, |world| {
        let one = world.arena.allocate(&*world.memory, &scattered(900)).unwrap();
        let frees = move || world.arena.free(&*world.memory, one.id).unwrap();
        [Box::new(|| world.vanish(0)), Box::new(frees)]
    });
}

/// Proves that two CPUs which drain all caches at once, while both have cached blocks, do so one after the other. Fails when
/// the lock for that is not taken.
#[test]
fn caches_are_drained_by_one_cpu_at_a_time() {
    at_once(0, |world| {
        let drains = || {
            for _ in 0..20 {
                let held: Vec<Block> = (0..3)
                    .filter_map(|_| world.memory.allocate_block(Order(0), None, Mobility::Movable))
                    .collect();
                held.into_iter().for_each(|block| assert!(world.memory.free_block(block.head).is_ok()));
                world.memory.drain_all();
            }
        };
        [Box::new(drains), Box::new(drains)]
    });
}

/// Runs one seed. Returns what succeeded.
fn run_seed(seed: u64) -> Counts {
    let mut random = Random::new(seed);
    let cpus = 2 + random.below(3) as usize;
    let rounds = 6;
    let world = World::new(seed, cpus);
    let before = world.memory.totals();
    let mut programs = Vec::from([Box::new(|| world.direct(rounds)) as Program<'_>]);
    for cpu in 1..cpus {
        let world = &world;
        programs.push(Box::new(move || {
            world.work(cpu, rounds);
        }));
    }
    let steps = run(seed, 400_000, programs);
    if std::env::var("MM_VERBOSE").is_ok() {
        std::eprintln!("seed {seed}: {cpus} CPUs, {steps} steps, {:?}", world.counts);
    }
    world.end(before);
    world.counts
}

/// Proves the whole core on several CPUs, in many orders. Fails when a flush, a fence, a wait or a second look at what
/// another CPU may have changed is left out: memory is given twice or lost, a store is lost, a fault is called real, an
/// invariant does not hold, a translation is left when memory is unplugged, or all CPUs wait.
#[test]
fn cpus_in_many_orders() {
    let given = std::env::var("MM_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    if let Some(seed) = given {
        run_seed(seed);
        return;
    }
    let first = super::threads::seed() >> 10;
    let all = Counts::default();
    for seed in first..first + super::threads::rounds(12) {
        let one = run_seed(seed);
        for (all, one) in [
            (&all.removed, &one.removed),
            (&all.offlined, &one.offlined),
            (&all.vanished, &one.vanished),
            (&all.faults, &one.faults),
            (&all.verified, &one.verified),
        ] {
            all.set(all.get() + one.get());
        }
    }
    for count in [&all.removed, &all.offlined, &all.verified] {
        assert!(count.get() > 0, "{all:?}");
    }
}
