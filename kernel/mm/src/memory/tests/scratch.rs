//! Scratch blocks: host threads exchange them while memory comes, goes, goes offline and vanishes.

use core::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::Mutex as HostMutex;

use super::*;
use crate::fault_injection::Step;
use crate::hot_remove::{RemoveError, WaitLimit};
use crate::machine::CpuNr;
use crate::scratch::{ScratchBlock, Vanished};
use crate::sim::run_as;
use crate::vmalloc::{Progress, VmallocArena};

/// Proves the life of a block on one CPU: its pattern is found, a changed word is a bad page, its free makes it free, and
/// when its memory vanishes nothing of it is accessed. Fails when removed memory is read, or the block of a new region at
/// its place is taken for it.
#[test]
fn a_block_is_verified_and_may_vanish() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let range = PfnRange::of(Pfn(0x100000), 64 * MIB);
    plug(&memory, 0x100000, 64 * MIB, 7);
    let before = memory.totals();
    for order in [0, 4, 9].map(Order) {
        let block = memory.allocate_scratch(order, Some(NodeId(7)), 5).unwrap();
        assert_eq!((block.pages(), memory.verify_scratch(&block)), (order.pages(), Ok(0)));
        let machine = memory.machine();
        let at = crate::address_space::direct(block.head().start()).offset(8);
        machine.store(at, machine.load(at) ^ 1);
        assert_eq!(memory.verify_scratch(&block), Ok(1));
        assert_eq!(memory.free_scratch(block), Ok(()));
    }
    assert_eq!(memory.totals(), before);
    let [one, two] = [(); 2].map(|()| memory.allocate_scratch(Order(2), Some(NodeId(7)), 1).unwrap());
    memory.machine().surprise_remove(range);
    memory.surprise_remove(&arena, DeviceId(3)).unwrap();
    assert_eq!(memory.verify_scratch(&one), Err(Vanished));
    assert_eq!(memory.free_scratch(one), Err(Vanished));
    plug(&memory, 0x100000, 64 * MIB, 7);
    assert_eq!(memory.free_scratch(two), Err(Vanished));
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// What the CPUs share.
struct World {
    memory: Memory<SimMachine>,
    blocks: HostMutex<Vec<ScratchBlock>>,
    done: AtomicBool,
    failed: AtomicBool,
    operations: AtomicU64,
    /// Blocks that vanished.
    vanished: AtomicU64,
}

/// Ends the other CPUs' work, also when this one panics.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says that a CPU panics, so that the others do not wait for it.
struct Failing<'a>(&'a AtomicBool);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.store(std::thread::panicking(), Ordering::Relaxed);
    }
}

impl World {
    fn work(&self, cpu: u64) {
        let _failing = Failing(&self.failed);
        let mut random = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(2 * cpu + 1);
        while !self.done.load(Ordering::Relaxed) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let taken = {
                let mut blocks = self.blocks.lock().unwrap();
                let place = random as usize % 32;
                (place < blocks.len()).then(|| blocks.swap_remove(place))
            };
            match taken {
                Some(block) => self.end(block),
                None => {
                    let order = Order([0, 0, 0, 0, 1, 2, 3, 4][random as usize / 32 % 8]);
                    let node = (random / 256).is_multiple_of(4).then_some(NodeId(7));
                    if let Some(block) = self.memory.allocate_scratch(order, node, random) {
                        self.blocks.lock().unwrap().push(block);
                    }
                }
            }
            self.operations.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end(&self, block: ScratchBlock) {
        let verified = self.memory.verify_scratch(&block);
        assert!(matches!(verified, Ok(0) | Err(Vanished)), "{verified:?}");
        if self.memory.free_scratch(block).is_err() {
            self.vanished.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets the other CPUs work a while.
    fn pause(&self) {
        let from = self.operations.load(Ordering::Relaxed);
        while self.operations.load(Ordering::Relaxed) < from + 150 {
            assert!(!self.failed.load(Ordering::Relaxed), "a CPU has failed");
            std::thread::yield_now();
        }
    }
}

/// Proves that two CPUs allocate, fill, verify and free each other's blocks while memory is added, removed in order,
/// removed with an injected failure of each step, and surprise-removed: no removed frame is accessed (the simulation
/// panics then), no page is bad, each block is freed once, and all memory is free in the end. Fails when a surprise
/// removal does not wait for accesses, or when an orderly one does not wait for blocks.
#[test]
fn blocks_are_exchanged_while_memory_vanishes() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let before = memory.totals();
    let world = World {
        memory,
        blocks: HostMutex::new(Vec::new()),
        done: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        operations: AtomicU64::new(0),
        vanished: AtomicU64::new(0),
    };
    let memory = &world.memory;
    let clock = std::time::Instant::now();
    let micros = || clock.elapsed().as_micros() as u64;
    let range = PfnRange::of(Pfn(0x100000), 64 * MIB);
    let remove = || -> Result<(), RemoveError> {
        let mut removal = memory.begin_remove(DeviceId(3), &micros)?;
        let mut limit = WaitLimit::new(60_000_000);
        while memory.remove_step(&arena, &mut removal, 512, &micros)? == Progress::More {
            if let Some(error) = limit.check(removal.waiting(), micros()) {
                memory.abort_remove(&arena, removal);
                return Err(error);
            }
            std::thread::yield_now();
        }
        memory.finish_remove(&arena, removal, &micros).map(|_| ())
    };
    std::thread::scope(|scope| {
        let _ending = Ending(&world.done);
        for cpu in 1..3 {
            let world = &world;
            scope.spawn(move || run_as(CpuNr::new(cpu).unwrap(), || world.work(cpu as u64)));
        }
        for round in 0..6 {
            memory.machine().plug(range);
            memory.add(DeviceId(3), &[request(0x100000, 64 * MIB, 7)], &|| 0).unwrap();
            world.pause();
            if round % 2 == 0 {
                memory.surprise_remove(&arena, DeviceId(3)).unwrap();
            } else {
                for step in [Step::Isolate, Step::UnmapVmemmap, Step::UnmapDirectMap, Step::Remove] {
                    memory.inject(step, 1);
                    let refused = remove();
                    assert!(matches!(refused, Err(RemoveError::Injected { .. })), "{refused:?}");
                }
                remove().unwrap();
            }
            // From here on each access to it panics, and now, if a CPU has a translation.
            memory.machine().unplug(range);
            world.pause();
        }
    });
    let left = core::mem::take(&mut *world.blocks.lock().unwrap());
    left.into_iter().for_each(|block| world.end(block));
    assert!(world.vanished.load(Ordering::Relaxed) > 0, "no block was in memory that vanished");
    assert_eq!(world.memory.totals(), before);
    assert_invariants(&world.memory);
}
