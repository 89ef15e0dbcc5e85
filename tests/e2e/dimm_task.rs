//! `cargo xtask dimm`, as a user types it beside a guest that `cargo xtask run` has started.

use tests::session::Session;

/// Proves that a DIMM that `dimm add` plugs is online in the guest when the task says so and offline where the policy keeps it so, that `dimm list` shows
/// it with the kernel's answer, that a refusal is an exit status of 1 with its words, that what QEMU refuses
/// leaves nothing behind, and that without a guest the task says how to start one.
#[test]
fn dimms_from_another_terminal() {
    let mut session = Session::start();
    let (status, text) = session.dimm(&["add", "256M", "--node", "1"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("d0: 256M online on node 1"), "{text}");
    let resources = session.ask("resources -J");
    assert!(resources.contains("\"base\":4294967296,\"size\":268435456,\"node\":1"), "{resources}");

    session.tell("fail check 1");
    session.ask("meminfo -J");
    let (status, text) = session.dimm(&["add", "128M", "--id", "mine"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("mine: the kernel refuses it: fault injected at check"), "{text}");

    let (status, text) = session.dimm(&["add", "128M", "--node", "7"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("error: there is no node 7: the guest has 2"), "{text}");
    let (status, text) = session.dimm(&["add", "128M"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("d1: 128M online on node 0"), "{text}");

    let (status, text) = session.dimm(&["add", "128M", "--id", "d1"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("error: there is a DIMM d1 already"), "{text}");

    let (status, text) = session.dimm(&["list"]);
    assert_eq!(status, Some(0), "{text}");
    let row = |id: &str| text.lines().find(|line| line.starts_with(id)).unwrap_or_default().to_owned();
    assert!(row("d0").ends_with("    1     256M      0x100000000  online"), "{text}");
    assert!(row("mine").contains("refused: fault injected at check"), "{text}");

    session.tell("policy offline");
    session.ask("meminfo -J");
    let (status, text) = session.dimm(&["add", "128M", "--id", "kept"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("kept: 128M offline on node 0"), "{text}");

    let (status, text) = session.dimm(&["remove", "nothing"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("there is no DIMM nothing"), "{text}");

    assert_eq!(session.end(), Some(0));
    let (status, text) = session.dimm(&["list"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("no guest runs; start one by `cargo xtask run`"), "{text}");
}
