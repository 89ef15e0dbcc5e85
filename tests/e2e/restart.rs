//! `reboot` and a reset by QEMU start the machine again.

use qapi::qmp;
use tests::eject::Ended;
use tests::guest::Dimm;
use tests::{Machine, Plan};

/// Proves that a running guest can be reset as often as one likes: the guard against kernels that
/// reset the machine before they are up (three in a row) does not count these.
#[test]
fn system_reset_starts_again() {
    let mut guest = Plan::new(Machine::Q35).boot();
    for _ in 0..5 {
        guest.reset();
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

/// Proves that the kernel serves a request that came before the machine started again: the event's status bit is lost by
/// then, the firmware's request is not. Fails if the kernel relies on the status bit alone.
#[test]
fn a_request_survives_a_restart() {
    for machine in [Machine::Q35, Machine::Pc] {
        let mut guest = Plan::new(machine).boot();
        guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
        guest.monitor().execute(&qmp::stop {}).expect("QEMU stops the guest");
        guest.monitor_line("device_del dimm0");
        guest.skip_to_now();
        guest.monitor().execute(&qmp::system_reset {}).expect("QEMU resets the machine");
        guest.monitor().execute(&qmp::cont {}).expect("QEMU lets it go on");
        guest.wait_prompt();
        assert_eq!(guest.unplugged(0), Ended::Deleted);
        guest.assert_sound();
        assert_eq!(guest.power_off(), 0);
    }
}
