//! An add that fails, whatever the step, is answered with the truth and leaves nothing behind.

use tests::guest::Dimm;
use tests::qmp::Ost;
use tests::schema::Meminfo;
use tests::{Guest, Machine, Plan};

/// `meminfo -J` without the heap's figures: the shell's history of lines uses the heap.
#[track_caller]
fn sums(guest: &mut Guest) -> Meminfo {
    Meminfo { heap_used: 0, ..guest.meminfo() }
}

/// Proves, for each step of an add beside a neighbour whose section and tables are shared, that its failure
/// is answered by (1, 1), that resources and sums are as before, and that the next DIMM comes online. Fails when
/// an undo is incomplete, or the answer a lie (Linux says success).
#[test]
fn each_step_fails_without_a_trace() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "100M", node: 1 });
    for (number, step) in (1u32..).zip(["check", "direct-map", "vmemmap", "region", "online"]) {
        let before = (guest.resources(), sums(&mut guest));
        guest.sh(&format!("fail {step}"));
        let refused = guest.plug(Dimm { number: 2 * number, size: "62M", node: 0 });
        assert_eq!(refused, Ost { device: format!("dimm{}", 2 * number), source: 1, status: 1 }, "{step}");
        guest.wait_text(&format!("fault injected at {step}"));
        assert_eq!((guest.resources(), sums(&mut guest)), before, "{step}");
        guest.assert_sound();
        guest.plug_online(Dimm { number: 2 * number + 1, size: "256M", node: 1 });
        guest.assert_sound();
    }
    assert_eq!(guest.power_off(), 0);
}
