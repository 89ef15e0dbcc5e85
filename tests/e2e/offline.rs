//! `offline`, `online`, `chmem`, `policy`: parts of a resource out of use and back, and what zones let in.

use tests::eject::BUSY;
use tests::eject::Ended;
use tests::guest::Dimm;
use tests::schema::{Offline, Online, Refusal, SECTION_PAGES, Word};
use tests::{Guest, Machine, Plan};

/// The states of a resource's sections.
#[track_caller]
fn states(guest: &mut Guest, resource: u32) -> Vec<Word> {
    guest.sections(resource).into_iter().map(|section| section.state).collect()
}

/// Proves that a range of sections goes offline and its content moves away byte for byte intact; that no free list has
/// its frames then, and the resource is partial; and that the range comes online again completely.
#[test]
fn range_and_back() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let dimm = guest.plug_online(Dimm { number: 0, size: "512M", node: 1 });
    let filled = guest.alloc("300M --node 1").pages;
    let before = guest.meminfo();
    let gone: Offline = guest.json("offline 33-34 -J");
    assert_eq!(gone.pages, 2 * SECTION_PAGES);
    assert!(gone.migrated_pages > 0);
    assert_eq!(states(&mut guest, dimm.id), ["online", "offline", "offline", "online"]);
    let now = guest.resources().into_iter().find(|row| row.id == dimm.id).expect("the DIMM");
    assert_eq!((now.state.as_str(), now.usable_pages), ("partial", dimm.usable_pages));
    assert_eq!(guest.page(33 * SECTION_PAGES + 5).state, "offline");
    let during = guest.meminfo();
    assert_eq!(during.offline_pages, before.offline_pages + gone.pages);
    assert_eq!(during.free_pages, before.free_pages - gone.pages);
    assert_eq!(guest.verify().pages, filled);
    guest.assert_sound();
    // no free frame of the DIMM is in those sections
    let refused: Refusal = guest.json("alloc 200M --node 1 -J");
    assert!(refused.error.len() > 5, "{refused:?}");
    let again: Offline = guest.json("offline 33-34 -J");
    assert_eq!((again.pages, again.migrated_pages), (0, 0));
    let back: Online = guest.json("online 33-34 -J");
    assert_eq!(back.pages, 2 * SECTION_PAGES);
    assert_eq!(states(&mut guest, dimm.id), ["online"; 4]);
    assert_eq!(guest.meminfo().free_pages, before.free_pages);
    guest.assert_sound();
    guest.sh("free all");
    guest.sh("offline 34-35");
    guest.assert_sound();
    // partly offline or not: it can be ejected
    guest.take_away(0);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a whole resource goes offline and online by its number, in the zone that is asked for; that a movable
/// zone lets no pinned allocation in; and that it is refused with the frame and its owner where something is pinned.
#[test]
fn resource_and_zones() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let id = dimm.id;
    let pinned = guest.alloc("8K --node 1 --pinned");
    let refused: Refusal = guest.json(&format!("offline {id} -J"));
    assert!(refused.error.contains("pinned"), "{refused:?}");
    assert!(refused.error.contains(&format!("allocation {}", pinned.id)), "{refused:?}");
    guest.assert_sound();
    guest.sh("free all");
    let gone: Offline = guest.json(&format!("offline {id} -J"));
    assert_eq!(gone.pages, 64512);
    let now = guest.resources().into_iter().find(|row| row.id == id).expect("the DIMM");
    assert_eq!((now.state.as_str(), now.free_pages), ("offline", 0));
    guest.assert_sound();
    guest.sh(&format!("online {id} --movable"));
    let now = guest.resources().into_iter().find(|row| row.id == id).expect("the DIMM");
    assert_eq!((now.state.as_str(), now.zone.as_str(), now.free_pages), ("online", "movable", 64512));
    let refused: Refusal = guest.json("alloc 4K --node 1 --pinned -J");
    assert!(refused.error.len() > 5, "{refused:?}");
    assert_eq!(guest.alloc("100M --node 1").pages, 25600);
    guest.assert_sound();
    let refused: Refusal = guest.json(&format!("online {id} --kernel --movable -J"));
    assert!(refused.error.contains("exclude"), "{refused:?}");
    guest.sh("free all");
    guest.sh(&format!("offline {id}"));
    guest.sh(&format!("online {id} --kernel"));
    assert_eq!(guest.alloc("4K --node 1 --pinned").pages, 1);
    guest.assert_sound();
    assert_eq!(guest.unplug(0), Ended::Refused(BUSY));
    for line in ["offline 77 -J", "offline 500-510 -J", "online 77 -J", "offline 3-2 -J", "offline x -J"] {
        let refused: Refusal = guest.json(line);
        assert!(refused.error.len() > 5, "{line}: {refused:?}");
    }
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that `policy` decides the state of a new DIMM, that a command brings an offline one online, and that a DIMM
/// can be ejected in each of these states.
#[test]
fn policies() {
    let mut guest = Plan::new(Machine::Q35).boot();
    for (policy, zone, state) in
        [("offline", "any", "offline"), ("movable", "movable", "online"), ("kernel", "kernel", "online")]
    {
        guest.sh(&format!("policy {policy}"));
        assert_eq!(guest.plug(Dimm { number: 0, size: "256M", node: 1 }).status, 0);
        let dimm = guest.resources().into_iter().find(|row| row.device != "boot").expect("the DIMM");
        assert_eq!((dimm.zone.as_str(), dimm.state.as_str()), (zone, state));
        if policy == "offline" {
            assert_eq!(guest.json::<Online>("online 32-32 -J").pages, SECTION_PAGES - 1024);
            assert_eq!(states(&mut guest, dimm.id), ["online", "offline"]);
            guest.assert_sound();
        }
        guest.take_away(0);
        guest.assert_sound();
    }
    assert_eq!(guest.power_off(), 0);
}

/// Proves that `chmem` has the operands and the behaviour of util-linux's: the highest blocks go offline first, the
/// lowest come online first and into the movable zone; it takes a range as `lsmem` prints it, and reports failures.
#[test]
fn chmem() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let dimm = guest.plug_online(Dimm { number: 0, size: "512M", node: 1 });
    assert_eq!(guest.sh("chmem -d 256"), [""; 0]);
    assert_eq!(states(&mut guest, dimm.id), ["online", "online", "offline", "offline"]);
    let told = guest.sh("chmem -e -v 128M");
    assert_eq!(told, ["Memory Block 34 (0x0000000110000000-0x0000000117ffffff) enabled"]);
    assert_eq!(states(&mut guest, dimm.id), ["online", "online", "online", "offline"]);
    let told = guest.sh("chmem --disable -v 0x0000000110000000-0x000000011fffffff");
    let lines = [
        "Memory Block 34 (0x0000000110000000-0x0000000117ffffff) disabled",
        "Memory Block 35 (0x0000000118000000-0x000000011fffffff) already disabled",
    ];
    assert_eq!(told, lines);
    guest.assert_sound();
    guest.sh("chmem -d -b 32-33");
    let whole = guest.resources().into_iter().find(|row| row.id == dimm.id).expect("the DIMM");
    assert_eq!(whole.state, "offline");
    guest.sh("chmem -e -b 32-35");
    let whole = guest.resources().into_iter().find(|row| row.id == dimm.id).expect("the DIMM");
    assert_eq!((whole.state.as_str(), whole.zone.as_str()), ("online", "movable"));
    // boot memory holds the kernel: block 0 stays
    let told = guest.sh("chmem -d -b 0");
    assert!(told[0].starts_with("Memory Block 0 (") && told[0].contains(" disable failed: "), "{told:?}");
    assert_eq!(told[1], "error: Could only disable 0B of memory");
    for (line, words) in [
        ("chmem -d 100M", "error: Size must be aligned to memory block size (128M)"),
        ("chmem 128M", "error: bad usage"),
        ("chmem -d 128M -z Frob", "error: unknown memory zone: Frob"),
        (
            "chmem -d -b 34 -z Normal",
            "Memory Block 34 (0x0000000110000000-0x0000000117ffffff) disable failed",
        ),
    ] {
        let told = guest.sh(line);
        assert!(told[0].starts_with(words), "{line}: {told:?}");
    }
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
