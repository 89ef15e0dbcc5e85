//! Tests of the whole memory core on the simulated machine.
//!
//! The simulation walks the page tables that the core built, fills memory with junk, and panics when an unwritten
//! descriptor is read. Every test checks these as well.

mod allocate;
mod boot;
mod cache;
mod check;
mod chunk;
mod cpus;
mod disorder;
mod half_done;
mod hot_add;
mod hot_remove;
mod interleavings;
mod lock_order;
mod migrate;
mod migrate_checks;
mod migrate_in_use;
mod migrate_tables;
mod missing_end;
mod offline;
mod parallel;
mod poison;
mod policy;
mod random;
mod random_ops;
mod reporting;
mod requests;
mod rollback;
#[cfg(debug_assertions)]
mod schedule;
#[cfg(debug_assertions)]
mod scheduled;
mod scratch;
mod stress;
mod surprise_removal;
mod threads;
mod total;
mod try_stats;

use std::vec::Vec;

use super::*;
use crate::addr::{NodeId, Order, SectionNr};
use crate::boot_alloc::{BootAllocator, Owner};
use crate::descriptor::Mobility;
use crate::hot_add::{direct_mapping, vmemmap_mapping};
use crate::info::{AddRequest, Added, DeviceId, SectionState, Zone};
use crate::layout::Layout;
use crate::machine::Support;
use crate::sim::model::{assert_contents, assert_invariants, assert_rmap};
use crate::sim::{self, SimMachine};

const MIB: u64 = 256;
const GIB: u64 = 1024 * MIB;

fn range(start: u64, end: u64) -> PfnRange {
    PfnRange::new(Pfn(start), Pfn(end))
}

/// The hot-pluggable range: 6 TiB from 4 GiB on.
const HOTPLUGGABLE: PfnRange = PfnRange::new(Pfn(0x100000), Pfn(0x100000 + 6144 * GIB));

/// A booted machine with QEMU's layout of 512 MiB: low memory, a hole, the rest. Node 0 ends at 256 MiB.
fn booted(gib_leaves: Support) -> Memory<SimMachine> {
    let low = range(1, 0x9f);
    let high = range(0x100, 0x1ffe0);
    let machine = SimMachine::boot(7, gib_leaves, &[low, high]);
    let memory = Memory::new(machine);
    let (root, features, tables) =
        (memory.machine().root(), memory.machine().features(), memory.machine().boot_tables());
    let occupied = [
        Occupied { range: tables, owner: Owner::PageTables },
        Occupied { range: range(0x400, 0x7a3), owner: Owner::Boot },
    ];
    let mut early = BootAllocator::new(&[low, high], &occupied);
    early.alloc_run(1000, Owner::Heap).unwrap();
    let boot = BootMemory {
        root,
        features,
        ranges: &[
            BootRange { range: low, node: NodeId(0) },
            BootRange { range: range(0x100, 0x10000), node: NodeId(0) },
            BootRange { range: range(0x10000, 0x1ffe0), node: NodeId(1) },
        ],
        occupied: &occupied,
        hotplug: &[HOTPLUGGABLE],
    };
    let mut left_out = Vec::new();
    sim::boot(&memory, boot, &mut early, &mut |range| left_out.push(range)).unwrap();
    assert_eq!(left_out, [low], "too small for its own memmap");
    assert_invariants(&memory);
    memory
}

fn request(start: u64, pages: u64, node: u32) -> AddRequest {
    AddRequest { base: Pfn(start).start(), size: pages << 12, node: NodeId(node) }
}

fn plug(memory: &Memory<SimMachine>, start: u64, pages: u64, node: u32) -> Added {
    let range = PfnRange::of(Pfn(start), pages);
    memory.machine().plug(range);
    // Each table that it creates or shares has a reserved page, so removing a neighbour cannot lack one.
    let layout = Layout::plan(range, memory.machine().features()).unwrap();
    let needed = memory.with_tables(|tables, machine| {
        tables.tables_needed(machine, &direct_mapping(&layout))
            + tables.tables_needed(machine, &vmemmap_mapping(&layout))
    });
    assert!(needed.is_some_and(|need| need.new + need.shared <= layout.tables), "{needed:?} {layout:?}");
    let added = memory.add(DeviceId(3), &[request(start, pages, node)], &|| 0).unwrap();
    assert_invariants(memory);
    added
}

/// Proves the proposal's example end to end: 256 MiB at 4 GiB give 1024 memmap frames at the start, 64512 usable frames
/// behind them, and blocks of 4 to 128 MiB. The add uses no existing frame. One run of all usable frames can be
/// allocated and freed. Fails when any of these figures changes.
#[test]
fn the_proposals_dimm_end_to_end() {
    for gib_leaves in [Support::No, Support::Yes] {
        let memory = booted(gib_leaves);
        let before = memory.totals();
        let added = plug(&memory, 0x100000, 256 * MIB, 1);
        let after = memory.totals();
        assert_eq!(after.free_pages - before.free_pages, 64512);
        assert_eq!(after.total_pages - before.total_pages, 65536);
        assert_eq!(after.page_table_pages, before.page_table_pages);
        assert_eq!(added.stats.existing_pages_used, 0);
        assert_eq!(added.stats.descriptors_written, 2);

        let info = memory.resource(added.ids[0]).unwrap();
        assert_eq!((info.memmap_start, info.memmap_pages), (Pfn(0x100000), 1024));
        assert_eq!((info.usable_start, info.usable_pages), (Pfn(0x100400), 64512));
        assert_eq!((info.free_pages, info.largest_free_pages), (64512, 32768));
        assert_eq!((info.node, info.zone, info.device), (NodeId(1), Zone::Any, DeviceId(3)));
        let free = memory.free_blocks(added.ids[0]).unwrap();
        let expected: Vec<u64> =
            (0..Order::COUNT).map(|order| u64::from((10..=15).contains(&order))).collect();
        assert_eq!(free.to_vec(), expected);

        let mut rows = Vec::new();
        memory.sections(range(0x100000, 0x110000), &mut |row| {
            rows.push((row.section, row.present_pages, row.memmap_pages, row.free_pages, row.state));
        });
        assert_eq!(
            rows,
            [
                (SectionNr(32), 32768, 1024, 31744, SectionState::Online),
                (SectionNr(33), 32768, 0, 32768, SectionState::Online),
            ]
        );

        let run = memory.allocate_run(64512, Some(NodeId(1)), Mobility::Movable);
        // Node 1's boot memory has a hole, so the run is the DIMM's.
        assert_eq!(run, Some(range(0x100400, 0x110000)));
        assert_invariants(&memory);
        memory.free_run(run.unwrap()).unwrap();
        assert_eq!(memory.totals(), after);
        assert_invariants(&memory);
    }
}
