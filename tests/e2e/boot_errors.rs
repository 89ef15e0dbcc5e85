//! What the boot shim says, and QEMU's exit status, where the kernel cannot be started.

use tests::spoil::{self, Fault};
use tests::{Machine, Plan};

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
    let plan = Plan::new(Machine::Pc).kernel(&tests::xtask::root().join("Cargo.toml"));
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
    let kernel = spoil::kernel(&plan.kernel_file(), Fault::WritableCode, directory.path());
    assert_refused(&plan.kernel(&kernel), 37, "writable and executable");
}

/// Proves that a CPU without long mode is found out before long mode is turned on: status 39.
#[test]
fn no_long_mode() {
    assert_refused(&Plan::new(Machine::Q35).option("--cpu", "qemu32"), 39, "no long mode");
    assert_refused(&Plan::new(Machine::Pc).option("--cpu", "qemu64,-nx"), 39, "no NX");
}

/// Proves that memory too small for the kernel's image gives status 41 and no half-loaded kernel.
#[test]
fn not_enough_memory() {
    let plan = Plan::new(Machine::Q35);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kernel = spoil::kernel(&plan.kernel_file(), Fault::Larger(64 << 20), directory.path());
    assert_refused(&plan.option("--memory", "32M").kernel(&kernel), 41, "not enough memory");
}

/// Proves that a kernel that resets the machine before it is up does not do so for ever: the fourth
/// start ends QEMU with status 45.
#[test]
fn triple_fault() {
    let plan = Plan::new(Machine::Q35);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kernel = spoil::kernel(&plan.kernel_file(), Fault::FaultsAtOnce, directory.path());
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
