//! Page tables of allocations that lie in memory which is taken away.

use std::vec::Vec;

use super::hot_remove::insert;
use super::migrate::{DIMM, allocate};
use super::*;
use crate::info::{DeviceId, Policy};
use crate::vmalloc::{Progress, Shape, VmallocArena};

/// Proves that after a page table moved the CPU forgets the old one, though nothing else moves: the old frame may hold
/// anything then. Fails when a cache or an entry still leads there.
#[test]
fn a_moved_page_table_is_forgotten() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    // Tables cannot lie in the movable zone, and boot memory is used up while they are made: they lie in `DIMM`.
    memory.set_policy(Policy::Online(Zone::Movable));
    insert(&memory, 2, PfnRange::of(DIMM.end, 8 * MIB), 8);
    memory.set_policy(Policy::Online(Zone::Any));
    insert(&memory, 1, DIMM, 7);
    let mut boot = Vec::new();
    for node in [0, 1] {
        while let Some(block) = memory.allocate_up_to(Order(12), Some(NodeId(node)), Mobility::Movable) {
            boot.push(block);
        }
    }
    allocate(&memory, &arena, 300, Some(8), Mobility::Movable, Shape::Scattered).unwrap();
    boot.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
    let usable = memory.resource(memory.resource_of(DIMM.start).unwrap()).unwrap().usable_start;
    let in_dimm = |pfn: &Pfn| usable <= *pfn && *pfn < DIMM.end;
    let tables: Vec<Pfn> = memory.machine().tables().into_iter().filter(in_dimm).collect();
    assert_eq!(tables.len(), 2);
    assert_contents(&memory, &arena);
    let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    while memory.remove_step(&arena, &mut removal, 64, &|| 0).unwrap() == Progress::More {}
    assert_eq!(removal.stats().tables_moved, 2);
    tables.iter().for_each(|&pfn| memory.machine().junk(PfnRange::of(pfn, 1)));
    arena.fill(&memory, arena.next_after(None).unwrap().id, 0, 300).unwrap();
    assert_contents(&memory, &arena);
    memory.finish_remove(&arena, removal, &|| 0).unwrap();
}

/// Proves that page tables of allocations that lie in the leaving memory move too, and that they do not count
/// as pinned. Fails when a table does not know which one it is, or its old frame is walked on.
#[test]
fn page_tables_move() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, DIMM, 7);
    let id = memory.resource_of(DIMM.start).unwrap();
    // No boot memory left: tables come from the DIMM.
    let mut boot = Vec::new();
    for node in [0, 1] {
        while let Some(block) = memory.allocate_up_to(Order(12), Some(NodeId(node)), Mobility::Movable) {
            boot.push(block);
        }
    }
    let one = allocate(&memory, &arena, 3000, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    let info = memory.resource(id).unwrap();
    assert!(info.pinned_pages >= 2, "{info:?}");
    assert_eq!(memory.first_pinned(id), None);
    boot.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
    let tables: Vec<Pfn> =
        memory.machine().tables().into_iter().filter(|&pfn| pfn >= info.usable_start).collect();
    let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    while memory.remove_step(&arena, &mut removal, 64, &|| 0).unwrap() == Progress::More {}
    // The old ones may be anything now: no walk begins in what a cache knows of them.
    assert!(tables.len() as u64 >= info.pinned_pages);
    tables.iter().for_each(|&pfn| memory.machine().junk(PfnRange::of(pfn, 1)));
    assert_contents(&memory, &arena);
    let removed = memory.finish_remove(&arena, removal, &|| 0).unwrap();
    assert_eq!(removed.stats.tables_moved, info.pinned_pages);
    memory.machine().unplug(DIMM);
    assert_invariants(&memory);
    assert_contents(&memory, &arena);
    arena.free(&memory, one.id).unwrap();
    assert_invariants(&memory);
}
