//! What one CPU does to memory that another one has in its cache, in a fixed order on one thread: [`run_as`] says which
//! CPU is at work.

use std::boxed::Box;
use std::vec::Vec;

use super::*;
use crate::addr::PAGE_SIZE;
use crate::address_space::ALLOC;
use crate::hot_remove::Target;
use crate::info::{Holder, PageState};
use crate::machine::CpuNr;
use crate::sim::run_as;
use crate::vmalloc::{FrameProvider, Progress, VmallocArena};

const DIMM: Pfn = Pfn(0x100000);

fn cpu(number: usize) -> CpuNr {
    CpuNr::new(number).unwrap()
}

/// A single movable frame that CPU 1 allocates.
fn single(memory: &Memory<SimMachine>) -> Pfn {
    run_as(cpu(1), || memory.allocate_block(Order(0), None, Mobility::Movable)).unwrap().head
}

/// Proves that frames in another CPU's cache count as free everywhere, without asking that CPU, and can be had when
/// nothing else is left, by asking it once. Fails when statistics leave them out or look by a request, or an allocation
/// fails while another CPU has the frames.
#[test]
fn frames_in_other_caches_are_free() {
    let memory = Box::new(booted(Support::No));
    let id = plug(&memory, DIMM.0, GIB, 1).ids[0];
    let before = (memory.totals(), memory.free_blocks(id).unwrap().iter().sum::<u64>());
    let pfn = single(&memory);
    run_as(cpu(1), || memory.free_block(pfn)).unwrap();
    let requests = memory.machine().counts().requests;
    assert_eq!(memory.page(pfn).state, PageState::Free);
    assert_eq!(memory.totals(), before.0);
    let blocks = memory.free_blocks(id).unwrap();
    let pages: u64 = (0..).zip(blocks).map(|(order, blocks)| blocks << order).sum();
    assert_eq!(pages, memory.resource(id).unwrap().free_pages);
    assert_invariants(&memory);
    assert_eq!(memory.machine().counts().requests, requests, "looking asks no CPU");
    let stats = memory.cpu_stats(cpu(1));
    assert_eq!((stats.allocations, stats.frees, stats.cached_pages), (1, 1, 128));

    let all = memory.resource(id).unwrap().usable_pages;
    let run = memory.allocate_run(all, None, Mobility::Movable).expect("CPU 1 gives its frames back");
    assert_eq!(memory.machine().counts().requests, requests + 1);
    memory.free_run(run).unwrap();
    assert_eq!(memory.totals(), before.0);
}

/// Proves that frames of another region are collected, count as free, and go back with that region's next drain; also
/// when the CPU that freed them did not allocate them. Fails when such a frame is lost or counted twice.
#[test]
fn frames_of_other_regions_are_collected() {
    let memory = Box::new(booted(Support::No));
    plug(&memory, DIMM.0, GIB, 1);
    let held: Vec<Pfn> = (0..100).map(|_| single(&memory)).collect();
    // CPU 2's cache serves the larger DIMM.
    plug(&memory, 0x200000, 4 * GIB, 1);
    let before = memory.totals();
    run_as(cpu(2), || {
        let own = memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
        held.iter().for_each(|&pfn| assert_eq!(memory.free_block(pfn), Ok(Order(0))));
        assert!(held.iter().all(|&pfn| memory.free_block(pfn).is_err()), "each is free");
        memory.free_block(own.head).unwrap();
    });
    assert_eq!(memory.totals().free_pages, before.free_pages + 100);
    assert_invariants(&memory);
    assert!(memory.drain_all());
    assert_eq!(memory.totals().free_pages, before.free_pages + 100);
    assert_invariants(&memory);
}

/// Proves that no cache has a frame of memory that is isolated, whether it was there before or is freed after, in its
/// own region or in another one, and that a removal asks the other CPUs once for the frames. Fails when a drain leaves
/// out a cache, or a cache learns of the region meanwhile.
#[test]
fn isolated_memory_is_in_no_cache() {
    for attached in [1, 2] {
        let memory = Box::new(booted(Support::No));
        let id = plug(&memory, DIMM.0, GIB, 1).ids[0];
        let held: Vec<Pfn> = (0..100).map(|_| single(&memory)).collect();
        if attached == 2 {
            plug(&memory, 0x200000, 4 * GIB, 1);
        }
        let free = |cpu_number, from: usize, to: usize| {
            run_as(cpu(cpu_number), || {
                held[from..to].iter().for_each(|&pfn| assert!(memory.free_block(pfn).is_ok()))
            });
        };
        free(attached, 0, 50);
        let part = PfnRange::of(DIMM, GIB / 2);
        let requests = memory.machine().counts().requests;
        let mut offlining = memory.begin_offline(Target::Frames(part), &|| 0).unwrap();
        assert_eq!(memory.machine().counts().requests, requests + 1);
        // A cache that is filled meanwhile is not filled from this region.
        let more = (attached == 1).then(|| single(&memory));
        free(attached, 50, 100);
        assert_eq!(memory.cpu_stats(cpu(1)).cached_pages + memory.cpu_stats(cpu(2)).cached_pages, 0);
        let arena = VmallocArena::new();
        while memory.offline_step(&arena, &mut offlining, 512, &|| 0).unwrap() != Progress::Done {}
        let offlined = memory.finish_offline(&arena, offlining).unwrap();
        assert_eq!(offlined.pages, memory.resource(id).unwrap().offline_pages);
        assert!(held.iter().all(|&pfn| memory.page(pfn).state == PageState::Offline));
        more.into_iter().for_each(|pfn| assert!(memory.free_block(pfn).is_ok()));
        assert_invariants(&memory);
    }
}

/// Proves that an entry of the index that was read before its region went does not lead to the next region in the same
/// slot, and that a region that was chosen before it was isolated serves no allocation. Fails when a lookup is not
/// compared under the lock.
#[test]
fn an_outdated_lookup_finds_nothing() {
    let memory = Box::new(booted(Support::No));
    plug(&memory, DIMM.0, GIB, 1);
    let device = DeviceId(3);
    let old = memory.index.read().find(DIMM).copied().unwrap();
    let arena = VmallocArena::new();
    let mut removal = memory.begin_remove(device, &|| 0).unwrap();
    assert!(memory.locked(old.slot, |_, _| ()).is_some());
    assert_eq!(memory.locked_in_use(old.slot, |_, _| Some(())), None);
    while memory.remove_step(&arena, &mut removal, 512, &|| 0).unwrap() != Progress::Done {}
    memory.finish_remove(&arena, removal, &|| 0).unwrap();
    memory.machine().unplug(PfnRange::of(DIMM, GIB));
    assert!(memory.with_region(old, |_, _| ()).is_none());
    plug(&memory, DIMM.0, GIB, 1);
    let new = memory.index.read().find(DIMM).copied().unwrap();
    assert_eq!(new.slot, old.slot);
    assert!(memory.with_region(old, |_, _| ()).is_none(), "another region has the slot");
    assert!(memory.with_region(new, |_, _| ()).is_some());
}

/// Proves that a block which is split, by isolating a part of it, between its allocation and the record of its owner has its
/// owner in both halves, and is freed whole. Fails when either names only the head that was allocated.
#[test]
fn a_block_that_is_split_has_its_owner_in_all_parts() {
    let memory = Box::new(booted(Support::No));
    plug(&memory, DIMM.0, GIB, 1);
    let block =
        run_as(cpu(1), || memory.allocate_block(Order(9), Some(NodeId(1)), Mobility::Movable)).unwrap();
    let before = memory.totals().free_pages;
    let middle = block.head.offset(0x120);
    let part = PfnRange::new(middle, block.range().end);
    let offlining = memory.begin_offline(Target::Frames(part), &|| 0).unwrap();
    let at = ALLOC.start;
    run_as(cpu(1), || memory.set_owner(block.range(), at));
    assert_eq!(memory.page(block.head).holder, Holder::Mapping(at));
    assert_eq!(memory.page(middle).holder, Holder::Mapping(at.offset(0x120 * PAGE_SIZE)));
    run_as(cpu(1), || memory.free_owned(block.range()));
    memory.abort_offline(&VmallocArena::new(), offlining);
    assert_eq!(memory.totals().free_pages, before + 512);
    assert_invariants(&memory);
}

/// Proves that a surprise removal, which walks over all blocks, reads no rmap of frames that lie in another CPU's cache,
/// since those have none yet (the simulation panics at a word that was never written). Fails when it does.
#[test]
fn cached_frames_have_no_owner() {
    let memory = Box::new(booted(Support::No));
    let pfn = single(&memory);
    plug(&memory, DIMM.0, GIB, 1);
    memory.surprise_remove(&VmallocArena::new(), DeviceId(3)).unwrap();
    run_as(cpu(1), || memory.free_block(pfn)).unwrap();
    assert_invariants(&memory);
}
