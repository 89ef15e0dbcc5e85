//! Tests of the vmalloc arena on the whole memory core and the simulated machine, as the shell's `alloc`, `verify` and
//! `free` use it.

use carapace_mm::Memory;
use carapace_mm::Mobility;
use carapace_mm::addr::{NodeId, Pfn, PfnRange};
use carapace_mm::boot_alloc::{BootAllocator, Occupied, Owner};
use carapace_mm::info::{AddRequest, BootRange, DeviceId};
use carapace_mm::machine::Support;
use carapace_mm::memory::BootMemory;
use carapace_mm::page_table::LeafSize;
use carapace_mm::sim::SimMachine;
use carapace_mm::vmalloc::{Amount, Request, Shape, Verified, VmallocArena};

/// A booted machine with 64 MiB on node 0 and a hot-pluggable range.
fn booted() -> Memory<SimMachine> {
    let ram = PfnRange::new(Pfn(0x100), Pfn(0x4100));
    let memory = Memory::new(SimMachine::boot(9, Support::No, &[ram]));
    let sim = memory.machine();
    let (root, features) = (sim.root(), sim.features());
    let occupied = [Occupied { range: sim.boot_tables(), owner: Owner::PageTables }];
    let mut early = BootAllocator::new(&[ram], &occupied);
    let ranges = [BootRange { range: ram, node: NodeId(0) }];
    let hotplug = [PfnRange::of(Pfn(1 << 20), 1 << 20)];
    let boot = BootMemory { root, features, ranges: &ranges, occupied: &occupied, hotplug: &hotplug };
    // SAFETY: a simulated machine has nothing to harm.
    unsafe { memory.boot(boot, &mut early, &mut |range| panic!("{range:?} left out")) }.unwrap();
    memory
}

fn plug(memory: &Memory<SimMachine>, start: u64, pages: u64) {
    memory.machine().plug(PfnRange::of(Pfn(start), pages));
    let request = AddRequest { base: Pfn(start).start(), size: pages << 12, node: NodeId(1) };
    memory.add(DeviceId(1), &[request], &|| 0).unwrap();
}

fn assert_invariants(memory: &Memory<SimMachine>) {
    memory.check(&mut |error| panic!("{error}"));
}

/// Proves that all of the proposal's DIMM can be allocated as one run on node 1, mapped by 2 MiB leaves with page tables
/// from boot memory, and be filled, verified and freed without a trace. Fails when smaller leaves are used or a frame is
/// lost.
#[test]
fn the_whole_dimm_as_one_run() {
    let (memory, arena) = (booted(), VmallocArena::new());
    plug(&memory, 1 << 20, 65536);
    let before = memory.totals();
    let node = Some(NodeId(1));
    let request =
        Request { amount: Amount::Pages(64512), node, mobility: Mobility::Movable, shape: Shape::Contiguous };
    let done = arena.allocate(&memory, &request).unwrap();
    let now = memory.totals();
    let tables = now.page_table_pages - before.page_table_pages;
    assert_eq!(before.free_pages - now.free_pages, 64512 + tables);
    assert!(tables <= 1, "{tables} tables for 126 leaves in one GiB");
    let middle = done.start.offset(40000 << 12);
    let found = memory.translate(middle).unwrap();
    assert_eq!((found.phys, found.size), (Pfn((1 << 20) + 1024 + 40000).start(), LeafSize::M2));
    arena.fill(&memory, done.id, 0, 300).unwrap();
    assert_eq!(arena.verify(&memory, done.id, 0, 64512), Ok(Verified { pages: 300, bad: None }));
    assert_invariants(&memory);
    arena.free(&memory, done.id).unwrap();
    assert_eq!(memory.totals().free_pages, before.free_pages);
    assert_eq!(memory.totals().page_table_pages, before.page_table_pages);
    assert_invariants(&memory);
}

/// Proves that a DIMM can be added when no frame is free, that the next allocation comes from it, and that all frames can
/// be freed. Fails when an add needs existing frames.
#[test]
fn plugging_into_a_full_machine() {
    let (memory, arena) = (booted(), VmallocArena::new());
    let all =
        Request { amount: Amount::All, node: None, mobility: Mobility::Movable, shape: Shape::Scattered };
    let start = memory.totals().free_pages;
    let full = arena.allocate(&memory, &all).unwrap();
    assert_eq!(memory.totals().free_pages, 0);
    plug(&memory, 1 << 20, 65536);
    assert_eq!(memory.totals().free_pages, 64512);
    let next = arena.allocate(&memory, &Request { amount: Amount::Pages(5000), ..all }).unwrap();
    arena.fill(&memory, next.id, 0, 500).unwrap();
    assert_invariants(&memory);
    assert_eq!(arena.verify(&memory, next.id, 0, 5000), Ok(Verified { pages: 500, bad: None }));
    let rest = arena.allocate(&memory, &all).unwrap();
    assert_eq!(memory.totals().free_pages, 0);
    for id in [full.id, rest.id, next.id] {
        arena.free(&memory, id).unwrap();
        assert_invariants(&memory);
    }
    assert_eq!(memory.totals().free_pages, start + 64512);
    assert_eq!(arena.next_after(None), None);
}
