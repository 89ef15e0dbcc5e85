//! The cache of single frames: faster, and seen by nobody.

use std::vec::Vec;

use super::*;
use crate::info::PageState;

/// Proves that a freed single frame stays in the cache and comes again first, while every figure, `page` and `check`
/// say that it is free, and that it is given back for a run that needs it. Fails when the cache is not emptied
/// for those who look, or keeps frames from a request that finds nothing else.
#[test]
fn cached_frames_are_free_to_everybody() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, GIB, 1);
    let before = memory.totals();
    let single = || memory.allocate_block(Order(0), None, Kind::Movable).unwrap();
    let block = single();
    assert_eq!(memory.free_block(block.head), Ok(Order(0)));
    assert_eq!(single(), block, "the frame that was freed last");
    assert_eq!(memory.free_block(block.head), Ok(Order(0)));
    assert!(memory.free_block(block.head).is_err(), "it is free");
    let info = memory.page(block.head);
    assert_eq!((info.state, info.resource), (PageState::Free, memory.resource_of(block.head)));
    assert_eq!(memory.totals(), before);
    sound(&memory);

    // All of the DIMM is one run again, though some of its frames were cached.
    let held: Vec<_> = (0..200).map(|_| single()).collect();
    held.iter().for_each(|block| assert_eq!(memory.free_block(block.head), Ok(Order(0))));
    let run = memory.allocate_run(GIB - GIB / 64, Some(NodeId(1)), Kind::Pinned);
    assert!(run.is_some(), "the cache had frames of it");
    memory.free_run(run.unwrap()).unwrap();
    assert_eq!(memory.totals(), before);
    sound(&memory);
}

/// Proves that the cache keeps to the choice of a region: memory that was added with more free frames serves the next
/// single frame, and a named node is strict. Fails when frames of the old choice are handed out.
#[test]
fn the_cache_follows_the_choice() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, GIB, 5);
    let first = memory.allocate_block(Order(0), None, Kind::Movable).unwrap();
    let other = plug(&memory, 0x200000, 4 * GIB, 6).ids[0];
    let next = memory.allocate_block(Order(0), None, Kind::Movable).unwrap();
    assert_eq!(memory.resource_of(next.head), Some(other));
    assert_ne!(memory.resource_of(first.head), Some(other));
    let named = memory.allocate_block(Order(0), Some(NodeId(5)), Kind::Movable).unwrap();
    assert_eq!(memory.resource_of(named.head), memory.resource_of(first.head));
    let pinned = memory.allocate_block(Order(0), None, Kind::Pinned).unwrap();
    assert_eq!(memory.page(pinned.head).state, PageState::Pinned);
    sound(&memory);
}
