//! DIMMs that are there when the machine starts, or come before the kernel is up.

use tests::guest::Dimm;
use tests::{Machine, Plan};

/// Proves that DIMMs given on QEMU's command line are online at the first prompt, with the same
/// layout as plugged ones; they are not in the firmware's memory map.
#[test]
fn cold_plugged_dimms() {
    for machine in [Machine::Q35, Machine::Pc] {
        let mut guest = Plan::new(machine)
            .qemu(&["-object", "memory-backend-ram,id=ram0,size=256M"])
            .qemu(&["-device", "pc-dimm,id=dimm0,memdev=ram0,node=1"])
            .qemu(&["-object", "memory-backend-ram,id=ram1,size=512M"])
            .qemu(&["-device", "pc-dimm,id=dimm1,memdev=ram1,node=0"])
            .boot();
        let mut dimms = guest.resources();
        dimms.retain(|resource| resource.device != "boot");
        let rows: Vec<_> =
            dimms.iter().map(|r| (r.base, r.size, r.node, r.memmap_pages, r.state.as_str())).collect();
        let expected =
            [(0x1_0000_0000, 256 << 20, 1, 1024, "online"), (0x1_1000_0000, 512 << 20, 0, 2048, "online")];
        assert_eq!(rows, expected);
        guest.assert_sound();
        assert_eq!(guest.alloc("200M --node 1").pages, 51200);
        assert_eq!(guest.verify().pages, 51200);
        guest.sh("free all");
        guest.assert_sound();
        assert_eq!(guest.power_off(), 0);
    }
}

/// Proves that a DIMM plugged before the kernel listens for events is not lost and not added twice,
/// whenever it comes: before the firmware runs, and while the kernel boots.
#[test]
fn plugged_while_booting() {
    for said in ["", "carapace-boot: ", "ACPI: RSDP", "AML: "] {
        let mut guest = Plan::new(Machine::Q35).start();
        guest.wait_text(said);
        guest.monitor_line("object_add memory-backend-ram,id=ram0,size=256M");
        guest.monitor_line("device_add pc-dimm,id=dimm0,memdev=ram0,node=1");
        guest.wait_prompt();
        // a DIMM that comes while the machine is up: when it is answered, so is the one before
        let later = guest.plug(Dimm { number: 1, size: "128M", node: 0 });
        assert_eq!((later.source, later.status), (1, 0));
        guest.wait_text("0x110000000");
        let mut dimms = guest.resources();
        dimms.retain(|resource| resource.device != "boot");
        let mut bases: Vec<_> = dimms.iter().map(|dimm| (dimm.base, dimm.usable_pages)).collect();
        bases.sort_unstable();
        assert_eq!(bases, [(0x1_0000_0000, 64512), (0x1_1000_0000, 32256)], "plugged at `{said}`");
        guest.assert_sound();
    }
}
