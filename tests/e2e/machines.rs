//! Guests of other shapes than the default one: the example works on each.

use tests::guest::Dimm;
use tests::{Machine, Plan};

/// Boots, plugs a DIMM of 256 MiB, uses it, powers off; the DIMM's base.
#[track_caller]
fn plug_and_use(plan: &Plan, node: u32) -> u64 {
    let mut guest = plan.boot();
    guest.assert_sound();
    let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node });
    assert_eq!((dimm.memmap_pages, dimm.usable_pages, dimm.free_pages), (1024, 64512, 64512));
    assert_eq!(dimm.memmap_start_pfn, dimm.base / 4096);
    assert_eq!(dimm.add.existing_pages_used, 0);
    let got = guest.alloc(&format!("252M --node {node} --contiguous"));
    assert_eq!(guest.verify().pages, got.pages);
    guest.assert_sound();
    guest.sh("free all");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
    dimm.base
}

/// Proves it on a CPU with everything QEMU emulates: 1 GiB pages, SMEP, SMAP, 57-bit addresses.
#[test]
fn every_cpu_feature() {
    plug_and_use(&Plan::new(Machine::Q35).option("--cpu", "max"), 1);
    plug_and_use(&Plan::new(Machine::Pc).option("--cpu", "max"), 1);
}

/// Proves it with memory above 4 GiB at boot: the DIMM lies behind it.
#[test]
fn memory_above_4_gib() {
    let base = plug_and_use(&Plan::new(Machine::Q35).option("--memory", "5G"), 1);
    assert_eq!(base, 0x1_c000_0000);
}

/// Proves it on one node, which has memory already.
#[test]
fn one_node() {
    plug_and_use(&Plan::new(Machine::Pc).option("--nodes", "1"), 0);
}

/// Proves it with the other firmware that QEMU brings, whose tables lie elsewhere.
#[test]
fn qboot() {
    plug_and_use(&Plan::new(Machine::Q35).qemu(&["-bios", "qboot.rom"]), 1);
}

/// Proves it with as many slots as QEMU has: the firmware's tables are several times larger.
#[test]
fn many_slots() {
    plug_and_use(&Plan::new(Machine::Q35).option("--slots", "256"), 1);
}

/// Proves it with the least memory that a guest is meant to have.
#[test]
fn little_memory() {
    plug_and_use(&Plan::new(Machine::Q35).option("--memory", "16M"), 1);
}
