//! The boot shim's messages and QEMU's exit status if the kernel cannot be started.

use guest::launch::Qemu;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use tests::corrupt_elf::{self, Fault};
use tests::guest::LIMIT;
use tests::qmp::Monitor;
use tests::serial::{Serial, retry};
use tests::{Machine, Plan};

/// The CPU's interrupt flag.
const INTERRUPTS_ON: u32 = 1 << 9;

/// Starts the guest; it has to end by itself with this status and this message.
#[track_caller]
fn assert_refused(plan: &Plan, status: i32, message: &str) {
    let mut guest = plan.start();
    guest.wait_text(message);
    assert_eq!(guest.wait_exit(), status);
    assert!(guest.log().contains("carapace-boot: error: "), "the message does not say who speaks");
}

/// Proves that a shim without a kernel says how to give it one, with status 35.
#[test]
fn no_kernel() {
    assert_refused(&Plan::new(Machine::Q35).without_kernel(), 35, "no kernel");
}

/// Proves that a file that is no ELF file is refused with status 37.
#[test]
fn no_elf() {
    let plan = Plan::new(Machine::Pc).kernel(&tests::task::root().join("Cargo.toml"));
    assert_refused(&plan, 37, "not an ELF file");
}

/// Proves that an ELF file that is no kernel (this test itself) is refused with status 37.
#[test]
fn no_kernel_in_elf() {
    let this = std::env::current_exe().expect("this test's path");
    let plan = Plan::new(Machine::Q35).option("--memory", "1G").kernel(&this);
    assert_refused(&plan, 37, ".bootloader-config");
}

/// Proves that a kernel whose code is writable is refused with status 37.
#[test]
fn writable_code() {
    let plan = Plan::new(Machine::Q35);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kernel = corrupt_elf::kernel(&plan.kernel_file(), Fault::WritableCode, directory.path());
    assert_refused(&plan.kernel(&kernel), 37, "writable and executable");
}

/// Proves that a CPU that lacks what shim or kernel use is refused with status 39 and the names of all that is missing,
/// before anything uses it. Fails when a feature is not asked for: the machine is reset three times, or comes up deaf.
#[test]
fn cpu_features() {
    for (machine, cpu, missing) in [
        (Machine::Q35, "qemu32", "no long mode (64 bits); no NX (non-executable pages);"),
        (Machine::Pc, "qemu64,-nx", "no NX (non-executable pages);"),
        (Machine::Q35, "qemu64,-cmov", "no CMOV (conditional moves);"),
        (
            Machine::Pc,
            "qemu64,-apic,-tsc",
            "no TSC (time-stamp counter); no APIC (local interrupt controller);",
        ),
        (Machine::Q35, "base,+lm,+nx,+cmov,+tsc", "no MSR (model-specific registers); no PAE"),
    ] {
        let message = format!("the CPU has {missing}");
        assert_refused(&Plan::new(machine).option("--cpu", cpu), 39, &message);
    }
}

/// Proves that the features the shim asks for are all that the kernel needs: with nothing else it comes up and answers.
#[test]
fn least_cpu() {
    let plan = Plan::new(Machine::Q35).option("--cpu", "base,+lm,+nx,+cmov,+msr,+pae,+tsc,+apic");
    let mut guest = plan.boot();
    assert!(guest.sh("meminfo").iter().any(|line| line.contains("free")), "no answer");
    assert_eq!(guest.power_off(), 0);
}

/// A microvm: it has QEMU's exit port, clock chip and fw_cfg, but no PCI that says that it is QEMU's. `arguments` are
/// QEMU's, too.
#[track_caller]
fn start_microvm(directory: &Path, arguments: &str) -> (Qemu, Monitor) {
    let kernel = Plan::new(Machine::Q35).kernel_file();
    let shim = Path::new(&kernel).with_file_name("carapace-boot");
    let qmp = directory.join("qmp");
    let line = format!(
        "qemu-system-x86_64 -accel tcg -machine microvm,rtc=on -m 256M -display none -nodefaults \
         -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel {} -initrd {kernel} \
         -qmp unix:{},server=on,wait=off {arguments}",
        shim.display(),
        qmp.display()
    );
    let line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let qemu = Qemu::start(&line, Stdio::null(), Stdio::inherit(), Stdio::inherit()).expect("QEMU starts");
    let socket = retry(LIMIT, || UnixStream::connect(&qmp)).expect("QEMU's monitor");
    (qemu, Monitor::new(socket).expect("QEMU's monitor"))
}

/// Waits until the CPU has stopped for ever: halted, with interrupts off. A write to the exit port would end QEMU and its
/// monitor.
#[track_caller]
fn wait_stopped(monitor: &mut Monitor) {
    let start = Instant::now();
    loop {
        let registers = monitor.human("info registers").expect("QEMU runs");
        // EFL or RFL, by the CPU's mode.
        let flags = registers.split("FL=").nth(1).and_then(|rest| u32::from_str_radix(&rest[..8], 16).ok());
        if registers.contains("HLT=1") && flags.expect("the flags") & INTERRUPTS_ON == 0 {
            return;
        }
        assert!(start.elapsed() < LIMIT, "the CPU does not stop");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Proves that the shim writes nothing to QEMU's exit port on a machine that is not known to be QEMU's: it stops the CPU
/// after its message. Fails when it writes there.
#[test]
fn no_exit_port_elsewhere() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let serial = directory.path().join("serial");
    let arguments = format!("-cpu qemu64,-nx -serial file:{}", serial.display());
    let (_qemu, mut monitor) = start_microvm(directory.path(), &arguments);
    wait_stopped(&mut monitor);
    let said = std::fs::read_to_string(&serial).expect("the serial line's file");
    assert!(said.contains("the CPU has no NX (non-executable pages);"), "{said}");
}

/// Proves that shim and kernel write neither to QEMU's exit port nor to the restart guard's byte of CMOS RAM on a machine
/// that is not known to be QEMU's, from the start to a panic. Fails when one of them writes without the proof.
#[test]
fn no_port_of_qemu_elsewhere() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let serial = directory.path().join("serial");
    let arguments = format!("-S -serial unix:{},server=on,wait=off", serial.display());
    let (_qemu, mut monitor) = start_microvm(directory.path(), &arguments);
    let mut serial = Serial::connect(&serial, LIMIT).expect("the serial line");
    let mut tell = |line: &str| monitor.human(line).expect("QEMU runs");
    // A value that is no count of the shim's.
    for line in ["o /b 0x70 0x72", "o /b 0x71 0x55", "cont"] {
        tell(line);
    }
    serial.wait_prompt(LIMIT).expect("the prompt");
    tell("o /b 0x70 0x72");
    let byte = tell("i /b 0x71");
    assert!(byte.contains("0x55"), "{byte}");
    serial.send(b"panic\n").expect("the guest reads its line");
    let last = |all: &str| all.contains("; resources: 1").then_some(());
    serial.wait(0, LIMIT, last).expect("the report's last line");
    wait_stopped(&mut monitor);
}

/// Proves that memory too small for the kernel's image gives status 41 and no half-loaded kernel.
#[test]
fn not_enough_memory() {
    let plan = Plan::new(Machine::Q35);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kernel = corrupt_elf::kernel(&plan.kernel_file(), Fault::Larger(64 << 20), directory.path());
    assert_refused(&plan.option("--memory", "32M").kernel(&kernel), 41, "not enough memory");
}

/// Proves that the shim ends a reset loop: if the kernel resets the machine before it is up, the fourth start ends QEMU
/// with status 45.
#[test]
fn triple_fault() {
    let plan = Plan::new(Machine::Q35);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kernel = corrupt_elf::kernel(&plan.kernel_file(), Fault::FaultsAtOnce, directory.path());
    let mut guest = plan.kernel(&kernel).start();
    assert_eq!(guest.wait_exit(), 45);
    let log = guest.log();
    assert_eq!(log.matches("carapace-boot: kernel of").count(), 3, "the kernel was not started three times");
    assert!(log.contains("error: the kernel reset the machine"));
}

/// Proves that tables that cannot be where the command line says are refused with status 43.
#[test]
fn tables_out_of_reach() {
    let plan = Plan::new(Machine::Pc).qemu(&["-append", "acpi=0x3000000"]);
    assert_refused(&plan, 43, "`acpi=` takes 0xADDRESS+0xLENGTH");
    let plan = Plan::new(Machine::Q35).qemu(&["-append", "acpi=0xffffffff+0x1000"]);
    assert_refused(&plan, 43, "no tables at 0xffffffff below 4 GiB");
}
