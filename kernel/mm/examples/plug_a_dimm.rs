//! The memory core in a program of your own: boot memory, a DIMM, an allocation.
//!
//! ```text
//! cargo run -p carapace-mm --example plug_a_dimm
//! ```
//!
//! The machine is the simulated one of the core's tests. A kernel implements [`carapace_mm::machine::Machine`] for real
//! memory, has `Memory` in a static, and gets the boot information from its loader. The rest is the same.

use carapace_mm::Memory;
use carapace_mm::Mobility;
use carapace_mm::addr::{NodeId, Order, Pfn, PfnRange};
use carapace_mm::boot_alloc::{BootAllocator, Occupied, Owner};
use carapace_mm::info::{AddRequest, BootRange, DeviceId};
use carapace_mm::machine::Support;
use carapace_mm::memory::BootMemory;
use carapace_mm::sim::SimMachine;
use std::error::Error;

const MIB_PAGES: u64 = 256;
const FOUR_GIB: Pfn = Pfn(0x10_0000);

fn main() -> Result<(), Box<dyn Error>> {
    // 64 MiB of memory, mapped by a loader's tables.
    let ram = PfnRange::of(Pfn(0x100), 64 * MIB_PAGES);
    let machine = SimMachine::boot(1, Support::Yes, &[ram]);
    let memory = Memory::new(&machine);
    let occupied = [Occupied { range: machine.boot_tables(), owner: Owner::PageTables }];
    let mut early = BootAllocator::new(&[ram], &occupied);
    let boot = BootMemory {
        root: machine.root(),
        features: machine.features(),
        ranges: &[BootRange { range: ram, node: NodeId(0) }],
        occupied: &occupied,
        // Where DIMMs may be plugged: the upper page tables are made now, so an add needs none.
        hotplug: &[PfnRange::of(FOUR_GIB, 1024 * 1024 * MIB_PAGES)],
    };
    // SAFETY: a simulated machine has nothing to harm.
    unsafe { memory.boot(boot, &mut early, &mut |range| println!("too small for its own memmap: {range}")) }?;
    println!("boot memory: {} frames free", memory.totals().free_pages);

    // A DIMM of 256 MiB at 4 GiB, on node 1. The clock only times the steps.
    let dimm = PfnRange::of(FOUR_GIB, 256 * MIB_PAGES);
    machine.plug(dimm);
    let request = AddRequest { base: dimm.start.start(), size: dimm.pages() << 12, node: NodeId(1) };
    let device = DeviceId(0);
    let added = memory.add(device, &[request], &|| 0)?;
    println!(
        "the DIMM added {} frames and used {} existing ones",
        added.usable_pages, added.stats.existing_pages_used
    );

    let block = memory.allocate_block(Order(10), Some(NodeId(1)), Mobility::Movable).ok_or("no block")?;
    println!("frame {} is {:?}", block.head, memory.page(block.head).state);
    memory.free_block(block.head)?;

    let mut errors = Vec::new();
    let checked = memory.check(&mut |error| errors.push(error));
    assert!(errors.is_empty(), "{errors:?}");
    println!("{checked} checks passed");
    Ok(())
}

/// Proves that the example runs without an error. Fails when the public interface no longer allows it.
#[test]
fn example_runs() {
    main().unwrap();
}
