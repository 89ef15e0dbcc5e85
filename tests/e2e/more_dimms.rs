//! DIMMs after the first one: other sizes, both nodes, one after the other and at once.

use serde_json::Value;
use tests::guest::Dimm;
use tests::schema::SECTION_PAGES;
use tests::{Guest, Machine, Plan};

/// ACPI's interrupts so far.
#[track_caller]
fn interrupts(guest: &mut Guest) -> u64 {
    let stat: Value = guest.json("stat -J");
    stat["acpi_interrupts"].as_u64().unwrap_or_else(|| panic!("{stat}"))
}

/// Proves that DIMMs of different sizes on both nodes come online one after the other, each with its
/// memmap in its own first frames and nothing taken from those before it; and each by one interrupt. Fails, for one
/// thing, when the interrupt is let in again before its event is served: then its level brings it a second time.
fn different_sizes(machine: Machine) {
    let mut guest = Plan::new(machine).boot();
    let mut expected_base = 0x1_0000_0000;
    let dimms = [
        (Dimm { number: 0, size: "256M", node: 1 }, 256u64 << 20),
        (Dimm { number: 1, size: "1G", node: 0 }, 1 << 30),
        (Dimm { number: 2, size: "128M", node: 1 }, 128 << 20),
    ];
    for (dimm, bytes) in dimms {
        let (before, interrupts_before) = (guest.meminfo(), interrupts(&mut guest));
        let resource = guest.plug_online(dimm);
        assert_eq!(interrupts(&mut guest), interrupts_before + 1);
        let frames = bytes / 4096;
        assert_eq!((resource.base, resource.size), (expected_base, bytes));
        assert_eq!(resource.memmap_start_pfn, expected_base / 4096);
        assert_eq!(resource.memmap_pages, frames / 64);
        assert_eq!(resource.usable_start_pfn, expected_base / 4096 + frames / 64);
        assert_eq!(
            (resource.usable_pages, resource.free_pages),
            (frames - frames / 64, frames - frames / 64)
        );
        assert_eq!(resource.add.existing_pages_used, 0);
        let after = guest.meminfo();
        assert_eq!(after.free_pages, before.free_pages + resource.usable_pages);
        assert_eq!(after.heap_bytes, before.heap_bytes);
        let sections = guest.sections(resource.id);
        assert_eq!(sections.len() as u64, frames / SECTION_PAGES);
        guest.assert_sound();
        expected_base += bytes;
    }
    let nodes = guest.meminfo().nodes;
    assert_eq!(nodes.iter().map(|node| node.node).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(nodes[1].usable_pages, (256 + 128) * 256 * 63 / 64);
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn different_sizes_on_q35() {
    different_sizes(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn different_sizes_on_pc() {
    different_sizes(Machine::Pc);
}

/// Proves that sizes which are no whole sections work: 100 MiB, and behind it, in the middle of a
/// section, 256 MiB; the section they share belongs to both.
#[test]
fn shared_section() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let small = guest.plug_online(Dimm { number: 0, size: "100M", node: 1 });
    let large = guest.plug_online(Dimm { number: 1, size: "256M", node: 0 });
    assert_eq!(large.base, small.base + small.size);
    for resource in [&small, &large] {
        let frames = resource.size / 4096;
        assert_eq!(resource.memmap_pages + resource.usable_pages, frames, "{resource:?}");
        assert!(resource.memmap_pages >= frames / 64, "{resource:?}");
        assert_eq!(resource.add.existing_pages_used, 0);
    }
    // a DIMM without a whole section takes at most four frames more
    assert!(small.memmap_pages <= 25600 / 64 + 4, "{small:?}");
    let (of_small, of_large) = (guest.sections(small.id), guest.sections(large.id));
    assert_eq!((of_small.len(), of_large.len()), (1, 3));
    assert_eq!(of_small[0].section, of_large[0].section);
    assert_eq!((of_small[0].present_pages, of_large[0].present_pages), (25600, SECTION_PAGES - 25600));
    guest.assert_sound();
    let got = guest.alloc("300M");
    assert_eq!(guest.verify().pages, got.pages);
    guest.sh("free all");
    guest.assert_sound();
}

/// Proves that DIMMs plugged without waiting are all answered and come online, each once.
#[test]
fn plugged_at_once() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let before = guest.resources().len();
    for number in 0..6 {
        let node = number % 2;
        guest.monitor_line(&format!("object_add memory-backend-ram,id=ram{number},size=128M"));
        guest.monitor_line(&format!("device_add pc-dimm,id=dimm{number},memdev=ram{number},node={node}"));
    }
    let mut answered: Vec<_> = (0..6)
        .map(|_| guest.monitor().wait_ost(std::time::Duration::from_secs(60)).expect("an _OST for each DIMM"))
        .map(|ost| {
            assert_eq!((ost.source, ost.status), (1, 0), "{ost:?}");
            ost.device
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, ["dimm0", "dimm1", "dimm2", "dimm3", "dimm4", "dimm5"]);
    let resources = guest.resources();
    assert_eq!(resources.len(), before + 6);
    assert_eq!(guest.monitor().pending_osts(), []);
    guest.assert_sound();
}
