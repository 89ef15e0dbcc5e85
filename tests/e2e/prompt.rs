//! Input at the prompt: history, Ctrl-C, and the answers to habits from other shells.

use serde_json::Value;
use std::time::Duration;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan};

/// Proves that `!N` and `!!` run an earlier line, with what stands behind it, and that `history` numbers them.
#[test]
fn earlier_lines() {
    let mut guest = Plan::new(Machine::Pc).boot();
    guest.sh("policy");
    guest.sh("uptime");
    assert_eq!(guest.sh("history 2"), ["    2  uptime", "    3  history 2"]);
    let again = guest.sh("!1 -J");
    assert_eq!(again, ["-> policy -J", "{\"policy\":\"online\",\"nodes\":\"fastest\"}"]);
    assert_eq!(guest.sh("!!"), again);
    let none = guest.sh("!99");
    assert!(none.len() == 1 && none[0].starts_with("error: "), "{none:?}");
    let rows: Value = guest.json("history 1 -J");
    assert_eq!(rows[0]["line"], "history 1 -J");
}

/// Proves that pipes and commands of other shells give one error that names the command to use on the host instead, also
/// with `-J`, and that input typed during a command is the next line. Fails if a byte is lost, or a word is parsed as an
/// operand.
#[test]
fn habits() {
    let mut guest = Plan::new(Machine::Q35).boot();
    for line in
        ["lsmem | head", "sections|grep online", "watch buddyinfo", "time check", "repeat 3 policy", "grep x"]
    {
        let answer = guest.sh(line);
        assert!(answer.len() == 1 && answer[0].starts_with("error: "), "`{line}` answered {answer:?}");
        assert!(answer[0].contains("cargo xtask sh"), "`{line}` answered {answer:?}");
    }
    let error: Value = guest.json("lsmem -J | jq .");
    assert!(error["error"].is_string(), "{error}");
    guest.send(b"check\npolicy -J\n");
    guest.finish_lines("check");
    let policy: Value = guest.finish("policy -J");
    assert_eq!(policy["policy"], "online");
    guest.assert_sound();
}

/// Proves that a long error breaks between words where a person reads it, and is one line of JSON all the same. Fails
/// when the terminal has to break it within a word.
#[test]
fn errors_at_a_terminal() {
    let host = ["-fw_cfg", "name=opt/carapace/host,string=1073741824 terminal"];
    let mut guest = Plan::new(Machine::Q35).qemu(&host).boot();
    let answer = guest.sh("lsmem | head");
    assert!(answer.len() > 1 && answer[0].starts_with("error: "), "{answer:?}");
    assert!(answer.iter().all(|line| line.len() <= 80), "{answer:?}");
    let error: Value = guest.json("lsmem -J | head");
    let words = |text: &str| text.split_ascii_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(
        words(&answer.join(" ")),
        words(&format!("error: {}", error["error"].as_str().expect("a text")))
    );
}

/// Proves that Ctrl-C stops a command that takes long, and that its memory is free again. Fails by taking all of a
/// minute, or when pages are lost.
#[test]
fn interrupted() {
    let mut guest: Guest = Plan::new(Machine::Q35).boot();
    let free = guest.meminfo().free_pages;
    guest.send(b"alloc --all\n");
    std::thread::sleep(Duration::from_millis(100));
    guest.send(b"\x03");
    let answer = guest.finish_lines("alloc --all");
    assert_eq!(answer.last().map(String::as_str), Some("error: stopped by Ctrl-C"));
    assert_eq!(guest.meminfo().free_pages, free);
    guest.assert_sound();
}

/// Proves that Tab completes numbers of resources, sections, nodes and allocations that the guest has now, and that the
/// collection of these words takes no lock out of order. Fails when Tab shows fixed words only.
#[test]
fn operands_by_tab() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    guest.sh("alloc 1M");
    for (typed, line) in [
        ("buddyinfo 1\t-J\r", "buddyinfo 1 -J\r\n"),
        ("sections 3\t-J\r", "sections 32-33 -J\r\n"),
        ("alloc 1M --node 1\t\r", "alloc 1M --node 1 \r\n"),
        ("free 1\t-J\r", "free 1 -J\r\n"),
    ] {
        guest.send(typed.as_bytes());
        guest.wait_text(line);
        guest.wait_prompt();
    }
    guest.assert_sound();
}

/// Proves that a user who starts QEMU can say that the terminal has no colours, and that another value changes nothing.
#[test]
fn colours_by_fw_cfg() {
    for (colour, coloured) in [("never", false), ("nevermore", true), ("always", true)] {
        let colour = format!("name=opt/carapace/colour,string={colour}");
        let mut guest = Plan::new(Machine::Pc).qemu(&["-fw_cfg", &colour]).boot();
        let map = guest.sh("map");
        assert!(map.iter().any(|line| line.contains("0x000000000000 ")), "{map:?}");
        assert_eq!(map.iter().any(|line| line.contains('\x1b')), coloured, "{map:?}");
    }
}
