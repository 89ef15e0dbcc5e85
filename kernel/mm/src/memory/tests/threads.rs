//! Several CPUs in parallel: host threads allocate and free in each other's memory while memory is added, set offline and
//! removed. The tests prove: no frame is allocated twice, none is lost, all invariants hold whenever all CPUs stand still,
//! and no translation remains when memory is unplugged (the simulation panics then).

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::boxed::Box;
use std::sync::{Barrier, Mutex as HostMutex};

use super::*;
use crate::addr::Block;
use crate::hot_remove::{RemoveError, Target};
use crate::machine::CpuNr;
use crate::sim::flat::{FIRST, FlatMachine, Jittery};
use crate::sim::run_as;
use crate::vmalloc::{Progress, VmallocArena};

/// A generator of random numbers (xorshift64*).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

/// The CPUs' shared data.
struct World<'a, M> {
    memory: &'a Memory<M>,
    /// A bit for each allocated frame.
    taken: Vec<AtomicU64>,
    /// Blocks that a CPU allocated for others to free.
    exchanged: HostMutex<Vec<Block>>,
    /// Whether the CPUs are to free all they have and not to allocate.
    quiet: AtomicBool,
    /// The CPUs that have done so, one bit each.
    idle: AtomicU64,
    /// Whether they are to end.
    done: AtomicBool,
    /// Whether one of them has failed.
    failed: AtomicBool,
    /// How many CPUs work beside CPU 0.
    others: AtomicU32,
    seed: u64,
}

impl<'a, M: Machine + Sync> World<'a, M> {
    fn new(memory: &'a Memory<M>, frames: u64, seed: u64) -> Self {
        World {
            memory,
            taken: (0..frames.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            exchanged: HostMutex::new(Vec::new()),
            quiet: AtomicBool::new(false),
            idle: AtomicU64::new(0),
            done: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            others: AtomicU32::new(0),
            seed,
        }
    }

    fn take(&self, random: &mut Random) -> Option<Block> {
        let order = match random.below(16) {
            0..=7 => 0,
            8 | 9 => 9,
            10 => 10,
            other => other as u8 - 10,
        };
        let mobility = if random.below(6) == 0 { Mobility::Pinned } else { Mobility::Movable };
        let block = self.memory.allocate_block(Order(order), None, mobility)?;
        for pfn in block.range().each() {
            let (word, bit) = (&self.taken[pfn.0 as usize / 64], 1 << (pfn.0 % 64));
            assert_eq!(
                word.fetch_or(bit, Ordering::Relaxed) & bit,
                0,
                "{pfn} is given twice, seed {}",
                self.seed
            );
        }
        Some(block)
    }

    fn give(&self, block: Block) {
        for pfn in block.range().each() {
            self.taken[pfn.0 as usize / 64].fetch_and(!(1 << (pfn.0 % 64)), Ordering::Relaxed);
        }
        let freed = self.memory.free_block(block.head);
        assert_eq!(freed, Ok(block.order), "{block:?}, seed {}", self.seed);
    }

    /// What a CPU does until the end: it allocates and frees, in part what others allocated.
    fn work(&self, cpu: usize, most: usize) {
        let mut random = Random(self.seed ^ 0x9e37_79b9_7f4a_7c15 << cpu | 1);
        let mut held: Vec<Block> = Vec::new();
        while !self.done.load(Ordering::Relaxed) {
            if self.quiet.load(Ordering::Relaxed) {
                held.drain(..).for_each(|block| self.give(block));
                self.idle.fetch_or(1 << cpu, Ordering::Release);
                while self.quiet.load(Ordering::Acquire) && !self.done.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                self.idle.fetch_and(!(1 << cpu), Ordering::Relaxed);
                continue;
            }
            let fill = random.below(2 * most as u64) as usize >= held.len();
            match fill.then(|| self.take(&mut random)).flatten() {
                Some(block) if random.below(4) == 0 => self.exchanged.lock().unwrap().push(block),
                Some(block) => held.push(block),
                None if held.is_empty() => {}
                None => {
                    let one = random.below(held.len() as u64) as usize;
                    self.give(held.swap_remove(one));
                }
            }
            if random.below(4) == 0 {
                let block = self.exchanged.lock().unwrap().pop();
                block.into_iter().for_each(|block| self.give(block));
            }
            if random.below(64) == 0 {
                std::thread::yield_now();
            }
        }
        held.drain(..).for_each(|block| self.give(block));
    }

    /// Runs `first` on CPU 0 while `others` CPUs work.
    fn run(&self, others: usize, most: usize, first: impl FnOnce()) {
        self.others.store(others as u32, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for number in 1..=others {
                let cpu = CpuNr::new(number).unwrap();
                scope.spawn(move || {
                    let _failure = Failure(&self.failed);
                    run_as(cpu, || self.work(number, most));
                });
            }
            // If it fails, the others end all the same.
            let end = EndOf(&self.done);
            first();
            drop(end);
        });
        let left: Vec<Block> = self.exchanged.lock().unwrap().drain(..).collect();
        left.into_iter().for_each(|block| self.give(block));
        assert!(self.taken.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    /// Whether a frame of `range`, which consists of whole words, is allocated.
    fn is_used(&self, range: PfnRange) -> bool {
        let words = &self.taken[range.start.0 as usize / 64..range.end.0 as usize / 64];
        words.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Makes the CPUs free all they have and waits for `is_quiet`. They allocate again once `quiet` is reset.
    fn quiet_until(&self, is_quiet: impl Fn() -> bool) {
        self.quiet.store(true, Ordering::Relaxed);
        let left = || {
            let all: Vec<Block> = self.exchanged.lock().unwrap().drain(..).collect();
            all.into_iter().for_each(|block| self.give(block));
        };
        while self.idle.load(Ordering::Acquire).count_ones() < self.others.load(Ordering::Relaxed)
            || !is_quiet()
        {
            left();
            assert!(!self.failed.load(Ordering::Relaxed), "another CPU has failed");
            std::thread::yield_now();
        }
    }
}

/// Notes that a CPU has failed, so that no other waits for it.
struct Failure<'a>(&'a AtomicBool);

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Random numbers differ in each run; a failure prints its seed. `MM_SEED` repeats it as far as threads can be repeated.
pub(super) fn seed() -> u64 {
    let given = std::env::var("MM_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64))
}

/// How many rounds: `MM_ROUNDS` for a long run by hand.
pub(super) fn rounds(usual: u64) -> u64 {
    std::env::var("MM_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// Proves that CPUs that allocate and free with real atomics, in one region and in several, get no frame twice and lose
/// none, and that all invariants hold when they stand still. Fails when a bit of a group is lost, a cache is drained
/// while its CPU uses it, or a block is freed to the wrong region.
#[test]
fn threads_share_regions() {
    for regions in [1, 4] {
        let memory = Box::new(FlatMachine::<Jittery>::booted(1 << 15, regions));
        let before = memory.totals();
        for round in 0..rounds(2) {
            let world = World::new(&memory, FIRST.0 + (1 << 15), seed() + round);
            world.run(3, 200, || {
                for _ in 0..10 {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    // What looks needs no standstill, and what drains neither.
                    let mut errors = Vec::new();
                    memory.check(&mut |error| errors.push(error));
                    assert_eq!(errors, [], "seed {}", world.seed);
                    memory.drain_all();
                }
            });
            assert_eq!(memory.totals(), before);
            assert_invariants_of(&memory);
        }
    }
}

/// Proves that of several CPUs that free one block exactly one succeeds, whether they free it into their cache, into
/// their set of other regions' frames or under the region's lock, and that nothing is lost by it. Fails when a cache
/// takes a block that another CPU has freed in between.
#[test]
fn one_of_several_frees_succeeds() {
    let memory = Box::new(FlatMachine::<Jittery>::booted(1 << 14, 4));
    let before = memory.totals();
    for order in [0, 9] {
        let shared = HostMutex::new(Vec::new());
        let (start, end) = (Barrier::new(3), Barrier::new(3));
        let freed = AtomicU64::new(0);
        let rounds = 10 * rounds(6);
        std::thread::scope(|scope| {
            for number in 1..3 {
                let cpu = CpuNr::new(number).unwrap();
                let (memory, shared, start, end, freed) = (&memory, &shared, &start, &end, &freed);
                scope.spawn(move || {
                    run_as(cpu, || {
                        for _ in 0..rounds {
                            start.wait();
                            let blocks: Vec<Block> = shared.lock().unwrap().clone();
                            for block in blocks {
                                let result = memory.free_block(block.head);
                                freed.fetch_add(u64::from(result.is_ok()), Ordering::Relaxed);
                            }
                            end.wait();
                        }
                    });
                });
            }
            for round in 0..rounds {
                let blocks =
                    (0..8).map(|_| memory.allocate_block(Order(order), None, Mobility::Movable).unwrap());
                *shared.lock().unwrap() = blocks.collect();
                if round % 2 == 0 {
                    memory.drain_all();
                }
                start.wait();
                end.wait();
                assert_eq!(freed.swap(0, Ordering::Relaxed), 8, "order {order}");
            }
        });
        assert_eq!(memory.totals(), before);
        assert_invariants_of(&memory);
    }
}

/// Proves the same when memory runs out, so that each failing allocation drains all other caches. Fails if frames in
/// another CPU's cache cannot be allocated, or two draining CPUs wait for each other.
#[test]
fn threads_run_out_of_memory() {
    let memory = Box::new(FlatMachine::<Jittery>::booted(1 << 12, 2));
    let before = memory.totals();
    let world = World::new(&memory, FIRST.0 + (1 << 12), seed());
    world.run(3, 4000, || std::thread::sleep(std::time::Duration::from_millis(50 * rounds(4))));
    assert_eq!(memory.totals(), before);
    assert_invariants_of(&memory);
}

fn assert_invariants_of<M: Machine>(memory: &Memory<M>) {
    let mut errors = Vec::new();
    memory.check(&mut |error| errors.push(error));
    assert_eq!(errors, []);
}

/// Proves that DIMMs come and go while other CPUs allocate and free in them: each removal is refused by name or
/// completes, one that completes leaves no translation on any CPU (the simulation panics at `unplug` otherwise), and no
/// frame of isolated memory is given. Fails when a cache still knows a region that goes, a handle finds the next region
/// in its slot, or a flush is missing.
#[test]
fn dimms_come_and_go_under_threads() {
    let memory = Box::new(booted(Support::No));
    let before = memory.totals();
    let arena = VmallocArena::new();
    let dimms = [PfnRange::of(Pfn(0x100000), 40 * MIB), PfnRange::of(Pfn(0x110000), 20 * MIB)];
    let world = World::new(&memory, dimms[1].end.0, seed());
    let mut removed = 0;
    world.run(2, 120, || {
        let mut random = Random(world.seed | 1);
        for _ in 0..rounds(6) {
            for (number, dimm) in dimms.iter().enumerate() {
                memory.machine().plug(*dimm);
                let request =
                    AddRequest { base: dimm.start.start(), size: dimm.pages() << 12, node: NodeId(1) };
                memory.add(DeviceId(number as u32), &[request], &|| 0).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(random.below(8)));
            for (number, dimm) in dimms.iter().enumerate() {
                let mut quiet = false;
                loop {
                    match remove(&memory, &arena, DeviceId(number as u32)) {
                        Ok(()) => break,
                        // The threads' memory there is pinned, or movable without a mapping in the arena.
                        Err(
                            RemoveError::Pinned(_) | RemoveError::InUse { .. } | RemoveError::Busy { .. },
                        ) if !quiet => {
                            quiet = true;
                            world.quiet_until(|| !world.is_used(*dimm));
                        }
                        Err(_) if quiet => std::thread::yield_now(),
                        Err(error) => panic!("{error}, seed {}", world.seed),
                    }
                }
                world.quiet.store(false, Ordering::Relaxed);
                memory.machine().unplug(*dimm);
                removed += 1;
            }
        }
    });
    assert!(removed > 0);
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

fn remove(memory: &Memory<SimMachine>, arena: &VmallocArena, device: DeviceId) -> Result<(), RemoveError> {
    let mut removal = memory.begin_remove(device, &|| 0)?;
    for _ in 0..1000 {
        if memory.remove_step(arena, &mut removal, 512, &|| 0)? == Progress::Done {
            return memory.finish_remove(arena, removal, &|| 0).map(|_| ());
        }
        if let Some(error) = removal.waiting() {
            memory.abort_remove(arena, removal);
            return Err(error);
        }
    }
    panic!("the removal of {device:?} does not end");
}

/// Proves that a part of a region goes offline and comes back under CPUs that allocate and free in it, with no frame of
/// the offline part given meanwhile. Fails when a cache keeps a frame of the part, or learns of the region meanwhile.
#[test]
fn a_part_goes_offline_under_threads() {
    let memory = Box::new(FlatMachine::<Jittery>::booted(1 << 16, 1));
    let arena = VmallocArena::new();
    let before = memory.totals();
    let part = PfnRange::of(Pfn(FIRST.0 + (1 << 15)), 1 << 15);
    let world = World::new(&memory, FIRST.0 + (1 << 16), seed());
    world.run(2, 300, || {
        for _ in 0..rounds(10) {
            // Isolated while the others allocate in it; then they free their frames there.
            let mut offlining = memory.begin_offline(Target::Frames(part), &|| 0).unwrap();
            world.quiet_until(|| !world.is_used(part));
            loop {
                match memory.offline_step(&arena, &mut offlining, 512, &|| 0) {
                    Ok(Progress::Done) => break,
                    Ok(Progress::More) => {}
                    Err(error) => panic!("{error}, seed {}", world.seed),
                }
            }
            memory.finish_offline(&arena, offlining).unwrap();
            world.quiet.store(false, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert!(!world.is_used(part), "seed {}", world.seed);
            memory.online(Target::Frames(part), None).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    assert_eq!(memory.totals(), before);
    assert_invariants_of(&memory);
}
