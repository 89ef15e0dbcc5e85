//! Tests of migrating page tables of allocations out of memory being removed.

use core::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

use carapace_lock::{Rank, exchange};

use super::hot_remove::insert;
use super::migrate::{DIMM, allocate};
use super::*;
use crate::addr::PAGE_SIZE;
use crate::info::{DeviceId, Holder, Policy};
use crate::machine::CpuNr;
use crate::page_table::Level;
use crate::sim::{interleave, run_as};
use crate::vmalloc::{FrameProvider, Planned, Progress, Shape, Sizes, VmallocArena};

/// Proves that after a page table migrated no CPU uses the old one, even when no block migrates: the old frame may hold
/// anything. Fails when a cached entry or a link still refers to it.
#[test]
fn a_migrated_page_table_is_flushed() {
    let other = CpuNr::new(1).unwrap();
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    // The movable zone holds no tables and boot memory is exhausted, so the tables are in `DIMM`.
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
    let one = allocate(&memory, &arena, 300, Some(8), Mobility::Movable, Shape::Scattered).unwrap();
    boot.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
    let usable = memory.resource(memory.resource_of(DIMM.start).unwrap()).unwrap().usable_start;
    let in_dimm = |pfn: &Pfn| usable <= *pfn && *pfn < DIMM.end;
    let tables: Vec<Pfn> = memory.machine().tables().into_iter().filter(in_dimm).collect();
    assert_eq!(tables.len(), 2);
    assert_contents(&memory, &arena);
    let first_word = |page: u64| memory.machine().try_load(one.start.offset(page * PAGE_SIZE));
    // Another CPU has a link to each table in its cache, and the leaf of the first page.
    run_as(other, || first_word(0)).unwrap();
    let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    while memory.remove_step(&arena, &mut removal, 64, &|| 0).unwrap() == Progress::More {}
    assert_eq!(removal.stats().tables_moved, 2);
    tables.iter().for_each(|&pfn| memory.machine().junk(PfnRange::of(pfn, 1)));
    assert_eq!(run_as(other, || first_word(1)), first_word(1));
    arena.fill(&memory, arena.next_after(None).unwrap().id, 0, 300).unwrap();
    assert_contents(&memory, &arena);
    memory.finish_remove(&arena, removal, &|| 0).unwrap();
}

/// Proves that page tables of allocations migrate out of memory being removed and do not count as pinned. Fails when a
/// table's rmap entry is wrong, or a walk still uses its old frame.
#[test]
fn page_tables_migrate() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    insert(&memory, 1, DIMM, 7);
    let id = memory.resource_of(DIMM.start).unwrap();
    // Boot memory is exhausted, so tables come from the DIMM.
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
    // Junk in the old tables: no walk may start from a cached link to them.
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

/// Proves that a page table which another CPU frees between its choice and the migration of its batch is left alone, and
/// its target freed, while the rest of the batch migrates. Fails when it is taken for corruption, or freed twice.
#[test]
fn a_table_that_is_freed_meanwhile_is_left_alone() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let before = memory.totals();
    let keeps = allocate(&memory, &arena, 3, None, Mobility::Movable, Shape::Scattered).unwrap();
    // The next one is alone in its page table.
    let fills = allocate(&memory, &arena, 509, None, Mobility::Movable, Shape::Scattered).unwrap();
    let frees = allocate(&memory, &arena, 2, None, Mobility::Movable, Shape::Scattered).unwrap();
    let table = |at| {
        let found = memory.with_tables(|tables, machine| tables.removable_table(machine, at, Level::Pt));
        found.flatten().unwrap()
    };
    let [kept, freed] = [keeps.start, frees.start].map(table);
    assert!(kept != freed);
    let mut batch = arena.batch(&memory);
    assert_eq!(batch.add_table(freed, frees.start, Level::Pt), Ok(true));
    assert_eq!(batch.add_table(kept, keeps.start, Level::Pt), Ok(true));
    arena.free(&memory, frees.id).unwrap();
    let moved = batch.run().unwrap();
    assert_eq!((moved.pages, moved.tables), (1, 1));
    drop(batch);
    let moved_to = table(keeps.start);
    assert!(moved_to != kept);
    assert_eq!(memory.page(moved_to).holder, Holder::Table(keeps.start));
    assert_contents(&memory, &arena);
    [keeps, fills].iter().for_each(|one| arena.free(&memory, one.id).unwrap());
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves what a batch does not take when the choice was made from what is no longer true, as it is made without the
/// arena's lock: a table's frame where another table is linked by now, and a block of an allocation that is contiguous.
/// Fails when any table at the address passes for the chosen one, or when such a block migrates alone.
#[test]
fn a_batch_takes_what_it_finds_only() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let one = allocate(&memory, &arena, 3, None, Mobility::Movable, Shape::Scattered).unwrap();
    let run = allocate(&memory, &arena, 8, None, Mobility::Movable, Shape::Contiguous).unwrap();
    let head = memory.with_tables(|tables, machine| tables.translate(machine, run.start)).flatten().unwrap();
    let block = memory.block_at(head.phys.pfn()).unwrap();
    let other = memory.alloc_table().unwrap();
    let mut batch = arena.batch(&memory);
    assert_eq!(batch.add_table(other, one.start, Level::Pt), Ok(false));
    assert_eq!(batch.add_block(block, run.start, Sizes::Any), Ok(Planned::Busy(run.id)));
    assert_eq!(batch.pages(), 0);
    drop(batch);
    memory.free_table(other);
    assert_contents(&memory, &arena);
    assert_invariants(&memory);
}

/// Proves that another CPU maps pages in a page table that migrates, and reads and writes them at once, between any two
/// steps at which the CPU that migrates holds no lock beyond that of the batch. Fails when the tables' lock is given back
/// before the flush: the other CPU still walks the old table, in which the new pages are missing.
#[test]
fn pages_are_mapped_while_their_table_migrates() {
    let (memory, arena) = (Rc::new(booted(Support::No)), Rc::<VmallocArena>::default());
    insert(&memory, 1, DIMM, 7);
    let mut boot = Vec::new();
    for node in [0, 1] {
        while let Some(block) = memory.allocate_up_to(Order(12), Some(NodeId(node)), Mobility::Movable) {
            boot.push(block);
        }
    }
    // Its last page table, in the DIMM, has space behind it.
    let one = allocate(&memory, &arena, 700, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    boot.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
    let rounds = Rc::new(Cell::new(0));
    let program = {
        let (memory, arena, rounds) = (memory.clone(), arena.clone(), rounds.clone());
        move || {
            let held = exchange(0);
            let in_batch = 1 << Rank::Migration as u64;
            if held & in_batch != 0 && held < in_batch << 1 {
                let more =
                    allocate(&memory, &arena, 3, Some(0), Mobility::Movable, Shape::Scattered).unwrap();
                assert_eq!(more.start, one.start.offset(700 * PAGE_SIZE));
                arena.fill(&*memory, more.id, 0, 3).unwrap();
                assert_eq!(arena.verify(&*memory, more.id, 0, 3).unwrap().bad, None);
                arena.free(&*memory, more.id).unwrap();
                // A link to the table as it is now, for the next round: freeing has dropped the one before.
                let page = one.start.offset(600 * PAGE_SIZE);
                memory.machine().flush_local(page);
                let _ = memory.machine().try_load(page);
                rounds.set(rounds.get() + 1);
            }
            exchange(held);
        }
    };
    let removed = interleave::between_steps(CpuNr::new(1).unwrap(), Rc::new(program), || {
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        while memory.remove_step(&arena, &mut removal, 1024, &|| 0).unwrap() == Progress::More {}
        memory.finish_remove(&arena, removal, &|| 0).unwrap()
    });
    memory.machine().unplug(DIMM);
    assert!(removed.stats.tables_moved >= 2 && rounds.get() >= 700, "{removed:?}, {} rounds", rounds.get());
    assert_contents(&memory, &arena);
    assert_invariants(&memory);
}
