//! `device_del`: a DIMM is removed, its movable content is kept, and no trace of the DIMM remains.

use tests::eject::{BUSY, Ended, IN_PROGRESS};
use tests::guest::Dimm;
use tests::qmp::{Eject, Ost};
use tests::schema::{Holder, Meminfo};
use tests::{Guest, Machine, Plan};

/// `meminfo -J` without the heap's figures: the shell's history of lines uses the heap.
#[track_caller]
fn sums(guest: &mut Guest) -> Meminfo {
    Meminfo { heap_used: 0, ..guest.meminfo() }
}

/// Proves that an idle DIMM is removed on request: QEMU deletes the device and its memory, and the sums are as before
/// the plug. The cycle can be repeated in the same slot at the same address, each time as a new resource.
/// `old_bytes` in the memory do not matter.
fn idle(machine: Machine) {
    let mut guest = Plan::new(machine).boot();
    let before = (guest.resources(), sums(&mut guest));
    let mut last = None;
    for round in 0..3 {
        let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
        assert_eq!((dimm.base, dimm.device.as_str()), (0x1_0000_0000, "\\_SB.MHPC.MP00"));
        assert_ne!(last, Some(dimm.id), "numbers are not used again");
        assert!(dimm.removable && dimm.pinned_pfn.is_none(), "{dimm:?}");
        last = Some(dimm.id);
        if round == 1 {
            // the memory has been in use
            guest.alloc("100M --node 1");
            guest.sh("free all");
        }
        guest.take_away(0);
        assert_eq!((guest.resources(), sums(&mut guest)), before, "round {round}");
        assert_eq!(guest.page(0x10_0000).state, "absent");
        guest.assert_sound();
    }
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn idle_on_q35() {
    idle(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn idle_on_pc() {
    idle(Machine::Pc);
}

/// Proves that memory which comes back with the bytes that it went with (header, tables and descriptors of its
/// former life among them) is taken like any other.
#[test]
fn old_bytes_come_back() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    for node in [0, 1, 1] {
        guest.alloc("200M --node 1");
        guest.sh("free all");
        assert_eq!(guest.unplug(0), Ended::Deleted);
        guest.monitor_line(&format!("device_add pc-dimm,id=dimm0,memdev=ram0,node={node}"));
        assert_eq!(guest.wait_ost(), Ost { device: "dimm0".to_owned(), source: 1, status: 0 });
        let dimm = guest.resources().into_iter().find(|row| row.device != "boot").expect("the DIMM");
        assert_eq!((dimm.base, dimm.node, dimm.free_pages), (0x1_0000_0000, node, 64512));
        guest.assert_sound();
        if node == 0 {
            assert_eq!(guest.unplug(0), Ended::Deleted);
            guest.monitor_line("device_add pc-dimm,id=dimm0,memdev=ram0,node=1");
            assert_eq!(guest.wait_ost().status, 0);
        }
    }
    assert_eq!(guest.power_off(), 0);
}

/// Proves that what a DIMM holds and can be moved is moved, with every byte: allocations of all kinds of shapes, of
/// which one is a run of frames, each page with its pattern, before and after.
fn content_moves(machine: Machine) {
    let mut guest = Plan::new(machine).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    for what in ["4K --node 1", "63M --node 1", "5M --node 1 --contiguous", "20M --node 1 --contiguous"] {
        guest.alloc(what);
    }
    let pages = guest.verify().pages;
    let before = guest.meminfo();
    guest.take_away(0);
    let verify = guest.verify();
    assert!(verify.ok && verify.pages == pages, "{verify:?}, {pages} pages were filled");
    guest.assert_sound();
    let after = guest.meminfo();
    assert_eq!(after.total_pages + 65536, before.total_pages);
    guest.sh("free all");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn content_moves_on_q35() {
    content_moves(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn content_moves_on_pc() {
    content_moves(Machine::Pc);
}

/// Proves that a DIMM with a pinned frame is refused as busy, that log and shell name the frame and its owner, that
/// nothing has changed, and that it goes once the frame is free.
#[test]
fn pinned_frame() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    guest.alloc("30M --node 1");
    let pinned = guest.alloc("4K --node 1 --pinned");
    guest.alloc("30M --node 1");
    let before = (guest.resources(), sums(&mut guest));
    let dimm = before.0.iter().find(|row| row.device != "boot").expect("the DIMM").clone();
    let frame = dimm.pinned_pfn.expect("the pinned frame is named");
    assert!(!dimm.removable && guest.page(frame).state == "pinned", "{dimm:?}");
    assert_eq!(dimm.pinned_by, Some(Holder::of(&format_args!("allocation {}", pinned.id))));
    for _ in 0..2 {
        assert_eq!(guest.unplug(0), Ended::Refused(BUSY));
        assert_eq!((guest.resources(), sums(&mut guest)), before);
        guest.assert_sound();
    }
    let log = guest.log();
    let line = log.lines().find(|line| line.contains("not ejected")).expect("a line of the log");
    for word in ["MP00", &format!("{frame:#x}"), "pinned", &format!("allocation {}", pinned.id)] {
        assert!(line.contains(word), "`{word}` is not in {line}");
    }
    assert!(guest.sh("acpi").iter().any(|line| line.contains("MP00") && line.contains("not ejected")));
    let rows = guest.sh("lsmem");
    assert!(rows.iter().any(|row| row.contains("0x0000000100000000") && row.contains(" no ")), "{rows:?}");
    guest.sh(&format!("free {}", pinned.id));
    guest.take_away(0);
    assert!(guest.verify().ok);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a DIMM whose content has nowhere to go is refused as busy, with how much is needed and how much is
/// free, that not a frame has moved, and that it goes once there is room.
#[test]
fn no_room_elsewhere() {
    let mut guest = Plan::new(Machine::Q35).option("--memory", "128M").boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let got = guest.alloc("200M --node 1");
    let before = (guest.resources(), sums(&mut guest));
    assert_eq!(guest.unplug(0), Ended::Refused(BUSY));
    assert_eq!((guest.resources(), sums(&mut guest)), before);
    assert_eq!(guest.verify().pages, got.pages);
    guest.assert_sound();
    let log = guest.log();
    let line = log.lines().find(|line| line.contains("not ejected")).expect("a line of the log");
    assert!(line.contains("free"), "{line}");
    guest.plug_online(Dimm { number: 1, size: "256M", node: 0 });
    guest.take_away(0);
    assert_eq!(guest.verify().pages, got.pages);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that the order does not matter: of three DIMMs that share sections and upper tables, filled, each order of
/// removal works, and `check` and `verify` hold after each step.
#[test]
fn every_order() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let before = (guest.resources(), sums(&mut guest));
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for (number, size) in (0u32..).zip(["100M", "62M", "226M"]) {
            guest.plug_online(Dimm { number, size, node: 1 });
        }
        let filled = guest.alloc("300M --node 1").pages;
        for number in order {
            guest.take_away(number);
            assert_eq!(guest.verify().pages, filled, "{order:?}: {number}");
            guest.assert_sound();
        }
        guest.sh("free all");
        assert_eq!((guest.resources(), sums(&mut guest)), before, "{order:?}");
    }
    assert_eq!(guest.power_off(), 0);
}

/// Proves that requests for several DIMMs at once, and a second one for the same, are all answered: each DIMM goes
/// once, and a request while one is under way starts no second removal.
#[test]
fn asked_for_at_once() {
    let mut guest = Plan::new(Machine::Q35).boot();
    let before = (guest.resources(), sums(&mut guest));
    for number in 0..4 {
        guest.plug_online(Dimm { number, size: "130M", node: number % 2 });
    }
    let filled = guest.alloc("200M --node 1").pages;
    for number in [1, 3] {
        guest.monitor_line(&format!("device_del dimm{number}"));
        // QEMU may refuse a second one while the first is pending: then it is not the guest's to answer
        let _ = guest.human(&format!("device_del dimm{number}"));
    }
    let (mut progress, mut deleted, mut ends) = (0, Vec::new(), 0);
    while ends < 2 {
        match guest.next_of_eject("dimm1 and dimm3") {
            Eject::Told(Ost { status: IN_PROGRESS, .. }) => progress += 1,
            Eject::Told(Ost { source: 3, status: 0, .. }) => ends += 1,
            Eject::Told(ost) => panic!("{ost:?}"),
            Eject::Deleted(device) => deleted.push(device),
        }
    }
    assert_eq!(deleted, ["dimm1", "dimm3"]);
    assert!((2..=4).contains(&progress), "{progress} times (3, 0x84)");
    assert_eq!(guest.verify().pages, filled);
    guest.assert_sound();
    guest.sh("free all");
    for number in [1, 3] {
        guest.monitor_line(&format!("object_del ram{number}"));
    }
    guest.take_away(0);
    guest.take_away(2);
    assert_eq!((guest.resources(), sums(&mut guest)), before);
    assert_eq!(guest.monitor().pending_osts(), []);
    assert_eq!(guest.power_off(), 0);
}

/// Proves that the machine can be filled and drained slot by slot, the DIMM that came first going first, while one
/// allocation lives through all of it.
#[test]
fn fill_and_drain() {
    let mut guest = Plan::new(Machine::Pc).boot();
    let before = (guest.resources(), sums(&mut guest));
    guest.alloc("150M");
    for number in 0..32 {
        let size = ["64M", "128M", "30M", "2M"][number as usize % 4];
        guest.plug_online(Dimm { number, size, node: number % 2 });
    }
    let pages = guest.alloc("500M --node 1").pages;
    guest.sh("free 1");
    guest.assert_sound();
    let shown = |number: u32| number % 8 == 7;
    for number in 0..20 {
        guest.take_away(number);
        if shown(number) {
            assert_eq!(guest.verify().pages, pages);
            guest.assert_sound();
        }
    }
    guest.sh("free all");
    for number in 20..32 {
        guest.take_away(number);
    }
    assert_eq!((guest.resources(), sums(&mut guest)), before);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a DIMM that the kernel refused at plug time can be ejected: the kernel does not use it.
#[test]
fn refused_dimm_goes() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.sh("fail online");
    assert_eq!(guest.plug(Dimm { number: 0, size: "128M", node: 1 }).status, 1);
    guest.take_away(0);
    guest.plug_online(Dimm { number: 0, size: "128M", node: 1 });
    guest.take_away(0);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
