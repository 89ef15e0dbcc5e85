//! `stress`: all CPUs allocate, fill, verify and free memory, while DIMMs come and go.

use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};
use tests::eject::Ended;
use tests::guest::Dimm;
use tests::random::Random;
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

/// How long the random steps take on each machine; `CARAPACE_STRESS_SECONDS=3600` is a soak by hand.
#[track_caller]
fn duration() -> Duration {
    let seconds = std::env::var("CARAPACE_STRESS_SECONDS");
    Duration::from_secs(seconds.map_or(8, |text| text.parse().expect("a number of seconds")))
}

/// The steps of a removal that can be made to fail.
const STEPS: [&str; 7] =
    ["isolate", "migrate", "copy", "hand-over", "unmap-vmemmap", "unmap-direct-map", "remove"];
const SIZES: [&str; 6] = ["2M", "62M", "100M", "128M", "130M", "256M"];

/// Steps at random while all CPUs allocate: plug, eject, a failure of each step of both, offline and online, large,
/// contiguous and mapped allocations, a reset. Each ends as it does without stress.
#[track_caller]
fn steps_at_random(machine: Machine, cpus: u32) {
    let mut random = Random::seeded();
    let mut guest = plan(machine, cpus as usize).boot();
    let before = guest.meminfo();
    let end = Instant::now() + duration();
    let mut plugged = [false; 4];
    let mut steps = 0;
    guest.sh("stress");
    while Instant::now() < end {
        steps += 1;
        let number = random.below(plugged.len());
        let there = plugged[number];
        match random.below(12) {
            0..4 if !there => {
                let (size, node) = (*random.pick(&SIZES), random.below(2) as u32);
                assert_eq!(guest.plug(Dimm { number: number as u32, size, node }).status, 0);
                plugged[number] = true;
            }
            0..4 => {
                guest.take_away(number as u32);
                plugged[number] = false;
            }
            4 | 5 if there => {
                let step = *random.pick(&STEPS);
                guest.sh(&format!("fail {step}"));
                let ended = guest.unplug(number as u32);
                guest.sh(&format!("fail {step} 0"));
                // Steps that this removal did not need do not fail.
                if ended == Ended::Deleted {
                    assert!(["migrate", "copy", "hand-over"].contains(&step), "{step} did not fail");
                    guest.monitor_line(&format!("object_del ram{number}"));
                    plugged[number] = false;
                }
            }
            6 | 7 => {
                let device = format!("MP0{number}");
                let resource = guest.resources().into_iter().find(|row| row.device.ends_with(&device));
                if let Some(resource) = resource {
                    let moved: Value = guest.json(&format!("offline {} -J", resource.id));
                    assert!(moved["error"].is_null(), "{moved}");
                    guest.sh(&format!("online {}", resource.id));
                }
            }
            8 | 9 => {
                let kind = *random.pick(&["10M", "30M --contiguous", "2M --pinned --node 0"]);
                let made: Value = guest.json(&format!("alloc {kind} -J"));
                let id = made["id"].as_u64().unwrap_or_else(|| panic!("{made}"));
                assert!(guest.verify().ok);
                guest.sh(&format!("free {id}"));
            }
            10 => assert_checked(&mut guest),
            _ => {
                let now: Stress = guest.json("stress -J");
                assert_eq!((now.cpus, now.bad_pages, now.running), (cpus, 0, true));
            }
        }
    }
    let done = stop(&mut guest, cpus);
    println!("{steps} steps, {done:?}");
    assert_eq!(done.lost_pages, 0);
    (0..4).filter(|&number| plugged[number as usize]).for_each(|number| guest.take_away(number));
    guest.assert_sound();
    assert_eq!(guest.meminfo(), before);
    // A reset amid stress: the machine starts again as it did.
    guest.sh("stress");
    guest.reset();
    guest.assert_sound();
    assert_eq!(guest.meminfo(), before);
    assert_eq!(guest.power_off(), 0);
}

/// Proves on q35 with four CPUs that whatever happens to memory happens as it does without stress, and that no byte is
/// lost. Fails when a block stays allocated, a removal gives up, or a CPU misses an update. The seed is printed.
#[test]
fn steps_at_random_on_q35() {
    steps_at_random(Machine::Q35, 4);
}

/// Proves it on pc with two CPUs.
#[test]
fn steps_at_random_on_pc() {
    steps_at_random(Machine::Pc, 2);
}

/// Proves that an NMI and a panic amid stress are reported once, with the place of each other CPU. Fails when a CPU that
/// works does not stop, or when the report waits for a lock that it holds.
#[test]
fn a_report_amid_stress() {
    for cause in ["nmi", "panic", "panic null", "panic page-tables"] {
        let mut guest = plan(Machine::Q35, 4).boot();
        guest.sh("stress");
        thread::sleep(Duration::from_millis(100));
        match cause {
            "nmi" => guest.monitor_line("nmi"),
            command => guest.send(format!("{command}\n").as_bytes()),
        }
        assert_eq!(guest.wait_exit(), 33, "{cause}");
        let log = guest.log();
        let reports = log.matches("fatal exception ").count() + log.matches("kernel panic: ").count();
        assert_eq!(reports, 1, "{cause}: {log}");
        assert_eq!(log.matches(" was at rip ffffffff8").count(), 3, "{cause}: {log}");
        assert!(!log.contains("does not stop"), "{cause}: {log}");
    }
}
