//! Tests of the checks at the start of a migration: which single frames in use migrate one by one, and which block's
//! rmap entry is believed.

use super::hot_remove::{insert, remove};
use super::migrate::{DIMM, allocate, frames};
use super::*;
use crate::addr::PAGE_SIZE;
use crate::hot_remove::RemoveError;
use crate::info::DeviceId;
use crate::vmalloc::{AllocationState, Amount, FrameProvider, Progress, Request, Shape, VmallocArena};

/// Proves that a block in use whose rmap entry names an address that maps another frame stays, and is named before
/// anything migrates: a single frame amid others, and a larger block. Fails when the entry is believed: then the frames
/// of the page at this address and of the block change places.
#[test]
fn a_wrong_owner_is_not_believed() {
    for order in [Order(0), Order(3)] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, DIMM, 7);
        let make = |shape| allocate(&memory, &arena, 100, Some(7), Mobility::Movable, shape).unwrap();
        make(Shape::Frames);
        let block = memory.allocate_block(order, Some(NodeId(7)), Mobility::Movable).unwrap();
        let one = make(if order == Order(0) { Shape::Frames } else { Shape::Scattered });
        memory.set_owner(block.range(), one.start);
        let before = memory.machine().leaves();
        let RemoveError::Pinned(named) = remove(&memory, &arena, 1).unwrap_err() else { panic!() };
        assert_eq!((named.pfn, named.pages), (block.head, order.pages()));
        assert!(memory.machine().leaves() == before, "something has migrated");
        assert_contents(&memory, &arena);
        memory.free_block(block.head).unwrap();
        remove(&memory, &arena, 1).unwrap();
        memory.machine().unplug(DIMM);
        assert_contents(&memory, &arena);
    }
}

/// Proves that a block that a growing allocation has and does not map yet is waited for, by the allocation's name, and
/// that its mapped blocks do not hold the removal up. Fails when the block counts as one that no allocation has.
#[test]
fn a_block_about_to_be_mapped_is_waited_for() {
    for order in [Order(0), Order(3)] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, DIMM, 7);
        let (node, mobility) = (Some(NodeId(7)), Mobility::Movable);
        let request = Request { amount: Amount::Pages(3000), node, mobility, shape: Shape::Scattered };
        let mut growing = arena.begin(&memory, &request).unwrap();
        assert_eq!(arena.grow(&memory, &mut growing, 600), Ok(Progress::More));
        let block = memory.allocate_block(order, node, mobility).unwrap();
        let start = arena.get(growing.id()).unwrap().start;
        memory.set_owner(block.range(), start.offset(2900 * PAGE_SIZE));
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        for _ in 0..3 {
            assert_eq!(memory.remove_step(&arena, &mut removal, 600, &|| 0), Ok(Progress::More));
            assert_eq!(removal.waiting(), Some(RemoveError::Busy { id: growing.id() }));
        }
        memory.free_block(block.head).unwrap();
        while memory.remove_step(&arena, &mut removal, 600, &|| 0).unwrap() == Progress::More {}
        memory.finish_remove(&arena, removal, &|| 0).unwrap();
        memory.machine().unplug(DIMM);
        arena.cancel(&memory, growing).unwrap();
        assert_invariants(&memory);
    }
}

/// Proves that a contiguous allocation that is mapped and not finished is waited for, also one of a single frame. Fails
/// when its blocks migrate one by one: then it is no run when it is finished.
#[test]
fn a_run_about_to_be_finished_is_waited_for() {
    for pages in [1, 600] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, DIMM, 7);
        let (node, mobility) = (Some(NodeId(7)), Mobility::Movable);
        let request = Request { amount: Amount::Pages(pages), node, mobility, shape: Shape::Contiguous };
        let mut growing = arena.begin(&memory, &request).unwrap();
        while arena.grow(&memory, &mut growing, pages).unwrap() == Progress::More {}
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        for _ in 0..3 {
            assert_eq!(memory.remove_step(&arena, &mut removal, 600, &|| 0), Ok(Progress::More));
            assert_eq!(removal.waiting(), Some(RemoveError::Busy { id: growing.id() }));
        }
        let one = arena.finish(&memory, growing).unwrap();
        arena.fill(&memory, one.id, 0, pages).unwrap();
        while memory.remove_step(&arena, &mut removal, 600, &|| 0).unwrap() == Progress::More {}
        memory.finish_remove(&arena, removal, &|| 0).unwrap();
        memory.machine().unplug(DIMM);
        let frames = frames(&memory, &one);
        assert!(frames.windows(2).all(|two| two[0].0.offset(two[0].1.pages()) == two[1].0), "{frames:?}");
        assert_contents(&memory, &arena);
    }
}

/// Proves that a removal waits for single frames of an allocation that is being freed, and copies none of them, whether
/// it is freed before the survey or behind it; other frames migrate. Fails when frames are copied that are about to be
/// free.
#[test]
fn frames_being_freed_are_waited_for() {
    for surveyed in [false, true] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, DIMM, 7);
        let make = || allocate(&memory, &arena, 300, Some(7), Mobility::Movable, Shape::Frames).unwrap();
        let (freed, kept) = (make(), make());
        let before = frames(&memory, &freed);
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        let mut step = || memory.remove_step(&arena, &mut removal, 600, &|| 0);
        if surveyed {
            assert_eq!(step(), Ok(Progress::More));
        }
        assert_eq!(arena.free_step(&memory, freed.id, 10), Ok(Progress::More));
        for _ in 0..4 {
            assert_eq!(step(), Ok(Progress::More));
            assert_eq!(arena.get(freed.id).map(|one| one.state), Some(AllocationState::Freeing));
        }
        let mut left = freed;
        (left.start, left.pages) = (freed.start.offset(64 * PAGE_SIZE), freed.pages - 64);
        assert_eq!(
            frames(&memory, &left),
            before[64..],
            "frames of the allocation being freed have migrated"
        );
        arena.free(&memory, freed.id).unwrap();
        while memory.remove_step(&arena, &mut removal, 600, &|| 0).unwrap() == Progress::More {}
        let removed = memory.finish_remove(&arena, removal, &|| 0).unwrap();
        assert_eq!(removed.stats.migrated_pages, kept.pages);
        memory.machine().unplug(DIMM);
        assert_contents(&memory, &arena);
    }
}

/// Proves that the single frames of contiguous allocations are counted once in what a removal needs: their new runs are
/// allocated when the other frames are counted. Fails when a removal is refused that fits.
#[test]
fn single_frames_of_runs_count_once() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, DIMM, 7);
    let make = |_| allocate(&memory, &arena, 1, Some(7), Mobility::Movable, Shape::Contiguous).unwrap();
    let all: std::vec::Vec<_> = (0..64).map(make).collect();
    // Outside of the DIMM, the frames of the runs are free, and half as many.
    let mut held = std::vec::Vec::new();
    for node in [0, 1] {
        while let Some(block) = memory.allocate_block(Order(0), Some(NodeId(node)), Mobility::Movable) {
            held.push(block);
        }
    }
    held.drain(..64 + 32).for_each(|block| assert!(memory.free_block(block.head).is_ok()));
    remove(&memory, &arena, 1).unwrap();
    memory.machine().unplug(DIMM);
    assert_contents(&memory, &arena);
    assert!(all.iter().all(|one| frames(&memory, one).len() == 1));
    assert_invariants(&memory);
}
