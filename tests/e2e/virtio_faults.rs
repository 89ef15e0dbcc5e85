//! Wrong answers of a virtio-mem device, in the guest: each at each request. Memory and device agree after every one.

use std::thread;
use std::time::{Duration, Instant};

use tests::guest::Dimm;
use tests::schema::Virtio;
use tests::{Guest, Machine, Plan};

use crate::virtio_mem::{devices, request, set};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until the device rests: at its size, or held up.
#[track_caller]
fn rest(guest: &mut Guest) -> Virtio {
    let end = Instant::now() + LIMIT;
    let mut before = None;
    loop {
        let now = guest.json::<Vec<Virtio>>("virtio -J").swap_remove(0);
        let rests = now.held_by.is_some() || now.plugged == now.requested;
        if rests && before.as_ref() == Some(&now) {
            return now;
        }
        before = Some(now);
        assert!(Instant::now() < end, "it does not rest: {before:?}");
        thread::sleep(Duration::from_millis(30));
    }
}

/// Proves, for each wrong answer, that it may come at each request of growing and of shrinking, content in between: device
/// and memory agree once the device rests, it is said what happened, and the next size is reached. Fails when a run is used
/// that is not plugged, a plugged one is forgotten, or one refusal ends the device.
#[track_caller]
fn each_answer_at_each_request(answers: &[&str]) {
    let mut guest = Plan::new(Machine::Q35).option("--virtio-mem", "4G,node=1").boot();
    let before = guest.meminfo();
    for answer in answers {
        for nth in 1..=5 {
            let what = format!("{answer} at request {nth}");
            guest.sh(&format!("fail-virtio {answer} {nth}"));
            request(&mut guest, 0, 2 * GIB + 132 * MIB);
            let grown = rest(&mut guest);
            assert_eq!(grown, devices(&mut guest)[0], "{what}");
            guest.sh(&format!("fail-virtio {answer} 0"));
            set(&mut guest, 0, 2 * GIB + 6 * MIB);
            let content = guest.alloc("200M --node 1");
            guest.sh(&format!("fail-virtio {answer} {nth}"));
            request(&mut guest, 0, GIB);
            let shrunk = rest(&mut guest);
            assert_eq!(shrunk, devices(&mut guest)[0], "{what}");
            assert!(guest.verify().ok, "{what}");
            guest.sh(&format!("fail-virtio {answer} 0"));
            set(&mut guest, 0, 512 * MIB);
            assert!(guest.verify().ok, "{what}");
            guest.sh(&format!("free {}", content.id));
            set(&mut guest, 0, 0);
            assert_eq!(guest.meminfo().free_pages, before.free_pages, "{what}");
        }
        guest.assert_sound();
    }
    let counts = devices(&mut guest)[0].requests;
    let refused = counts.nack + counts.busy + counts.error;
    assert!(refused >= answers.len() as u64 * 5, "{counts:?}");
    assert_eq!(guest.power_off(), 0);
}

/// Proves it for the answers of the standard.
#[test]
fn refusals_at_each_request() {
    each_answer_at_each_request(&["nack", "busy", "error"]);
}

/// Proves it for answers that make no sense, from a device that did what was asked, and from one that did not.
#[test]
fn garbage_at_each_request() {
    each_answer_at_each_request(&["garbage", "garbage-done"]);
}

/// Proves that a device which never answers holds up nothing else: the shell, a DIMM, another device, reboot and poweroff;
/// that it is said; and that a late answer is taken. Fails when something waits for the device.
#[test]
fn a_device_that_never_answers() {
    let plan = Plan::new(Machine::Q35).option("--virtio-mem", "4G").option("--virtio-mem", "2G,node=1");
    let mut guest = plan.boot();
    set(&mut guest, 0, GIB);
    for size in [2 * GIB, 512 * MIB] {
        guest.sh("fail-virtio silence");
        request(&mut guest, 0, size);
        silent(&mut guest);
        request(&mut guest, 0, GIB + 2 * MIB);
        let used = guest.alloc("100M");
        assert!(guest.verify().ok);
        guest.sh(&format!("free {}", used.id));
        set_other(&mut guest, GIB);
        guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
        guest.take_away(0);
        set_other(&mut guest, 0);
        let now = silent(&mut guest);
        assert_eq!((now.plugged >= 510 * MIB, now.held_by.is_some()), (true, true), "{now:?}");
        assert!(guest.log().contains("has not answered for 2 s"), "it is logged");
        guest.sh("fail-virtio silence 0");
        let state = guest.monitor().wait_size("vm0", LIMIT).expect("QEMU answers");
        assert_eq!(state.plugged, GIB + 2 * MIB, "a late answer");
        devices(&mut guest);
        guest.assert_sound();
    }
    guest.sh("fail-virtio silence");
    request(&mut guest, 0, 3 * GIB);
    silent(&mut guest);
    guest.send(b"reboot\n");
    guest.wait_text("carapace-boot");
    guest.wait_prompt();
    let state = guest.monitor().wait_size("vm0", LIMIT).expect("QEMU answers");
    assert_eq!(state.plugged, 3 * GIB, "after the restart it answers");
    guest.sh("fail-virtio silence");
    request(&mut guest, 0, 0);
    silent(&mut guest);
    assert_eq!(guest.power_off(), 0);
}

/// Waits until the first device is said not to answer. Memory that it should unplug is not in use meanwhile.
#[track_caller]
pub fn silent(guest: &mut Guest) -> Virtio {
    let end = Instant::now() + LIMIT;
    loop {
        let now = guest.json::<Vec<Virtio>>("virtio -J").swap_remove(0);
        if now.held_by.is_some_and(|reason| reason.as_str().contains("has not answered")) {
            return now;
        }
        assert!(Instant::now() < end, "it is not said: {now:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Asks for a size of the second device, and waits until it is reached.
#[track_caller]
fn set_other(guest: &mut Guest, size: u64) {
    request(guest, 1, size);
    let state = guest.monitor().wait_size("vm1", LIMIT).expect("QEMU answers");
    assert_eq!(state.plugged, size, "the other device");
}
