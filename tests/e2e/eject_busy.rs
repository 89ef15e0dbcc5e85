//! Removals while something else goes on: a long command, `offline`, a second request, an exhausted heap.

use tests::eject::{BUSY, Ended, IN_PROGRESS};
use tests::guest::Dimm;
use tests::qmp::Eject;
use tests::{Guest, Machine, Plan};

/// A guest with 1 GiB of boot memory and a DIMM of 1 GiB on node 1, of which `filled` is in use.
#[track_caller]
fn filled(filled: &str) -> (Guest, u64) {
    let mut guest = Plan::new(Machine::Q35).option("--memory", "1G").boot();
    guest.plug_online(Dimm { number: 0, size: "1G", node: 1 });
    let pages = guest.alloc(&format!("{filled} --node 1")).pages;
    (guest, pages)
}

/// Proves that while a resource goes offline, which takes a while, a request for another DIMM is refused as busy, with
/// the reason in the log; that the offline ends well all the same; and that both then can be ejected.
#[test]
fn offline_in_progress() {
    let (mut guest, pages) = filled("700M");
    guest.plug_online(Dimm { number: 1, size: "128M", node: 0 });
    guest.send(b"offline 1\n");
    guest.wait_text("carapace> offline 1\r\n");
    let ended = guest.unplug(1);
    guest.finish_lines("offline 1");
    // emulation can be so fast that it was over by then
    if ended == Ended::Refused(BUSY) {
        guest.wait_text("not ejected: resource 1 is being taken out of use");
        guest.take_away(1);
    } else {
        assert_eq!(ended, Ended::Deleted);
    }
    assert!(guest.resources().iter().any(|row| row.id == 1 && row.state == "offline"));
    assert_eq!(guest.verify().pages, pages);
    guest.assert_sound();
    guest.take_away(0);
    assert_eq!(guest.verify().pages, pages);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that Ctrl-C stops an `offline`, that all is online again then and every byte there.
#[test]
fn offline_stopped() {
    let (mut guest, pages) = filled("700M");
    let before = guest.meminfo();
    guest.send(b"offline 1\n");
    guest.wait_text("carapace> offline 1\r\n");
    guest.send(b"\x03");
    let answer = guest.finish_lines("offline 1");
    let dimm = guest.resources().into_iter().find(|row| row.id == 1).expect("the DIMM");
    if answer.iter().any(|line| line == "error: stopped by Ctrl-C") {
        assert_eq!(dimm.state, "online");
        assert_eq!(guest.meminfo().free_pages, before.free_pages);
    } else {
        assert_eq!(dimm.state, "offline");
    }
    assert_eq!(guest.verify().pages, pages);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a second request during a removal starts no second one: it is answered "in progress", and the removal
/// is reported once.
#[test]
fn asked_again() {
    let (mut guest, pages) = filled("700M");
    guest.monitor_line("device_del dimm0");
    guest.monitor_line("device_del dimm0");
    let mut progress = 0;
    loop {
        match guest.next_of_eject("dimm0") {
            Eject::Deleted(device) => break assert_eq!(device, "dimm0"),
            Eject::Told(ost) => {
                assert_eq!((ost.source, ost.status), (3, IN_PROGRESS));
                progress += 1;
            }
        }
    }
    assert!((1..=2).contains(&progress), "{progress} times (3, 0x84)");
    let end = guest.wait_ost();
    assert_eq!((end.source, end.status), (3, 0));
    assert_eq!(guest.verify().pages, pages);
    assert_eq!(guest.monitor().pending_osts(), []);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a DIMM can be taken away while the shell compares memory, takes all that is left and gives it back:
/// each request is answered, and no byte is lost.
#[test]
fn during_long_commands() {
    let (mut guest, pages) = filled("300M");
    guest.send(b"verify\n");
    guest.wait_text("carapace> verify\r\n");
    guest.take_away(0);
    let answer = guest.finish_lines("verify");
    assert!(answer.iter().any(|line| line.starts_with("ok: ")), "{answer:?}");
    guest.plug_online(Dimm { number: 0, size: "128M", node: 1 });
    guest.send(b"alloc --all\n");
    guest.wait_text("carapace> alloc --all\r\n");
    // A block under allocation cannot move: the request ends as busy in bounded time, or came before the block.
    match guest.unplug(0) {
        Ended::Deleted => guest.monitor_line("object_del ram0"),
        Ended::Refused(status) => assert_eq!(status, BUSY),
    }
    guest.send(b"\x03");
    guest.finish_lines("alloc --all");
    let verify = guest.verify();
    assert!(verify.ok && verify.pages >= pages, "{verify:?}");
    guest.assert_sound();
    guest.sh("free all");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a DIMM can be removed and a new one added with the kernel's heap used up.
#[test]
fn heap_exhausted() {
    let (mut guest, pages) = filled("100M");
    guest.sh("stress heap");
    guest.take_away(0);
    guest.plug_online(Dimm { number: 0, size: "256M", node: 0 });
    guest.take_away(0);
    assert_eq!(guest.verify().pages, pages);
    guest.sh("stress off");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a run of frames for which there is no run elsewhere is a reason to refuse, which is named.
#[test]
fn no_run_elsewhere() {
    let mut guest = Plan::new(Machine::Q35).option("--memory", "256M").boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let run = guest.alloc("150M --node 1 --contiguous");
    // boot memory has as many frames free, but not in one run
    guest.alloc("100M --node 0");
    guest.plug_online(Dimm { number: 1, size: "100M", node: 0 });
    let before = guest.resources();
    assert_eq!(guest.unplug(0), Ended::Refused(BUSY));
    assert_eq!(guest.resources(), before);
    guest.wait_text(&format!("allocation {} needs a run of {}", run.id, run.pages));
    guest.assert_sound();
    guest.plug_online(Dimm { number: 2, size: "256M", node: 0 });
    guest.take_away(0);
    assert!(guest.verify().ok);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
