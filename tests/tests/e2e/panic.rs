//! A kernel that panics says so and ends QEMU.

use tests::{Machine, Plan};

/// Proves that a panic ends QEMU with status 33 and is on the serial line, with the functions that led to it, each
/// called by the next and none that has returned already, even when every free page has been written to. Fails
/// when the stack is read wrongly, or a name is not found.
#[test]
fn panic_ends_with_33() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.sh("alloc --all");
    guest.send(b"panic\n");
    assert_eq!(guest.wait_exit(), 33);
    let log = guest.log();
    let (_, report) = log.split_once("backtrace, innermost first").expect("the report");
    let names: Vec<&str> =
        report.lines().skip(1).filter_map(|line| line.split_once("  ffffffff")?.1.get(10..)).collect();
    let led_to = [
        "carapace::arch::exceptions::panic_report + ",
        "rust_begin_unwind + ",
        "core::panicking::panic_fmt + ",
        "carapace::shell::system::panic + ",
        "carapace::shell::execute::{{closure}} + ",
        "carapace::shell::{{closure}} + ",
        "carapace::main + ",
        "_start + ",
    ];
    // The compiler may put functions into their callers: names may be missing, but not in another order.
    let mut rest = led_to.iter();
    for name in &names {
        assert!(
            rest.any(|wanted| name.contains(wanted)),
            "{name} is out of order, or has returned:\n{report}"
        );
    }
    for wanted in ["panic_fmt", "carapace::main"] {
        assert!(names.iter().any(|name| name.contains(wanted)), "{wanted} is missing:\n{report}");
    }
}

/// Proves that `poweroff` ends QEMU with status 0 on both machines.
#[test]
fn poweroff_ends_with_0() {
    for machine in [Machine::Q35, Machine::Pc] {
        assert_eq!(Plan::new(machine).boot().power_off(), 0);
    }
}
