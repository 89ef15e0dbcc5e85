//! DIMMs that are there when the machine starts.

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
