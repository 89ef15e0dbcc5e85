//! Faults of the kernel: each is told in words, with what lies at the address, and ends QEMU with status 33.

use tests::{Guest, Machine, Plan};

/// Waits for the end of the guest, which has to be that of a fatal report; the report.
#[track_caller]
fn report(mut guest: Guest) -> String {
    assert_eq!(guest.wait_exit(), 33);
    let log = guest.log();
    let (_, report) = log.split_once("fatal exception ").expect("a fatal report");
    report.to_owned()
}

/// Proves that what the kernel's layout forbids is forbidden (the page below the stack, the null page, memory
/// that is not there, writing to code, running data), and that the report names each: the address, what lies
/// there, and the function that did it. Fails where a window is mapped too far, a protection is off, or a
/// report breaks.
#[test]
fn faults_are_named() {
    for (fault, words) in [
        ("stack", &["8: double fault", "guard page below the kernel's main stack", "provoke::nest"][..]),
        ("null", &["14: page fault", "read from a page that is not present", "a null pointer?"]),
        ("absent", &["direct map + 0x3ffffffff000", "section 524287, where no memory is present"]),
        ("descriptor", &["descriptor of frame 0x3ffffffff, section 524287, where no memory is present"]),
        ("code", &["write to a page that forbids it", "kernel image + 0x"]),
        ("data", &["instruction fetch from a page that forbids it", "stacks + 0x"]),
    ] {
        let mut guest = Plan::new(Machine::Q35).boot();
        guest.send(format!("panic {fault}\n").as_bytes());
        let report = report(guest);
        for word in words.iter().chain(&["backtrace, innermost first", "carapace::arch::provoke::"]) {
            assert!(report.contains(word), "panic {fault}: `{word}` is missing in\n{report}");
        }
    }
}

/// Proves that a non-maskable interrupt and a machine check are reported as what they are, the latter with the
/// bank that has it and the address. Fails when either finds no stack, no handler, or is taken for a fault.
#[test]
fn nmi_and_machine_check() {
    let mut guest = Plan::new(Machine::Pc).boot();
    guest.monitor_line("nmi");
    assert!(report(guest).starts_with("2: non-maskable interrupt"));

    let mut guest = Plan::new(Machine::Q35).option("--cpu", "max").boot();
    // processor 0, bank 2: valid, uncorrected, enabled, with an address, context corrupt
    guest.monitor_line("mce 0 2 0xb600000000000000 0x5 0x123456000 0");
    let report = report(guest);
    assert!(report.starts_with("18: machine check"), "{report}");
    assert!(
        report.contains("bank 2: status 0xb600000000000000, address 0x123456000, section 36, uncorrected"),
        "{report}"
    );
}
