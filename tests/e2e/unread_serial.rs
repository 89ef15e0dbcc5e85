//! A serial line without a reader: the kernel goes on, and its output is not lost.

use tests::guest::{Dimm, joined};
use tests::qmp::Ost;
use tests::serial::Reading;
use tests::{Guest, Machine, Plan};

/// How the shell takes its prompt off the screen, to print a line of the log.
const REMOVED: &str = "\r\x1b[K";
/// How often `help` is typed: more than a socket holds, less than the kernel's own ring.
const HELPS: usize = 10;

/// A guest with a blocked serial line: the test reads no output from here on.
#[track_caller]
fn stuck(machine: Machine) -> Guest {
    let mut guest = Plan::new(machine).boot();
    guest.set_reading(Reading::Off);
    guest.send("help\n".repeat(HELPS).as_bytes());
    guest
}

#[track_caller]
fn plug_all(guest: &mut Guest) {
    for number in 0..32 {
        let ost = guest.plug(Dimm { number, size: "128M", node: number % 2 });
        assert_eq!(ost, Ost { device: format!("dimm{number}"), source: 1, status: 0 });
    }
}

/// Whether a line is one of the log's.
fn of_log(line: &str) -> bool {
    line.starts_with("[ ")
}

fn plugged(machine: Machine) {
    let mut guest = stuck(machine);
    plug_all(&mut guest);
    guest.set_reading(Reading::On);

    // The shell answers; the output of the meantime stands before the answer.
    guest.sh("uptime");
    let answer = guest.sh("help");
    let text = guest.log();
    let lines: Vec<&str> =
        text.split("\r\n").map(|line| line.rsplit_once(REMOVED).map_or(line, |(_, rest)| rest)).collect();
    for line in answer.iter().filter(|line| !line.is_empty() && !of_log(line)) {
        let count = lines.iter().filter(|other| *other == line).count();
        assert_eq!(count, HELPS + 1, "`{line}` was to be said at each `help`");
    }
    // Every line of the log, in its order, and each only once.
    let shown: Vec<&str> = lines.into_iter().filter(|line| of_log(line)).collect();
    let kept = joined(&guest.sh("dmesg").join("\r\n"));
    assert_eq!(shown, kept.split("\r\n").collect::<Vec<_>>());
    assert!(shown.iter().filter(|line| line.contains("online on node")).count() == 32, "{shown:#?}");
    assert_eq!(guest.resources().len(), 33);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves on q35 that the kernel answers 32 DIMMs while the output is not read, and that afterwards all lines of
/// commands and of the log are there, in their order.
#[test]
fn plugged_unread_on_q35() {
    plugged(Machine::Q35);
}

/// Proves the same on pc.
#[test]
fn plugged_unread_on_pc() {
    plugged(Machine::Pc);
}

/// Proves that `poweroff` and a panic complete although their output is not read.
#[test]
fn ends_unread() {
    for (command, status) in [("poweroff\n", 0), ("panic\n", 33)] {
        let mut guest = stuck(Machine::Q35);
        plug_all(&mut guest);
        guest.send(command.as_bytes());
        assert_eq!(guest.wait_exit(), status, "{command}");
    }
}
