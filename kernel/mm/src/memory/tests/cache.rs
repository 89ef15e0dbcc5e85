//! The cache of single frames and of blocks of 2 MiB: faster, and seen by nobody.

use std::vec::Vec;

use super::hot_remove::insert;
use super::*;
use crate::addr::SECTION_PAGES;
use crate::error::FreeError;
use crate::hot_remove::Target;
use crate::info::PageState;
use crate::vmalloc::VmallocArena;

/// Proves that a freed single frame stays in the cache and comes again first, while every figure, `page` and `check`
/// say that it is free, and that it is given back for a run that needs it. Fails when the cache is not emptied
/// for those who look, or keeps frames from a request that finds nothing else.
#[test]
fn cached_frames_are_free_to_everybody() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, GIB, 1);
    let before = memory.totals();
    let single = || memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    let block = single();
    assert_eq!(memory.free_block(block.head), Ok(Order(0)));
    assert_eq!(single(), block, "the frame that was freed last");
    assert_eq!(memory.free_block(block.head), Ok(Order(0)));
    assert!(memory.free_block(block.head).is_err(), "it is free");
    let info = memory.page(block.head);
    assert_eq!((info.state, info.resource), (PageState::Free, memory.resource_of(block.head)));
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);

    // All of the DIMM is one run again, though some of its frames were cached.
    let held: Vec<_> = (0..200).map(|_| single()).collect();
    held.iter().for_each(|block| assert_eq!(memory.free_block(block.head), Ok(Order(0))));
    let run = memory.allocate_run(GIB - GIB / 64, Some(NodeId(1)), Mobility::Pinned);
    assert!(run.is_some(), "the cache had frames of it");
    memory.free_run(run.unwrap()).unwrap();
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that the cache keeps to the choice of a region: memory that was added with more free frames serves the next
/// single frame, and a named node is strict. Fails when frames of the old choice are handed out.
#[test]
fn the_cache_follows_the_choice() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, GIB, 5);
    let first = memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    let other = plug(&memory, 0x200000, 4 * GIB, 6).ids[0];
    let next = memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    assert_eq!(memory.resource_of(next.head), Some(other));
    assert_ne!(memory.resource_of(first.head), Some(other));
    let named = memory.allocate_block(Order(0), Some(NodeId(5)), Mobility::Movable).unwrap();
    assert_eq!(memory.resource_of(named.head), memory.resource_of(first.head));
    let pinned = memory.allocate_block(Order(0), None, Mobility::Pinned).unwrap();
    assert_eq!(memory.page(pinned.head).state, PageState::Pinned);
    assert_invariants(&memory);
}

/// Proves that a frame which is freed while its section is being taken offline is taken with it, and is not handed out
/// again, though single frames still come from the same region. Fails when the cache has frames of a region of which a
/// part leaves.
#[test]
fn a_region_that_leaves_in_part_fills_no_cache() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    plug(&memory, 0x100000, 4 * GIB, 1);
    let before = memory.totals();
    let single = || memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    let held: Vec<_> = (0..100).map(|_| single()).collect();
    let section = PfnRange::of(Pfn(0x100000), SECTION_PAGES);
    assert!(held.iter().all(|block| section.contains_range(block.range())));
    let offlining = memory.begin_offline(Target::Frames(section), &|| 0).unwrap();
    let other = single();
    assert_eq!(memory.resource_of(other.head), memory.resource_of(held[0].head), "that of most free frames");
    for block in held {
        assert_eq!(memory.free_block(block.head), Ok(Order(0)));
        assert_eq!(memory.page(block.head).state, PageState::Offline);
        let next = single();
        assert!(!section.contains_range(next.range()), "{next:?}");
        memory.free_block(next.head).unwrap();
    }
    assert_invariants(&memory);
    memory.abort_offline(&arena, offlining);
    memory.free_block(other.head).unwrap();
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that frames of memory that was torn out are in the cache no longer: they are not touched and not handed out.
#[test]
fn what_is_gone_is_not_cached() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let dimm = PfnRange::of(Pfn(0x100000), 4 * GIB);
    insert(&memory, 1, dimm, 7);
    let single = || memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    let cached = single();
    assert!(dimm.contains(cached.head));
    memory.free_block(cached.head).unwrap();
    memory.machine().surprise_remove(dimm);
    memory.surprise_remove(&arena, DeviceId(1)).unwrap();
    assert!(memory.free_block(cached.head).is_err());
    let held = single();
    assert!(!dimm.contains(held.head), "{held:?}");
    memory.free_block(held.head).unwrap();
    assert_invariants(&memory);
}

/// Proves that the cache takes movable blocks of its two orders in use and nothing else: blocks of other orders and
/// pinned ones go past it, and what was freed, or lies inside of a block, is refused with a reason, cached or not. Fails
/// when the bits of one kind of block look like those of another.
#[test]
fn only_movable_blocks_of_its_orders_are_cached() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, GIB, 7);
    let before = memory.totals();
    // From now on the cache has frames of the DIMM, until somebody looks.
    let single = memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    let mut heads = Vec::new();
    for order in [0u8, 1, 6, 7, 8, 9, 10, 14, 15].map(Order) {
        for mobility in [Mobility::Movable, Mobility::Pinned] {
            let node = (mobility == Mobility::Pinned).then_some(NodeId(7));
            let held: Vec<_> =
                (0..3).map(|_| memory.allocate_block(order, node, mobility).unwrap()).collect();
            assert!(held.iter().all(|block| block.range().start >= Pfn(0x100000)));
            for block in &held {
                if order > Order(0) {
                    for inside in [1, order.pages() / 2, order.pages() - 1] {
                        let inside = block.head.offset(inside);
                        let no_head = FreeError::NoHead { pfn: inside, head: block.head };
                        assert_eq!(memory.free_block(inside), Err(no_head), "{block:?}");
                    }
                }
                assert_eq!(memory.free_block(block.head), Ok(order));
                assert!(memory.free_block(block.head).is_err(), "{block:?} is free");
                heads.push(block.head);
            }
        }
    }
    heads.iter().for_each(|&head| assert!(memory.free_block(head).is_err(), "{head:?} is free"));
    assert_eq!(memory.free_block(single.head), Ok(Order(0)));
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that blocks of 2 MiB come from the cache and go back into it, that counters know of them when somebody looks,
/// and that a run which needs their frames gets them. Fails when they are counted as single frames.
#[test]
fn large_blocks_are_cached_too() {
    let memory = booted(Support::No);
    let dimm = plug(&memory, 0x100000, GIB, 1).ids[0];
    let before = memory.totals();
    let large = || memory.allocate_block(Order(9), None, Mobility::Movable).unwrap();
    let held: Vec<_> = (0..30).map(|_| large()).collect();
    assert_eq!(memory.resource(dimm).unwrap().movable_pages, 30 * 512);
    assert_invariants(&memory);
    let block = large();
    assert_eq!(memory.free_block(block.head), Ok(Order(9)));
    assert_eq!(large(), block, "the block that was freed last");
    assert_eq!(memory.allocate_up_to(Order(9), None, Mobility::Movable).unwrap().order, Order(9));
    assert_eq!(memory.resource(dimm).unwrap().movable_pages, 32 * 512);
    let mut all: Vec<_> = Vec::new();
    memory.blocks(dimm, &mut |block| {
        if block.state == PageState::Movable {
            all.push(block.range.start);
        }
    });
    assert_eq!(all.len(), 32);
    assert!(held.iter().all(|block| all.contains(&block.head)));
    all.iter().for_each(|&head| assert_eq!(memory.free_block(head), Ok(Order(9))));
    let run = memory.allocate_run(GIB - GIB / 64, Some(NodeId(1)), Mobility::Pinned).unwrap();
    memory.free_run(run).unwrap();
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}
