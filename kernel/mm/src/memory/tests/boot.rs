//! Tests of booting with awkward memory maps.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::error::BootError;
use crate::info::{Holder, PageState};

/// Boots with `ranges` and `occupied`. Returns the result and the ranges left out.
fn boot(
    ranges: &[PfnRange],
    occupied: &[Occupied],
) -> (Memory<SimMachine>, Result<(), BootError>, Vec<PfnRange>) {
    boot_with(ranges, occupied, &[range(0x1000000, 0x1040000)])
}

/// The same with the hot-pluggable ranges `hotplug`.
fn boot_with(
    ranges: &[PfnRange],
    occupied: &[Occupied],
    hotplug: &[PfnRange],
) -> (Memory<SimMachine>, Result<(), BootError>, Vec<PfnRange>) {
    let memory = Memory::new(SimMachine::boot(11, Support::No, ranges));
    let mut all: Vec<_> = occupied.to_vec();
    all.push(Occupied { range: memory.machine().boot_tables(), owner: Owner::PageTables });
    let mut early = BootAllocator::new(ranges, &all);
    let ranges: Vec<_> = ranges.iter().map(|&range| BootRange { range, node: NodeId(0) }).collect();
    let boot = BootMemory {
        root: memory.machine().root(),
        features: memory.machine().features(),
        ranges: &ranges,
        occupied: &all,
        hotplug,
    };
    let mut left_out = Vec::new();
    let result = sim::boot(&memory, boot, &mut early, &mut |range| left_out.push(range));
    if result.is_ok() {
        assert_invariants(&memory);
    }
    (memory, result, left_out)
}

/// Proves for each frame and the totals that occupied frames are pinned with their owner, the memmap's frames are
/// memmap, and only the rest is usable. Fails when an occupied range is cut at the wrong frame.
#[test]
fn occupied_frames_are_pinned() {
    let occupied = [
        Occupied { range: range(0x100, 0x101), owner: Owner::Firmware },
        Occupied { range: range(0x1003, 0x1237), owner: Owner::Kernel },
        // Overlaps the previous range: the first owner keeps the frames.
        Occupied { range: range(0x1200, 0x1300), owner: Owner::Boot },
        Occupied { range: range(0x7ff0, 0x9000), owner: Owner::Heap },
    ];
    let (memory, result, left_out) = boot(&[range(0x100, 0x8000)], &occupied);
    assert_eq!((result, left_out.len()), (Ok(()), 0));
    let mut info = None;
    memory.resources(&mut |resource| info = Some(resource));
    let info = info.unwrap();
    let mut data = 0;
    for pfn in (0x100..0x8000).map(Pfn) {
        let page = memory.page(pfn);
        let owner = occupied.iter().find(|occupied| occupied.range.contains(pfn)).map(|one| one.owner);
        match owner {
            Some(owner) => {
                assert_eq!((page.state, page.holder), (PageState::Pinned, Holder::Boot(owner)), "{pfn:?}")
            }
            None if page.state == PageState::Memmap => data += 1,
            None if page.holder == Holder::Boot(Owner::PageTables) => {}
            None => assert_eq!(page.state, PageState::Free, "{pfn:?}"),
        }
    }
    // The array of 0x7f00 frames is 508 pages; header and 254 groups of 40 bytes are 3, the lowest table 1.
    assert_eq!(data, 508 + 3 + 1);
    let pinned = 1 + 0x234 + (0x1300 - 0x1237) + 0x10 + memory.totals().page_table_pages;
    assert_eq!(info.memmap_pages, data + pinned);
    assert_eq!(info.usable_start, Pfn(0x101));
    assert_eq!(info.free_pages, info.usable_pages);
}

/// Proves that adjacent ranges do not share a page of descriptors, that ranges without space for their metadata are
/// reported, and that no memory at all is an error. Fails when the later range is not rounded.
#[test]
fn ranges_share_no_page_of_descriptors() {
    let ranges = [range(1, 0x9f), range(0x100, 0x4007), range(0x4008, 0x9000), range(0x9020, 0x9100)];
    let (memory, result, left_out) = boot(&ranges, &[]);
    result.unwrap();
    assert_eq!(left_out, [ranges[0], range(0x4008, 0x4040), ranges[3]]);
    let mut kept = Vec::new();
    memory.resources(&mut |info| kept.push(info.range));
    assert_eq!(kept, [range(0x100, 0x4007), range(0x4040, 0x9000)]);

    let (_, result, left_out) = boot(&[range(0x100, 0x200)], &[]);
    assert_eq!((result, left_out.len()), (Err(BootError::NoMemory), 1));
}

/// Proves that a hot-pluggable range may come in more pieces than the table holds, in any order, overlapping or not: a
/// DIMM may span them, and none may lie beyond. Fails when pieces are counted before they are merged, or merged in
/// ascending order only.
#[test]
fn hot_pluggable_ranges_in_pieces() {
    let piece = |n: u64| {
        PfnRange::of(Pfn(0x100_0000 + n * 0x1000), if n.is_multiple_of(3) { 0x1800 } else { 0x1000 })
    };
    let pieces: Vec<_> = (0..80).rev().step_by(2).chain((0..80).step_by(2)).map(piece).collect();
    let (memory, result, _) = boot_with(&[range(0x100, 0x8000)], &[], &pieces);
    result.unwrap();
    let dimm = range(0x100_0000, 0x105_0000);
    let add = |range: PfnRange| {
        memory.machine().plug(range);
        memory.add(DeviceId(3), &[request(range.start.0, range.pages(), 0)], &|| 0)
    };
    assert_eq!(add(dimm).map(|added| added.ids.len()), Ok(1));
    let beyond = add(range(0x105_0000, 0x106_0000));
    assert!(matches!(beyond, Err(crate::error::AddError::OutsideHotpluggable { .. })), "{beyond:?}");
    let apart: Vec<_> =
        (0..=MAX_HOTPLUG_RANGES as u64).map(|n| PfnRange::of(Pfn(0x100_0000 + n * 2), 1)).collect();
    let (_, result, _) = boot_with(&[range(0x100, 0x8000)], &[], &apart);
    assert_eq!(result, Err(BootError::TooManyRanges { max: MAX_HOTPLUG_RANGES }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Proves that any memory map with random occupied ranges boots with all invariants, every frame being usable, pinned
    /// or left out. Fails when a hole overlaps an occupied range.
    #[test]
    fn any_map_boots(
        first in 0u64..4096,
        shapes in prop::collection::vec((0u64..300, 512u64..20_000), 1..4),
        occupied in prop::collection::vec((0u64..50_000, 1u64..600), 0..12),
    ) {
        let mut at = first;
        let ranges: Vec<_> = shapes.iter().map(|&(gap, pages)| {
            let range = PfnRange::of(Pfn(at + gap), pages);
            at = range.end.0;
            range
        }).collect();
        // Frames for the loader's and the first tables stay free, as on a real machine.
        let largest = ranges.iter().max_by_key(|range| range.pages()).unwrap();
        let kept = PfnRange::of(largest.start, 300);
        let occupied: Vec<_> = occupied.iter().map(|&(start, pages)| Occupied {
            range: PfnRange::of(Pfn(first + start), pages),
            owner: Owner::Boot,
        }).filter(|occupied| !occupied.range.overlaps(kept)).collect();
        let (memory, result, left_out) = boot(&ranges, &occupied);
        match result {
            Ok(()) => {
                let total: u64 = ranges.iter().map(|range| range.pages()).sum();
                let lost: u64 = left_out.iter().map(|range| range.pages()).sum();
                prop_assert_eq!(memory.totals().total_pages + lost, total);
                while memory.allocate_up_to(Order::MAX, None, Mobility::Movable).is_some() {}
                prop_assert_eq!(memory.totals().free_pages, 0);
                assert_invariants(&memory);
            }
            Err(error) => prop_assert!(matches!(error, BootError::NoMemory | BootError::NoFrames), "{error}"),
        }
    }
}
