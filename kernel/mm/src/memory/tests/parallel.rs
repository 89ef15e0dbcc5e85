//! Parallel work: other CPUs fill, verify, copy and compare.

use super::hot_remove::{insert, remove};
use super::migrate::allocate;
use super::*;
use crate::address_space::{FIXMAP, direct};
use crate::parallel::STRIPE;
use crate::poison::Mode;
use crate::vmalloc::{AllocError, Progress, Shape, VmallocArena};

/// Proves that with three helpers every page is filled and verified, the first of several wrong words is reported with its
/// page, address and value, and that the copy of a migration is complete, whatever the sizes of its blocks; that no helper
/// has a translation of the memory that is unplugged then (the simulation panics). Fails when a stripe is left out or done
/// with another's pages.
#[test]
fn helpers_fill_verify_and_copy() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let machine = memory.machine();
    machine.set_helpers(3);
    let dimm = PfnRange::of(Pfn(0x100000), 64 * MIB);
    insert(&memory, 1, dimm, 7);
    let before = memory.totals();
    let pages = 20 * STRIPE + 5;
    let made = allocate(&memory, &arena, pages, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    arena.fill(&memory, made.id, 0, pages).unwrap();
    let verify = || arena.verify(&memory, made.id, 0, pages).unwrap();
    assert_eq!((verify().pages, verify().bad), (pages, None));
    assert!(machine.helped() > 0, "nobody helped");
    let wrong = [(19 * STRIPE + 3, 1), (7 * STRIPE + 30, 500), (7 * STRIPE + 31, 0)];
    for (page, word) in wrong {
        let at = made.start.offset(page * 4096 + word * 8);
        machine.store(at, machine.load(at) ^ 4);
    }
    let bad = verify().bad.unwrap();
    let at = made.start.offset((7 * STRIPE + 30) * 4096 + 500 * 8);
    assert_eq!(
        (verify().pages, bad.page, bad.at, bad.found),
        (7 * STRIPE + 31, 7 * STRIPE + 30, at, machine.load(at))
    );
    assert_eq!(bad.found ^ 4, bad.expected);
    for (page, word) in wrong {
        let at = made.start.offset(page * 4096 + word * 8);
        machine.store(at, machine.load(at) ^ 4);
    }
    remove(&memory, &arena, 1).unwrap();
    machine.unplug(dimm);
    assert_eq!((verify().pages, verify().bad), (pages, None));
    arena.free(&memory, made.id).unwrap();
    insert(&memory, 1, dimm, 7);
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that with three helpers every page of an allocation is copied to the pages asked for and no other one, that the
/// target counts as not filled then, and that pages outside of either allocation are refused. Fails when a stripe is
/// left out, or `verify` would compare the target with its own pattern.
#[test]
fn helpers_copy_an_allocation() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    memory.machine().set_helpers(3);
    let pages = 3 * STRIPE + 7;
    let make = |pages| allocate(&memory, &arena, pages, None, Mobility::Movable, Shape::Frames).unwrap();
    let (source, target) = (make(pages), make(pages + 2));
    for one in [&source, &target] {
        arena.fill(&memory, one.id, 0, one.pages).unwrap();
    }
    let word = |start: VirtAddr, page: u64| memory.machine().load(start.offset(page * 4096 + 8 * 511));
    let ends = [0, pages + 1].map(|page| word(target.start, page));
    let copy = |from, to, pages| arena.copy(&memory, (source.id, from), (target.id, to), pages);
    for (from, to, pages) in [(1, 0, pages), (0, 3, pages), (0, u64::MAX, 1), (u64::MAX, 0, 2)] {
        assert!(matches!(copy(from, to, pages), Err(AllocError::OutOfRange { .. })));
    }
    copy(0, 1, pages).unwrap();
    assert!((0..pages).all(|page| word(source.start, page) == word(target.start, page + 1)));
    assert_eq!([0, pages + 1].map(|page| word(target.start, page)), ends);
    assert_eq!(arena.get(target.id).unwrap().filled, 0);
    assert_eq!(arena.verify(&memory, source.id, 0, pages).unwrap().bad, None);
    let order =
        |page| memory.page(memory.translate(source.start.offset(page * 4096)).unwrap().phys.pfn()).order;
    assert!((0..pages).all(|page| order(page) == Some(Order(0))), "single frames");
}

/// Proves that a batch takes 512 frames for each CPU that shares its copy and 2048 at most, with one request to the other
/// CPUs: single frames and leaves of 2 MiB, between DIMMs whose frames share a translation's place, so that all of them
/// are copied from the window. That all are where they were, and the window is empty. Fails when a helper does not count
/// or too many do, or when a batch is larger than the window.
#[test]
fn a_batch_has_frames_for_each_helper() {
    for (shape, helpers) in
        [Shape::Frames, Shape::Scattered].into_iter().flat_map(|shape| [0, 1, 3, 7].map(|n| (shape, n)))
    {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        let machine = memory.machine();
        let dimms = [0x100000, 0x108000].map(|first| PfnRange::of(Pfn(first), 64 * MIB));
        insert(&memory, 1, dimms[0], 7);
        let pages = 12 * 512;
        let made = allocate(&memory, &arena, pages, Some(7), Mobility::Movable, shape).unwrap();
        arena.fill(&memory, made.id, 0, pages).unwrap();
        insert(&memory, 2, dimms[1], 7);
        machine.set_helpers(helpers);
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
        let (mut migrated, mut full) = (0, 0);
        let most = 512 * (helpers as u64 + 1).min(4);
        loop {
            let before = machine.counts().requests;
            let progress = memory.remove_step(&arena, &mut removal, 512, &|| 0).unwrap();
            let moved = removal.stats().migrated_pages - migrated;
            assert!(moved <= most, "{moved} frames in a step");
            assert_eq!(machine.counts().requests - before, u64::from(moved > 0));
            (migrated, full) = (migrated + moved, full + u64::from(moved == most));
            if progress == Progress::Done {
                break;
            }
        }
        assert_eq!((migrated, full), (pages, pages / most));
        memory.finish_remove(&arena, removal, &|| 0).unwrap();
        machine.unplug(dimms[0]);
        assert_eq!(arena.verify(&memory, made.id, 0, pages).unwrap().bad, None);
        assert!(!machine.leaves().iter().any(|leaf| FIXMAP.contains(leaf.virt)));
        assert_invariants(&memory);
    }
}

/// Proves that helpers poison freed frames and find every frame that was written to, in order. Fails when a frame is not
/// poisoned or not compared.
#[test]
fn helpers_poison_and_compare() {
    let memory = booted(Support::No);
    memory.machine().set_helpers(3);
    memory.set_poison(Mode::On);
    let block = memory.allocate_block(Order(10), None, Mobility::Pinned).unwrap();
    memory.free_block(block.head).unwrap();
    let wrong = [0, 31, 32, 500, 1023].map(|frame| block.head.offset(frame));
    for pfn in wrong {
        memory.machine().store(direct(pfn.start()).offset(64), 1);
    }
    let mut found = Vec::new();
    let id = memory.resource_of(block.head).unwrap();
    memory.check_poison(id, Pfn(0), u64::MAX, &mut |finding| {
        found.push((finding.pfn, finding.offset, finding.found))
    });
    assert_eq!(found, wrong.map(|pfn| (pfn, 64, 1)));
    assert!(memory.machine().helped() > 0, "nobody helped");
    memory.set_poison(Mode::Off);
}
