//! DIMMs of every size at every place: what holds for one holds after each of many.

use tests::guest::Dimm;
use tests::schema::{Resource, SECTION_PAGES};
use tests::{Guest, Machine, Plan};

const MIB: u64 = 256;

/// Checks the properties of a resource that hold for each size and address: `pages` long, and placed where QEMU packs it.
#[track_caller]
fn judge(dimm: &Resource, base: u64, pages: u64) {
    assert_eq!((dimm.base / 4096, dimm.size / 4096), (base, pages), "{dimm:?}");
    assert_eq!(dimm.memmap_pages + dimm.usable_pages, pages, "{dimm:?}");
    assert_eq!((dimm.memmap_start_pfn, dimm.add.existing_pages_used), (base, 0), "{dimm:?}");
    assert_eq!(dimm.usable_start_pfn, base + dimm.memmap_pages, "{dimm:?}");
    assert_eq!(dimm.free_pages, dimm.usable_pages, "{dimm:?}");
    let array = pages / 64;
    if base.is_multiple_of(SECTION_PAGES) && pages.is_multiple_of(SECTION_PAGES) {
        assert_eq!(dimm.memmap_pages, array, "whole sections: {dimm:?}");
    } else if pages < SECTION_PAGES {
        assert!((array..=array + 4).contains(&dimm.memmap_pages), "less than a section: {dimm:?}");
    } else {
        // front frames: less than a large page of them
        assert!((array..array + 512).contains(&dimm.memmap_pages), "{dimm:?}");
    }
}

/// Proves that 100 MiB followed by 256 MiB, and then any multiple of 2 MiB up to 16 GiB behind each other on
/// both nodes, sharing sections wherever they meet, come online with their memmap in their own first frames and
/// nothing taken from those before; that of 8 GiB the first section is memmap and nothing else; and that all
/// of it can be allocated and comes back. Sums and `check` hold after each.
fn sizes(machine: Machine) {
    let mut guest = Plan::new(machine).boot();
    let sizes =
        ["100M", "256M", "2M", "4M", "6M", "8M", "126M", "130M", "10M", "382M", "8G", "98M", "1G", "16G"];
    let mib = [100, 256, 2, 4, 6, 8, 126, 130, 10, 382, 8192, 98, 1024, 16384];
    let mut base = 0x10_0000;
    let empty = guest.meminfo();
    for (number, (size, pages)) in (0u32..).zip(sizes.into_iter().zip(mib.map(|mib| mib * MIB))) {
        let dimm = guest.plug_online(Dimm { number, size, node: number % 2 });
        judge(&dimm, base, pages);
        if size == "8G" {
            assert!(base.is_multiple_of(SECTION_PAGES), "the sizes before it are whole sections");
            let sections = guest.sections(dimm.id);
            assert_eq!((sections[0].state.as_str(), sections[0].memmap_pages), ("memmap", SECTION_PAGES));
            assert_eq!((sections[0].usable_pages, sections[1].memmap_pages), (0, 0));
            assert_eq!((sections[1].state.as_str(), sections[1].usable_pages), ("online", SECTION_PAGES));
        }
        guest.assert_sound();
        base += pages;
    }
    let full = guest.meminfo();
    let usable: u64 = guest.resources().iter().map(|row| row.usable_pages).sum();
    assert_eq!(full.usable_pages, usable);
    assert_eq!(full.total_pages - empty.total_pages, mib.iter().sum::<u64>() * MIB);
    assert_eq!((full.heap_bytes, full.page_table_pages), (empty.heap_bytes, empty.page_table_pages));
    guest.alloc("--all --no-fill");
    guest.assert_sound();
    guest.sh("free all");
    guest.assert_sound();
    assert_eq!(guest.meminfo().free_pages, full.free_pages);
    let got = guest.alloc("600M");
    assert_eq!(guest.verify().pages, got.pages);
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn sizes_on_q35() {
    sizes(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn sizes_on_pc() {
    sizes(Machine::Pc);
}

/// Plugs DIMMs as fast as the monitor takes them; the sizes in MiB are multiples of 2.
fn at_once(guest: &mut Guest, sizes: &[u64]) {
    for (number, size) in sizes.iter().enumerate() {
        let node = number % 2;
        guest.monitor_line(&format!("object_add memory-backend-ram,id=ram{number},size={size}M"));
        guest.monitor_line(&format!("device_add pc-dimm,id=dimm{number},memdev=ram{number},node={node}"));
    }
    let limit = std::time::Duration::from_secs(60);
    let mut answers: Vec<_> = sizes
        .iter()
        .map(|_| guest.monitor().wait_ost(limit).expect("an _OST for each DIMM"))
        .map(|ost| {
            assert_eq!((ost.source, ost.status), (1, 0), "{ost:?}");
            ost.device
        })
        .collect();
    answers.sort_unstable();
    answers.dedup();
    assert_eq!(answers.len(), sizes.len(), "each DIMM once: {answers:?}");
}

/// Proves that 32 DIMMs of odd sizes plugged without waiting are each answered once and come online.
fn thirty_two(machine: Machine) {
    let mut guest = Plan::new(machine).boot();
    let sizes: Vec<u64> = (0..32).map(|number| 2 + 2 * (number * 37 % 101)).collect();
    at_once(&mut guest, &sizes);
    guest.assert_sound();
    let mut dimms = guest.resources();
    dimms.retain(|resource| resource.device != "boot");
    dimms.sort_unstable_by_key(|dimm| dimm.base);
    assert_eq!(dimms.len(), sizes.len());
    let mut base = 0x10_0000;
    for (dimm, size) in dimms.iter().zip(sizes) {
        judge(dimm, base, size * MIB);
        base += size * MIB;
    }
    assert_eq!(guest.monitor().pending_osts(), []);
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn thirty_two_on_q35() {
    thirty_two(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn thirty_two_on_pc() {
    thirty_two(Machine::Pc);
}

/// Proves that cold-plugged DIMMs which share a section, on both nodes, are online at the first prompt as
/// plugged ones are, and that the next one lands behind them.
#[test]
fn cold_plugged_neighbours() {
    for machine in [Machine::Q35, Machine::Pc] {
        let mut guest = Plan::new(machine)
            .qemu(&["-object", "memory-backend-ram,id=ram0,size=100M"])
            .qemu(&["-device", "pc-dimm,id=dimm0,memdev=ram0,node=1"])
            .qemu(&["-object", "memory-backend-ram,id=ram1,size=256M"])
            .qemu(&["-device", "pc-dimm,id=dimm1,memdev=ram1,node=0"])
            .boot();
        let mut dimms = guest.resources();
        dimms.retain(|resource| resource.device != "boot");
        let [small, large] = &dimms[..] else { panic!("two DIMMs, not {dimms:?}") };
        judge(small, 0x10_0000, 100 * MIB);
        judge(large, 0x10_0000 + 100 * MIB, 256 * MIB);
        assert_eq!((small.node, large.node), (1, 0));
        guest.assert_sound();
        let next = guest.plug_online(Dimm { number: 2, size: "30M", node: 1 });
        judge(&next, 0x10_0000 + 356 * MIB, 30 * MIB);
        guest.assert_sound();
        assert_eq!(guest.power_off(), 0);
    }
}
