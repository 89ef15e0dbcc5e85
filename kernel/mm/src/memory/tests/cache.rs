//! Tests of the frame cache, which must be invisible to callers.

use std::vec::Vec;

use super::hot_remove::insert;
use super::*;
use crate::addr::SECTION_PAGES;
use crate::address_space::ALLOC;
use crate::error::FreeError;
use crate::hot_remove::Target;
use crate::info::{Holder, PageState};
use crate::vmalloc::VmallocArena;

/// Proves that a freed single frame stays in the cache and is allocated next, while statistics, `page` and `check` count
/// it as free, and that an allocation of a run drains it. Fails when a query does not drain the cache, or an allocation
/// fails because the cache holds the frames.
#[test]
fn cached_frames_count_as_free() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, GIB, 1);
    let before = memory.totals();
    let single = || memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    let block = single();
    assert_eq!(memory.free_block(block.head), Ok(Order(0)));
    assert_eq!(single(), block, "the frame freed last");
    assert_eq!(memory.free_block(block.head), Ok(Order(0)));
    assert!(memory.free_block(block.head).is_err(), "it is free");
    let info = memory.page(block.head);
    assert_eq!((info.state, info.resource), (PageState::Free, memory.resource_of(block.head)));
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);

    // The DIMM is one run again, although some of its frames were cached.
    let held: Vec<_> = (0..200).map(|_| single()).collect();
    held.iter().for_each(|block| assert_eq!(memory.free_block(block.head), Ok(Order(0))));
    let run = memory.allocate_run(GIB - GIB / 64, Some(NodeId(1)), Mobility::Pinned);
    assert!(run.is_some(), "the cache was not drained");
    memory.free_run(run.unwrap()).unwrap();
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that the cache follows the choice of a region: once memory with more free frames is added, it serves the next
/// single frame, and a named node is strict. Fails when cached frames of the old region are allocated.
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

/// Proves that a frame freed while its section goes offline goes offline too and is not allocated again, although single
/// frames still come from the same region. Fails when the cache holds frames of a partly isolated region.
#[test]
fn a_partly_isolated_region_fills_no_cache() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    plug(&memory, 0x100000, 4 * GIB, 1);
    let before = memory.totals();
    let single = || memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    let held: Vec<_> = (0..100).map(|_| single()).collect();
    let section = PfnRange::of(Pfn(0x100000), SECTION_PAGES);
    assert!(held.iter().all(|block| section.contains_range(block.range())));
    let offlining = memory.begin_offline(Target::Frames(section), &|| 0).unwrap();
    let other = single();
    assert_eq!(
        memory.resource_of(other.head),
        memory.resource_of(held[0].head),
        "the region with the most free frames"
    );
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

/// Proves that a surprise removal drops the memory's frames from the cache: they are neither accessed nor allocated.
/// Fails when the cache keeps them.
#[test]
fn surprise_removed_frames_leave_the_cache() {
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

/// Proves that the cache accepts only allocated movable blocks of its two orders: other orders and pinned blocks bypass
/// it, and a free block or a frame inside a block is refused with a reason, cached or not. Fails when the bits of two
/// kinds of blocks are confused.
#[test]
fn only_movable_blocks_of_its_orders_are_cached() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, GIB, 7);
    let before = memory.totals();
    // From now on the cache holds frames of the DIMM, until a query drains it.
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

/// Proves that blocks of 2 MiB come from the cache and return to it, that queries count them, and that an allocation of
/// a run gets their frames. Fails when they are counted as single frames.
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
    assert_eq!(large(), block, "the block freed last");
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

/// Proves that a frame which was freed with an rmap into the cache has none when it is allocated again. Fails when the
/// cache trusts the descriptor of a group that had owners.
#[test]
fn a_cached_frame_forgets_its_owner() {
    let memory = booted(Support::Yes);
    let singles = || -> Vec<Pfn> {
        let single = || memory.allocate_block(Order(0), None, Mobility::Movable).unwrap().head;
        (0..600).map(|_| single()).collect()
    };
    let holders = |frames: &[Pfn], holder| {
        for &frame in frames {
            assert_eq!((memory.page(frame).state, memory.page(frame).holder), (PageState::Movable, holder));
        }
    };
    let frames = singles();
    holders(&frames, Holder::None);
    frames.iter().for_each(|&frame| memory.set_mapping(frame, ALLOC.start).unwrap());
    holders(&frames, Holder::Mapping(ALLOC.start));
    frames.iter().for_each(|&frame| assert_eq!(memory.free_block(frame), Ok(Order(0))));
    holders(&singles(), Holder::None);
    assert_invariants(&memory);
}
