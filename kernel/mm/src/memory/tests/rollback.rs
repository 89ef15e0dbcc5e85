//! Tests that a failed add changes nothing.

use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::address_space::{descriptor, direct};
use crate::info::MAX_DEVICE_RANGES;
use crate::page_table::{FrameSource, Mapping};

/// Everything that an add could change: memory outside of the ranges, the leaves of all tables, the totals, and each
/// resource.
fn state(memory: &Memory<SimMachine>, ranges: &[PfnRange]) -> impl PartialEq + core::fmt::Debug {
    let mut resources = Vec::new();
    memory.resources(&mut |info| resources.push(info));
    let mut nodes = Vec::new();
    memory.nodes(&mut |node| nodes.push(node));
    (
        memory.machine().snapshot(ranges),
        memory.machine().leaves(),
        memory.machine().tables(),
        memory.totals(),
        resources,
        nodes,
    )
}

/// Adds `requests`, which must fail with `expected` in the message and change nothing.
fn refused(memory: &Memory<SimMachine>, requests: &[AddRequest], expected: &str) -> AddError {
    let ranges: Vec<_> =
        requests.iter().map(|request| PfnRange::of(request.base.pfn(), request.size >> 12)).collect();
    let before = state(memory, &ranges);
    let error = memory.add(DeviceId(1), requests, &|| 0).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert!(state(memory, &ranges) == before, "{error}: the add left changes behind");
    assert_invariants(memory);
    error
}

/// Proves that a failure at each step of adding a device of two ranges, beside a present neighbour, changes nothing, and
/// that the same add then succeeds. Fails when a step's undo is missing or incomplete.
#[test]
fn every_step_fails_without_a_trace() {
    for gib_leaves in [Support::No, Support::Yes] {
        let memory = booted(gib_leaves);
        plug(&memory, 0x100000, 100 * MIB, 1);
        // The first range shares a section and a GiB with the neighbour; the second creates new tables and a node.
        let requests = [request(0x100000 + 100 * MIB, 62 * MIB, 1), request(0x200000, 3 * GIB + 2 * MIB, 7)];
        for request in &requests {
            memory.machine().plug(PfnRange::of(request.base.pfn(), request.size >> 12));
        }
        for step in Step::ALL.into_iter().filter(|step| step.operation() == "add") {
            memory.inject(step, 1);
            assert_eq!(refused(&memory, &requests, "fault injected"), AddError::Injected { step });
        }
        let added = memory.add(DeviceId(1), &requests, &|| 0).unwrap();
        assert_eq!(added.ids.len(), 2);
        assert_eq!(added.stats.existing_pages_used, 0);
        assert_invariants(&memory);
    }
}

/// Frames for a test's own tables.
struct Lent(PfnRange);

impl FrameSource for Lent {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        let frame = self.0.start;
        self.0.start = frame.offset(1);
        Some(frame)
    }

    fn free_frame(&mut self, _frame: Pfn) {}
}

/// Proves that an existing mapping at the second range, in the direct map or the vmemmap, refuses the whole device and
/// that the first range, already added, is removed again. Fails when the first range stays.
#[test]
fn a_conflict_in_the_second_range_undoes_the_first() {
    let second = Pfn(0x200000);
    let last = second.offset(256 * MIB - 64);
    for at in [direct(last.start()), descriptor(last)] {
        let memory = booted(Support::No);
        let run = memory.allocate_run(8, None, Mobility::Pinned).unwrap();
        let mapping = Mapping::data(at, run.start.start(), 1);
        let mut frames = Lent(PfnRange::of(run.start.offset(1), 7));
        memory.with_tables(|tables, machine| tables.map(machine, &mapping, &mut frames)).unwrap().unwrap();
        let requests = [request(0x100000, 256 * MIB, 0), request(second.0, 256 * MIB, 1)];
        for request in &requests {
            memory.machine().plug(PfnRange::of(request.base.pfn(), request.size >> 12));
        }
        let error = refused(&memory, &requests, "is already mapped");
        assert_eq!(error, AddError::MapConflict { at });
    }
}

/// Proves that each impossible range is refused with its reason before anything changes, alone and behind a valid range
/// of the same device. Fails when a check is missing or runs too late.
#[test]
fn impossible_ranges_are_refused() {
    let memory = booted(Support::No);
    plug(&memory, 0x100000, 256 * MIB, 1);
    let bad = |base: u64, size: u64| AddRequest { base: crate::addr::PhysAddr(base), size, node: NodeId(0) };
    let unit = 2 << 20;
    let cases = [
        (bad(0x1_4000_0000, 0), "has length 0"),
        (bad(u64::MAX - unit + 1, 2 * unit), "beyond the last address"),
        (bad(u64::MAX - unit + 1, u64::MAX), "beyond the last address"),
        (bad(u64::MAX - unit + 1, unit), "beyond the 46 physical address bits"),
        (bad((1 << 46) - unit, 2 * unit), "beyond the 46 physical address bits"),
        (bad(0x1_4000_1000, unit), "not aligned to 2 MiB"),
        (bad(0x1_4000_0000, unit + 4096), "not aligned to 2 MiB"),
        (bad(0x1_4000_0000, 1), "not aligned to 2 MiB"),
        (bad(0x8000_0000, unit), "outside the hotpluggable memory"),
        (bad(0, unit), "overlap resource 0"),
        (bad(0x2000_0000, unit), "outside the hotpluggable memory"),
        (bad(HOTPLUGGABLE.end.start().0 - unit, 2 * unit), "outside the hotpluggable memory"),
        (bad(0x1_0000_0000, unit), "overlap resource 2"),
        (bad(0x1_0fe0_0000, 2 * unit), "overlap resource 2"),
        (bad(0x1_0000_0000, 1 << 40), "overlap resource 2"),
    ];
    let good = request(HOTPLUGGABLE.end.0 - 1024 * GIB, 2 * MIB, 3);
    for (request, reason) in cases {
        refused(&memory, &[request], reason);
        refused(&memory, &[good, request], reason);
    }
    refused(&memory, &[], "no memory range");
    refused(&memory, &[good; MAX_DEVICE_RANGES + 1], "17 memory ranges");
    refused(&memory, &[good, good], "of the same device overlap");
}

/// Proves that a range without memory behind its first frame, its last frame, or any frame that an add writes to is
/// refused with that frame's number before a page table is linked, alone and behind a valid range of the same device,
/// and can then go. Fails (with a walk through garbage) without the probe, and when the fixmap is not flushed after use.
#[test]
fn no_memory_behind() {
    for gib_leaves in [Support::No, Support::Yes] {
        // In a section without neighbours; beside a neighbour that shares its tables; with few metadata frames; with many.
        for (start, pages) in [
            (0x200000, 4 * MIB),
            (0x100000 + 100 * MIB, 156 * MIB),
            (0x200000, 256 * MIB),
            (0x200000 - 2 * MIB, 3 * GIB),
        ] {
            let range = PfnRange::of(Pfn(start), pages);
            let layout = Layout::plan(range, booted(gib_leaves).machine().features()).unwrap();
            let ends = [range.start, Pfn(range.end.0 - 1), layout.array.start];
            for pfn in ends.into_iter().chain(layout.written()) {
                let memory = booted(gib_leaves);
                plug(&memory, 0x100000, 100 * MIB, 1);
                let good = request(0x300000, 128 * MIB, 1);
                for request in [good, request(start, pages, 1)] {
                    memory.machine().plug(PfnRange::of(request.base.pfn(), request.size >> 12));
                }
                memory.machine().make_hole(PfnRange::of(pfn, 1));
                for requests in [&[request(start, pages, 1)][..], &[good, request(start, pages, 1)]] {
                    let error = refused(&memory, requests, "no memory answers at 0x");
                    assert_eq!(error, AddError::NoMemoryBehind { pfn });
                }
                // No translation through the fixmap is left.
                memory.machine().unplug(range);
                assert!(memory.add(DeviceId(1), &[good], &|| 0).is_ok());
            }
        }
        let memory = booted(gib_leaves);
        let all = request(0x300000, 4 * MIB, 7);
        memory.machine().make_hole(PfnRange::of(all.base.pfn(), all.size >> 12));
        let error = refused(&memory, &[all], "no memory answers at 0x300000000 (frame 0x300000)");
        assert_eq!(error, AddError::NoMemoryBehind { pfn: Pfn(0x300000) });
    }
}

/// Proves that the last free slot is usable and that the next resource is refused. Fails when the table's limit is off by
/// one.
#[test]
fn the_last_slot_is_usable() {
    let memory = booted(Support::No);
    let present = memory.totals().resources;
    for n in present..MAX_REGIONS as u64 {
        let start = 0x100000 + n * 4 * MIB;
        memory.machine().plug(PfnRange::of(Pfn(start), 2 * MIB));
        memory.add(DeviceId(n as u32), &[request(start, 2 * MIB, 0)], &|| 0).unwrap();
    }
    refused(&memory, &[request(0x100000 + 600 * 4 * MIB, 2 * MIB, 0)], "already 512 resources");
    let block = memory.allocate_up_to(Order(8), Some(NodeId(0)), Mobility::Movable).unwrap();
    memory.free_block(block.head).unwrap();
}

/// Proves that an add with more nodes than the table holds is refused and registers no node. Fails when the refused add
/// leaves a node behind.
#[test]
fn too_many_nodes_are_refused() {
    let memory = booted(Support::No);
    let mut named = 0;
    memory.nodes(&mut |_| named += 1);
    for n in named..crate::addr::MAX_NODES as u64 {
        plug(&memory, 0x100000 + n * 2 * MIB, 2 * MIB, 100 + n as u32);
    }
    refused(&memory, &[request(0x200000, 2 * MIB, 9999)], "already 64 nodes");
}
