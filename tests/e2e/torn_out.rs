//! Memory is torn out while both lines of the guest move memory about: a device of an SSDT whose `_STA` goes when a DIMM
//! is plugged into slot 31 (`tests/asl/torn.asl`).

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::eject::IN_PROGRESS;
use tests::guest::{Dimm, LIMIT};
use tests::qmp::{Eject, Ost};
use tests::schema::{Offline, Refusal, Resource, Stress};
use tests::{Guest, Machine, Plan, asl};

/// The DIMM that lies beside it.
const DIMM: Dimm = Dimm { number: 0, size: "128M", node: 1 };
const NAME: &str = "\\_SB.MHPC.MP00";
/// The device that is torn out, and its size.
const TORN: &str = "\\_SB.TORN";
const TORN_BYTES: usize = 128 << 20;
/// The usable frames of 128 MiB.
const USABLE: u64 = 32256;

/// A guest with 128 MiB that can be torn out, and the file that is this memory.
fn start(machine: Machine, cpus: &str, directory: &Path) -> (Guest, PathBuf) {
    start_with(machine, cpus, directory, TORN_BYTES)
}

/// [`start`], where only so many bytes of TORN are there.
fn start_with(machine: Machine, cpus: &str, directory: &Path, bytes: usize) -> (Guest, PathBuf) {
    let (table, memory) = (asl::compile("torn", directory), directory.join("memory"));
    let backend = format!("memory-backend-file,id=torn,size={bytes},share=on,mem-path={}", memory.display());
    let plan = Plan::new(machine)
        .option("--cpus", cpus)
        .second_port()
        .qemu(&["-acpitable", &format!("file={}", table.display())])
        .qemu(&["-object", &backend])
        .qemu(&["-device", "virtio-pmem-pci,memdev=torn,memaddr=0x240000000"]);
    (plan.boot(), memory)
}

#[track_caller]
fn find(guest: &mut Guest, device: &str) -> Option<Resource> {
    guest.resources().into_iter().find(|row| row.device == device)
}

/// Waits until TORN has come or gone.
#[track_caller]
fn wait_torn(guest: &mut Guest, has_changed: fn(&Option<Resource>) -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !has_changed(&find(guest, TORN)) {
        assert!(Instant::now() < deadline, "TORN does not come or go");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tears TORN out. The guest answers about the DIMM that is the switch.
#[track_caller]
fn begin_tear_out(guest: &mut Guest) -> Ost {
    guest.monitor_line("object_add memory-backend-ram,id=ram31,size=128M,reserve=off");
    guest.monitor_line("device_add pc-dimm,id=dimm31,memdev=ram31,node=0,slot=31");
    Ost { device: "dimm31".into(), source: 1, status: 0 }
}

#[track_caller]
fn tear_out(guest: &mut Guest) {
    let answer = begin_tear_out(guest);
    assert_eq!(guest.wait_ost(), answer);
}

/// Puts TORN back.
#[track_caller]
fn put_back(guest: &mut Guest) {
    guest.take_away(31);
    wait_torn(guest, Option::is_some);
}

/// Allocates most of node 1, in pieces: a part of it in TORN and a part in the DIMM.
#[track_caller]
fn fill(guest: &mut Guest) {
    for _ in 0..16 {
        guest.alloc("10M --node 1");
    }
}

/// Writes junk over the removed memory, frees the lost allocations, and proves that the others have their bytes.
#[track_caller]
fn intact_without_torn(guest: &mut Guest, memory: &Path) {
    wait_torn(guest, Option::is_none);
    fs::write(memory, vec![0xa5; TORN_BYTES]).expect("the memory's file");
    loop {
        let answer: Value = guest.json("verify -J");
        let Some(error) = answer["error"].as_str() else {
            assert_eq!(answer["bad_pages"], 0, "{answer}");
            break;
        };
        let lost = error.strip_prefix("allocation ").and_then(|rest| rest.split_once(" is lost: "));
        guest.sh(&format!("free {}", lost.unwrap_or_else(|| panic!("{error}")).0));
    }
    guest.alloc("20M");
    assert!(guest.verify().ok);
    guest.assert_sound();
}

/// Four times memory is torn out: while other memory goes offline and its content moves there; while its own content
/// moves away, at the second line's command; while an allocation that is made takes it; and while a DIMM is ejected,
/// whose content moves there.
fn torn_out_in_the_middle(machine: Machine) {
    let directory = TempDir::new().expect("a temporary directory");
    let (mut guest, memory) = start(machine, "1", directory.path());
    let mut remote = guest.second_line();
    guest.plug_online(DIMM);
    let before = guest.meminfo();

    fill(&mut guest);
    let [dimm, torn] = [NAME, TORN].map(|device| find(&mut guest, device).expect("it is there").id);
    guest.send(format!("offline {dimm} -J\n").as_bytes());
    guest.wait_text(&format!("offline {dimm} -J\r\n"));
    (1..5).for_each(|id| remote.send(&format!("@{id} offline {torn}\n")));
    tear_out(&mut guest);
    let moved: Offline = guest.finish(&format!("offline {dimm} -J"));
    assert_eq!(moved.pages, USABLE);
    for id in 1..5 {
        let refused = remote.answer(id).expect_err("the other line takes memory offline, or it is gone");
        let reasons = ["one at a time", "surprise-removed", "there is no resource"];
        assert!(reasons.iter().any(|reason| refused.contains(reason)), "{refused}");
    }
    intact_without_torn(&mut guest, &memory);
    guest.sh("free all");
    guest.sh(&format!("online {dimm}"));
    put_back(&mut guest);
    assert_eq!(guest.meminfo(), before);

    fill(&mut guest);
    let torn = find(&mut guest, TORN).expect("it is back").id;
    remote.send(&format!("@5 offline {torn}\n@6 uptime\n"));
    // A look is answered while the command in front of it runs.
    assert!(remote.line().starts_with("{\"id\":6,"), "so much memory moves in no time");
    let Refusal { error } = guest.json(&format!("offline {dimm} -J"));
    assert!(error.contains("one at a time"), "{error}");
    tear_out(&mut guest);
    let refused = remote.answer(5).expect_err("the range is gone: offline cannot succeed");
    assert!(refused.contains("surprise-removed"), "{refused}");
    intact_without_torn(&mut guest, &memory);
    let moved: Offline = guest.json(&format!("offline {dimm} -J"));
    assert_eq!(moved.pages, USABLE);
    guest.sh("free all");
    guest.sh(&format!("online {dimm}"));
    put_back(&mut guest);
    assert_eq!(guest.meminfo(), before);

    guest.send(b"alloc 200M --node 1 -J\n");
    guest.wait_text("alloc 200M --node 1 -J\r\n");
    tear_out(&mut guest);
    let Refusal { error } = guest.finish("alloc 200M --node 1 -J");
    assert!(error.contains("lost memory to a surprise removal while it was made"), "{error}");
    intact_without_torn(&mut guest, &memory);
    guest.sh("free all");
    put_back(&mut guest);
    assert_eq!(guest.meminfo(), before);

    fill(&mut guest);
    guest.monitor_line("device_del dimm0");
    let told = |device: &str, status| Eject::Told(Ost { device: device.into(), source: 3, status });
    assert_eq!(guest.next_of_eject("dimm0"), told("dimm0", IN_PROGRESS));
    let mut expected = [Eject::Told(begin_tear_out(&mut guest)), Eject::Deleted("dimm0".into()), told("", 0)];
    let mut heard = [(); 3].map(|()| guest.next_of_eject("dimm0"));
    // A long removal ends after the other answer; the test does not judge its duration.
    for events in [&mut expected, &mut heard] {
        events.sort_by_key(|event| format!("{event:?}"));
    }
    assert_eq!(heard, expected);
    guest.monitor_line("object_del ram0");
    intact_without_torn(&mut guest, &memory);
    guest.sh("free all");
    put_back(&mut guest);
    guest.plug_online(DIMM);
    assert_eq!(guest.meminfo(), before);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves on q35 that memory which vanishes while both lines work with it is not used any more; that other memory keeps
/// its bytes; that each command and each request of firmware gets its answer; and that free frames and page tables are
/// as before when the memory is back. Fails if removed memory stays in use until another evacuation has ended. That a
/// stale handle ends no other evacuation is a host test of the memory core: a moment between two steps cannot be hit here.
#[test]
fn torn_out_on_q35() {
    torn_out_in_the_middle(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn torn_out_on_pc() {
    torn_out_in_the_middle(Machine::Pc);
}

/// Proves that memory is torn out while four CPUs allocate, fill, verify and free in it, several times: no CPU faults or
/// finds a wrong byte, what vanished is counted as lost, and all else is free in the end. Fails when a CPU goes on
/// accessing memory whose removal has ended: it faults.
#[test]
fn torn_out_amid_stress() {
    let directory = TempDir::new().expect("a temporary directory");
    let (mut guest, memory) = start(Machine::Q35, "4", directory.path());
    guest.plug_online(DIMM);
    let before = guest.meminfo();
    guest.sh("stress");
    for round in 0..6 {
        thread::sleep(Duration::from_millis(200));
        if round % 2 == 1 {
            guest.monitor_line("device_del dimm0");
            guest.next_of_eject("dimm0");
        }
        tear_out_and_back(&mut guest, &memory, round % 2 == 1);
    }
    let done: Stress = guest.json("stress stop -J");
    println!("{done:?}");
    assert!(done.operations > 0 && done.bad_pages == 0 && done.lost_pages > 0, "{done:?}");
    guest.assert_sound();
    assert_eq!(guest.meminfo(), before);
    assert_eq!(guest.power_off(), 0);
}

/// Tears TORN out, writes junk over it, and puts it back; meanwhile a DIMM may be ejected, which comes back as well.
#[track_caller]
fn tear_out_and_back(guest: &mut Guest, memory: &Path, ejects: bool) {
    begin_tear_out(guest);
    wait_torn(guest, Option::is_none);
    fs::write(memory, vec![0xa5; TORN_BYTES]).expect("the memory's file");
    if ejects {
        let deadline = Instant::now() + LIMIT;
        while find(guest, NAME).is_some() {
            assert!(Instant::now() < deadline, "the DIMM does not go");
        }
        // The end of its removal, and the answer about the switch, in any order.
        for _ in 0..3 {
            guest.next_of_eject("dimm0");
        }
        guest.monitor_line("object_del ram0");
        guest.plug_online(DIMM);
    } else {
        guest.wait_ost();
    }
    put_back(guest);
}

/// Proves that memory shorter than announced is refused at boot; that a device which comes later goes offline, with the
/// reason in the log, when memory of it would be allocated for the first time; that it serves nothing then, cannot be
/// brought online, and does not disturb the rest. Fails when the last frame is not probed, or what is behind the end is
/// allocated.
#[test]
fn a_device_shorter_than_announced() {
    const REASON: &str = "no memory answers at 0x247fff000";
    let directory = TempDir::new().expect("a temporary directory");
    let (mut guest, _) = start_with(Machine::Q35, "1", directory.path(), TORN_BYTES / 2);
    assert!(guest.log().contains("TORN: not added: no memory answers at 0x247fff000"), "{}", guest.log());
    tear_out(&mut guest);
    put_back(&mut guest);
    let torn = find(&mut guest, TORN).expect("it is there");
    assert_eq!((torn.state.as_str(), torn.free_pages), ("online", USABLE));
    guest.plug_online(DIMM);
    let got = guest.alloc("100M --node 1");
    assert_eq!(guest.verify().pages, got.pages);
    let torn = find(&mut guest, TORN).expect("it is there");
    assert_eq!((torn.state.as_str(), torn.free_pages), ("offline", 0));
    assert_eq!(guest.log().matches("went offline, unused: no memory answers").count(), 1);
    let Refusal { error } = guest.json(&format!("online {} -J", torn.id));
    assert!(error.contains(REASON), "{error}");
    guest.assert_sound();
    guest.sh("free all");
    tear_out(&mut guest);
    wait_torn(&mut guest, Option::is_none);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
