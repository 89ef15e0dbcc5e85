//! A long command does not stop the kernel: DIMMs are answered and Ctrl-C is heard meanwhile.

use serde_json::Value;
use tests::guest::Dimm;
use tests::{Machine, Plan};

/// Proves that a DIMM plugged while `alloc --all` fills 6 GiB is answered before that command ends,
/// that Ctrl-C then stops the command, and that all it took comes back.
#[test]
fn plugged_during_a_long_command() {
    let mut guest = Plan::new(Machine::Q35).option("--memory", "6G").boot();
    let before = guest.meminfo();
    guest.send(b"alloc --all\n");
    guest.wait_text("carapace> alloc --all\r\n");
    let ost = guest.plug(Dimm { number: 0, size: "256M", node: 1 });
    assert_eq!((ost.source, ost.status), (1, 0));
    guest.interrupt();
    assert_eq!(guest.meminfo().free_pages, before.free_pages + 64512);
    assert_eq!(guest.verify().pages, 0);
    guest.assert_sound();
}

/// Proves that a list in JSON that Ctrl-C stops in its midst ends as a line that is whole, shorter than it would be, and
/// that the error is the one line behind it: nothing half is left for a program to choke on.
#[test]
fn stopped_lists_are_whole() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "4G,reserve=off", node: 1 });
    for (command, list) in [
        ("sections -J", ""),
        ("resources -J", ""),
        ("map -J", ""),
        ("lsmem -a -J", "/memory"),
        ("dmesg -J", "/lines"),
    ] {
        let whole: Value = guest.json(command);
        guest.send(format!("{command}\n\x03").as_bytes());
        let lines = guest.finish_lines(command);
        let [begun, error] = &lines[..] else { panic!("`{command}` answered {lines:?}") };
        assert_eq!(error, r#"{"error":"stopped by Ctrl-C"}"#, "{command}");
        let begun: Value = serde_json::from_str(begun).unwrap_or_else(|error| panic!("{error}: {lines:?}"));
        let items = |value: &Value| value.pointer(list).and_then(Value::as_array).expect("a list").len();
        assert!(items(&begun) < items(&whole), "`{command}` was not stopped: {lines:?}");
    }
    guest.assert_sound();
}
