//! `stress`: all CPUs allocate, fill, verify and free memory, while DIMMs come and go.

use std::thread;
use std::time::Duration;
use tests::guest::Dimm;
use tests::schema::{Check, Refusal, Stress};
use tests::{Guest, Machine, Plan};

fn plan(machine: Machine, cpus: usize) -> Plan {
    Plan::new(machine).option("--cpus", &cpus.to_string())
}

/// Stops stress: every CPU has worked, and no page was bad.
#[track_caller]
fn stop(guest: &mut Guest, cpus: u32) -> Stress {
    let done: Stress = guest.json("stress stop -J");
    assert_eq!((done.cpus, done.bad_pages, done.running), (cpus, 0, false), "{done:?}");
    assert!(done.operations > 0 && done.ns_per_operation > 0, "{done:?}");
    done
}

/// Proves the invariants while stress runs: sums over several answers are of different moments then.
#[track_caller]
fn assert_checked(guest: &mut Guest) {
    let check: Check = guest.json("check -J");
    assert!(check.ok && check.checked > 0, "{check:?}");
}

/// DIMMs come and go while all CPUs allocate: each add and each removal succeeds, and no page is bad.
#[track_caller]
fn memory_comes_and_goes(machine: Machine, cpus: usize) {
    let mut guest = plan(machine, cpus).boot();
    let before = guest.meminfo();
    guest.sh("stress");
    for round in 0..3 {
        guest.plug_online(Dimm { number: 0, size: "256M", node: round % 2 });
        guest.plug_online(Dimm { number: 1, size: "128M", node: 1 });
        thread::sleep(Duration::from_millis(300));
        guest.take_away(0);
        assert_checked(&mut guest);
        guest.take_away(1);
    }
    let done = stop(&mut guest, cpus as u32);
    assert_eq!(done.lost_pages, 0);
    guest.assert_sound();
    assert_eq!(guest.meminfo(), before);
    assert_eq!(guest.power_off(), 0);
}

/// Proves on q35, with two and with four CPUs, that DIMMs are plugged and ejected while all CPUs allocate, that no byte is
/// lost, and that all memory is free in the end. Fails when an update of a CPU is lost, or when a block stays allocated.
#[test]
fn dimms_come_and_go_on_q35() {
    memory_comes_and_goes(Machine::Q35, 2);
    memory_comes_and_goes(Machine::Q35, 4);
}

/// Proves it on pc.
#[test]
fn dimms_come_and_go_on_pc() {
    memory_comes_and_goes(Machine::Pc, 4);
}

/// Proves what the command answers: `status` and `stop` without a start, a second start, numbers that do not fit; that
/// the prompt comes back at once; that with `--seconds` it ends by itself and by Ctrl-C.
#[test]
fn the_command() {
    let mut guest = plan(Machine::Q35, 2).boot();
    let refused = |guest: &mut Guest, line: &str, reason: &str| {
        let Refusal { error } = guest.json(line);
        assert!(error.contains(reason), "{line}: {error}");
    };
    for line in ["stress stop -J", "stress status -J"] {
        refused(&mut guest, line, "stress is not running");
    }
    refused(&mut guest, "stress --cpus 3 -J", "2 CPUs run, so --cpus must be 1 to 2");
    refused(&mut guest, "stress --cpus 0 -J", "must be 1 to 2");
    refused(&mut guest, "stress --size 11 -J", "an order from 0 to 10");
    let started: Stress = guest.json("stress --cpus 1 --size 3 -J");
    assert_eq!((started.cpus, started.running), (1, true));
    refused(&mut guest, "stress --cpus 2 -J", "running already, on 1 CPU");
    for line in ["stress -J", "stress status -J"] {
        let now: Stress = guest.json(line);
        assert!(now.running && now.cpus == 1, "{now:?}");
    }
    refused(&mut guest, "stress heap --cpus 2 -J", "--cpus belongs to stress without 'heap'");
    stop(&mut guest, 1);
    let done: Stress = guest.json("stress --seconds 1 -J");
    assert_eq!((done.cpus, done.bad_pages, done.running), (2, 0, false), "{done:?}");
    guest.send(b"stress --seconds 1000\n");
    guest.wait_text("stress --seconds 1000\r\n");
    guest.interrupt();
    refused(&mut guest, "stress status -J", "stress is not running");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
