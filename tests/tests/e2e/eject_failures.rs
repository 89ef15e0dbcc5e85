//! A removal that fails, whatever the step, is answered with the truth and leaves everything as it was.

use tests::answers::{Fail, Meminfo};
use tests::eject::Ended;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan};

/// `meminfo -J` without what the shell itself uses of the heap: it keeps the lines that were typed.
#[track_caller]
fn sums(guest: &mut Guest) -> Meminfo {
    Meminfo { heap_used: 0, ..guest.meminfo() }
}

/// Proves, for each step of a removal beside neighbours whose sections and tables are shared, that its failure is
/// answered by (3, 1), that sums and the device are as before, and that the same removal then
/// succeeds. Fails when an undo is incomplete.
#[test]
fn each_step_fails_without_a_trace() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "100M", node: 1 });
    guest.plug_online(Dimm { number: 2, size: "98M", node: 0 });
    let steps: Vec<Fail> = guest.json("fail -J");
    let steps: Vec<_> = steps.into_iter().filter(|step| step.of == "remove").collect();
    assert!(steps.len() > 2, "{steps:?}");
    for Fail { step, .. } in steps {
        // between the two, where the first hole is
        guest.take_away(2);
        guest.plug_online(Dimm { number: 1, size: "62M", node: 1 });
        guest.plug_online(Dimm { number: 2, size: "98M", node: 0 });
        let before = (guest.resources(), sums(&mut guest));
        guest.sh(&format!("fail {step}"));
        assert_eq!(guest.unplug(1), Ended::Refused(1), "{step}");
        guest.wait_text(&format!("step {step} was told to fail"));
        assert_eq!((guest.resources(), sums(&mut guest)), before, "{step}");
        guest.assert_sound();
        guest.take_away(1);
        guest.assert_sound();
    }
    assert_eq!(guest.power_off(), 0);
}
