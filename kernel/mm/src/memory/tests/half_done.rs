//! Tests of operations that are interrupted half way through a block or a run.

use std::vec::Vec;

use super::disorder::{A, B, begin};
use super::hot_remove::{insert, remove};
use super::migrate::{allocate, leaves_of};
use super::*;
use crate::hot_remove::{RemoveError, Target};
use crate::info::Policy;
use crate::page_table::LeafSize;
use crate::vmalloc::{Amount, Progress, Request, Shape, VmallocArena};

/// A request for `pages` contiguous movable pages on `node`.
fn contiguous(pages: u64, node: u32) -> Request {
    let node = Some(NodeId(node));
    Request { amount: Amount::Pages(pages), node, mobility: Mobility::Movable, shape: Shape::Contiguous }
}

/// Proves that all frames of a block that is mapped in part are reported as lost with their DIMM: a block that crosses the
/// border between two page tables is mapped in two steps. Fails when the unmapped part is not counted.
#[test]
fn a_half_mapped_block_is_lost_as_a_whole() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let dimms = [PfnRange::of(Pfn(0x200000), GIB), PfnRange::of(Pfn(0x300000), GIB)];
    insert(&memory, 1, dimms[0], 7);
    insert(&memory, 2, dimms[1], 8);
    // The next allocation begins 64 MiB below the border at 1 GiB.
    allocate(&memory, &arena, GIB - 64 * MIB, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    let mut growing = arena.begin(&memory, &contiguous(128 * MIB, 8)).unwrap();
    assert_eq!(arena.grow(&memory, &mut growing, 1), Ok(Progress::More));
    assert_eq!(arena.get(growing.id()).unwrap().pages, 64 * MIB);
    memory.machine().surprise_remove(dimms[1]);
    let removed = memory.surprise_remove(&arena, DeviceId(2)).unwrap();
    assert_eq!((removed.lost_pages, removed.allocations), (128 * MIB, 1));
    arena.cancel(&memory, growing).unwrap();
    assert_invariants(&memory);
}

/// Proves that the migration of a contiguous allocation, once begun, needs no further frame: with every other frame
/// allocated it completes, leaves of 1 GiB included, so that no evacuation leaves it half done. Fails when a later piece
/// needs a page table.
#[test]
fn a_begun_migration_of_a_run_needs_no_frame() {
    let (memory, arena) = (booted(Support::Yes), VmallocArena::new());
    let dimms = [PfnRange::of(Pfn(0x200000), 5 * GIB), PfnRange::of(Pfn(0x400000), 5 * GIB)];
    insert(&memory, 1, dimms[0], 7);
    let one = arena.allocate(&memory, &contiguous(3 * GIB, 7)).unwrap();
    arena.fill(&memory, one.id, 0, 600).unwrap();
    assert_eq!(leaves_of(&memory, &one, LeafSize::G1), 3);
    insert(&memory, 2, dimms[1], 8);
    let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    // The survey and the first piece.
    for _ in 0..2 {
        assert_eq!(memory.remove_step(&arena, &mut removal, 512, &|| 0), Ok(Progress::More));
    }
    let allocate = || memory.allocate_up_to(Order(15), None, Mobility::Pinned);
    let others: Vec<Block> = core::iter::from_fn(allocate).collect();
    while memory.remove_step(&arena, &mut removal, GIB / 2, &|| 0).unwrap() == Progress::More {}
    memory.finish_remove(&arena, removal, &|| 0).unwrap();
    memory.machine().unplug(dimms[0]);
    assert_rmap(&memory, &|_| false);
    assert_contents(&memory, &arena);
    others.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
    arena.free(&memory, one.id).unwrap();
    remove(&memory, &arena, 2).unwrap();
    assert_invariants(&memory);
}

/// Proves that an evacuation names the growing allocation whose table reserve it waits for, so that its caller can limit the
/// wait, and refuses a reserved frame that no allocation has. Fails when it waits without saying so.
#[test]
fn a_reserved_frame_is_waited_for_by_name() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    memory.set_policy(Policy::Online(Zone::Movable));
    insert(&memory, 2, B, 8);
    memory.set_policy(Policy::Online(Zone::Any));
    insert(&memory, 1, A, 7);
    let (growing, boot) = begin(&memory, &arena);
    let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    assert_eq!(memory.remove_step(&arena, &mut removal, 64, &|| 0), Ok(Progress::More));
    assert_eq!(removal.waiting(), Some(RemoveError::Busy { id: growing.id() }));
    // Another arena has no such allocation.
    let refused = memory.remove_step(&VmallocArena::new(), &mut removal, 64, &|| 0);
    assert!(matches!(refused, Err(RemoveError::Pinned(_))), "{refused:?}");
    arena.cancel(&memory, growing).unwrap();
    boot.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
    remove(&memory, &arena, 1).unwrap();
}

/// Proves that a block which is mapped in part is freed as a whole when its allocation is cancelled, even if its memory is
/// isolated between the cancelling and the freeing, with a border anywhere in the block. Fails when a part that an
/// isolation splits off stays allocated.
#[test]
fn a_half_mapped_block_is_freed_at_any_border() {
    // The block is mapped up to its page 212, where a page table ends.
    for border in [1, 100, 211, 212, 213, 220, 255] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, A, 7);
        let before = memory.totals();
        let behind = allocate(&memory, &arena, 300, None, Mobility::Movable, Shape::Scattered).unwrap();
        let mut growing = arena.begin(&memory, &contiguous(256, 7)).unwrap();
        assert_eq!(arena.grow(&memory, &mut growing, 1), Ok(Progress::More));
        let one = arena.get(growing.id()).unwrap();
        assert_eq!(one.pages, 212);
        let head = memory.translate(one.start).unwrap().phys.pfn();
        assert_eq!(memory.block_at(head).unwrap().order, Order(8));
        let id = arena.abandon(&memory, growing).unwrap();
        let part = PfnRange::new(head.offset(border), A.end);
        let mut offlining = memory.begin_offline(Target::Frames(part), &|| 0).unwrap();
        arena.free(&memory, id).unwrap();
        while memory.offline_step(&arena, &mut offlining, 64, &|| 0).unwrap() == Progress::More {}
        memory.finish_offline(&arena, offlining).unwrap();
        memory.online(Target::Frames(part), None).unwrap();
        arena.free(&memory, behind.id).unwrap();
        assert_eq!(memory.totals(), before, "border at page {border}");
        assert_invariants(&memory);
    }
}
