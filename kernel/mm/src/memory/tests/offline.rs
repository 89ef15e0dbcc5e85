//! Tests of taking resources and ranges of sections offline and online.

use std::vec::Vec;

use super::hot_remove::{insert, remove};
use super::migrate::allocate;
use super::*;
use crate::addr::SECTION_PAGES;
use crate::boot_alloc::Owner;
use crate::hot_remove::{Offlined, OnlineError, Pinned, RemoveError, Target};
use crate::info::{Holder, PageState, ResourceId, ResourceState};
use crate::vmalloc::{Progress, Shape, VmallocArena};

pub(super) fn offline(
    memory: &Memory<SimMachine>,
    arena: &VmallocArena,
    target: Target,
) -> Result<Offlined, RemoveError> {
    let mut offlining = memory.begin_offline(target, &|| 0)?;
    assert_invariants(memory);
    while memory.offline_step(arena, &mut offlining, 512, &|| 0)? == Progress::More {
        assert_invariants(memory);
        assert_contents(memory, arena);
    }
    memory.finish_offline(arena, offlining)
}

fn states(memory: &Memory<SimMachine>, id: ResourceId) -> Vec<SectionState> {
    let mut states = Vec::new();
    let range = memory.resource(id).unwrap().range;
    memory.sections(range, &mut |row| states.push(row.state));
    states
}

/// Proves that a range of sections in the middle of a DIMM goes offline and online: free and allocated blocks are split
/// at its borders, allocated ones migrate, none of its frames can be allocated, its sections are offline, and blocks
/// merge again at the end. Fails when a frame of the range is allocated, or a block at a border is lost.
#[test]
fn a_range_of_sections_goes_offline_and_online() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let dimm = PfnRange::of(Pfn(0x100000), 1024 * MIB);
    insert(&memory, 1, dimm, 7);
    let id = memory.resource_of(dimm.start).unwrap();
    let fresh = memory.resource(id).unwrap();
    let blocks = memory.free_blocks(id);
    let all = allocate(&memory, &arena, 600 * MIB, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    let middle = PfnRange::of(dimm.start.offset(2 * SECTION_PAGES), 2 * SECTION_PAGES);
    let done = offline(&memory, &arena, Target::Frames(middle)).unwrap();
    assert_eq!(done.pages, 2 * SECTION_PAGES);
    assert_invariants(&memory);
    assert_contents(&memory, &arena);
    let info = memory.resource(id).unwrap();
    assert_eq!((info.state, info.offline_pages), (ResourceState::Partial, 2 * SECTION_PAGES));
    assert_eq!(info.movable_pages, 600 * MIB);
    use SectionState::{Offline, Online};
    assert_eq!(states(&memory, id), [Online, Online, Offline, Offline, Online, Online, Online, Online]);
    assert_eq!(memory.page(middle.start.offset(77)).state, PageState::Offline);
    while let Some(block) = memory.allocate_up_to(Order::MAX, Some(NodeId(7)), Mobility::Movable) {
        assert!(!block.range().overlaps(middle), "{block:?}");
    }
    // Again: nothing changes. Then a part goes online, then the rest.
    assert_eq!(offline(&memory, &arena, Target::Frames(middle)).unwrap().pages, 0);
    let part = PfnRange::of(middle.start, SECTION_PAGES);
    assert_eq!(memory.online(Target::Frames(part), None).unwrap().pages, SECTION_PAGES);
    assert_eq!(memory.online(Target::Resource(id), None).unwrap().pages, SECTION_PAGES);
    assert_eq!(memory.online(Target::Resource(id), None).unwrap().pages, 0);
    arena.free(&memory, all.id).unwrap();
    let mut blocks_now = Vec::new();
    memory.blocks(id, &mut |block| blocks_now.push(block));
    for block in blocks_now.iter().filter(|block| block.state == PageState::Movable) {
        memory.free_block(block.range.start).unwrap();
    }
    assert_eq!((memory.resource(id).unwrap(), memory.free_blocks(id)), (fresh, blocks));
    assert_invariants(&memory);
    remove(&memory, &arena, 1).unwrap();
}

/// Proves that a whole resource goes offline after its allocations migrated, that a pinned frame refuses it by name, that
/// it can go online in another zone but not change its zone while online, and that an offline resource can be removed.
/// Fails when the refusal names another holder, or the zone changes too early.
#[test]
fn a_resource_goes_offline_and_changes_its_zone() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let dimm = PfnRange::of(Pfn(0x100000), 256 * MIB);
    insert(&memory, 1, dimm, 7);
    let id = memory.resource_of(dimm.start).unwrap();
    let fresh = memory.resource(id).unwrap();
    let target = Target::Resource(id);
    allocate(&memory, &arena, 5000, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    let pinned = allocate(&memory, &arena, 1, Some(7), Mobility::Pinned, Shape::Scattered).unwrap();
    let error = offline(&memory, &arena, target).unwrap_err();
    let RemoveError::Pinned(Pinned { pages: 1, holder, .. }) = error else { panic!("{error}") };
    assert_eq!(holder, Holder::Mapping(pinned.start));
    arena.free(&memory, pinned.id).unwrap();
    assert_eq!(
        memory.online(target, Some(Zone::Movable)),
        Err(OnlineError::OtherZone { resource: id, zone: Zone::Any })
    );
    assert_eq!(offline(&memory, &arena, target).unwrap().pages, fresh.usable_pages);
    assert_contents(&memory, &arena);
    let info = memory.resource(id).unwrap();
    assert_eq!((info.state, info.offline_pages), (ResourceState::Offline, fresh.usable_pages));
    assert_eq!(memory.online(target, Some(Zone::Movable)).unwrap().pages, fresh.usable_pages);
    let info = memory.resource(id).unwrap();
    assert_eq!((info.zone, info.free_pages), (Zone::Movable, fresh.usable_pages));
    assert_eq!(memory.allocate_block(Order(0), Some(NodeId(7)), Mobility::Pinned), None);
    let one = memory.allocate_block(Order(0), Some(NodeId(7)), Mobility::Movable).unwrap();
    memory.free_block(one.head).unwrap();
    assert_invariants(&memory);
    offline(&memory, &arena, target).unwrap();
    remove(&memory, &arena, 1).unwrap();
    memory.machine().unplug(dimm);
    assert_contents(&memory, &arena);
    assert_eq!(offline(&memory, &arena, target).unwrap_err(), RemoveError::NoResource { resource: id });
    assert_eq!(memory.online(target, None), Err(OnlineError::NoResource { resource: id }));
    let absent = Target::Frames(dimm);
    assert_eq!(offline(&memory, &arena, absent).unwrap_err(), RemoveError::Absent { range: dimm });
}

/// Proves that boot memory without boot-pinned frames can go offline, that a refusal names their owner otherwise, and that
/// an abort leaves everything as before. Fails when a boot-pinned frame goes offline.
#[test]
fn boot_memory() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let mut resources = Vec::new();
    memory.resources(&mut |info| resources.push(info));
    let before = memory.totals();
    let first = offline(&memory, &arena, Target::Resource(resources[0].id)).unwrap_err();
    assert!(
        matches!(first, RemoveError::Pinned(Pinned { holder: Holder::Boot(Owner::PageTables), .. })),
        "{first}"
    );
    assert_eq!(memory.totals(), before);
    let last = PfnRange::of(Pfn(3 * SECTION_PAGES), SECTION_PAGES);
    let free = memory.totals().free_pages;
    let done = offline(&memory, &arena, Target::Frames(last)).unwrap();
    assert_eq!(memory.totals().free_pages, free - done.pages);
    assert_invariants(&memory);
    assert_eq!(memory.online(Target::Frames(last), None).unwrap().pages, done.pages);
    let offlining = memory.begin_offline(Target::Frames(last), &|| 0).unwrap();
    let held = memory.allocate_up_to(Order(9), None, Mobility::Movable).unwrap();
    assert!(!held.range().overlaps(last));
    memory.free_block(held.head).unwrap();
    memory.abort_offline(&arena, offlining);
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}
