//! Tests of awkward moments: memory is surprise-removed in the middle of other operations, handles outlive their
//! evacuation, pinned blocks lie across the border of a range that goes offline.

use std::vec::Vec;

use super::hot_remove::{insert, remove};
use super::migrate::{allocate, frames};
use super::*;
use crate::addr::SECTION_PAGES;
use crate::hot_remove::{RemoveError, Target};
use crate::info::Policy;
use crate::vmalloc::{
    AllocError, AllocationBuilder, AllocationState, Amount, Progress, Request, Shape, VmallocArena,
};

pub(super) const A: PfnRange = PfnRange::new(Pfn(0x100000), Pfn(0x100000 + 64 * MIB));
pub(super) const B: PfnRange = PfnRange::new(Pfn(0x110000), Pfn(0x110000 + 64 * MIB));

/// Allocates every free frame of the nodes, in blocks.
fn exhaust(memory: &Memory<SimMachine>, nodes: &[u32]) -> Vec<Block> {
    let allocate = |node| memory.allocate_up_to(Order(12), Some(NodeId(node)), Mobility::Pinned);
    nodes.iter().flat_map(|&node| core::iter::from_fn(move || allocate(node))).collect()
}

/// Begins a contiguous allocation on node 8 whose page tables can only come from node 7.
pub(super) fn begin(memory: &Memory<SimMachine>, arena: &VmallocArena) -> (AllocationBuilder, Vec<Block>) {
    let boot = exhaust(memory, &[0, 1]);
    let request = Request {
        amount: Amount::Pages(900),
        node: Some(NodeId(8)),
        mobility: Mobility::Movable,
        shape: Shape::Contiguous,
    };
    let growing = arena.begin(memory, &request).unwrap();
    (growing, boot)
}

/// Proves that a surprise removal takes its frames out of a growing allocation's table reserve: the allocation continues
/// with other frames, and when the DIMM is plugged again, none of its allocated frames becomes a table. Fails when
/// the surprise removal does not find the reserve.
#[test]
fn a_table_reserve_loses_removed_frames() {
    for comes_back in [false, true] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        memory.set_policy(Policy::Online(Zone::Movable));
        insert(&memory, 2, B, 8);
        memory.set_policy(Policy::Online(Zone::Any));
        insert(&memory, 1, A, 7);
        let (mut growing, boot) = begin(&memory, &arena);
        memory.machine().surprise_remove(A);
        assert_eq!(memory.surprise_remove(&arena, DeviceId(1)).unwrap().allocations, 0, "it is not lost");
        let mut theirs = Vec::new();
        if comes_back {
            insert(&memory, 1, A, 7);
            theirs = exhaust(&memory, &[7]);
        }
        boot.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
        while arena.grow(&memory, &mut growing, 100).unwrap() == Progress::More {}
        let one = arena.finish(&memory, growing).unwrap();
        arena.fill(&memory, one.id, 0, 900).unwrap();
        assert_contents(&memory, &arena);
        let tables = memory.machine().tables();
        assert!(!theirs.iter().any(|block| block.range().each().any(|pfn| tables.contains(&pfn))));
        assert_invariants(&memory);
        arena.free(&memory, one.id).unwrap();
        assert_invariants(&memory);
    }
}

/// Proves that a growing contiguous allocation, mapped in part or not at all, is lost with its DIMM: its next step, its end
/// and its cancellation report that, and new owners of the frames keep them when the DIMM is plugged again. Fails when
/// the stale handle frees or maps the run.
#[test]
fn a_run_is_lost_before_it_is_mapped() {
    for (ending, is_begun) in (0..3).flat_map(|ending| [(ending, false), (ending, true)]) {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 2, B, 8);
        let before = memory.totals();
        let request = Request {
            amount: Amount::Pages(900),
            node: Some(NodeId(8)),
            mobility: Mobility::Movable,
            shape: Shape::Contiguous,
        };
        let mut growing = arena.begin(&memory, &request).unwrap();
        let id = growing.id();
        if is_begun {
            assert_eq!(arena.grow(&memory, &mut growing, 1), Ok(Progress::More));
        }
        memory.machine().surprise_remove(B);
        let removed = memory.surprise_remove(&arena, DeviceId(2)).unwrap();
        assert_eq!((removed.lost_pages, removed.allocations), (900, 1));
        insert(&memory, 2, B, 8);
        let theirs = exhaust(&memory, &[8]);
        match ending {
            0 => {
                assert_eq!(arena.grow(&memory, &mut growing, 100), Err(AllocError::Lost { id }));
                arena.cancel(&memory, growing).unwrap();
            }
            1 => assert_eq!(arena.finish(&memory, growing), Err(AllocError::Lost { id })),
            _ => arena.cancel(&memory, growing).unwrap(),
        }
        assert_eq!(arena.get(id), None);
        theirs.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
        assert_eq!(memory.totals(), before);
        assert_invariants(&memory);
    }
}

/// Proves that an allocation whose memory is surprise-removed between its last step and `finish` does not become usable.
/// Fails when `finish` checks the number of pages and not the state.
#[test]
fn a_lost_allocation_cannot_be_finished() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, A, 7);
    let request = Request {
        amount: Amount::Pages(50),
        node: Some(NodeId(7)),
        mobility: Mobility::Movable,
        shape: Shape::Scattered,
    };
    let mut growing = arena.begin(&memory, &request).unwrap();
    let id = growing.id();
    assert_eq!(arena.grow(&memory, &mut growing, u64::MAX), Ok(Progress::Done));
    memory.machine().surprise_remove(A);
    assert_eq!(memory.surprise_remove(&arena, DeviceId(1)).unwrap().lost_pages, 50);
    assert_eq!(arena.finish(&memory, growing), Err(AllocError::Lost { id }));
    assert_eq!(arena.get(id), None);
    assert_invariants(&memory);
}

/// Proves that a surprise removal takes effect at once while other memory is being evacuated: nothing is allocated in the
/// removed memory, nothing migrates there, and the evacuation completes with every byte. Fails when the surprise
/// removal waits for the end of the evacuation.
#[test]
fn surprise_removal_during_another_evacuation() {
    for (shape, step) in
        [(Shape::Scattered, 64), (Shape::Scattered, 2000), (Shape::Contiguous, 64), (Shape::Contiguous, 700)]
    {
        for steps_before in 0..6 {
            let (memory, arena) = (booted(Support::No), VmallocArena::new());
            insert(&memory, 2, B, 8);
            let all: Vec<_> = (0..3)
                .map(|_| allocate(&memory, &arena, 900, Some(8), Mobility::Movable, shape).unwrap())
                .collect();
            insert(&memory, 1, A, 8);
            let in_a = |one| frames(&memory, one).iter().any(|(pfn, _)| A.contains(*pfn));
            let mut removal = memory.begin_remove(DeviceId(2), &|| 0).unwrap();
            for _ in 0..steps_before {
                if memory.remove_step(&arena, &mut removal, step, &|| 0).unwrap() == Progress::Done {
                    break;
                }
            }
            let in_removed: Vec<_> = all.iter().filter(|one| in_a(one)).map(|one| one.id).collect();
            memory.machine().surprise_remove(A);
            memory.surprise_remove(&arena, DeviceId(1)).unwrap();
            assert_invariants(&memory);
            assert_eq!(memory.allocate_block(Order(0), Some(NodeId(8)), Mobility::Movable), None);
            assert_eq!(memory.resource_of(A.start), None);
            let mut steps = 0;
            while memory.remove_step(&arena, &mut removal, step, &|| 0).unwrap() == Progress::More {
                steps += 1;
                if steps % 8 == 0 {
                    assert_contents(&memory, &arena);
                }
                assert!(steps < 1000, "it waits for {:?}", removal.waiting());
            }
            assert_invariants(&memory);
            memory.finish_remove(&arena, removal, &|| 0).unwrap();
            memory.machine().unplug(B);
            assert_invariants(&memory);
            assert_contents(&memory, &arena);
            for one in &all {
                let lost = arena.get(one.id).is_some_and(|one| one.state == AllocationState::Lost);
                assert_eq!(lost, in_removed.contains(&one.id), "{one:?}");
            }
            while let Some(one) = arena.next_after(None) {
                arena.free(&memory, one.id).unwrap();
            }
            assert_invariants(&memory);
        }
    }
}

/// Proves that no use of a stale handle, whose memory was surprise-removed, affects another evacuation. Fails when a
/// handle is not compared with the evacuation under way.
#[test]
fn a_stale_handle_ends_no_other_evacuation() {
    for ending in 0..6 {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, A, 7);
        insert(&memory, 2, B, 8);
        let one = allocate(&memory, &arena, 700, Some(8), Mobility::Movable, Shape::Scattered).unwrap();
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        memory.machine().surprise_remove(A);
        memory.surprise_remove(&arena, DeviceId(1)).unwrap();
        // A second stale handle, of an offlining.
        insert(&memory, 1, A, 7);
        let mut offlining = memory.begin_offline(Target::Frames(A), &|| 0).unwrap();
        memory.machine().surprise_remove(A);
        memory.surprise_remove(&arena, DeviceId(1)).unwrap();
        let mut other = memory.begin_offline(Target::Frames(B), &|| 0).unwrap();
        let before = memory.totals();
        match ending {
            0 => assert_eq!(memory.finish_remove(&arena, removal, &|| 0), Err(RemoveError::SurpriseRemoved)),
            1 => memory.abort_remove(&arena, removal),
            2 => {
                assert_eq!(
                    memory.remove_step(&arena, &mut removal, 9, &|| 0),
                    Err(RemoveError::SurpriseRemoved)
                );
            }
            3 => assert_eq!(memory.finish_offline(&arena, offlining), Err(RemoveError::SurpriseRemoved)),
            4 => memory.abort_offline(&arena, offlining),
            _ => {
                assert_eq!(
                    memory.offline_step(&arena, &mut offlining, 9, &|| 0),
                    Err(RemoveError::SurpriseRemoved)
                );
            }
        }
        assert_eq!(memory.totals(), before);
        assert_eq!(
            memory.allocate_block(Order(0), Some(NodeId(8)), Mobility::Movable),
            None,
            "still isolated"
        );
        while memory.offline_step(&arena, &mut other, 64, &|| 0).unwrap() == Progress::More {}
        assert_eq!(memory.finish_offline(&arena, other).unwrap().pages, 63 * MIB);
        assert_contents(&memory, &arena);
        arena.free(&memory, one.id).unwrap();
        remove(&memory, &arena, 2).unwrap();
        assert_invariants(&memory);
    }
}

/// Proves that an evacuation of several resources continues with the others when one is surprise-removed, and is over when
/// all are. Fails when the first loss ends it, or when its stale handle ends a later one.
#[test]
fn an_evacuation_loses_one_resource() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let next = PfnRange::of(A.end, 64 * MIB);
    insert(&memory, 1, A, 7);
    insert(&memory, 2, next, 8);
    let both = PfnRange::new(A.start, next.end);
    let mut offlining = memory.begin_offline(Target::Frames(both), &|| 0).unwrap();
    memory.machine().surprise_remove(A);
    memory.surprise_remove(&arena, DeviceId(1)).unwrap();
    assert!(matches!(memory.begin_offline(Target::Frames(next), &|| 0), Err(RemoveError::UnderWay { .. })));
    assert_eq!(memory.offline_step(&arena, &mut offlining, 64, &|| 0), Ok(Progress::Done));
    let usable = memory.resource(memory.resource_of(next.start).unwrap()).unwrap().usable_pages;
    assert_eq!(memory.finish_offline(&arena, offlining).unwrap().pages, usable);
    assert_invariants(&memory);
}

/// Proves that a pinned block across the border of a range that goes offline is split at the border when it is freed
/// meanwhile: exactly the range's frames go offline, and the rest can be allocated. Fails when the block merges across
/// the border, or goes offline as a whole.
#[test]
fn a_pinned_block_across_the_border_is_freed() {
    let dimm = PfnRange::of(Pfn(0x100000), 1024 * MIB);
    for (order, sections) in [(16, 2..3), (16, 3..4), (17, 5..6), (17, 4..5), (16, 2..4), (17, 3..7)] {
        for steps_before in 0..2 {
            let (memory, arena) = (booted(Support::No), VmallocArena::new());
            insert(&memory, 1, dimm, 7);
            let fresh = memory.resource(memory.resource_of(dimm.start).unwrap()).unwrap();
            let blocks = memory.free_blocks(fresh.id);
            let range = PfnRange::new(
                dimm.start.offset(sections.start * SECTION_PAGES),
                dimm.start.offset(sections.end * SECTION_PAGES),
            );
            let held: Vec<_> = core::iter::from_fn(|| {
                memory.allocate_block(Order(order), Some(NodeId(7)), Mobility::Pinned)
            })
            .collect();
            assert!(held.iter().any(|block| block.range().overlaps(range)));
            let mut offlining = memory.begin_offline(Target::Frames(range), &|| 0).unwrap();
            for _ in 0..steps_before {
                // The survey finds the block: refused, without changes.
                assert!(matches!(
                    memory.offline_step(&arena, &mut offlining, 64, &|| 0),
                    Err(RemoveError::Pinned(_))
                ));
                offlining = memory.begin_offline(Target::Frames(range), &|| 0).unwrap();
            }
            held.iter().for_each(|block| assert_eq!(memory.free_block(block.head), Ok(block.order)));
            assert_invariants(&memory);
            while memory.offline_step(&arena, &mut offlining, 64, &|| 0).unwrap() == Progress::More {}
            assert_eq!(memory.finish_offline(&arena, offlining).unwrap().pages, range.pages());
            let info = memory.resource(fresh.id).unwrap();
            assert_eq!(info.offline_pages, range.pages());
            assert_eq!(info.free_pages, fresh.free_pages - range.pages());
            assert_invariants(&memory);
            assert_eq!(memory.online(Target::Frames(range), None).unwrap().pages, range.pages());
            assert_eq!(memory.free_blocks(fresh.id), blocks);
        }
    }
}

/// Proves that finishing an offlining before all frames have migrated is refused with their number and undone. Fails when
/// `finish_offline` does not count them, or keeps the target run of a contiguous allocation.
#[test]
fn an_incomplete_offlining_is_refused() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, PfnRange::of(Pfn(0x100000), 256 * MIB), 7);
        let one = allocate(&memory, &arena, 700, Some(7), Mobility::Movable, shape).unwrap();
        let before = memory.totals();
        let resource = memory.resource_of(Pfn(0x100000)).unwrap();
        for target in [Target::Resource(resource), Target::Frames(range(0x100000, 0x108000))] {
            let mut offlining = memory.begin_offline(target, &|| 0).unwrap();
            // A contiguous allocation has its target run now.
            assert_eq!(memory.offline_step(&arena, &mut offlining, 64, &|| 0), Ok(Progress::More));
            match memory.finish_offline(&arena, offlining) {
                Err(RemoveError::InUse { resource: named, pages }) => {
                    assert_eq!(named, resource);
                    assert!(pages > 0 && pages <= 700);
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(memory.totals(), before);
            assert_invariants(&memory);
        }
        assert_contents(&memory, &arena);
        arena.free(&memory, one.id).unwrap();
    }
}

/// Proves that a contiguous allocation stays contiguous when an offlining is finished in the middle of its migration, with
/// the offlined part already empty. Fails when `finish_offline` leaves the migration half done: both runs stay
/// allocated, and the allocation lies in both.
#[test]
fn an_offlining_is_finished_while_a_run_migrates() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, PfnRange::of(Pfn(0x100000), 256 * MIB), 7);
    let one = allocate(&memory, &arena, 9000, Some(7), Mobility::Movable, Shape::Contiguous).unwrap();
    let before = memory.totals();
    let first = memory.with_tables(|tables, machine| tables.translate(machine, one.start)).flatten().unwrap();
    let part = PfnRange::of(first.phys.pfn(), 512);
    let mut offlining = memory.begin_offline(Target::Frames(part), &|| 0).unwrap();
    // The survey, and the first piece.
    for _ in 0..2 {
        assert_eq!(memory.offline_step(&arena, &mut offlining, 64, &|| 0), Ok(Progress::More));
    }
    assert_eq!(memory.finish_offline(&arena, offlining).unwrap().pages, part.pages());
    let offline = before.free_pages - part.pages();
    assert_eq!((memory.totals().free_pages, memory.totals().offline_pages), (offline, part.pages()));
    assert_rmap(&memory, &|_| false);
    assert_invariants(&memory);
    assert_contents(&memory, &arena);
    arena.free(&memory, one.id).unwrap();
    memory.online(Target::Frames(part), None).unwrap();
    remove(&memory, &arena, 1).unwrap();
}

/// Proves that steps of 0 frames complete an evacuation, as they complete a growing allocation. Fails when such a step
/// makes no progress, or skips runs that must migrate.
#[test]
fn steps_of_no_frames() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, PfnRange::of(Pfn(0x100000), 256 * MIB), 7);
        allocate(&memory, &arena, 700, Some(7), Mobility::Movable, shape).unwrap();
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        let mut steps = 0;
        while memory.remove_step(&arena, &mut removal, 0, &|| 0).unwrap() == Progress::More {
            steps += 1;
            assert!(steps < 2000, "it waits for {:?}", removal.waiting());
        }
        memory.finish_remove(&arena, removal, &|| 0).unwrap();
        assert_contents(&memory, &arena);
    }
}
