//! The second serial line: programs send requests and get answers, and the shell is not disturbed.

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::guest::Dimm;
use tests::{Machine, Plan, asl};

const DIMM: Dimm = Dimm { number: 0, size: "256M", node: 1 };
const DEVICE: &str = "\\_SB.MHPC.MP00";

/// Proves that the answers are those of `-J` on the shell; that errors are JSON with the same number; that the events of
/// a DIMM come in order, and to subscribers only; that the shell shows none of this; and that firmware's output
/// cannot interrupt an answer.
#[test]
fn answers_and_events() {
    let directory = TempDir::new().expect("a temporary directory");
    let table = asl::compile("ports", directory.path());
    let plan = Plan::new(Machine::Q35).qemu(&["-acpitable", &format!("file={}", table.display())]);
    let mut guest = plan.second_port().boot();
    assert!(guest.log().contains("I/O port 0x2f8 is the kernel's serial line"));
    let mut remote = guest.second_line();
    assert_eq!(remote.ask("resources"), guest.json::<Value>("resources -J"));
    assert_eq!(remote.ask("map -J"), guest.json::<Value>("map -J"));
    assert_eq!(remote.ask("policy movable"), json!({ "policy": "movable", "nodes": "fastest" }));
    remote.ask("policy online");
    assert!(remote.refused("no-such-command").contains("unknown command"));
    assert!(remote.refused("help").contains("no answer in JSON"));
    assert!(remote.refused("page").contains("something is missing"));
    assert!(remote.refused("free 99").contains("no allocation 99"));

    guest.plug_online(DIMM);
    assert_eq!(remote.ask("resources").as_array().map(Vec::len), Some(2));
    assert_eq!(remote.events(), Vec::<Value>::new(), "an event without a subscription");
    remote.ask("events on");
    guest.take_away(0);
    let notify = remote.event("notify");
    assert_eq!((&notify["device"], &notify["value"]), (&json!(DEVICE), &json!(3)));
    let ost = remote.event("ost");
    assert_eq!((&ost["source"], &ost["status"]), (&json!(3), &json!(0x84)));
    assert_eq!(remote.event("removed")["size"], 256 << 20);
    let ost = remote.event("ost");
    assert_eq!((&ost["source"], &ost["status"]), (&json!(3), &json!(0)));

    remote.ask("events on");
    guest.plug_online(DIMM);
    assert_eq!(remote.event("notify")["value"], 1);
    let added = remote.event("added");
    assert_eq!((&added["base"], &added["node"]), (&json!(4_u64 << 30), &json!(1)));
    let ost = remote.event("ost");
    assert_eq!((&ost["device"], &ost["source"], &ost["status"]), (&json!(DEVICE), &json!(1), &json!(0)));
    let line = remote.event("log")["line"].clone();
    assert!(line.as_str().is_some_and(|line| line.contains("INFO")), "{line}");
    remote.ask("events off");
    guest.assert_sound();
    assert!(!guest.log().contains("\"event\""), "the first line has nothing of the second one's");
}

/// Proves that a long command of the shell and commands of the second line run side by side without harm, that
/// each is stopped by the Ctrl-C of its own line, and that a DIMM is answered meanwhile.
#[test]
fn side_by_side() {
    let mut guest = Plan::new(Machine::Pc).option("--memory", "3G").second_port().boot();
    let mut remote = guest.second_line();
    let before = guest.meminfo();
    guest.send(b"alloc 2G\n");
    guest.wait_text("carapace> alloc 2G\r\n");
    let alloc = remote.ask("alloc 100M");
    assert_eq!(alloc["pages"], 25600);
    // Compare complete lines only.
    assert_eq!(remote.ask("verify")["bad_pages"], 0);
    assert_eq!(remote.ask(&format!("free {}", alloc["id"]))["pages"], 25600);
    let ost = guest.plug(DIMM);
    assert_eq!((ost.source, ost.status), (1, 0));
    remote.send("@1000 alloc 500M\n");
    remote.send("\x03");
    let stopped = remote.answer(1000);
    assert!(stopped.as_ref().is_err_and(|error| error.contains("Ctrl-C")), "{stopped:?}");
    guest.interrupt();
    assert_eq!(guest.meminfo().free_pages, before.free_pages + 64512);
    guest.assert_sound();
}

/// Proves that reads are answered while a longer command of the same line runs, and changes after it; and that Ctrl-C
/// stops the longer one, also together with a read.
#[test]
fn looks_beside_a_longer_command() {
    let mut guest = Plan::new(Machine::Q35).option("--memory", "3G").second_port().boot();
    let mut remote = guest.second_line();
    let before = guest.meminfo();
    remote.send("@100 alloc 2G\n@101 meminfo\n@102 policy movable\n@103 meminfo\n");
    let mut answers = Vec::new();
    while answers.len() < 4 {
        let line: Value = serde_json::from_str(&remote.line()).expect("a line of JSON");
        answers.extend(line["id"].as_u64().map(|id| (id, line["answer"]["free_pages"].as_u64())));
    }
    assert_eq!(answers.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [101, 100, 102, 103]);
    let (Some(during), Some(after)) = (answers[0].1, answers[3].1) else { panic!("{answers:?}") };
    // `alloc` may have taken its last block already and only fill: the order of the answers proves that it still ran.
    assert!(after <= during && during < before.free_pages, "{during} in the midst, {after} after");
    remote.ask("free 1");

    remote.send("@1000 alloc 2G\n");
    (2000..2100).for_each(|number| remote.send(&format!("@{number} map\n")));
    remote.send("\x03");
    let stopped = remote.answer(1000);
    assert!(stopped.as_ref().is_err_and(|error| error.contains("Ctrl-C")), "{stopped:?}");
    remote.ask("policy online");
    assert_eq!(guest.meminfo().free_pages, before.free_pages);
    guest.assert_sound();
}

/// Proves that a program which sends requests and does not read blocks its own answers only, that the events it missed
/// are counted, and that the next program to connect is served.
#[test]
fn unread_answers() {
    let mut guest = Plan::new(Machine::Q35).second_port().boot();
    let mut remote = guest.second_line();
    remote.ask("events on");
    // More than the kernel and two sockets hold.
    for _ in 0..400 {
        remote.send("acpi\n");
    }
    for number in 0..8 {
        guest.plug_online(Dimm { number, ..DIMM });
    }
    guest.assert_sound();
    drop(remote);
    let mut remote = guest.second_line();
    assert_eq!(remote.ask("resources").as_array().map(Vec::len), Some(9));
    remote.ask("events on");
    guest.plug_online(Dimm { number: 8, ..DIMM });
    // Unread answers come first: the kernel cannot know that the reader is a new one.
    while remote.event("added")["resource"] != 9 {}
}

/// Proves that after a restart in the middle of a program's lines the new kernel answers whole lines only, each with its
/// own answer. Fails if the kernel takes the end of a line that began before the restart for a line: the line's blanks
/// make each of its ends a valid one.
#[test]
fn across_a_restart() {
    let mut guest = Plan::new(Machine::Q35).second_port().boot();
    let mut remote = guest.second_line();
    assert_eq!(remote.ask("resources").as_array().map(Vec::len), Some(1));
    guest.skip_to_now();
    guest.send(b"reboot\n");
    // They meet the old kernel, the firmware and the new kernel; those with an even number ask for something else.
    for number in 2000..2400 {
        let command = if number % 2 == 0 { "policy" } else { "uptime" };
        remote.send(&format!("@{number} {command:>200}\n"));
    }
    guest.wait_prompt();
    remote.send("\n@3000 resources\n");
    let mut answered = 0;
    loop {
        let line = remote.line();
        let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
        match value["id"].as_u64() {
            Some(3000) => break,
            Some(id) if value["error"].is_null() => {
                let field = if id % 2 == 0 { "policy" } else { "uptime_us" };
                assert!(!value["answer"][field].is_null(), "{value}");
                answered += 1;
            }
            None => assert!(value["answer"].is_null(), "an answer to a line without its beginning: {value}"),
            _ => {}
        }
    }
    assert!(answered > 0, "what came after the restart is answered");
    guest.assert_sound();
}
