//! A long command does not stop the kernel: DIMMs are answered and Ctrl-C is heard meanwhile.

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
    guest.send(b"\x03");
    guest.wait_text("error: stopped by Ctrl-C");
    guest.skip_to_now();
    guest.send(b"\n");
    guest.wait_prompt();
    assert_eq!(guest.meminfo().free_pages, before.free_pages + 64512);
    assert_eq!(guest.verify().pages, 0);
    guest.assert_sound();
}
