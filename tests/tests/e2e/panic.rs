//! A kernel that panics says so and ends QEMU.

use tests::{Machine, Plan};

/// Proves that a panic ends QEMU with status 33 and is on the serial line.
#[test]
fn panic_ends_with_33() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.send(b"panic\n");
    assert_eq!(guest.wait_exit(), 33);
    assert!(guest.log().to_lowercase().contains("panic"), "no word of it");
}

/// Proves that `poweroff` ends QEMU with status 0 on both machines.
#[test]
fn poweroff_ends_with_0() {
    for machine in [Machine::Q35, Machine::Pc] {
        assert_eq!(Plan::new(machine).boot().power_off(), 0);
    }
}
