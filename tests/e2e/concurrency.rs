//! What comes from outside in the midst of an add or a removal: a reset, a pause, a non-maskable interrupt.

use std::thread;
use std::time::Duration;
use tests::eject::{Ended, IN_PROGRESS};
use tests::guest::Dimm;
use tests::qmp::{Eject, Ost};
use tests::{Guest, Machine, Plan};

/// How long after its beginning an add is met: from before its interrupt to behind its end.
const DELAYS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_micros(500),
    Duration::from_millis(2),
    Duration::from_millis(6),
    Duration::from_millis(20),
];

/// Begins to plug a DIMM of 256 MiB and waits for nothing.
#[track_caller]
fn begin_plug(guest: &mut Guest, number: usize) {
    guest.monitor_line(&format!("object_add memory-backend-ram,id=ram{number},size=256M"));
    guest.monitor_line(&format!("device_add pc-dimm,id=dimm{number},memdev=ram{number},node=1"));
}

/// Proves that a machine which is reset while a DIMM is being added comes up with that DIMM and all before it, each
/// once and whole, whatever the add had reached; and that DIMMs come and go afterwards.
fn reset_during_an_add(machine: Machine) {
    let mut guest = Plan::new(machine).boot();
    for (number, delay) in DELAYS.into_iter().enumerate() {
        begin_plug(&mut guest, number);
        thread::sleep(delay);
        guest.reset();
        guest.monitor().pending_osts();
        let dimms: Vec<_> = guest.resources().into_iter().filter(|row| row.device != "boot").collect();
        assert_eq!(dimms.len(), number + 1, "{delay:?}: {dimms:?}");
        assert!(dimms.iter().all(|dimm| (dimm.usable_pages, dimm.free_pages) == (64512, 64512)), "{dimms:?}");
        guest.assert_sound();
    }
    guest.plug_online(Dimm { number: 9, size: "128M", node: 0 });
    guest.take_away(0);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn reset_during_an_add_on_q35() {
    reset_during_an_add(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn reset_during_an_add_on_pc() {
    reset_during_an_add(Machine::Pc);
}

/// Proves that a machine which is reset while the content of a DIMM moves away comes up with the DIMM, which can be
/// asked for once more and leaves then.
#[test]
fn reset_during_a_removal() {
    for machine in [Machine::Q35, Machine::Pc] {
        let mut guest = Plan::new(machine).boot();
        guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
        guest.alloc("200M --node 1");
        guest.monitor_line("device_del dimm0");
        let begun = Eject::Told(Ost { device: "dimm0".into(), source: 3, status: IN_PROGRESS });
        assert_eq!(guest.next_of_eject("dimm0"), begun);
        guest.reset();
        // Where QEMU keeps the request over a reset, it is served before the prompt or soon after; else it is made
        // again. Either way the DIMM is there whole, or gone.
        guest.assert_sound();
        let there = guest.resources().into_iter().any(|row| row.device != "boot");
        let gone = |guest: &mut Guest| {
            let query: String = guest.human("info memory-devices");
            !query.contains("dimm0")
        };
        if there {
            guest.monitor().pending_osts();
            let answer = guest.human("device_del dimm0");
            assert!(answer.trim().is_empty() || answer.contains("in the process of unplug"), "{answer}");
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !gone(&mut guest) {
            assert!(std::time::Instant::now() < deadline, "dimm0 is not removed after the reset");
            thread::sleep(Duration::from_millis(20));
        }
        guest.monitor_line("object_del ram0");
        guest.sh("uptime");
        assert!(guest.resources().iter().all(|row| row.device == "boot"));
        guest.assert_sound();
        assert_eq!(guest.power_off(), 0);
    }
}

/// Proves that a machine which stands still for a while in the midst of an add, of a removal, or of a long command goes
/// on where it was: each is answered once, and nothing counts the pause as a failure.
#[test]
fn stopped_for_a_while() {
    for machine in [Machine::Q35, Machine::Pc] {
        let mut guest = Plan::new(machine).boot();
        let pause = |guest: &mut Guest, delay: Duration| {
            thread::sleep(delay);
            guest.monitor_line("stop");
            thread::sleep(Duration::from_millis(30));
            guest.monitor_line("cont");
        };
        for (number, delay) in DELAYS.into_iter().enumerate() {
            begin_plug(&mut guest, number);
            pause(&mut guest, delay);
            let ost = guest.wait_ost();
            assert_eq!(ost, Ost { device: format!("dimm{number}"), source: 1, status: 0 });
        }
        guest.send(b"alloc 900M --node 1\n");
        (0..3).for_each(|_| pause(&mut guest, Duration::from_millis(10)));
        guest.finish_lines("alloc 900M --node 1");
        for (number, delay) in DELAYS.into_iter().enumerate().skip(1) {
            guest.monitor_line(&format!("device_del dimm{number}"));
            pause(&mut guest, delay);
            // The last ones hold more than there is room for elsewhere.
            match guest.unplugged(number as u32) {
                Ended::Deleted => guest.monitor_line(&format!("object_del ram{number}")),
                Ended::Refused(status) => assert_eq!(status, tests::eject::BUSY),
            }
        }
        assert!(guest.verify().ok);
        guest.assert_sound();
        assert_eq!(guest.monitor().pending_osts(), []);
        assert_eq!(guest.power_off(), 0);
    }
}

/// Proves that a non-maskable interrupt in the midst of an add ends in one whole report, wherever it comes. Fails when
/// the report waits for a lock that the add holds.
#[test]
fn nmi_during_an_add() {
    for delay in DELAYS {
        let mut guest = Plan::new(Machine::Q35).boot();
        begin_plug(&mut guest, 0);
        thread::sleep(delay);
        guest.monitor_line("nmi");
        assert_eq!(guest.wait_exit(), 33);
        let log = guest.log();
        let (_, report) = log.split_once("fatal exception 2: non-maskable interrupt").expect("a report");
        for words in ["backtrace, innermost first", "locks held: ", "the log's last lines", "  memory: "] {
            assert!(report.contains(words), "{delay:?}: `{words}` is missing in\n{report}");
        }
        assert!(!report.contains("giving up"), "{delay:?}: {report}");
    }
}
