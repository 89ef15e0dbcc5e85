//! DIMMs of up to 4 TiB among small ones: a terabyte costs existing memory no more than 256 MiB do, namely nothing.
//! The host does not reserve their memory, and the guest touches hardly any of it.

use tests::guest::Dimm;
use tests::schema::{Add, Resource, SECTION_PAGES};
use tests::{Guest, Machine, Plan};

/// QEMU's words for a size that the host need not have.
const M128: &str = "128M,reserve=off";
const M256: &str = "256M,reserve=off";
/// The largest one that fits behind those of a full default guest.
const G128: &str = "128G,reserve=off";
const G8: &str = "8G,reserve=off";
const T1: &str = "1T,reserve=off";
const T4: &str = "4T,reserve=off";

/// Plugs a DIMM; the free frames of all others and the heap are as before.
#[track_caller]
fn plug(guest: &mut Guest, number: u32, size: &'static str) -> Resource {
    let before = guest.meminfo();
    let dimm = guest.plug_online(Dimm { number, size, node: number % 2 });
    let after = guest.meminfo();
    assert_eq!(dimm.add.existing_pages_used, 0, "{dimm:?}");
    assert_eq!(after.free_pages, before.free_pages + dimm.usable_pages, "{dimm:?}");
    assert_eq!(after.page_table_pages, before.page_table_pages, "{dimm:?}");
    assert_eq!(dimm.memmap_pages, dimm.size / 4096 / 64, "{dimm:?}");
    let Add { descriptors_written, entries_written, .. } = dimm.add;
    assert!(descriptors_written <= 2 * 31, "a few for each order: {dimm:?}");
    // A leaf of 2 MiB for each, the vmemmap's among them, and no more than a table's worth beside them.
    assert!(entries_written <= dimm.size / (2 << 20) + dimm.size / (128 << 20) + 4096 + 512, "{dimm:?}");
    dimm
}

/// How many of the resource's first sections hold its memmap and nothing else; the rest is online.
#[track_caller]
fn memmap_sections(guest: &mut Guest, dimm: &Resource) -> usize {
    let first = dimm.base / 4096 / SECTION_PAGES;
    let count = (dimm.memmap_pages / SECTION_PAGES) as usize;
    let rows: Vec<tests::schema::Section> =
        guest.json(&format!("sections {first}-{} -J", first + count as u64 + 1));
    let memmap = rows.iter().filter(|row| row.resource == dimm.id && row.state == "memmap").count();
    let online: Vec<_> = rows.iter().filter(|row| row.state == "online").collect();
    assert!(online.iter().all(|row| row.section >= first + count as u64), "{rows:?}");
    memmap
}

/// Proves that 1 TiB and 4 TiB come online between small DIMMs, with 256 slots and whatever CPU model xtask
/// chooses for that much memory; that their first sections are memmap only (1 of 8 GiB, 128 of 1 TiB); and that
/// half of the terabyte can be allocated as one run. Fails if a size does not come online, takes memory from another
/// DIMM, or `check` finds an error.
fn mixed(machine: Machine, cpu: Option<&str>) {
    let mut plan = Plan::new(machine).option("--slots", "256").option("--max-memory", "12T");
    if let Some(cpu) = cpu {
        plan = plan.option("--cpu", cpu);
    }
    let mut guest = plan.boot();
    let mut dimms = Vec::new();
    for (number, size) in (0u32..).zip([M256, T1, M128, G8, T4, M256]) {
        dimms.push(plug(&mut guest, number, size));
        let check: tests::schema::Check = guest.json("check -J");
        assert!(check.ok, "{check:?}");
    }
    assert_eq!(memmap_sections(&mut guest, &dimms[3]), 1);
    assert_eq!(memmap_sections(&mut guest, &dimms[1]), 128);
    let before = guest.meminfo();
    // The terabyte lies on node 1, where nothing else has as many frames in one run.
    let half = guest.alloc("512G --contiguous --no-fill --node 1");
    assert_eq!(half.pages, 128 << 20);
    guest.sh(&format!("free {}", half.id));
    assert_eq!(guest.meminfo().free_pages, before.free_pages);
    let check: tests::schema::Check = guest.json("check -J");
    assert!(check.ok, "{check:?}");
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35, with 1 GiB pages.
#[test]
fn mixed_on_q35() {
    mixed(Machine::Q35, None);
}

/// Proves it on pc, without 1 GiB pages.
#[test]
fn mixed_on_pc() {
    mixed(Machine::Pc, Some("qemu64,phys-bits=46"));
}

/// Proves that a DIMM comes online with nothing free: all frames allocated, the heap full up to its reserve, and all
/// slots but one in use; and that the next allocation uses the DIMM. Fails if any step of an add needs existing
/// memory, or if the reserve is too small for the firmware's code.
#[test]
fn last_slot_of_a_full_machine() {
    let plan = Plan::new(Machine::Q35).option("--slots", "32").option("--memory", "128M");
    let mut guest = plan.boot();
    for number in 0..31 {
        plug(&mut guest, number, M128);
    }
    guest.alloc("--all --no-fill");
    guest.sh("stress heap");
    let full = guest.meminfo();
    assert!(full.free_pages < 64, "alloc --all left {} frames", full.free_pages);
    let dimm = plug(&mut guest, 31, G128);
    let got = guest.alloc("64M");
    assert_eq!(got.pages, 16384);
    // What maps it may need a page table.
    let left = full.free_pages + dimm.usable_pages - got.pages;
    assert!((left - 8..=left).contains(&guest.meminfo().free_pages), "{left} should be left");
    assert!(guest.verify().ok);
    guest.sh("stress off");
    guest.sh("free all");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
