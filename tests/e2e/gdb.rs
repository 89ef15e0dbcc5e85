//! `cargo xtask run --gdb`, as docs/debugging.md has it.

use std::net::TcpListener;
use std::process::Command;
use tests::guest::Dimm;
use tests::{Machine, Plan};

/// Proves that gdb, where it is installed, stops the guest before its first instruction, at a function of the kernel
/// before there is memory, and at one deep in it, whose backtrace has lines and leads to `main`; that each CPU is a thread,
/// which stops where it begins and whose functions gdb names; and that the guest goes on when gdb leaves. Fails when the
/// kernel that is booted is not the one that gdb reads, and when it does not find another CPU's code.
#[test]
fn gdb_stops_and_shows() {
    if Command::new("gdb").arg("--version").output().is_err() {
        eprintln!("gdb is not installed: nothing is tried");
        return;
    }
    let port =
        TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).expect("a free port").port();
    let plan = Plan::new(Machine::Q35).option("--gdb", &port.to_string()).option("--cpus", "3");
    let kernel = plan.kernel_file();
    let mut guest = plan.start();
    let target = format!("target remote 127.0.0.1:{port}");
    // A breakpoint that is not met must not be waited for without end.
    let mut gdb = Command::new("timeout");
    gdb.args(["90", "gdb", "-nx", "-batch", "-ex", &target]);
    for command in [
        "info registers rip",
        "break carapace::main",
        "continue",
        "break carapace::acpi::memory_device::scan",
        "continue",
        "backtrace",
        "break carapace::cpus::start::main",
        "continue",
        "backtrace",
        "continue",
        "info threads",
        "thread apply all backtrace",
        "delete",
        "detach",
    ] {
        gdb.args(["-ex", command]);
    }
    let output = gdb.arg(&kernel).output().expect("gdb runs");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    for words in [
        "rip            0xfff0",
        "Breakpoint 1, carapace::main (",
        "Breakpoint 2, carapace::acpi::memory_device::scan (",
        " at kernel/src/main.rs:",
        "Thread 2 hit Breakpoint 3, ",
        "Thread 3 hit Breakpoint 3, ",
        "carapace::cpus::start::main () at kernel/src/cpus/start.rs:",
        "(CPU#0 [",
        "(CPU#1 [",
        "(CPU#2 [",
    ] {
        assert!(said.contains(words), "`{words}` is missing in\n{said}");
    }
    guest.wait_prompt();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
