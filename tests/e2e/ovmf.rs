//! The tables as OVMF leaves them, in the real guest.
//!
//! OVMF starts no PVH kernel, so the guest boots as always and is given the tables that OVMF left in a guest of
//! the same kind: QEMU's, at other addresses, behind a root table of OVMF's own, with more tables beside them.

use tests::guest::Dimm;
use tests::tables::Tables;
use tests::{Machine, Plan};

/// Proves on both machine types that the kernel comes up with these tables and that a DIMM comes online and goes
/// again by their methods. Fails if anything in them is refused.
fn dimm_comes_and_goes(machine: Machine) {
    let Some(tables) = Tables::of_ovmf(Plan::new(machine)) else {
        println!("OVMF is not installed (Debian's package ovmf): its tables are NOT tried");
        return;
    };
    let mut guest = tables.plan(Plan::new(machine)).boot();
    guest.assert_sound();
    let log = guest.log();
    assert!(log.contains("RSDP at 0x3000000") && !log.contains("WARN"), "{log}");
    assert_eq!(guest.plug_online(Dimm { number: 0, size: "256M", node: 1 }).free_pages, 64512);
    guest.assert_sound();
    guest.unplug(0);
    guest.assert_sound();
    // On pc OVMF has the power management registers elsewhere than the firmware that this guest came up with.
    if machine == Machine::Q35 {
        assert_eq!(guest.power_off(), 0);
    }
}

/// On q35.
#[test]
fn ovmf_tables_q35() {
    dimm_comes_and_goes(Machine::Q35);
}

/// On pc.
#[test]
fn ovmf_tables_pc() {
    dimm_comes_and_goes(Machine::Pc);
}
