//! Load: as many DIMMs as QEMU has slots for, and interrupts of every kind at once.

use serde_json::Value;
use std::time::Duration;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan};

/// Slots that QEMU has at most.
const SLOTS: u32 = 256;
const LIMIT: Duration = Duration::from_secs(90);

/// Proves that 256 DIMMs, in every slot there is, come online and are sound together, that all of it can be allocated
/// and comes back, and that some leave and others come in their places. Fails when a table of fixed size is too small
/// for them, or when something of one is left behind.
#[test]
fn every_slot() {
    let mut guest = Plan::new(Machine::Q35).option("--slots", &SLOTS.to_string()).boot();
    let plug = |guest: &mut Guest, number: u32| {
        let ost = guest.plug(Dimm { number, size: "128M,reserve=off", node: number % 2 });
        assert_eq!((ost.source, ost.status), (1, 0), "{ost:?}");
    };
    let empty = guest.meminfo();
    (0..SLOTS).for_each(|number| plug(&mut guest, number));
    assert_eq!(guest.resources().len() as u32, SLOTS + 1);
    guest.assert_sound();
    let full = guest.meminfo();
    assert_eq!(full.total_pages - empty.total_pages, u64::from(SLOTS) * 32768);
    assert_eq!((full.heap_used, full.page_table_pages), (empty.heap_used, empty.page_table_pages));
    guest.alloc("--all --no-fill");
    guest.sh("free all");
    assert_eq!(guest.meminfo(), full);
    for number in [0, 17, 255] {
        guest.take_away(number);
        plug(&mut guest, number);
    }
    guest.assert_sound();
    assert_eq!(guest.meminfo().free_pages, full.free_pages);
    assert_eq!(guest.power_off(), 0);
}

/// Proves that under a storm of interrupts nothing waits for ever and nothing is lost: 32 DIMMs come as fast as the
/// monitor takes them while the serial line is full in both directions with commands that allocate, free and print.
/// Each DIMM is answered once, each command is executed, free memory adds up. An interrupt handler that finds a lock
/// taken panics (`panic handler` shows it): if the test passes, none did.
fn storm(machine: Machine) {
    const ROUNDS: usize = 300;
    let mut guest = Plan::new(machine).boot();
    let before = guest.meminfo();
    let lines = ["alloc 2M", "uptime -J", "alloc 300K --pinned", "free all", "nonsense", "meminfo -J"];
    guest.send((lines.join("\n") + "\n").repeat(ROUNDS).as_bytes());
    for number in 0..32 {
        guest.monitor_line(&format!("object_add memory-backend-ram,id=ram{number},size=128M,reserve=off"));
        guest.monitor_line(&format!(
            "device_add pc-dimm,id=dimm{number},memdev=ram{number},node={}",
            number % 2
        ));
    }
    let mut answered: Vec<_> = (0..32)
        .map(|_| guest.monitor().wait_ost(LIMIT).expect("an _OST for each DIMM"))
        .map(|ost| {
            assert_eq!((ost.source, ost.status), (1, 0), "{ost:?}");
            ost.device
        })
        .collect();
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered.len(), 32, "each DIMM once: {answered:?}");
    // A command with a text of its own: everything in front of it has been answered when it is.
    guest.send(b"free all\nuptime -J  \n");
    guest.wait_text("carapace> uptime -J  \r\n");
    guest.skip_to_now();
    guest.send(b"\n");
    guest.wait_prompt();
    let log = guest.log();
    for line in lines {
        let heard = log.matches(&format!("carapace> {line}\r\n")).count();
        assert!(heard >= ROUNDS, "`{line}` was heard {heard} times");
    }
    let answers = log.matches(" free_pages").count() + log.matches("\"free_pages\"").count();
    assert!(answers >= ROUNDS, "{answers} answers of meminfo");
    let stat: Value = guest.json("stat -J");
    assert!(
        stat["acpi_interrupts"].as_u64() >= Some(1) && stat["notifications"].as_u64() >= Some(32),
        "{stat}"
    );
    let after = guest.meminfo();
    assert_eq!(after.free_pages, before.free_pages + 32 * 32256);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// Proves it on q35.
#[test]
fn storm_on_q35() {
    storm(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn storm_on_pc() {
    storm(Machine::Pc);
}
