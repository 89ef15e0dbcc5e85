//! A removal that fails, whatever the step, is answered with the truth and leaves everything as it was.

use tests::eject::Ended;
use tests::guest::Dimm;
use tests::schema::{Fail, Meminfo};
use tests::{Guest, Machine, Plan};

/// `meminfo -J` without the heap's figures (the shell's history of lines uses the heap) and without the nodes': content
/// that has moved stays at its new place.
#[track_caller]
fn sums(guest: &mut Guest) -> Meminfo {
    Meminfo { heap_used: 0, nodes: Vec::new(), ..guest.meminfo() }
}

/// Proves, for each step of a removal beside neighbours whose sections and tables are shared, that its failure is
/// answered by (3, 1), that sums, allocations and the device are as before, and that the same removal then
/// succeeds. Fails when an undo is incomplete.
#[test]
fn each_step_fails_without_a_trace() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "100M", node: 1 });
    guest.plug_online(Dimm { number: 2, size: "98M", node: 0 });
    let steps: Vec<Fail> = guest.json("fail -J");
    let steps: Vec<_> = steps.into_iter().filter(|step| step.of == "remove").collect();
    assert!(steps.len() > 2, "{steps:?}");
    let filled = guest.alloc("20M --node 1 --contiguous").pages;
    for Fail { step, .. } in steps {
        // between the two, where the first hole is
        guest.sh("free all");
        guest.take_away(2);
        guest.plug_online(Dimm { number: 1, size: "62M", node: 1 });
        guest.plug_online(Dimm { number: 2, size: "98M", node: 0 });
        assert_eq!(guest.alloc("20M --node 1 --contiguous").pages, filled);
        // more than the DIMM before holds
        guest.alloc("110M --node 1");
        let pages = guest.verify().pages;
        let before = sums(&mut guest);
        guest.sh(&format!("fail {step}"));
        assert_eq!(guest.unplug(1), Ended::Refused(1), "{step}");
        guest.wait_text(&format!("fault injected at {step}"));
        assert_eq!(sums(&mut guest), before, "{step}");
        assert_eq!(guest.verify().pages, pages, "{step}");
        assert!(guest.resources().iter().all(|row| row.state == "online"), "{step}");
        guest.assert_sound();
        guest.take_away(1);
        assert_eq!(guest.verify().pages, pages, "{step}");
        guest.assert_sound();
    }
    assert_eq!(guest.power_off(), 0);
}
