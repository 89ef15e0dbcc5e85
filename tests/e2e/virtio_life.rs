//! virtio-mem over time, in the guest: what is offline stays so, programs hear of a piece when the device has answered, and
//! growing and shrinking again and again leaves nothing behind.

use tests::schema::SECTION_PAGES;
use tests::{Guest, Machine, Plan};

use crate::virtio_faults::silent;
use crate::virtio_mem::{devices, held, request, set};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Proves that sections which were taken offline stay offline through a shrink that empties frames around them and one that
/// fails, and that they leave with the device's memory in the end. Fails when what a shrink brings back online includes
/// frames that were offline before it.
#[test]
fn offline_frames_stay_offline() {
    let mut guest = Plan::new(Machine::Q35).option("--virtio-mem", "4G,node=1").boot();
    let before = guest.meminfo();
    let device = set(&mut guest, 0, GIB);
    let first = device.base / 4096 / SECTION_PAGES;
    guest.sh(&format!("offline {}-{}", first + 3, first + 4));
    let offline = guest.meminfo().offline_pages;
    assert_eq!(offline, 2 * SECTION_PAGES);
    // All frames that are online are in use, some of them for good: a shrink empties others and gives up.
    let pinned = guest.alloc("64M --node 1 --pinned");
    let content = guest.alloc("640M --node 1");
    set(&mut guest, 0, GIB - 64 * MIB);
    let state = |guest: &mut Guest| {
        let sections: Vec<_> =
            (0..8).map(|number| guest.page((first + number) * SECTION_PAGES + 9).state).collect();
        (sections[3], sections[4])
    };
    let (third, fourth) = state(&mut guest);
    assert!(
        [third, fourth].iter().all(|word| *word == "offline" || *word == "unplugged"),
        "{third:?} {fourth:?}"
    );
    request(&mut guest, 0, 0);
    let reason = held(&mut guest, 0);
    assert!(reason.contains("pinned"), "{reason}");
    let now = state(&mut guest);
    assert!([now.0, now.1].iter().all(|word| *word == "offline" || *word == "unplugged"), "{now:?}");
    assert!(guest.verify().ok);
    guest.assert_sound();
    guest.sh(&format!("free {}", pinned.id));
    guest.sh(&format!("free {}", content.id));
    set(&mut guest, 0, 0);
    assert_eq!((guest.meminfo().free_pages, guest.meminfo().offline_pages), (before.free_pages, 0));
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a program on the second line hears that a run is unplugged only when the device has acknowledged it, and that
/// runs which are plugged again come as events too. Fails when the event is sent with the request.
#[test]
fn events_follow_the_answer() {
    let mut guest = Plan::new(Machine::Q35).option("--virtio-mem", "4G").second_port().boot();
    let mut remote = guest.second_line();
    set(&mut guest, 0, GIB);
    remote.ask("events on");
    guest.sh("fail-virtio silence");
    request(&mut guest, 0, 512 * MIB);
    silent(&mut guest);
    remote.ask("uptime");
    let early: Vec<_> = remote.events().into_iter().filter(|event| event["event"] == "unplugged").collect();
    assert_eq!(early.len(), 0, "{early:?}");
    guest.sh("fail-virtio silence 0");
    // Content and memmap of what goes are runs of their own.
    let mut unplugged = 0;
    while unplugged < 512 * MIB {
        unplugged += remote.event("unplugged")["size"].as_u64().expect("bytes");
    }
    assert_eq!((unplugged, devices(&mut guest)[0].plugged), (512 * MIB, 512 * MIB));
    set(&mut guest, 0, 514 * MIB);
    assert_eq!(remote.event("plugged")["size"], 2 * MIB);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a hundred times 64 MiB to 64 GiB and back, content written each tenth time, cost no frame and no heap byte,
/// and less of the host's memory than one page a time. Fails when an add or a removal leaves something behind.
#[test]
fn a_hundred_times_leave_nothing() {
    let plan = Plan::new(Machine::Q35).option("--memory", "256M").option("--virtio-mem", "64G,node=1");
    let mut guest = plan.boot();
    let mut first = None;
    for round in 0..100 {
        set(&mut guest, 0, 64 * GIB);
        if round % 10 == 0 {
            let content = guest.alloc("32M --node 1");
            guest.sh(&format!("free {}", content.id));
        }
        set(&mut guest, 0, 64 * MIB);
        let now = (guest.meminfo().free_pages, guest.meminfo().heap_used);
        // The first rounds warm QEMU up: its translations, and its own heap.
        match first {
            None if round == 20 => first = Some((now, guest.resident())),
            Some((before, _)) => assert_eq!(now, before, "round {round}"),
            None => {}
        }
    }
    let (_, before) = first.expect("more than 20 rounds");
    let after = guest.resident();
    assert!(after < before + 16 * MIB, "{before} {after}");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
