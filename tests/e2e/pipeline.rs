//! What stands in front of a command and behind it: `time`, `repeat`, `watch`, filters, the pager, the history.

use serde_json::Value;
use std::time::Duration;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan};

/// Proves that a command's output goes through its filters, that prefixes run it as often as they say, that `-J` stays
/// JSON, and that what cannot be is one error. Fails when a filter gets a line that is not the command's, or an error
/// gets into one.
#[test]
fn filters_and_prefixes() {
    let mut guest = Plan::new(Machine::Q35).option("--slots", "64").boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let sections = guest.sh("sections");
    assert_eq!(guest.sh("sections | wc -l"), [sections.len().to_string()]);
    assert_eq!(guest.sh("sections | head -n 2"), sections[..2]);
    assert_eq!(guest.sh("sections|tail -2"), sections[sections.len() - 2..]);
    assert_eq!(guest.sh("sections | grep -v SECTION | grep ' 1  online' | head -1"), sections[5..6]);
    assert_eq!(guest.sh("lsmem | grep -c '^0x'"), [(guest.sh("lsmem -n --summary=never").len()).to_string()]);
    assert_eq!(guest.sh("repeat 3 page 0x100400 | grep state").len(), 3);
    assert_eq!(
        guest.sh("watch -n 0.1 --count 2 policy").iter().filter(|line| line.starts_with("online")).count(),
        2
    );

    let timed = guest.sh("time uptime -J");
    let values: Vec<Value> = timed.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(values.len() == 2 && values[1]["time_ns"].as_u64() > Some(0), "{timed:?}");
    let taken = guest.sh("time repeat 2 policy");
    assert!(taken.len() == 3 && taken[2].starts_with("took "), "{taken:?}");

    for (line, error) in [
        ("repeat 3 page", "something is missing"),
        ("page | grep x", "something is missing"),
        ("repeat 3 free 99", "there is no allocation 99"),
        ("meminfo | sections", "'sections' cannot stand behind a '|'"),
        ("meminfo |", "nothing stands"),
        ("grep x", "grep stands behind a command"),
        ("free 99 | wc -l", "there is no allocation 99"),
    ] {
        let answer = guest.sh(line);
        let errors: Vec<_> = answer.iter().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(error), "`{line}` answered {answer:?}");
    }
    // A line of JSON that is longer than grep can search is an error, not an answer for a part of it.
    let long: Value = guest.json("acpi -J | grep MP00");
    assert!(long["error"].as_str().is_some_and(|text| text.starts_with("grep: ")), "{long}");
    guest.assert_sound();
}

/// Proves that `!N` and `!!` run an earlier line, with what stands behind it, and that `history` numbers them.
#[test]
fn earlier_lines() {
    let mut guest = Plan::new(Machine::Pc).boot();
    guest.sh("policy");
    guest.sh("uptime");
    assert_eq!(guest.sh("history 2"), ["    2  uptime", "    3  history 2"]);
    let again = guest.sh("!1 | grep -c online");
    assert_eq!(again, ["-> policy | grep -c online", "1"]);
    assert_eq!(guest.sh("!!"), again);
    let none = guest.sh("!99");
    assert!(none.len() == 1 && none[0].starts_with("error: "), "{none:?}");
    let rows: Value = guest.json("history 1 -J");
    assert_eq!(rows[0]["line"], "history 1 -J");
}

/// Ctrl-C, and the command's last words.
#[track_caller]
fn stop(guest: &mut Guest, line: &str, after: Duration) -> Vec<String> {
    guest.send(format!("{line}\n").as_bytes());
    std::thread::sleep(after);
    guest.send(b"\x03");
    guest.finish_lines(line)
}

/// Proves that Ctrl-C stops what runs on and on, that any key ends `watch`, and that what is typed meanwhile is the next
/// line. Fails by hanging, or when a byte is lost.
#[test]
fn stopped() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let a_while = Duration::from_millis(400);
    for line in
        ["repeat 1000000000 uptime", "repeat 1000000000 check | tail -n 1", "time repeat 100000000 verify"]
    {
        let answer = stop(&mut guest, line, a_while);
        assert_eq!(answer.last().map(String::as_str), Some("error: stopped by Ctrl-C"), "{line}");
    }
    let watched = stop(&mut guest, "watch -n 0.1 uptime", a_while);
    assert!(watched.iter().filter(|line| line.starts_with("up ")).count() > 1, "{watched:?}");
    assert!(!watched.iter().any(|line| line.starts_with("error")), "{watched:?}");
    guest.send(b"watch uptime\r\n");
    guest.wait_text("every 2 s");
    guest.send(b"q");
    guest.finish_lines("watch uptime");
    // Any other key is the beginning of the next line.
    guest.send(b"watch -n 60 policy\npolicy -J\n");
    guest.finish_lines("watch -n 60 policy");
    let policy: Value = guest.finish("policy -J");
    assert_eq!(policy["policy"], "online");
    guest.assert_sound();
}

/// Proves that output never stops unless it is asked for; that then it does, at the screen's end, that a DIMM is
/// answered meanwhile, that keys let out a page, a line, all or nothing more, and that JSON is never stopped.
#[test]
fn pager() {
    const MORE: &str = "--More--";
    let mut guest = Plan::new(Machine::Q35).boot();
    let help = guest.sh("help");
    assert!(help.len() > 30 && !guest.log().contains(MORE));
    assert!(guest.sh("pager")[0].starts_with("off"));
    for line in ["pager 3", "pager 1001", "pager x"] {
        assert!(guest.sh(line)[0].starts_with("error: "), "{line}");
    }
    guest.sh("pager 10");

    guest.send(b"help\n");
    guest.wait_text(MORE);
    guest.plug(Dimm { number: 0, size: "256M", node: 1 });
    guest.send(b"  \r");
    std::thread::sleep(Duration::from_millis(200));
    guest.send(b"q");
    let shown = guest.finish_lines("help");
    let shown: Vec<_> = shown.into_iter().filter(|line| help.contains(line)).collect();
    assert_eq!(shown, help[..9 * 3 + 1], "three pages and a line");

    // Text lets the rest out, and is the next command.
    guest.send(b"help\nresources -J\n");
    let whole: Vec<_> = guest.finish_lines("help").into_iter().filter(|line| help.contains(line)).collect();
    assert_eq!(whole, help);
    let resources: Value = guest.finish("resources -J");
    assert_eq!(resources.as_array().map(Vec::len), Some(2));
    let log: Value = guest.json("dmesg -J");
    assert!(log["lines"].as_array().is_some_and(|lines| lines.len() > 10));

    guest.send(b"help\n");
    std::thread::sleep(Duration::from_millis(300));
    guest.send(b"\x03");
    assert_eq!(guest.finish_lines("help").last().map(String::as_str), Some("error: stopped by Ctrl-C"));
    guest.sh("pager off");
    assert_eq!(guest.sh("help"), help);
    // Asked for once: 24 rows.
    guest.send(b"help | more\n");
    std::thread::sleep(Duration::from_millis(300));
    guest.send(b"q");
    assert_eq!(guest.finish_lines("help | more"), help[..23]);
    guest.assert_sound();
}

/// Proves that whoever starts QEMU can say that there is a terminal, and that it has no colours; and that a value that
/// means nothing is left alone.
#[test]
fn terminal_by_fw_cfg() {
    for (rows, answer, colour, coloured) in [
        ("40", "on: output stops where 40 lines are full", "never", false),
        ("0", "off", "nevermore", true),
        ("many", "off", "always", true),
    ] {
        let rows = format!("name=opt/carapace/pager,string={rows}");
        let colour = format!("name=opt/carapace/colour,string={colour}");
        let mut guest = Plan::new(Machine::Pc).qemu(&["-fw_cfg", &rows, "-fw_cfg", &colour]).boot();
        assert!(guest.sh("pager")[0].starts_with(answer), "{rows}");
        guest.sh("pager off");
        let map = guest.sh("map");
        assert!(map.iter().any(|line| line.contains("0x000000000000 ")), "{map:?}");
        assert_eq!(map.iter().any(|line| line.contains('\x1b')), coloured, "{map:?}");
    }
}
