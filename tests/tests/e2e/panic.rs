//! A kernel that panics says so and ends QEMU.

use tests::{Machine, Plan};

/// Proves that a panic ends QEMU with status 33 and is on the serial line, with the functions that led to it,
/// even when every free page has been written to.
#[test]
fn panic_ends_with_33() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.sh("alloc --all");
    guest.send(b"panic\n");
    assert_eq!(guest.wait_exit(), 33);
    let log = guest.log();
    let (_, report) = log.split_once("kernel panic: ").expect("the report");
    for function in ["core::panicking::panic_fmt", "carapace::shell::", "carapace::main"] {
        assert!(report.contains(function), "{function} is missing in the backtrace:\n{report}");
    }
}

/// Proves that `poweroff` ends QEMU with status 0 on both machines.
#[test]
fn poweroff_ends_with_0() {
    for machine in [Machine::Q35, Machine::Pc] {
        assert_eq!(Plan::new(machine).boot().power_off(), 0);
    }
}
