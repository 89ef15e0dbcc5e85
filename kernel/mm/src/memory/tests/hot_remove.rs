//! Tests of removing idle devices: in every order, with shared page tables, and each refusal and failure.

use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::address_space::{descriptor, direct};
use crate::fault_injection::Step;
use crate::hot_remove::{RemoveError, RemoveStats, Removed};
use crate::info::{DeviceId, PageState};
use crate::machine::CpuNr;
use crate::sim::run_as;
use crate::vmalloc::{Progress, VmallocArena};

/// Plugs and adds a DIMM as device `device`.
pub(super) fn insert(memory: &Memory<SimMachine>, device: u32, range: PfnRange, node: u32) {
    memory.machine().plug(range);
    memory.add(DeviceId(device), &[request(range.start.0, range.pages(), node)], &|| 0).unwrap();
    assert_invariants(memory);
}

/// Runs a whole removal.
pub(super) fn remove(
    memory: &Memory<SimMachine>,
    arena: &VmallocArena,
    device: u32,
) -> Result<Removed, RemoveError> {
    let mut removal = memory.begin_remove(DeviceId(device), &|| 0)?;
    assert_invariants(memory);
    while memory.remove_step(arena, &mut removal, 64, &|| 0)? == Progress::More {
        assert_invariants(memory);
    }
    memory.finish_remove(arena, removal, &|| 0)
}

/// The state of memory and page tables outside of `except`, which must be the same before an add and after the removal.
pub(super) fn everything(
    memory: &Memory<SimMachine>,
    except: &[PfnRange],
) -> impl PartialEq + core::fmt::Debug + use<> {
    let mut nodes = Vec::new();
    memory.nodes(&mut |node| nodes.push(node));
    nodes.retain(|node| node.total_pages > 0);
    let machine = memory.machine();
    (machine.snapshot(except), machine.leaves(), machine.tables(), memory.totals(), nodes)
}

fn permutations(of: &[u32]) -> Vec<Vec<u32>> {
    if of.is_empty() {
        return Vec::from([Vec::new()]);
    }
    let rest = |first: u32| of.iter().copied().filter(move |&other| other != first).collect::<Vec<_>>();
    let each =
        |&first: &u32| permutations(&rest(first)).into_iter().map(move |tail| [&[first], &tail[..]].concat());
    of.iter().flat_map(each).collect()
}

/// Sizes in MiB of adjacent DIMMs from 4 GiB on, which share sections, page directories and GiBs in every way.
const NEIGHBOURS: [&[u64]; 4] = [&[100, 256, 62, 30], &[2, 2, 2, 2], &[1000, 1096, 72], &[128, 2048, 64]];

/// Proves that devices can be removed in every order, whatever they share. After each removal accesses to its memory
/// panic and every frame of the others is usable. At the end every word outside, every leaf and every table is as before
/// the first add. Fails when a table stays in removed memory, or an entry or a flush is missing.
#[test]
fn every_order_of_leaving() {
    for gib_leaves in [Support::No, Support::Yes] {
        for sizes in NEIGHBOURS {
            let devices: Vec<u32> = (0..sizes.len() as u32).collect();
            let ranges: Vec<PfnRange> = devices
                .iter()
                .map(|&n| {
                    let before: u64 = sizes[..n as usize].iter().sum();
                    PfnRange::of(Pfn(0x100000 + before * MIB), sizes[n as usize] * MIB)
                })
                .collect();
            for order in permutations(&devices) {
                let (memory, arena) = (booted(gib_leaves), VmallocArena::new());
                let before = everything(&memory, &ranges);
                for &n in &devices {
                    insert(&memory, n, ranges[n as usize], 10 + n);
                }
                for (gone, &n) in order.iter().enumerate() {
                    let removed = remove(&memory, &arena, n).unwrap();
                    assert_eq!(removed.pages, ranges[n as usize].pages());
                    memory.machine().unplug(ranges[n as usize]);
                    assert_invariants(&memory);
                    for &other in &order[gone + 1..] {
                        use_all(&memory, 10 + other);
                    }
                }
                assert!(everything(&memory, &ranges) == before, "{sizes:?} in the order {order:?}");
            }
        }
    }
}

/// Allocates and frees every frame of a node, and writes the last word of each block.
pub(super) fn use_all(memory: &Memory<SimMachine>, node: u32) {
    let mut blocks = Vec::new();
    while let Some(block) = memory.allocate_up_to(Order::MAX, Some(NodeId(node)), Mobility::Movable) {
        let last = crate::address_space::direct(block.range().end.start()).0 - 8;
        crate::machine::Machine::store(memory.machine(), crate::addr::VirtAddr(last), 1);
        blocks.push(block);
    }
    assert!(!blocks.is_empty());
    blocks.into_iter().for_each(|block| assert_eq!(memory.free_block(block.head), Ok(block.order)));
    assert_invariants(memory);
}

/// Proves that a device with two ranges, which share a page directory with each other and a section with a neighbour, is
/// removed as a whole, and that the same memory, plugged again with its old contents, works as new. Fails when only one
/// range is unmapped, or old descriptors are trusted.
#[test]
fn a_device_of_two_ranges_comes_again() {
    for gib_leaves in [Support::No, Support::Yes] {
        let (memory, arena) = (booted(gib_leaves), VmallocArena::new());
        let ranges =
            [PfnRange::of(Pfn(0x100000 + 62 * MIB), 100 * MIB), PfnRange::of(Pfn(0x120000), 64 * MIB)];
        let requests = ranges.map(|range| request(range.start.0, range.pages(), 7));
        insert(&memory, 1, PfnRange::of(Pfn(0x100000), 62 * MIB), 0);
        let before = everything(&memory, &ranges);
        for _ in 0..3 {
            ranges.iter().for_each(|&range| memory.machine().plug(range));
            let added = memory.add(DeviceId(2), &requests, &|| 0).unwrap();
            use_all(&memory, 7);
            let held = memory.allocate_run(10_000, Some(NodeId(7)), Mobility::Movable).unwrap();
            memory.free_run(held).unwrap();
            let removed = remove(&memory, &arena, 2).unwrap();
            assert_eq!((removed.ids, removed.pages), (added.ids, 164 * MIB));
            ranges.iter().for_each(|&range| memory.machine().unplug_keeping(range));
            assert_invariants(&memory);
            assert!(everything(&memory, &ranges) == before);
        }
    }
}

/// Proves that removing the device that holds shared tables hands them over to its neighbour and uses no other frame,
/// and that the removal clears one entry per GiB and per section. Fails when a handover allocates, or the cost
/// grows.
#[test]
fn tables_are_handed_over_and_the_cost_is_small() {
    let (memory, arena) = (booted(Support::Yes), VmallocArena::new());
    let before = memory.totals().free_pages;
    insert(&memory, 0, PfnRange::of(Pfn(0x100000), 100 * MIB), 0);
    insert(&memory, 1, PfnRange::of(Pfn(0x100000 + 100 * MIB), 28 * MIB), 1);
    // The section's table of the vmemmap and the GiB's page directory.
    assert_eq!(remove(&memory, &arena, 0).unwrap().stats.tables_handed_over, 2);
    assert_eq!(remove(&memory, &arena, 1).unwrap().stats.tables_handed_over, 0);
    assert_eq!(memory.totals().free_pages, before);
    for gib in [1, 64] {
        let range = PfnRange::of(Pfn(0x200000), gib * GIB);
        insert(&memory, 2, range, 2);
        let mut removal = memory.begin_remove(DeviceId(2), &|| 0).unwrap();
        assert_eq!(memory.remove_step(&arena, &mut removal, 64, &|| 0), Ok(Progress::Done));
        let counts = memory.machine().counts();
        let RemoveStats { entries_cleared, .. } = memory.finish_remove(&arena, removal, &|| 0).unwrap().stats;
        let stores = memory.machine().counts().stores - counts.stores;
        // One leaf of the direct map per GiB, one of the vmemmap per section.
        assert_eq!((entries_cleared, stores), (9 * gib, 9 * gib));
        memory.machine().unplug(range);
    }
}

/// The state that a failed removal must not change: the leaves, the totals, and each resource. Tables that were handed
/// over do not return.
fn usable_state(memory: &Memory<SimMachine>) -> impl PartialEq + core::fmt::Debug + use<> {
    let mut resources = Vec::new();
    memory.resources(&mut |info| resources.push(info));
    let mut nodes = Vec::new();
    memory.nodes(&mut |node| nodes.push(node));
    (memory.machine().leaves(), memory.totals(), resources, nodes)
}

/// Proves that a failure at each step of removing a device of two ranges, whose tables others share, leaves every frame
/// usable as before, and that the same removal then succeeds. Fails when a step's undo is missing or incomplete.
#[test]
fn every_step_fails_and_the_memory_is_in_use_again() {
    for gib_leaves in [Support::No, Support::Yes] {
        let (memory, arena) = (booted(gib_leaves), VmallocArena::new());
        let ranges = [PfnRange::of(Pfn(0x100000), 100 * MIB), PfnRange::of(Pfn(0x200000), 3 * GIB + 2 * MIB)];
        let neighbours = [PfnRange::of(ranges[0].end, 62 * MIB), PfnRange::of(ranges[1].end, 62 * MIB)];
        let before = everything(&memory, &[ranges[0], ranges[1], neighbours[0], neighbours[1]]);
        ranges.iter().for_each(|&range| memory.machine().plug(range));
        let requests = ranges.map(|range| request(range.start.0, range.pages(), 7));
        memory.add(DeviceId(1), &requests, &|| 0).unwrap();
        insert(&memory, 2, neighbours[0], 8);
        insert(&memory, 3, neighbours[1], 1);
        let present = usable_state(&memory);
        let steps = Step::ALL.into_iter().filter(|step| step.operation() == "remove");
        // This device is idle; `migrate` and `migrate_in_use` test the failure of a migration.
        for step in steps.filter(|&step| !matches!(step, Step::Migrate | Step::Copy)) {
            memory.inject(step, 1);
            assert_eq!(remove(&memory, &arena, 1), Err(RemoveError::Injected { step }));
            assert_invariants(&memory);
            assert!(usable_state(&memory) == present, "a failed {step} left changes behind");
            use_all(&memory, 7);
        }
        remove(&memory, &arena, 1).unwrap();
        ranges.iter().for_each(|&range| memory.machine().unplug(range));
        assert_invariants(&memory);
        use_all(&memory, 8);
        remove(&memory, &arena, 2).unwrap();
        remove(&memory, &arena, 3).unwrap();
        let all = [ranges[0], ranges[1], neighbours[0], neighbours[1]];
        assert!(everything(&memory, &all) == before);
    }
}

/// Proves that each impossible removal is refused with its reason, and that between the steps of a removal its memory
/// cannot be allocated and counts as offline, while other devices can be added and removed. Fails when a refusal has
/// another reason or isolated memory is allocated.
#[test]
fn refusals_and_what_happens_between_the_steps() {
    let (memory, arena) = (booted(Support::No), VmallocArena::new());
    let not_started = Memory::new(SimMachine::boot(7, Support::No, &[range(0x100, 0x1ffe0)]));
    assert_eq!(not_started.begin_remove(DeviceId(1), &|| 0).unwrap_err(), RemoveError::NotStarted);
    insert(&memory, 1, PfnRange::of(Pfn(0x100000), 256 * MIB), 5);
    let refused = |device: u32| memory.begin_remove(DeviceId(device), &|| 0).unwrap_err();
    assert_eq!(refused(9), RemoveError::Unknown { device: DeviceId(9) });
    assert_eq!(refused(DeviceId::BOOT.0), RemoveError::Boot);
    let id = memory.resource_of(Pfn(0x100000)).unwrap();
    let whole = memory.resource(id).unwrap();

    let removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    assert_eq!(refused(1), RemoveError::UnderWay { resource: id });
    assert!(refused(1).to_string().contains("one at a time"));
    let info = memory.resource(id).unwrap();
    assert_eq!((info.free_pages, info.largest_free_pages, info.offline_pages), (0, 0, whole.usable_pages));
    assert_eq!(memory.page(Pfn(0x108000)).state, PageState::Offline);
    assert!(memory.free_blocks(id).unwrap().iter().all(|&blocks| blocks == 0));
    memory.sections(whole.range, &mut |row| assert_eq!(row.state, SectionState::Offline));
    assert_eq!(memory.allocate_block(Order(0), Some(NodeId(5)), Mobility::Movable), None);
    assert_eq!(memory.allocate_run(1, Some(NodeId(5)), Mobility::Pinned), None);
    insert(&memory, 2, PfnRange::of(Pfn(0x110000), 256 * MIB), 5);
    use_all(&memory, 5);
    memory.abort_remove(&arena, removal);
    assert_eq!(memory.resource(id).unwrap(), whole);
    assert_invariants(&memory);
    remove(&memory, &arena, 2).unwrap();
    remove(&memory, &arena, 1).unwrap();
    assert_eq!(refused(1), RemoveError::Unknown { device: DeviceId(1) });
}

/// Proves that after a removal which failed at any step no CPU walks an old copy of a table that was handed over: a
/// neighbour that is added then is mapped on a CPU that had links to the old tables. Fails when the hand-over's flush, or
/// the undo's, is left out.
#[test]
fn a_failed_removal_leaves_no_link_to_an_old_table() {
    let other = CpuNr::new(1).unwrap();
    for step in [Step::HandOver, Step::UnmapVmemmap, Step::UnmapDirectMap, Step::Remove] {
        let (memory, arena) = (booted(Support::No), VmallocArena::new());
        let dimms = [(0, 6), (6, 4), (10, 8)]
            .map(|(from, size)| PfnRange::of(Pfn(0x100000 + from * MIB), size * MIB));
        // The first one's memory holds the tables that both share.
        insert(&memory, 1, dimms[0], 7);
        insert(&memory, 2, dimms[1], 7);
        let read = |dimm: PfnRange| {
            for at in [direct(dimm.start.start()), descriptor(dimm.start)] {
                let word = run_as(other, || memory.machine().try_load(at));
                assert!(word.is_some(), "{at} is not mapped after a failure at {step}");
            }
        };
        dimms[..2].iter().for_each(|&dimm| read(dimm));
        memory.inject(step, 1);
        assert_eq!(remove(&memory, &arena, 1), Err(RemoveError::Injected { step }));
        insert(&memory, 3, dimms[2], 7);
        dimms.iter().for_each(|&dimm| read(dimm));
    }
}
