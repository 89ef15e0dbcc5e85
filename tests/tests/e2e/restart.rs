//! The machine starts again when it is told to.

use qapi::qmp;
use tests::{Machine, Plan};

/// Proves that a running guest can be reset as often as one likes: the guard against kernels that
/// reset the machine before they are up (three in a row) does not count these.
#[test]
fn system_reset_starts_again() {
    let mut guest = Plan::new(Machine::Q35).boot();
    for _ in 0..5 {
        guest.skip_to_now();
        guest.monitor().execute(&qmp::system_reset {}).expect("QEMU resets the machine");
        guest.wait_prompt();
    }
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that `reboot` starts the guest again, on both machines.
#[test]
fn reboot_starts_again() {
    for machine in [Machine::Q35, Machine::Pc] {
        let mut guest = Plan::new(machine).boot();
        guest.skip_to_now();
        guest.send(b"reboot\n");
        guest.wait_text("carapace-boot: kernel of");
        guest.wait_prompt();
        guest.assert_sound();
        assert_eq!(guest.power_off(), 0);
    }
}
