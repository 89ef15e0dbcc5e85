//! Tests of the choice of a region, and of refused frees.

use std::vec::Vec;

use super::*;
use crate::addr::VirtAddr;
use crate::error::FreeError;
use crate::info::{Holder, PageState};
use crate::machine::CpuNr;

fn resource_of(memory: &Memory<SimMachine>, pfn: Pfn) -> u32 {
    memory.resource_of(pfn).unwrap().0
}

/// Proves that pinned allocations come from boot memory while it lasts, movable ones from the node with the most free
/// frames, and that a named node is strict. Fails when a node is chosen by its number.
#[test]
fn the_choice_of_a_region() {
    let memory = booted(Support::No);
    let dimm = plug(&memory, 0x100000, GIB, 7).ids[0];
    let pinned = memory.allocate_block(Order(3), None, Mobility::Pinned).unwrap();
    assert!(resource_of(&memory, pinned.head) < dimm.0);
    let movable = memory.allocate_block(Order(3), None, Mobility::Movable).unwrap();
    assert_eq!(resource_of(&memory, movable.head), dimm.0);
    for node in [0, 1, 7] {
        let block = memory.allocate_block(Order(0), Some(NodeId(node)), Mobility::Movable).unwrap();
        assert_eq!(memory.resource(memory.resource_of(block.head).unwrap()).unwrap().node, NodeId(node));
    }
    assert_eq!(memory.allocate_block(Order(0), Some(NodeId(3)), Mobility::Movable), None);
    // Once boot memory is exhausted, pinned allocations come from the DIMM.
    let mut last = 0;
    while last < dimm.0 {
        let block = memory.allocate_up_to(Order(12), None, Mobility::Pinned).unwrap();
        last = resource_of(&memory, block.head);
    }
    let boot_free: u64 =
        (0..dimm.0).map(|id| memory.resource(crate::info::ResourceId(id)).unwrap().free_pages).sum();
    assert_eq!(boot_free, 0);
    assert_invariants(&memory);
}

/// Proves that a block without a node comes from the node of its CPU, through the frame cache and past it, although another
/// node has more free frames; from the others when that one has none; and that a named node is strict all the same. Fails
/// when the node with most free frames is chosen.
#[test]
fn a_cpu_prefers_its_node() {
    let memory = booted(Support::No);
    let near = plug(&memory, 0x100000, 64 * MIB, 7).ids[0];
    plug(&memory, 0x200000, GIB, 8);
    memory.set_cpu_node(CpuNr::FIRST, NodeId(7));
    for order in [0, 3, 9].map(Order) {
        let block = memory.allocate_block(order, None, Mobility::Movable).unwrap();
        assert_eq!(resource_of(&memory, block.head), near.0, "{order:?}");
        let block = memory.allocate_block(order, Some(NodeId(8)), Mobility::Movable).unwrap();
        assert_ne!(resource_of(&memory, block.head), near.0, "{order:?}");
    }
    while memory.allocate_block(Order(0), Some(NodeId(7)), Mobility::Movable).is_some() {}
    let block = memory.allocate_block(Order(0), None, Mobility::Movable).unwrap();
    assert_ne!(resource_of(&memory, block.head), near.0);
    assert_invariants(&memory);
}

/// Proves that movable allocations without a node come from the fastest memory of their CPU, whatever their size, although
/// the CPU's own node and another one have more free frames, and from the next fastest when that is full; that pinned ones
/// and those with a node do not care; and that a policy turns it off. Fails when speeds are ignored, or followed by what
/// must not.
#[test]
fn a_movable_allocation_prefers_fast_memory() {
    let memory = booted(Support::No);
    let slow = plug(&memory, 0x100000, GIB, 7).ids[0];
    let fast = plug(&memory, 0x200000, 64 * MIB, 8).ids[0];
    memory.set_cpu_node(CpuNr::FIRST, NodeId(7));
    assert!(memory.set_speed(NodeId(7), NodeId(7), 1) && memory.set_speed(NodeId(7), NodeId(8), 0));
    let node_of = |block: Option<Block>| resource_of(&memory, block.unwrap().head);
    for order in [0, 3, 9].map(Order) {
        assert_eq!(node_of(memory.allocate_block(order, None, Mobility::Movable)), fast.0, "{order:?}");
        assert_ne!(node_of(memory.allocate_block(order, None, Mobility::Pinned)), fast.0, "{order:?}");
        let named = memory.allocate_block(order, Some(NodeId(7)), Mobility::Movable);
        assert_eq!(node_of(named), slow.0, "{order:?}");
    }
    assert_eq!(node_of(memory.allocate_up_to(Order(5), None, Mobility::Movable)), fast.0);
    let run = memory.allocate_run(600, None, Mobility::Movable).unwrap();
    assert_eq!(resource_of(&memory, run.start), fast.0);

    memory.set_node_choice(NodeChoice::MostFree);
    assert_eq!(node_of(memory.allocate_up_to(Order(6), None, Mobility::Movable)), slow.0);
    assert_eq!(node_of(memory.allocate_block(Order(4), None, Mobility::Movable)), slow.0);
    memory.set_node_choice(NodeChoice::Fastest);
    while memory.allocate_block(Order(0), Some(NodeId(8)), Mobility::Movable).is_some() {}
    // Boot memory has no rank: it comes last.
    assert_eq!(node_of(memory.allocate_block(Order(0), None, Mobility::Movable)), slow.0);
    assert_invariants(&memory);
}

/// Proves that every free frame can be allocated, none twice, and that all can be freed. Fails when a frame is lost or
/// allocated twice.
#[test]
fn all_frames_can_be_allocated() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, 256 * MIB, 1);
    let before = memory.totals();
    let mut ranges = Vec::new();
    while let Some(block) = memory.allocate_up_to(Order::MAX, None, Mobility::Movable) {
        ranges.push(block.range());
    }
    assert_eq!(memory.totals().free_pages, 0);
    assert_eq!(memory.allocate_block(Order(0), None, Mobility::Pinned), None);
    assert_eq!(memory.allocate_run(1, None, Mobility::Movable), None);
    assert_invariants(&memory);
    ranges.sort_by_key(|range| range.start);
    assert!(ranges.windows(2).all(|pair| !pair[0].overlaps(pair[1])));
    assert_eq!(ranges.iter().map(|range| range.pages()).sum::<u64>(), before.free_pages);
    ranges.iter().for_each(|range| assert!(memory.free_block(range.start).is_ok()));
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that freeing a frame that heads no allocated block is refused, and that `page` reports its state. Fails when a
/// frame inside a block, a free one or the memmap's is freed.
#[test]
fn freeing_what_is_not_allocated_is_refused() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, 256 * MIB, 1);
    let block = memory.allocate_block(Order(4), None, Mobility::Movable).unwrap();
    memory.set_mapping(block.head, VirtAddr(0xffff_d000_0000_0000)).unwrap();
    let inside = memory.page(block.head.offset(5));
    assert_eq!((inside.head, inside.order), (Some(block.head), Some(Order(4))));
    assert_eq!(inside.state, PageState::Movable);
    assert_eq!(inside.holder, Holder::Mapping(VirtAddr(0xffff_d000_0000_0000)));
    assert_eq!(memory.block_at(block.head.offset(5)), None);
    assert!(memory.set_mapping(block.head.offset(5), VirtAddr(0)).is_err());
    assert_eq!(memory.free_block(block.head), Ok(Order(4)));
    let twice = FreeError::NotAllocated { pfn: block.head, state: PageState::Free };
    assert!(matches!(memory.free_block(block.head), Err(error) if error == twice
        || matches!(error, FreeError::NoHead { .. })));
    assert!(memory.free_block(Pfn(0x100000)).is_err());
    let pinned = memory.page(Pfn(0x410));
    assert_eq!((pinned.state, pinned.holder), (PageState::Pinned, Holder::Boot(Owner::Boot)));
    assert!(memory.free_block(pinned.head.unwrap()).is_err());
    assert_invariants(&memory);
}
