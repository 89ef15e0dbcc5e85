//! Tests of removing memory in use: movable allocations migrate with every byte, pinned frames are reported first.

use std::vec::Vec;

use super::hot_remove::{insert, remove};
use super::*;
use crate::address_space::FIXMAP;
use crate::fault_injection::Step;
use crate::hot_remove::{Pinned, RemoveError};
use crate::info::{BlockInfo, DeviceId, Holder, PageState, ResourceId};
use crate::page_table::LeafSize;
use crate::sim::SimLeaf;
use crate::vmalloc::{
    AllocError, Allocation, AllocationId, Amount, NoRun, Progress, Request, Shape, Verified, VmallocArena,
};

pub(super) const DIMM: PfnRange = PfnRange::new(Pfn(0x100000), Pfn(0x100000 + 64 * MIB));

/// Allocates `pages` pages on `node` and fills the first ones.
pub(super) fn allocate(
    memory: &Memory<SimMachine>,
    arena: &VmallocArena,
    pages: u64,
    node: Option<u32>,
    mobility: Mobility,
    shape: Shape,
) -> Result<Allocation, AllocError> {
    let request = Request { amount: Amount::Pages(pages), node: node.map(NodeId), mobility, shape };
    let done = arena.allocate(memory, &request)?;
    // More than a leaf of 2 MiB, but not all of a large allocation, so that the simulation is fast.
    arena.fill(memory, done.id, 0, pages.min(520)).unwrap();
    Ok(done)
}

/// The frames of an allocation with the sizes of their leaves, by ascending address.
pub(super) fn frames(memory: &Memory<SimMachine>, one: &Allocation) -> Vec<(Pfn, LeafSize)> {
    let mut frames = Vec::new();
    memory.with_tables(|tables, machine| {
        tables.for_each_leaf(machine, one.start, one.pages, &mut |leaf| {
            frames.push((leaf.phys.pfn(), leaf.size))
        });
    });
    frames
}

pub(super) fn leaves_of(memory: &Memory<SimMachine>, one: &Allocation, size: LeafSize) -> usize {
    frames(memory, one).iter().filter(|(_, other)| *other == size).count()
}

/// Proves that scattered allocations of all sizes migrate out of a DIMM being removed: no byte is lost, no access goes
/// to the DIMM (it would panic), leaves of 2 MiB stay whole, the copy window is empty again, the allocations can be
/// freed, and then free frames and page tables are as at the start. Fails when a leaf, an rmap entry or a flush is
/// missing.
#[test]
fn scattered_allocations_move() {
    for step in [100, 600, u64::MAX] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        let before = memory.totals();
        insert(&memory, 1, DIMM, 7);
        let sizes = [1, 3, 511, 512, 513, 1024 + 5, 4000];
        let all: Vec<_> = sizes
            .into_iter()
            .map(|pages| {
                allocate(&memory, &arena, pages, Some(7), Mobility::Movable, Shape::Scattered).unwrap()
            })
            .collect();
        let large: Vec<_> = all.iter().map(|one| leaves_of(&memory, one, LeafSize::M2)).collect();
        assert!(large.iter().sum::<usize>() > 8);
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        while memory.remove_step(&arena, &mut removal, step, &|| 0).unwrap() == Progress::More {
            assert_invariants(&memory);
            assert_contents(&memory, &arena);
        }
        let removed = memory.finish_remove(&arena, removal, &|| 0).unwrap();
        assert_eq!(removed.stats.migrated_pages, sizes.iter().sum::<u64>());
        memory.machine().unplug(DIMM);
        assert_invariants(&memory);
        assert_contents(&memory, &arena);
        assert_rmap(&memory, &|_| false);
        let after: Vec<_> = all.iter().map(|one| leaves_of(&memory, one, LeafSize::M2)).collect();
        assert_eq!(after, large, "leaves of 2 MiB stay whole");
        let window = |leaf: &SimLeaf| FIXMAP.contains(leaf.virt);
        assert!(!memory.machine().leaves().iter().any(window), "the copy window is empty behind a batch");
        all.iter().for_each(|one| arena.free(&memory, one.id).unwrap());
        assert_eq!(memory.totals(), before);
        assert_invariants(&memory);
    }
}

/// Proves that single frames migrate out of a DIMM amid free frames, larger blocks and tables, also when the nearest
/// memory has too few targets, and into frames whose numbers agree with the sources' modulo 64. No byte is lost, each
/// new frame has its owner, and both counters of the CPU go on. Fails when a target gets another frame's owner, or a
/// frame behind one that must wait is added before it.
#[test]
fn single_frames_move_together() {
    let other = PfnRange::of(Pfn(DIMM.start.0 + 128 * MIB), 16 * MIB);
    for (step, spare) in [(640, 0), (97, 640), (300, 37), (600, 511), (u64::MAX, 3000)] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 2, other, 7);
        let mut free = 0;
        memory.resources(&mut |info| free = if info.range == other { info.free_pages } else { free });
        let rest = memory.allocate_run(free - spare, Some(NodeId(7)), Mobility::Pinned).unwrap();
        let pin = |_| memory.allocate_block(Order(0), Some(NodeId(7)), Mobility::Pinned).unwrap();
        let mut targets: Vec<_> = (0..spare).map(pin).collect();
        insert(&memory, 1, DIMM, 7);
        let make =
            |pages, shape| allocate(&memory, &arena, pages, Some(7), Mobility::Movable, shape).unwrap();
        let all: Vec<_> = (0..8).map(|number| make(190 + 3 * number, Shape::Frames)).collect();
        make(700, Shape::Scattered);
        for one in all.iter().step_by(3) {
            arena.free(&memory, one.id).unwrap();
        }
        make(1000, Shape::Frames);
        if spare == 640 {
            // One target, whose number agrees with that of the first frame.
            let mut first = u64::MAX;
            for_each_block(&memory, &mut |block| {
                if block.state == PageState::Movable && block.range.pages() == 1 {
                    first = first.min(block.range.start.0);
                }
            });
            targets.retain(|block| (block.head.0 ^ first).is_multiple_of(64));
            targets.truncate(1);
            assert_eq!(targets.len(), 1);
        }
        for block in targets {
            memory.free_block(block.head).unwrap();
        }
        let stats = memory.cpu_stats(CpuNr::FIRST);
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        while memory.remove_step(&arena, &mut removal, step, &|| 0).unwrap() == Progress::More {
            assert_invariants(&memory);
            assert_rmap(&memory, &|_| false);
        }
        let migrated = memory.finish_remove(&arena, removal, &|| 0).unwrap().stats.migrated_pages;
        memory.machine().unplug(DIMM);
        let now = memory.cpu_stats(CpuNr::FIRST);
        let [made, freed] = [now.allocations - stats.allocations, now.frees - stats.frees];
        assert!(made.min(freed) >= migrated - 700, "{made} allocated and {freed} freed for {migrated}");
        assert_invariants(&memory);
        assert_contents(&memory, &arena);
        assert_rmap(&memory, &|block| rest.contains(block));
    }
}

/// Calls `each` with the blocks of the first DIMM.
fn for_each_block(memory: &Memory<SimMachine>, each: &mut dyn FnMut(BlockInfo)) {
    let mut id = None;
    memory.resources(&mut |info| id = if info.range == DIMM { Some(info.id) } else { id });
    memory.blocks(id.unwrap(), each);
}

/// Proves that a single frame that another CPU has allocated, and whose owner it is about to set, is waited for, also amid
/// others. Fails when the survey passes it: then it would be found in the end, after all others have migrated.
#[test]
fn a_single_frame_without_an_owner_is_waited_for() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, DIMM, 7);
    let make = || allocate(&memory, &arena, 100, Some(7), Mobility::Movable, Shape::Frames).unwrap();
    make();
    let between = memory.allocate_block(Order(0), Some(NodeId(7)), Mobility::Movable).unwrap();
    make();
    let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    for _ in 0..5 {
        assert_eq!(memory.remove_step(&arena, &mut removal, 600, &|| 0), Ok(Progress::More));
        assert!(memory.page(between.head).order == Some(Order(0)));
    }
    let mut left = 0;
    for_each_block(&memory, &mut |block| left += u64::from(block.state == PageState::Movable));
    assert_eq!(left, 201, "nothing migrates before the survey is complete");
    memory.free_block(between.head).unwrap();
    while memory.remove_step(&arena, &mut removal, 600, &|| 0).unwrap() == Progress::More {}
    assert_eq!(memory.finish_remove(&arena, removal, &|| 0).unwrap().stats.migrated_pages, 200);
    memory.machine().unplug(DIMM);
    assert_contents(&memory, &arena);
}

/// Proves that a contiguous allocation is one run of frames before and after a removal, with its large leaves, whatever
/// the steps, also when the removal is aborted or the allocation is freed half way. Fails when a block of either run is
/// lost or freed twice.
#[test]
fn a_contiguous_allocation_moves_as_a_whole() {
    let is_run = |memory: &Memory<SimMachine>, one: &Allocation| {
        let frames = frames(memory, one);
        frames.windows(2).all(|two| two[0].0.offset(two[0].1.pages()) == two[1].0)
    };
    for end in ["remove", "abort", "free"] {
        for steps in [0, 2, 3, 5, 9] {
            let (memory, arena) = (booted(Support::No), VmallocArena::new());
            insert(&memory, 1, DIMM, 7);
            let before = memory.totals();
            let one = allocate(&memory, &arena, 5000, Some(7), Mobility::Movable, Shape::Contiguous).unwrap();
            let two = allocate(&memory, &arena, 700, Some(7), Mobility::Movable, Shape::Contiguous).unwrap();
            assert!(is_run(&memory, &one) && is_run(&memory, &two));
            let large = leaves_of(&memory, &one, LeafSize::M2);
            let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
            let mut done = Progress::More;
            for _ in 0..steps {
                if done == Progress::More {
                    done = memory.remove_step(&arena, &mut removal, 600, &|| 0).unwrap();
                    assert_contents(&memory, &arena);
                    assert_invariants(&memory);
                }
            }
            match end {
                "abort" => memory.abort_remove(&arena, removal),
                end => {
                    if end == "free" {
                        arena.free(&memory, one.id).unwrap();
                        assert_invariants(&memory);
                    }
                    while memory.remove_step(&arena, &mut removal, 600, &|| 0).unwrap() == Progress::More {}
                    memory.finish_remove(&arena, removal, &|| 0).unwrap();
                    memory.machine().unplug(DIMM);
                }
            }
            assert_invariants(&memory);
            assert_contents(&memory, &arena);
            assert_rmap(&memory, &|_| false);
            assert!(is_run(&memory, &two));
            if end != "free" {
                assert!(is_run(&memory, &one), "{end} after {steps}");
                assert_eq!(leaves_of(&memory, &one, LeafSize::M2), large);
                arena.free(&memory, one.id).unwrap();
            }
            arena.free(&memory, two.id).unwrap();
            assert_invariants(&memory);
            if end == "abort" {
                assert_eq!(memory.totals(), before);
                remove(&memory, &arena, 1).unwrap();
            }
        }
    }
}

/// Proves that an allocation mapped by a leaf of 1 GiB migrates, scattered or contiguous: the leaf is split into leaves of
/// 2 MiB, whose table counts in the frames needed. Fails when a leaf of 1 GiB is copied as a whole, or the table is
/// not counted.
#[test]
fn a_leaf_of_1_gib_falls_apart() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, arena) = (booted(Support::Yes), VmallocArena::new());
        let dimms = [PfnRange::of(Pfn(0x200000), 3 * GIB), PfnRange::of(Pfn(0x300000), 3 * GIB + 2 * MIB)];
        insert(&memory, 1, dimms[0], 7);
        let request = Request {
            amount: Amount::Pages(GIB + 300),
            node: Some(NodeId(7)),
            mobility: Mobility::Movable,
            shape,
        };
        let one = arena.allocate(&memory, &request).unwrap();
        arena.fill(&memory, one.id, 0, 520).unwrap();
        let (huge, large) = (leaves_of(&memory, &one, LeafSize::G1), leaves_of(&memory, &one, LeafSize::M2));
        assert!(huge == 1 || shape == Shape::Contiguous, "a run starts at any frame");
        insert(&memory, 2, dimms[1], 7);
        let removed = remove(&memory, &arena, 1).unwrap();
        assert_eq!(removed.stats.migrated_pages, GIB + 300);
        memory.machine().unplug(dimms[0]);
        assert_contents(&memory, &arena);
        assert_eq!(leaves_of(&memory, &one, LeafSize::G1), 0);
        assert_eq!(leaves_of(&memory, &one, LeafSize::M2), large + 512 * huge);
        arena.free(&memory, one.id).unwrap();
        assert_invariants(&memory);
        remove(&memory, &arena, 2).unwrap();
    }
}

/// Proves that an impossible removal is refused before anything migrates, with the pinned frame or the number of missing
/// frames, that everything is usable as before, and that the removal succeeds once the reason is gone. Fails when
/// frames migrate first, or the numbers are wrong.
#[test]
fn refusals_come_before_the_first_copy() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, DIMM, 7);
    let id = memory.resource_of(DIMM.start).unwrap();
    let movable = allocate(&memory, &arena, 4000, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    let pinned = allocate(&memory, &arena, 5, Some(7), Mobility::Pinned, Shape::Scattered).unwrap();
    let refused = || {
        let before = (memory.totals(), memory.resource(id), memory.machine().leaves());
        let error = remove(&memory, &arena, 1).unwrap_err();
        assert!((memory.totals(), memory.resource(id), memory.machine().leaves()) == before, "{error}");
        assert_invariants(&memory);
        assert_contents(&memory, &arena);
        error
    };
    let RemoveError::Pinned(named) = refused() else { panic!() };
    let pfn = frames(&memory, &pinned).into_iter().map(|(pfn, _)| pfn).min().unwrap();
    let expected = Pinned { resource: id, pfn, pages: 4, holder: Holder::Mapping(pinned.start) };
    assert_eq!(named, memory.first_pinned(id).unwrap());
    if named.pages == 4 {
        assert_eq!(named, expected);
    }
    arena.free(&memory, pinned.id).unwrap();

    // First enough free frames for all but one frame, later for all.
    let mut held = Vec::new();
    for node in [0, 1] {
        while let Some(block) = memory.allocate_up_to(Order(12), Some(NodeId(node)), Mobility::Movable) {
            held.push(block);
        }
    }
    let free = memory.free_everywhere() - memory.resource(id).unwrap().free_pages;
    assert_eq!(free, 0);
    let mut freed_pages = 0;
    let mut freed = Vec::new();
    while freed_pages < 4000 {
        let block = held.pop().unwrap();
        memory.free_block(block.head).unwrap();
        freed_pages += block.order.pages();
        freed.push(block);
    }
    // Allocates single frames until one is missing.
    let mut singles = Vec::new();
    while freed_pages > 3999 {
        let node = memory.node_of(freed[0].head);
        singles.push(memory.allocate_block(Order(0), node, Mobility::Movable).unwrap());
        freed_pages -= 1;
    }
    let RemoveError::NotEnoughFree { needed, free } = refused() else { panic!() };
    assert!(needed >= 4000 && free == 3999, "{needed} {free}");
    // `needed` includes the page tables of split leaves: freeing exactly the missing frames is enough.
    for _ in 0..needed - free {
        memory.free_block(singles.pop().unwrap().head).unwrap();
    }
    remove(&memory, &arena, 1).unwrap();
    memory.machine().unplug(DIMM);
    assert_invariants(&memory);
    assert_contents(&memory, &arena);
    arena.free(&memory, movable.id).unwrap();
    held.into_iter().chain(singles).for_each(|block| assert!(memory.free_block(block.head).is_ok()));
    assert_invariants(&memory);
}

/// Proves that the removal is refused with the allocation and the longest free run when a contiguous allocation finds no
/// run elsewhere, though enough single frames are free. Fails when only their number is compared.
#[test]
fn no_run_is_refused_by_name() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, DIMM, 7);
    let one = allocate(&memory, &arena, 2000, Some(7), Mobility::Movable, Shape::Contiguous).unwrap();
    // Splits boot memory into runs of at most 1024 frames by holding every second block of that size.
    let mut blocks = Vec::new();
    for node in [0, 1] {
        while let Some(block) = memory.allocate_up_to(Order(10), Some(NodeId(node)), Mobility::Movable) {
            blocks.push(block);
        }
    }
    blocks.sort_by_key(|block| block.head);
    let mut keep = false;
    for block in &blocks {
        keep = !keep && block.order == Order(10);
        if !keep && block.order == Order(10) {
            memory.free_block(block.head).unwrap();
        }
    }
    let error = remove(&memory, &arena, 1).unwrap_err();
    assert_eq!(error, RemoveError::NoRun(NoRun { id: one.id, pages: 2000, longest: 1024 }));
    assert_invariants(&memory);
    assert_contents(&memory, &arena);
    arena.free(&memory, one.id).unwrap();
    remove(&memory, &arena, 1).unwrap();
    assert_invariants(&memory);
}

/// Proves that a failure in the middle of a migration leaves everything usable, with its bytes, and that the removal then
/// succeeds, for scattered and contiguous allocations. Fails when the undo loses a frame or a byte.
#[test]
fn migration_fails_in_the_middle() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        insert(&memory, 1, DIMM, 7);
        let one = allocate(&memory, &arena, 3000, Some(7), Mobility::Movable, shape).unwrap();
        let free = memory.totals().free_pages;
        memory.inject(Step::Migrate, 1);
        assert_eq!(remove(&memory, &arena, 1), Err(RemoveError::Injected { step: Step::Migrate }));
        assert_invariants(&memory);
        assert_contents(&memory, &arena);
        assert_eq!(memory.totals().free_pages, free);
        remove(&memory, &arena, 1).unwrap();
        memory.machine().unplug(DIMM);
        assert_contents(&memory, &arena);
        arena.free(&memory, one.id).unwrap();
        assert_invariants(&memory);
    }
}

/// Proves that a removal waits for a growing or half-freed allocation and names it, migrates its blocks once it is
/// complete, is not blocked by allocations made between the steps, and migrates to a DIMM added between them. Fails when
/// it waits for the wrong allocation or misses a block.
#[test]
fn what_happens_between_the_steps() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, DIMM, 7);
    let request = Request {
        amount: Amount::Pages(3000),
        node: Some(NodeId(7)),
        mobility: Mobility::Movable,
        shape: Shape::Contiguous,
    };
    let mut growing = arena.begin(&memory, &request).unwrap();
    assert_eq!(arena.grow(&memory, &mut growing, 600), Ok(Progress::More));
    let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    for _ in 0..3 {
        assert_eq!(memory.remove_step(&arena, &mut removal, 600, &|| 0), Ok(Progress::More));
        assert_eq!(removal.waiting(), Some(RemoveError::Busy { id: growing.id() }));
        assert_invariants(&memory);
    }
    while arena.grow(&memory, &mut growing, 600).unwrap() == Progress::More {}
    let one = arena.finish(&memory, growing).unwrap();
    arena.fill(&memory, one.id, 0, 3000).unwrap();
    let second = PfnRange::of(DIMM.end, 64 * MIB);
    insert(&memory, 2, second, 7);
    let other = allocate(&memory, &arena, 2000, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    for _ in 0..3 {
        assert_eq!(memory.remove_step(&arena, &mut removal, 600, &|| 0), Ok(Progress::More));
        assert_eq!(removal.waiting(), None);
        assert_contents(&memory, &arena);
    }
    arena.free_step(&memory, other.id, 10).unwrap();
    while memory.remove_step(&arena, &mut removal, 600, &|| 0).unwrap() == Progress::More {
        assert_contents_except(&memory, &arena, other.id);
        assert_invariants(&memory);
    }
    memory.finish_remove(&arena, removal, &|| 0).unwrap();
    memory.machine().unplug(DIMM);
    assert_invariants(&memory);
    assert_contents_except(&memory, &arena, other.id);
    // It migrated to its own node.
    assert!(frames(&memory, &one).iter().all(|(pfn, _)| second.contains(*pfn)));
    arena.free(&memory, other.id).unwrap();
    arena.free(&memory, one.id).unwrap();
    assert!(memory.resource(ResourceId(u32::MAX)).is_none());
}

/// Verifies the filled bytes of all allocations but `busy`.
fn assert_contents_except(memory: &Memory<SimMachine>, arena: &VmallocArena, busy: AllocationId) {
    let mut last = None;
    while let Some(one) = arena.next_after(last) {
        last = Some(one.id);
        if one.id != busy {
            let verified = arena.verify(memory, one.id, 0, one.pages).unwrap();
            assert_eq!(verified, Verified { pages: one.filled, bad: None });
        }
    }
}
