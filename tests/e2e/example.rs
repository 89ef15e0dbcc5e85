//! The proposal's example, figure by figure: a DIMM of 256 MiB, plugged into node 1 by two lines in
//! QEMU's monitor.

use tests::guest::Dimm;
use tests::schema::Verify;
use tests::{Machine, Plan};

const MEMMAP: u64 = 1024;
const USABLE: u64 = 64512;
const FIRST_PFN: u64 = 0x10_0000;

fn example(machine: Machine) {
    let mut guest = Plan::new(machine).boot();
    guest.assert_sound();
    let before = guest.meminfo();
    let boot = guest.resources();

    // The resource, with every figure of the proposal.
    let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    assert_eq!((dimm.base, dimm.size, dimm.node), (0x1_0000_0000, 268_435_456, 1));
    assert_eq!((dimm.memmap_start_pfn, dimm.memmap_pages), (FIRST_PFN, MEMMAP));
    assert_eq!((dimm.usable_start_pfn, dimm.usable_pages), (FIRST_PFN + MEMMAP, USABLE));
    assert_eq!((dimm.free_pages, dimm.largest_free_pages), (USABLE, 32768));
    assert!(dimm.device.starts_with('\\'), "{} is no ACPI path", dimm.device);
    // One answer for one event, and no more.
    assert_eq!(guest.monitor().pending_osts(), []);

    // No memory was taken from other DIMMs, and the sums grew by the size of this one.
    assert_eq!(dimm.add.existing_pages_used, 0);
    let after = guest.meminfo();
    assert_eq!(after.free_pages, before.free_pages + USABLE);
    assert_eq!(after.usable_pages, before.usable_pages + USABLE);
    assert_eq!(after.total_pages, before.total_pages + MEMMAP + USABLE);
    assert_eq!(after.page_table_pages, before.page_table_pages);
    for old in &boot {
        assert!(guest.resources().contains(old), "{old:?} is not as it was");
    }

    // Two sections: the first one with the memmap.
    let sections = guest.sections(dimm.id);
    let rows: Vec<_> =
        sections.iter().map(|s| (s.section, s.start_pfn, s.memmap_pages, s.usable_pages)).collect();
    assert_eq!(rows, [(32, FIRST_PFN, MEMMAP, 31744), (33, FIRST_PFN + 32768, 0, 32768)]);
    for section in &sections {
        assert_eq!((section.pages, section.present_pages, section.node), (32768, 32768, 1));
        assert_eq!((section.state.as_str(), section.resource), ("online", dimm.id));
    }
    guest.assert_sound();

    // It can be used, and is as before when that is over.
    let got = guest.alloc("200M --node 1");
    assert_eq!(got.pages, 51200);
    let node = |meminfo: &tests::schema::Meminfo| {
        meminfo.nodes.iter().find(|node| node.node == 1).map(|node| node.free_pages)
    };
    assert_eq!(guest.verify(), Verify { ok: true, pages: 51200, bad_pages: 0 });
    let used = guest.meminfo();
    assert!(node(&used).is_some_and(|free| free <= USABLE - 51200), "{used:?}");
    guest.assert_sound();
    guest.sh("free all");
    assert_eq!(guest.verify(), Verify { ok: true, pages: 0, bad_pages: 0 });
    let freed = guest.meminfo();
    assert_eq!(freed.free_pages, after.free_pages);
    assert_eq!(node(&freed), Some(USABLE));
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves the example on q35: where the DIMM lies, its memmap, its free memory, its sections, the
/// answer to the firmware, what existing memory gave (nothing), and that the memory works.
#[test]
fn example_on_q35() {
    example(Machine::Q35);
}

/// Proves the same on pc, whose tables, event registers and interrupt routing are others.
#[test]
fn example_on_pc() {
    example(Machine::Pc);
}
