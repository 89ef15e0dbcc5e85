//! Faults of the kernel: a report names each fault and the mapping at its address, and QEMU ends with status 33.

use tests::{Guest, Machine, Plan};

/// Waits for the end of the guest, which has to be that of a fatal report; the report.
#[track_caller]
fn report(mut guest: Guest) -> String {
    assert_eq!(guest.wait_exit(), 33);
    let log = guest.log();
    let (_, report) = log.split_once("fatal exception ").expect("a fatal report");
    report.to_owned()
}

/// Proves that each access which the kernel's layout forbids faults (the page below the stack, the null page, absent
/// memory, a write to code, execution of data), and that the report has the address, its mapping, the faulting
/// function, the log's last lines and a summary of memory. Fails if a region is mapped too far, a protection is off,
/// or a report breaks.
#[test]
fn faults_are_named() {
    for (fault, words) in [
        ("stack", &["8: double fault", "guard page below the kernel's main stack", "cpu_faults::nest"][..]),
        ("null", &["14: page fault", "read from a page that is not present", "a null pointer?"]),
        ("absent", &["direct map + 0x3ffffffff000", "section 524287, where no memory is present"]),
        ("descriptor", &["descriptor of frame 0x3ffffffff, section 524287, where no memory is present"]),
        ("code", &["write to a page that forbids it", "kernel image + 0x"]),
        ("data", &["instruction fetch from a page that forbids it", "stacks + 0x"]),
        ("code-alias", &["write to a page that forbids it", "direct map + 0x"]),
        ("run-alias", &["instruction fetch from a page that forbids it", "direct map + 0x"]),
        ("heap-end", &["guard page behind the general part of the kernel's heap: an overrun"]),
    ] {
        let mut guest = Plan::new(Machine::Q35).boot();
        guest.send(format!("panic {fault}\n").as_bytes());
        let report = report(guest);
        let always = [
            "backtrace, innermost first",
            "carapace::commands::lkdtm::cpu_faults::",
            "cr3 0",
            "locks held: none",
            "ACPI events come by SCI 9",
            "MiB free; resources: 1; heap: ",
        ];
        for word in words.iter().chain(&always) {
            assert!(report.contains(word), "panic {fault}: `{word}` is missing in\n{report}");
        }
    }
}

/// Proves that an error the CPU has corrected is logged once, with bank and address, although it raises no interrupt;
/// that the kernel goes on; and that the bank records the next error. Fails if banks are not polled or not cleared.
#[test]
fn corrected_machine_checks() {
    let mut guest = Plan::new(Machine::Q35).option("--cpu", "max").boot();
    for address in ["0x123456000", "0x654321000"] {
        // processor 0, bank 3: valid, enabled, with an address
        guest.monitor_line(&format!("mce 0 3 0x9400000000000000 0x0 {address} 0"));
        guest.assert_sound();
        let told =
            format!("WARN  machine check, corrected: bank 3: status 0x9400000000000000, address {address}");
        guest.wait_text(&told);
        guest.assert_sound();
        assert_eq!(guest.log().matches(&told).count(), 1);
    }
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a non-maskable interrupt and a machine check are reported as such, the latter with its bank and its
/// address. Fails if either has no stack or no handler, or is reported as another fault.
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
