//! Tests of ranges whose last frame is probed before the first allocation: see `probe`.

use super::hot_remove::remove;
use super::offline::offline;
use super::*;
use crate::error::AddError;
use crate::hot_remove::{OnlineError, Target};
use crate::info::{MissingEnd, Policy, ProbeEnd, ResourceId, ResourceState};
use crate::vmalloc::VmallocArena;

const DIMM: PfnRange = PfnRange::new(Pfn(0x100000), Pfn(0x110000));
/// A node of the DIMM's own.
const NODE: u32 = 7;
const LAST: Pfn = Pfn(0x10ffff);

/// Plugs the DIMM without probing its last frame.
fn plug_unprobed(memory: &Memory<SimMachine>) -> ResourceId {
    memory.machine().plug(DIMM);
    let request = request(DIMM.start.0, DIMM.pages(), NODE);
    let added = memory.add_with(DeviceId(5), &[request], ProbeEnd::AtFirstUse, &|| 0).unwrap();
    assert_invariants(memory);
    assert!(!memory.machine().written().contains(&LAST));
    added.ids[0]
}

/// The ways to allocate. Each returns whether it got memory of the DIMM.
const WAYS: [fn(&Memory<SimMachine>) -> bool; 8] = [
    |memory| of_dimm(memory.allocate_block(Order(0), None, Mobility::Movable)),
    |memory| of_dimm(memory.allocate_block(Order(9), None, Mobility::Movable)),
    |memory| of_dimm(memory.allocate_block(Order(3), Some(NodeId(NODE)), Mobility::Movable)),
    |memory| of_dimm(memory.allocate_block(Order(0), Some(NodeId(NODE)), Mobility::Pinned)),
    |memory| of_dimm(memory.allocate_up_to(Order(12), Some(NodeId(NODE)), Mobility::Movable)),
    |memory| {
        memory
            .allocate_run(700, Some(NodeId(NODE)), Mobility::Movable)
            .is_some_and(|run| DIMM.contains_range(run))
    },
    |memory| {
        let like = PfnRange::of(DIMM.start, 600);
        memory.allocate_run_like(like, VirtAddr(0)).is_some_and(|run| DIMM.contains_range(run))
    },
    |memory| {
        let mut inside = 0;
        memory.allocate_singles(5, Some(NodeId(NODE)), |head| {
            inside += u32::from(DIMM.contains(head));
            crate::address_space::ALLOC.start
        });
        inside > 0
    },
];

fn of_dimm(block: Option<Block>) -> bool {
    block.is_some_and(|block| DIMM.contains(block.head))
}

/// Proves that no way to allocate takes a frame of a range whose last frame does not answer, that the range is offline
/// then, with one report, and cannot be brought online, and that it can leave. Fails when a way does not probe, or when
/// what is free stays free.
#[test]
fn nothing_is_allocated_from_a_range_with_a_missing_end() {
    for allocate in WAYS {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        let before = memory.totals();
        // The node with most free frames is preferred.
        let id = plug_unprobed(&memory);
        memory.machine().make_hole(PfnRange::of(LAST, 1));
        let fresh = memory.resource(id).unwrap();
        assert_eq!((fresh.state, fresh.free_pages), (ResourceState::Online, 64512));
        assert_eq!(memory.next_missing_end(), None);

        assert!(!allocate(&memory));
        assert_invariants(&memory);
        let info = memory.resource(id).unwrap();
        assert_eq!((info.state, info.free_pages, info.offline_pages), (ResourceState::Offline, 0, 64512));
        assert_eq!(memory.next_missing_end(), Some(MissingEnd { resource: id, pfn: LAST }));
        assert_eq!((memory.next_missing_end(), memory.next_missing_end()), (None, None));

        let error = memory.online(Target::Resource(id), None).unwrap_err();
        assert_eq!(error, OnlineError::NoMemoryBehind { pfn: LAST });
        assert!(!allocate(&memory));
        assert_eq!(memory.next_missing_end(), None);
        remove(&memory, &arena, 5).unwrap();
        memory.machine().unplug(DIMM);
        assert_eq!(memory.totals().total_pages, before.total_pages);
    }
}

/// Proves that the last frame is probed once, before the first allocation, by each way to allocate, and that all of the
/// range can be allocated then. Fails when an add, or an allocation after the first one, writes to the last frame.
#[test]
fn the_end_is_probed_once() {
    for allocate in WAYS {
        let memory = booted(Support::Yes);
        let id = plug_unprobed(&memory);
        assert!(allocate(&memory));
        assert!(memory.machine().written().contains(&LAST));
        let mark = 0x1234;
        memory.machine.store(crate::address_space::direct(LAST.start()), mark);
        while let Some(block) = memory.allocate_up_to(Order(15), Some(NodeId(NODE)), Mobility::Movable) {
            assert!(!block.range().is_empty());
        }
        assert_eq!(memory.machine().physical(LAST.start()), mark);
        assert_eq!((memory.resource(id).unwrap().free_pages, memory.next_missing_end()), (0, None));
        assert_invariants(&memory);
    }
}

/// Proves that memory that stays offline after an add is probed when it comes online, in whole or in part, and goes online
/// when memory answers at last. Fails when onlining does not probe, or remembers an old answer.
#[test]
fn onlining_probes() {
    for part in [DIMM, PfnRange::new(Pfn(0x108000), Pfn(0x110000))] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        memory.set_policy(Policy::Offline);
        let id = plug_unprobed(&memory);
        memory.machine().make_hole(PfnRange::of(LAST, 1));
        assert!(!WAYS[2](&memory));
        assert_eq!(memory.next_missing_end(), None);
        let error = memory.online(Target::Frames(part), None).unwrap_err();
        assert_eq!(error, OnlineError::NoMemoryBehind { pfn: LAST });
        assert_eq!(std::format!("{error}"), std::format!("{}", AddError::NoMemoryBehind { pfn: LAST }));
        assert_eq!(memory.resource(id).unwrap().state, ResourceState::Offline);
        assert_eq!(memory.next_missing_end(), Some(MissingEnd { resource: id, pfn: LAST }));

        memory.machine().fill_holes();
        memory.online(Target::Resource(id), None).unwrap();
        let block = memory.allocate_block(Order(3), Some(NodeId(NODE)), Mobility::Movable).unwrap();
        memory.free_block(block.head).unwrap();
        assert_invariants(&memory);
        assert!(offline(&memory, &arena, Target::Frames(part)).is_ok());
        memory.online(Target::Frames(part), None).unwrap();
        assert_invariants(&memory);
    }
}

/// Proves that a range with a missing end is refused by an add that probes at once. Fails when `add` leaves it to the
/// first use.
#[test]
fn an_add_probes_at_once() {
    let memory = booted(Support::No);
    memory.machine().plug(DIMM);
    memory.machine().make_hole(PfnRange::of(LAST, 1));
    let request = request(DIMM.start.0, DIMM.pages(), NODE);
    let error = memory.add(DeviceId(5), &[request], &|| 0).unwrap_err();
    assert_eq!(error, AddError::NoMemoryBehind { pfn: LAST });
    memory.add_with(DeviceId(5), &[request], ProbeEnd::AtFirstUse, &|| 0).unwrap();
}
