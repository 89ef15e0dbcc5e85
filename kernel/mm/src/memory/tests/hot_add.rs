//! Tests of adding DIMMs of every size and alignment, alone and next to each other.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::addr::SECTION_PAGES;
use crate::info::{PageState, ResourceId};
use crate::page_table::LeafSize;

/// Checks that a resource's sections, blocks, free lists and totals agree.
fn assert_consistent(memory: &Memory<SimMachine>, id: ResourceId) {
    let info = memory.resource(id).unwrap();
    assert_eq!(info.memmap_pages + info.usable_pages, info.range.pages());
    let (mut present, mut memmap, mut usable, mut free) = (0, 0, 0, 0);
    memory.sections(info.range, &mut |row| {
        if row.resource == id {
            present += row.present_pages;
            memmap += row.memmap_pages;
            usable += row.usable_pages;
            free += row.free_pages;
        }
    });
    assert_eq!(
        (present, memmap, usable, free),
        (info.range.pages(), info.memmap_pages, info.usable_pages, info.free_pages)
    );
    let listed: u64 =
        memory.free_blocks(id).unwrap().iter().zip(0..).map(|(blocks, order)| blocks << order).sum();
    assert_eq!(listed, info.free_pages);
    let mut at = info.range.start;
    memory.blocks(id, &mut |block| {
        assert_eq!(block.range.start, at);
        at = block.range.end;
    });
    assert_eq!(at, info.range.end);
}

/// Proves that adjacent DIMMs of many sizes, which share sections and page directories, are added as their layouts say,
/// and that every usable frame can be allocated and freed. Fails when a neighbour's tables are not found, or a table has
/// no reserved page.
#[test]
fn small_dimms_back_to_back() {
    let memory = booted(Support::No);
    // From 1022 MiB above a GiB boundary on: across sections and a GiB boundary.
    let mut at = 0x100000 + 1022 * MIB;
    let mut ids = Vec::new();
    for mib in [2, 4, 2, 6, 8, 100, 256, 14, 16, 62, 64, 66, 126, 128, 130, 200, 2, 1024, 2] {
        let added = plug(&memory, at, mib * MIB, 1);
        assert_eq!(added.stats.existing_pages_used, 0);
        let info = memory.resource(added.ids[0]).unwrap();
        assert!(info.memmap_pages <= mib * MIB / 64 + 4, "{mib} MiB: {info:?}");
        ids.push(added.ids[0]);
        at += mib * MIB;
    }
    ids.iter().for_each(|&id| assert_consistent(&memory, id));
    for &id in &ids {
        let info = memory.resource(id).unwrap();
        let mut blocks = Vec::new();
        memory.blocks(id, &mut |block| blocks.push(block));
        let own = blocks.iter().filter(|block| block.state == PageState::Memmap);
        assert_eq!(own.map(|block| block.range.pages()).sum::<u64>(), info.memmap_pages);
    }
    let before = memory.totals();
    let mut taken = Vec::new();
    while let Some(block) = memory.allocate_up_to(Order(9), Some(NodeId(1)), Mobility::Movable) {
        taken.push(block.head);
    }
    assert_invariants(&memory);
    taken.into_iter().for_each(|head| assert!(memory.free_block(head).is_ok()));
    assert_eq!(memory.totals(), before);
    assert_invariants(&memory);
}

/// Proves that each multiple of 2 MiB up to 40 MiB can be added at each boundary of 2 MiB around a GiB boundary, with
/// page tables from its own frames only. Fails when a layout reserves too few.
#[test]
fn every_small_size_at_every_boundary() {
    for gib_leaves in [Support::No, Support::Yes] {
        let memory = booted(gib_leaves);
        let before = memory.machine().tables();
        let mut gib = 0x100000;
        for mib in (2..=40).step_by(2) {
            for below in (0..=mib).step_by(2) {
                gib += 2 * GIB;
                let start = gib - below * MIB;
                memory.machine().plug(PfnRange::of(Pfn(start), mib * MIB));
                let added = memory.add(DeviceId(1), &[request(start, mib * MIB, 1)], &|| 0);
                assert!(added.is_ok(), "{mib} MiB {below} MiB below a GiB: {added:?}");
            }
        }
        let tables = memory.machine().tables();
        let own = |table: &Pfn| memory.page(*table).state == PageState::Memmap;
        assert!(tables.difference(&before).all(own));
        assert_invariants(&memory);
    }
}

/// Proves that adjacent DIMMs as QEMU places them, 100 MiB and 256 MiB, share a section: each has its part of it, and
/// the totals agree. Fails when the shared section's descriptors are mapped for one of them only.
#[test]
fn a_section_is_shared() {
    let memory = booted(Support::No);
    let first = plug(&memory, 0x100000, 100 * MIB, 0);
    let second = plug(&memory, 0x100000 + 100 * MIB, 256 * MIB, 1);
    for id in [first.ids[0], second.ids[0]] {
        assert_consistent(&memory, id);
    }
    let shared = SectionNr(32);
    let rows = [first.ids[0], second.ids[0]].map(|id| memory.section(id, shared).unwrap());
    assert_eq!(rows[0].present_pages + rows[1].present_pages, SECTION_PAGES);
    assert_eq!(memory.page(Pfn(0x100000 + 100 * MIB - 1)).resource, Some(first.ids[0]));
    assert_eq!(memory.page(Pfn(0x100000 + 100 * MIB)).resource, Some(second.ids[0]));
    assert_eq!(memory.page(Pfn(0x100000 + 100 * MIB)).state, PageState::Memmap);
    assert_eq!(memory.page(Pfn(0x100000 + 356 * MIB)).state, PageState::Absent);
}

/// Proves that 8 GiB begin with a section that holds only memmap, and that adding 1 and 4 TiB writes few descriptors and
/// touches few frames, and half of them can be allocated as one run. Fails when an add's cost grows with the size.
#[test]
fn huge_dimms_cost_little() {
    for (gib_leaves, leaf) in [(Support::No, LeafSize::M2), (Support::Yes, LeafSize::G1)] {
        let memory = booted(gib_leaves);
        let eight = plug(&memory, 0x100000, 8 * GIB, 0);
        let row = memory.section(eight.ids[0], SectionNr(32)).unwrap();
        assert_eq!((row.state, row.usable_pages), (SectionState::Memmap, 0));
        let row = memory.section(eight.ids[0], SectionNr(33)).unwrap();
        assert_eq!((row.state, row.usable_pages), (SectionState::Online, SECTION_PAGES));

        let mut start = 0x1000_0000;
        for tib in [1, 4] {
            let range = PfnRange::of(Pfn(start), tib * 1024 * GIB);
            start = range.end.0;
            let added = plug(&memory, range.start.0, range.pages(), 1);
            let info = memory.resource(added.ids[0]).unwrap();
            assert_eq!(info.memmap_pages, range.pages() / 64);
            assert!(added.stats.descriptors_written <= 2 * Order::COUNT as u64);
            assert_eq!(added.stats.existing_pages_used, 0);
            let touched = memory.machine().written().into_iter().filter(|pfn| range.contains(*pfn)).count();
            assert_eq!(touched as u64, added.stats.frames_written);
            // The first and the last frame, which were probed (`add` probes at once), a memmap page for each initial group, the header, the pages reserved for
            // tables, and those of the touched bits: 72 bytes for each 8 GiB.
            let kept = Layout::plan(range, memory.machine().features()).unwrap().tables;
            let touched_bits = (range.pages() / (8 * GIB) * 72).div_ceil(4096);
            let most = 2 + added.stats.descriptors_written + 1 + kept + touched_bits;
            assert!(touched as u64 <= most, "{touched} frames touched, at most {most} expected");
            if leaf == LeafSize::G1 {
                assert!(touched <= 64, "{touched} frames of {tib} TiB touched");
            }
            let half = memory.allocate_run(range.pages() / 2, Some(NodeId(1)), Mobility::Movable).unwrap();
            assert!(range.contains_range(half));
            assert_invariants(&memory);
            memory.free_run(half).unwrap();
            assert_eq!(memory.resource(added.ids[0]).unwrap().free_pages, info.usable_pages);
        }
    }
}

/// Proves that one add of a device with several ranges makes a resource of each, with its own memmap. Fails when ranges
/// share metadata or a node's total misses one.
#[test]
fn a_device_of_three_ranges() {
    let memory = booted(Support::No);
    let ranges = [(0x100000, 256 * MIB), (0x140000, 2 * MIB), (0x180000, 128 * MIB)];
    ranges.iter().for_each(|&(start, pages)| memory.machine().plug(PfnRange::of(Pfn(start), pages)));
    let requests: Vec<_> = ranges.iter().map(|&(start, pages)| request(start, pages, 5)).collect();
    let added = memory.add(DeviceId(9), &requests, &|| 0).unwrap();
    assert_eq!(added.ids.len(), 3);
    for (&id, (start, pages)) in added.ids.iter().zip(ranges) {
        let info = memory.resource(id).unwrap();
        assert_eq!((info.range, info.device), (PfnRange::of(Pfn(start), pages), DeviceId(9)));
        assert_eq!(info.memmap_start, Pfn(start));
        assert_consistent(&memory, id);
    }
    let mut nodes = vec![];
    memory.nodes(&mut |node| nodes.push((node.node, node.free_pages)));
    assert_eq!(nodes.iter().find(|(node, _)| *node == NodeId(5)).unwrap().1, added.usable_pages);
    assert_invariants(&memory);
}
