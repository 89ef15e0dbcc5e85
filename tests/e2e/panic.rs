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
        "carapace::panic::on_panic + ",
        "rust_begin_unwind + ",
        "core::panicking::panic_fmt + ",
        "carapace::commands::lkdtm::panic::{{closure}} + ",
        "carapace::commands::execute::{{closure}} + ",
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

/// Proves that a panic is reported even under each lock that a report could need, and in an interrupt handler: once,
/// with its reason and place, registers, a backtrace, the held locks, the log's last lines and a summary of memory, with
/// `?` for the data behind the held lock only; and that QEMU ends. Fails if a report waits for a lock or lacks a part.
#[test]
fn panics_under_locks() {
    let last_line = "ACPI events come by SCI 9";
    let (memory, usable_unknown) = ("MiB free; resources: 1; heap: ", "MiB present, ? usable, ");
    for (lock, reason, held, log, memory) in [
        ("page-tables", "with a lock held", "page tables", last_line, memory),
        ("region", "with a lock held", "region of resource 0", last_line, usable_unknown),
        ("heap", "with a lock held", "heap, heap's reserve", last_line, "resources: 1; heap: ? of ? in use"),
        ("log", "with a lock held", "log", "    ?\r\n", memory),
        ("serial", "with a lock held", "serial, serial output", last_line, memory),
        (
            "handler",
            "a CPU waits for a lock that it holds: in an interrupt handler",
            "serial",
            "in an interrupt handler",
            memory,
        ),
    ] {
        let mut guest = Plan::new(Machine::Q35).boot();
        guest.send(format!("panic {lock}\n").as_bytes());
        assert_eq!(guest.wait_exit(), 33, "panic {lock}");
        let said = guest.log();
        let (_, report) = said.split_once("kernel panic: ").expect("a report");
        assert!(!report.contains("kernel panic: ") && !report.contains("giving up"), "told twice:\n{report}");
        let held = format!("  locks held: {held}\r\n");
        for words in
            [reason, "  at kernel/src/", "  rip ", "  cr0 ", "backtrace, innermost first", &held, log]
        {
            assert!(report.contains(words), "panic {lock}: `{words}` is missing in\n{report}");
        }
        let (_, end) = report.split_once("the log's last lines:").expect("the log");
        assert!(end.contains("  memory: ") && end.contains(memory), "panic {lock}:\n{report}");
        assert!(report.contains("carapace::main + "), "panic {lock}: no way back to main in\n{report}");
    }
}

/// Proves that `poweroff` ends QEMU with status 0 on both machines.
#[test]
fn poweroff_ends_with_0() {
    for machine in [Machine::Q35, Machine::Pc] {
        assert_eq!(Plan::new(machine).boot().power_off(), 0);
    }
}
