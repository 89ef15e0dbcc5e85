//! Tests of surprise removal: accesses to the removed memory panic, everything else must keep working.

use core::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

use super::hot_remove::{everything, insert, remove, use_all};
use super::migrate::{allocate, frames};
use super::*;
use crate::addr::PAGE_SIZE;
use crate::address_space::{descriptor, direct};
use crate::hot_remove::{RemoveError, SurpriseRemoved};
use crate::machine::CpuNr;
use crate::sim::{interleave, run_as};
use crate::vmalloc::{AllocError, Progress, Shape, Verified, VmallocArena};

/// Proves that any of several neighbours that share tables can be surprise-removed: the shared tables are rebuilt, every
/// frame of the others stays usable, and they can be removed, plugged and removed again. Fails when removed memory is
/// accessed, a table in it stays linked, or a rebuilt table maps other frames.
#[test]
fn neighbours_keep_working() {
    for gib_leaves in [Support::No, Support::Yes] {
        let sizes = [100, 1000, 62, 30];
        for victim in 0..sizes.len() {
            let (memory, arena) = (booted(gib_leaves), VmallocArena::new());
            let ranges: Vec<PfnRange> = (0..sizes.len())
                .map(|n| PfnRange::of(Pfn(0x100000 + sizes[..n].iter().sum::<u64>() * MIB), sizes[n] * MIB))
                .collect();
            let before = everything(&memory, &ranges);
            for (n, &range) in ranges.iter().enumerate() {
                insert(&memory, n as u32, range, 10 + n as u32);
            }
            memory.machine().surprise_remove(ranges[victim]);
            let SurpriseRemoved { ids, pages, lost_pages, allocations } =
                memory.surprise_remove(&arena, DeviceId(victim as u32)).unwrap();
            assert_eq!((ids.len(), pages), (1, ranges[victim].pages()));
            assert_eq!((lost_pages, allocations), (0, 0));
            assert_invariants(&memory);
            for n in (0..sizes.len()).filter(|&n| n != victim) {
                use_all(&memory, 10 + n as u32);
            }
            insert(&memory, victim as u32, ranges[victim], 10);
            for n in 0..sizes.len() {
                remove(&memory, &arena, n as u32).unwrap();
            }
            assert!(everything(&memory, &ranges) == before);
        }
    }
}

/// Proves that allocations with frames in surprise-removed memory are lost and report it, that their other frames are
/// free at once, and that other allocations keep their bytes. Fails when a present frame is lost with them.
#[test]
fn allocations_are_lost_by_name() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let dimms = [PfnRange::of(Pfn(0x100000), 8 * MIB), PfnRange::of(Pfn(0x110000), 8 * MIB)];
    insert(&memory, 1, dimms[0], 7);
    insert(&memory, 2, dimms[1], 8);
    let before = memory.totals();
    let gone_pages = memory.resource(memory.resource_of(dimms[0].start).unwrap()).unwrap().usable_pages;
    let kept = allocate(&memory, &arena, 600, Some(8), Mobility::Movable, Shape::Scattered).unwrap();
    let pinned = allocate(&memory, &arena, 30, Some(7), Mobility::Pinned, Shape::Scattered).unwrap();
    let run = allocate(&memory, &arena, 700, Some(7), Mobility::Movable, Shape::Contiguous).unwrap();
    // All remaining frames, some of them in the DIMM to be removed.
    let all = crate::vmalloc::Request {
        amount: crate::vmalloc::Amount::All,
        node: None,
        mobility: Mobility::Movable,
        shape: Shape::Scattered,
    };
    let rest = arena.allocate(&memory, &all).unwrap();
    let there = |one| frames(&memory, one).iter().filter(|(pfn, _)| dimms[0].contains(*pfn)).count();
    assert!(there(&rest) > 0 && there(&kept) == 0);
    memory.machine().surprise_remove(dimms[0]);
    let SurpriseRemoved { lost_pages, allocations, .. } =
        memory.surprise_remove(&arena, DeviceId(1)).unwrap();
    assert_eq!((lost_pages, allocations), (gone_pages, 3));
    assert_invariants(&memory);
    for lost in [&pinned, &run, &rest] {
        assert_eq!(arena.verify(&memory, lost.id, 0, 1), Err(AllocError::Lost { id: lost.id }));
        assert_eq!(arena.fill(&memory, lost.id, 0, 1), Err(AllocError::Lost { id: lost.id }));
    }
    assert_eq!(arena.verify(&memory, kept.id, 0, 600), Ok(Verified { pages: 520, bad: None }));
    let used = memory.totals();
    assert_eq!(before.usable_pages - used.usable_pages, gone_pages);
    [&pinned, &run, &rest, &kept].iter().for_each(|one| arena.free(&memory, one.id).unwrap());
    assert_eq!(memory.totals().free_pages, before.free_pages - gone_pages);
    assert_eq!(memory.totals().page_table_pages, before.page_table_pages);
    assert_invariants(&memory);
}

/// Proves that losing the page tables of allocations loses just these allocations: their blocks in other memory are found
/// and freed. Also during a removal of the same device, which then ends with an error, and while an allocation grows.
/// Fails when a block is leaked or a removed table is read.
#[test]
fn page_tables_are_lost_too() {
    for removing in [false, true] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        let dimms = [PfnRange::of(Pfn(0x100000), 8 * MIB), PfnRange::of(Pfn(0x110000), 8 * MIB)];
        memory.set_policy(crate::info::Policy::Online(Zone::Movable));
        insert(&memory, 2, dimms[1], 8);
        memory.set_policy(crate::info::Policy::Online(Zone::Any));
        insert(&memory, 1, dimms[0], 7);
        let before = memory.totals();
        let mut boot = Vec::new();
        for node in [0, 1] {
            while let Some(block) = memory.allocate_up_to(Order(12), Some(NodeId(node)), Mobility::Movable) {
                boot.push(block);
            }
        }
        let gone = memory.resource(memory.resource_of(dimms[0].start).unwrap()).unwrap().usable_pages;
        let one = allocate(&memory, &arena, 700, Some(8), Mobility::Movable, Shape::Scattered).unwrap();
        let request = crate::vmalloc::Request {
            amount: crate::vmalloc::Amount::Pages(900),
            node: Some(NodeId(8)),
            mobility: Mobility::Movable,
            shape: Shape::Contiguous,
        };
        let mut growing = arena.begin(&memory, &request).unwrap();
        assert_eq!(arena.grow(&memory, &mut growing, 100), Ok(Progress::More));
        boot.into_iter().for_each(|block| assert!(memory.free_block(block.head).is_ok()));
        let removal = removing.then(|| memory.begin_remove(DeviceId(1), &|| 0).unwrap());
        memory.machine().surprise_remove(dimms[0]);
        let SurpriseRemoved { lost_pages, allocations, .. } =
            memory.surprise_remove(&arena, DeviceId(1)).unwrap();
        assert_eq!((lost_pages, allocations), (0, 2), "only their tables were removed");
        assert_invariants(&memory);
        if let Some(mut removal) = removal {
            assert_eq!(
                memory.remove_step(&arena, &mut removal, 10, &|| 0),
                Err(RemoveError::SurpriseRemoved)
            );
        }
        let id = growing.id();
        assert_eq!(arena.grow(&memory, &mut growing, 100), Err(AllocError::Lost { id }));
        let id = arena.abandon(&memory, growing).unwrap();
        assert_eq!(arena.free_step(&memory, id, 1), Ok(Progress::Done));
        arena.free(&memory, one.id).unwrap();
        let after = memory.totals();
        assert_eq!(after.free_pages, before.free_pages - gone);
        assert_eq!(after.page_table_pages, before.page_table_pages);
        assert_invariants(&memory);
        assert_eq!(
            memory.surprise_remove(&arena, DeviceId(1)),
            Err(RemoveError::Unknown { device: DeviceId(1) })
        );
    }
}

/// Proves that no page of a neighbour is unmapped for a moment when a DIMM vanishes whose memory holds the page tables
/// that both use: other CPUs read the neighbour's frames and descriptors between any two steps, one that keeps every
/// translation and one that keeps none, and no access faults; and afterwards no CPU has a translation through the tables
/// that are gone. Fails when a table is unlinked before the new one is complete, and when the flush is left out.
#[test]
fn a_neighbour_stays_mapped_on_every_cpu() {
    for gib_leaves in [Support::No, Support::Yes] {
        // Whose memory holds the shared tables: that of the one that came first.
        for victim in [0, 1] {
            let (memory, arena) = (Rc::new(booted(gib_leaves)), VmallocArena::new());
            let ranges = [(0, 6), (6, 4), (10, 120)]
                .map(|(from, size)| PfnRange::of(Pfn(0x100000 + from * MIB), size * MIB));
            let order: [usize; 3] = [victim, 1 - victim, 2];
            order.iter().for_each(|&n| insert(&memory, n as u32, ranges[n], 10 + n as u32));
            let kept = (0..ranges.len()).filter(|&n| n != victim).map(|n| ranges[n]);
            let pages: Vec<_> = kept
                .flat_map(|dimm| {
                    let frames = [dimm.start, dimm.start.offset(dimm.pages() / 2), Pfn(dimm.end.0 - 1)];
                    frames.map(|pfn| [direct(pfn.start()), descriptor(pfn)])
                })
                .flatten()
                .collect();
            let reads = Rc::new(Cell::new(0));
            let program = {
                let (memory, reads) = (memory.clone(), reads.clone());
                move || {
                    for &at in &pages {
                        let at = crate::addr::VirtAddr(at.0 & !(PAGE_SIZE - 1));
                        let read = || assert!(memory.machine().try_load(at).is_some(), "{at} is unmapped");
                        read();
                        run_as(CpuNr::new(2).unwrap(), || {
                            memory.machine().flush_local(at);
                            read();
                        });
                        reads.set(reads.get() + 1);
                    }
                }
            };
            program();
            interleave::between_steps(CpuNr::new(1).unwrap(), Rc::new(program), || {
                memory.surprise_remove(&arena, DeviceId(victim as u32)).unwrap();
            });
            memory.machine().unplug(ranges[victim]);
            assert!(reads.get() > 1000);
            assert_invariants(&memory);
            (0..ranges.len()).filter(|&n| n != victim).for_each(|n| use_all(&memory, 10 + n as u32));
        }
    }
}

/// Proves that no CPU has a translation of a lost allocation when the surprise removal has ended, even one that reads the
/// allocation's pages until they are unmapped; the tables that are freed with it are walked by none. Fails when the flush
/// after the allocations are unmapped is left out: the earlier one for the memory itself does not cover them.
#[test]
fn no_translation_of_a_lost_allocation_is_left() {
    let (memory, arena) = (Rc::new(booted(Support::No)), VmallocArena::new());
    let dimm = PfnRange::of(Pfn(0x100000), 8 * MIB);
    insert(&memory, 1, dimm, 7);
    let one = allocate(&memory, &arena, 30, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    let pages: Vec<_> = (0..one.pages).map(|page| one.start.offset(page * PAGE_SIZE)).collect();
    let program = {
        let memory = memory.clone();
        move || pages.iter().filter(|&&at| memory.machine().try_load(at).is_some()).for_each(|_| {})
    };
    interleave::between_steps(CpuNr::new(1).unwrap(), Rc::new(program), || {
        assert_eq!(memory.surprise_remove(&arena, DeviceId(1)).unwrap().allocations, 1);
    });
    memory.machine().unplug(dimm);
    arena.free(&*memory, one.id).unwrap();
    assert_invariants(&memory);
}
