//! The disk image of `cargo xtask image`, booted by the firmware that it is for.
//!
//! Not part of the usual run, for crate `bootloader` takes minutes to build: `cargo xtask test --tier image` asks for it.
//! Whatever the loader hands over differs from the PVH shim's in: the memory map (UEFI's, with the loader's own pieces
//! in it), the RSDP (revision 2 and an XSDT by UEFI), and a direct map that covers more than memory.

use tests::eject::Ended;
use tests::guest::Dimm;
use tests::qmp::Ost;
use tests::{Machine, Plan};

/// Boots, plugs, uses, unplugs; every invariant holds at each stop.
#[track_caller]
fn hotplug_works(machine: Machine, firmware: &str) -> String {
    let mut guest = Plan::new(machine).option("--image", firmware).boot();
    let log = guest.log();
    assert!(!log.contains("carapace-boot") && !log.contains("WARN") && !log.contains("ERROR"), "{log}");
    guest.assert_sound();
    let before = guest.meminfo();
    let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    assert_eq!((dimm.base, dimm.memmap_pages, dimm.usable_pages), (4 << 30, 1024, 64512));
    assert_eq!(dimm.add.existing_pages_used, 0);
    guest.alloc("--node 1 200M");
    let all = guest.alloc("100M");
    guest.assert_sound();
    assert!(guest.verify().ok);
    guest.unplug(0);
    let verify = guest.verify();
    assert_eq!((verify.ok, verify.pages), (true, 51200 + all.pages), "what was in the DIMM has moved");
    guest.sh("free all");
    guest.assert_sound();
    assert_eq!(guest.meminfo(), before);
    assert_eq!(guest.power_off(), 0);
    log
}

/// Proves that OVMF boots the image, that the kernel lives with UEFI's memory map and root table, and that a DIMM comes
/// and goes there as anywhere.
#[test]
#[ignore = "cargo xtask test --tier image"]
fn uefi() {
    let log = hotplug_works(Machine::Q35, "uefi");
    assert!(log.contains("revision 2; tables XSDT"), "{log}");
}

/// The same on a machine whose BIOS starts the image, with the loader's other half.
#[test]
#[ignore = "cargo xtask test --tier image"]
fn bios() {
    hotplug_works(Machine::Pc, "bios");
}

/// Proves by both firmwares that the image starts on a machine without serial port, legacy timer and HPET, and that a DIMM
/// comes and goes there. Fails when loader, kernel or interrupts need one of them.
#[test]
#[ignore = "cargo xtask test --tier image"]
fn without_serial_port_and_legacy_timers() {
    for (machine, firmware) in [(Machine::Q35, "uefi"), (Machine::Pc, "bios")] {
        let plan = Plan::new(machine).option("--image", firmware).qemu(&["-machine", "pit=off,hpet=off"]);
        let mut guest = plan.start_without_first_port();
        assert_eq!(
            guest.plug(Dimm { number: 0, size: "256M", node: 1 }),
            Ost { device: "dimm0".into(), source: 1, status: 0 }
        );
        assert_eq!(guest.unplug(0), Ended::Deleted, "{firmware}");
    }
}
