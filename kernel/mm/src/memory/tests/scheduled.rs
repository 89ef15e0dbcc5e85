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

mod world;

use std::boxed::Box;
use std::vec::Vec;

use carapace_lock::schedule::spin;

use super::schedule::{Program, run};
use super::threads::Random;
use super::*;
use crate::addr::Block;
use crate::hot_remove::Target;
use crate::vmalloc::{AllocError, Amount, Progress, Request, Shape};
use world::{Counts, DIMMS, NODE, Own, World, expected};

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
