//! Free page reporting in the guest: QEMU gives freed memory back to the host, and a device that does not answer loses
//! nothing.

use std::thread;
use std::time::{Duration, Instant};

use tests::guest::Dimm;
use tests::schema::Reporting;
use tests::{Guest, Machine, Plan};

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(60);

fn plan(machine: Machine) -> Plan {
    Plan::new(machine)
        .option("--memory", "2G")
        .qemu(&["-device", "virtio-balloon-pci,free-page-reporting=on"])
}

fn reporting(guest: &mut Guest) -> Reporting {
    guest.json::<Vec<Reporting>>("reporting -J").pop().expect("a balloon")
}

/// Waits until at least so many bytes were reported, and nothing is with the device.
#[track_caller]
fn wait_reported(guest: &mut Guest, least: u64, limit: Duration) -> Reporting {
    let end = Instant::now() + limit;
    loop {
        let now = reporting(guest);
        if now.reported >= least && now.in_flight == 0 {
            return now;
        }
        assert!(Instant::now() < end, "{now:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Proves on a machine that 1 GiB that is filled and freed is the host's again, up to 32 MiB; that it is
/// reported once; and that it can be taken again, of boot memory and of a DIMM. Fails when a freed block is not reported, or
/// reported without end, or is in use while the device discards it.
#[track_caller]
fn freed_memory_is_the_hosts(machine: Machine) {
    let mut guest = plan(machine).boot();
    // Boot memory: other kernels may have used it before.
    let before = wait_reported(&mut guest, 1500 * MIB, LIMIT);
    let (size, free) = (guest.resident(), guest.meminfo().free_pages);
    for round in 1..=2 {
        guest.alloc("1G");
        let full = guest.resident();
        assert!(full >= size + 1000 * MIB, "round {round}: {size} {full}");
        assert!(guest.verify().ok);
        guest.sh("free all");
        let start = Instant::now();
        while guest.resident() > size + 32 * MIB {
            assert!(start.elapsed() < LIMIT, "round {round}: {size} {}", guest.resident());
            thread::sleep(Duration::from_millis(50));
        }
        // A group of 64 MiB that was used in part is reported as a whole.
        let now = wait_reported(&mut guest, before.reported + round * 1000 * MIB, LIMIT);
        assert!(now.reported <= before.reported + round * 1700 * MIB, "{now:?}");
        assert_eq!(guest.meminfo().free_pages, free);
    }
    guest.assert_sound();
    guest.plug_online(Dimm { number: 0, size: "512M", node: 1 });
    guest.alloc("300M --node 1");
    let before = reporting(&mut guest);
    guest.sh("free all");
    wait_reported(&mut guest, before.reported + 280 * MIB, LIMIT);
    guest.take_away(0);
    thread::sleep(Duration::from_secs(1));
    let rest = reporting(&mut guest);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(reporting(&mut guest), rest, "nothing is reported twice");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn freed_memory_is_the_hosts_on_q35() {
    freed_memory_is_the_hosts(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn freed_memory_is_the_hosts_on_pc() {
    freed_memory_is_the_hosts(Machine::Pc);
}

/// Proves that a device which never answers has its batch for some seconds, that the shell and allocations go on meanwhile,
/// that its reset brings the memory back, and that it is started again and told then. Fails when memory is lost to the
/// device, or when something waits for it.
#[test]
fn a_silent_balloon_loses_nothing() {
    let mut guest = plan(Machine::Q35).boot();
    wait_reported(&mut guest, 1500 * MIB, LIMIT);
    let free = guest.meminfo().free_pages;
    guest.sh("fail-virtio report-silence");
    guest.alloc("400M");
    guest.sh("free all");
    let end = Instant::now() + LIMIT;
    while reporting(&mut guest).in_flight == 0 {
        assert!(Instant::now() < end, "no batch is sent");
        thread::sleep(Duration::from_millis(50));
    }
    let held = reporting(&mut guest);
    assert!(held.in_flight <= 320 * MIB, "{held:?}");
    let content = guest.alloc("600M");
    assert!(guest.verify().ok);
    guest.sh(&format!("free {}", content.id));
    guest.wait_text("it is reset");
    let end = Instant::now() + LIMIT;
    while guest.meminfo().free_pages != free {
        assert!(Instant::now() < end, "memory is lost: {:?}", guest.meminfo());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((reporting(&mut guest).in_flight, reporting(&mut guest).resets), (0, 1));
    let least = held.reported + 350 * MIB;
    wait_reported(&mut guest, least, LIMIT);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
