//! Tests of page poisoning.

use super::*;
use crate::address_space::direct;
use crate::check::CheckError;
use crate::error::FreeError;
use crate::info::PageState;
use crate::machine::Machine;
use crate::poison::{Finding, MAX_POISONED_PAGES, Mode, POISON};
use crate::vmalloc::{Progress, VmallocArena};

fn word(memory: &Memory<SimMachine>, pfn: Pfn, offset: u64) -> u64 {
    memory.machine().load(direct(pfn.start()).offset(offset))
}

fn write(memory: &Memory<SimMachine>, pfn: Pfn, offset: u64, value: u64) {
    memory.machine().store(direct(pfn.start()).offset(offset), value);
}

fn poisoned() -> Memory<SimMachine> {
    let memory = booted(Support::Yes);
    memory.set_poison(Mode::On);
    memory
}

fn block(memory: &Memory<SimMachine>, order: u8) -> Block {
    memory.allocate_block(Order(order), None, Mobility::Movable).expect("enough memory is free")
}

/// Proves that a write to a freed frame is reported with frame, offset and word, by `check` while the frame is free and
/// again when it is allocated as a cached frame, a block or a run. Fails when an allocation path does not compare.
#[test]
fn a_write_after_free_is_reported() {
    for order in [0, 3] {
        let memory = poisoned();
        let freed = block(&memory, order);
        memory.free_block(freed.head).unwrap();
        let pfn = Pfn(freed.range().end.0 - 1);
        assert_eq!((word(&memory, pfn, 0), word(&memory, pfn, 4088)), (POISON, POISON));
        assert_invariants(&memory);
        write(&memory, pfn, 16, 77);
        let finding = Finding { pfn, offset: 16, found: 77 };
        let mut errors = Vec::new();
        memory.check(&mut |error| errors.push(error));
        assert_eq!(errors, [CheckError::Poison(finding)]);
        assert_eq!(memory.next_finding(), None, "check queues no finding");
        // Allocates everything, by blocks or as a run.
        let whole = |mobility| memory.allocate_up_to(Order::MAX, None, mobility);
        if order == 0 {
            assert_eq!(block(&memory, 0), freed, "the frame freed last");
        } else {
            while whole(Mobility::Movable).is_some() {}
        }
        assert_eq!((memory.next_finding(), memory.next_finding()), (Some(finding), None));
        assert_eq!(memory.poison_info().damaged_pages, 1);
        assert_invariants(&memory);
    }
    let memory = poisoned();
    plug(&memory, 0x100000, 64 * MIB, 5);
    let run = memory.allocate_run(3000, Some(NodeId(5)), Mobility::Movable).unwrap();
    memory.free_run(run).unwrap();
    assert_eq!(memory.poison_info().watched_pages, 3000);
    write(&memory, run.start.offset(2999), 4088, 0);
    let all = memory.allocate_run(4000, Some(NodeId(5)), Mobility::Movable).unwrap();
    assert!(all.contains_range(run));
    let finding = Finding { pfn: run.start.offset(2999), offset: 4088, found: 0 };
    assert_eq!((memory.next_finding(), memory.poison_info().watched_pages), (Some(finding), 0));
}

/// Proves that poisoning neither reads nor writes frames that were never allocated, skips blocks larger than 256 MiB, and
/// does nothing when off. Fails when a fresh DIMM takes host memory, or an untouched terabyte is filled.
#[test]
fn only_allocated_frames_are_poisoned() {
    let memory = poisoned();
    plug(&memory, 0x100000, 4 * GIB, 5);
    let before = memory.machine().counts();
    let large = memory.allocate_block(Order(17), Some(NodeId(5)), Mobility::Movable).unwrap();
    assert!(large.order.pages() > MAX_POISONED_PAGES);
    memory.free_block(large.head).unwrap();
    assert_eq!(memory.poison_info().watched_pages, 0);
    let after = memory.machine().counts();
    assert!(after.stores - before.stores < 200, "{before:?} {after:?}");
    memory.set_poison(Mode::Off);
    let quiet = memory.allocate_block(Order(4), Some(NodeId(5)), Mobility::Pinned).unwrap();
    write(&memory, quiet.head, 0, 5);
    memory.free_block(quiet.head).unwrap();
    assert_eq!((word(&memory, quiet.head, 0), memory.poison_info().watched_pages), (5, 0));
}

/// Proves that a DIMM with poisoned frames can be removed, with notice or without, and plugged again with other contents
/// without a finding. Fails when frames of a removed DIMM stay in the list, or are compared.
#[test]
fn removed_frames_are_not_compared() {
    for is_orderly in [true, false] {
        let memory = poisoned();
        let arena = VmallocArena::new();
        plug(&memory, 0x100000, 64 * MIB, 5);
        let used = memory.allocate_run(500, Some(NodeId(5)), Mobility::Movable).unwrap();
        memory.free_run(used).unwrap();
        assert_eq!(memory.poison_info().watched_pages, 500);
        if is_orderly {
            let mut removal = memory.begin_remove(DeviceId(3), &|| 0).unwrap();
            while memory.remove_step(&arena, &mut removal, 100, &|| 0).unwrap() == Progress::More {}
            memory.finish_remove(&arena, removal, &|| 0).unwrap();
        } else {
            memory.surprise_remove(&arena, DeviceId(3)).unwrap();
        }
        assert_eq!(memory.poison_info().watched_pages, 0);
        memory.machine().unplug(PfnRange::of(Pfn(0x100000), 64 * MIB));
        plug(&memory, 0x100000, 64 * MIB, 5);
        memory.allocate_run(1000, Some(NodeId(5)), Mobility::Movable).unwrap();
        assert_eq!((memory.next_finding(), memory.poison_info().damaged_pages), (None, 0));
        assert_invariants(&memory);
    }
}

/// Proves that a full list loses no finding, because an evicted range is compared. Fails when a corrupted frame leaves the
/// list unchecked, or the list loses its order.
#[test]
fn an_evicted_range_is_compared() {
    let memory = poisoned();
    let frames: Vec<_> = (0..1400).map(|_| block(&memory, 0).head).collect();
    // Every second frame, so that none are adjacent: more than the list and the frame cache hold.
    let freed: Vec<_> = frames.iter().copied().step_by(2).collect();
    memory.free_block(freed[0]).unwrap();
    write(&memory, freed[0], 0, 9);
    freed[1..].iter().for_each(|&pfn| assert_eq!(memory.free_block(pfn), Ok(Order(0))));
    assert_eq!(memory.next_finding(), Some(Finding { pfn: freed[0], offset: 0, found: 9 }));
    assert_eq!(memory.next_finding(), None);
    assert_eq!(memory.poison_info().watched_pages, 256);
    assert_invariants(&memory);
    frames.iter().skip(1).step_by(2).for_each(|&pfn| assert_eq!(memory.free_block(pfn), Ok(Order(0))));
    while memory.allocate_up_to(Order::MAX, None, Mobility::Movable).is_some() {}
    assert_eq!((memory.next_finding(), memory.poison_info().watched_pages), (None, 0));
}

/// Proves that with poisoning on each invalid free is refused with its own error and changes nothing, for any frame. Fails
/// when a refusal reads an unwritten descriptor (the simulation panics).
#[test]
fn wrong_frees_have_names() {
    let memory = poisoned();
    let taken = block(&memory, 4);
    let inside = taken.head.offset(5);
    assert_eq!(memory.free_block(inside), Err(FreeError::NoHead { pfn: inside, head: taken.head }));
    let absent = Pfn(0x200000);
    assert_eq!(memory.free_block(absent), Err(FreeError::Absent { pfn: absent }));
    let memmap = memory.resource(ResourceId(0)).unwrap().memmap_start;
    let pinned = FreeError::NotAllocated { pfn: memmap, state: PageState::Pinned };
    assert_eq!(memory.free_block(memmap), Err(pinned));
    memory.free_block(taken.head).unwrap();
    let again = memory.free_block(taken.head).unwrap_err();
    assert!(matches!(
        again,
        FreeError::NotAllocated { state: PageState::Free, .. } | FreeError::NoHead { .. }
    ));
    assert_eq!(memory.poison_info().watched_pages, 16);
    assert_invariants(&memory);
}
