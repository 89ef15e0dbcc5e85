//! Corrupt firmware tables in a real guest: the kernel reaches its prompt, and the intact parts work.
//!
//! Each guest has QEMU's tables, with random changes in the body of one of them and a corrected checksum. A seed names
//! the changes: `CARAPACE_SEED=17 cargo xtask test hostile` runs this one alone.

use fastrand::Rng;
use std::env;
use std::ops::Range;
use std::sync::LazyLock;
use tests::guest::Dimm;
use tests::tables::{CHECKSUM_AT, HEADER, ROOT, Tables, seal};
use tests::{Machine, Plan};

static Q35: LazyLock<Tables> = LazyLock::new(|| Tables::of(&mut Plan::new(Machine::Q35).boot()));

/// Bytes that mean something in AML or are a border.
const PITHY: [u8; 16] =
    [0x00, 0x01, 0x3f, 0x40, 0x7f, 0x80, 0xff, 0x08, 0x0e, 0x10, 0x12, 0x14, 0x5b, 0x70, 0xa0, 0xa2];

/// Bytes of an RSDP of revision 0, and where its checksum is.
const RSDP: usize = 20;
const RSDP_CHECKSUM_AT: usize = 8;

/// Changes a table's body in one to four places.
fn spoil(table: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..=4) {
        let length = table.len();
        if length < HEADER + 8 {
            return;
        }
        let from = random.usize(HEADER..length - 4);
        let to = (from + random.usize(1..=32)).min(length);
        match random.u8(0..8) {
            0 | 1 => table[from] ^= 1 << random.u8(0..8),
            2 | 3 => table[from] = PITHY[random.usize(0..PITHY.len())],
            4 => table[from..to].iter_mut().for_each(|byte| *byte = random.u8(..)),
            5 => drop(table.drain(from..to)),
            6 => {
                let piece = table[from..to].to_vec();
                let at = random.usize(HEADER..length);
                drop(table.splice(at..at, piece));
            }
            // Cut close to the end most of the time: the part after the cut is not tested.
            _ => table.truncate(length - random.usize(1..=(length - HEADER).min(64))),
        }
    }
}

/// Boots a guest with a spoilt table and uses it. Everything but that table is as it should be.
fn survive(signature: &str, seed: u64) {
    println!("{signature}, CARAPACE_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let mut tables = Q35.clone();
    tables.change(signature, |table| spoil(table, &mut random));
    let mut guest = tables.plan(Plan::new(Machine::Q35)).boot();
    guest.assert_sound();
    let free = guest.meminfo().free_pages;
    // The tables may describe a DIMM in any way; plugging it must do no harm. If only SRAT is corrupt, the kernel
    // answers the plug.
    if signature == "SRAT" {
        let ost = guest.plug(Dimm { number: 0, size: "256M", node: 1 });
        assert_eq!((ost.device.as_str(), ost.source), ("dimm0", 1));
    } else {
        guest.monitor_line("object_add memory-backend-ram,id=ram0,size=256M");
        guest.monitor_line("device_add pc-dimm,id=dimm0,memdev=ram0,node=1");
    }
    assert_eq!(guest.alloc("16M").pages, 4096);
    assert!(guest.verify().ok);
    guest.sh("free all");
    guest.assert_sound();
    assert!(guest.meminfo().free_pages >= free);
}

/// The same with what leads to the tables spoilt: a byte or a bit of RSDP or RSDT, mostly with a checksum that is
/// right all the same.
fn survive_root(_: &str, seed: u64) {
    println!("root, CARAPACE_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let plan = Q35.clone().plan_with_root(Plan::new(Machine::Q35), |bytes| {
        let (rsdp, root) = bytes.split_at_mut(ROOT);
        let (part, length, checksum) = match random.u8(0..4) {
            0 => (rsdp, RSDP, RSDP_CHECKSUM_AT),
            _ => {
                let length = root.len();
                (root, length, CHECKSUM_AT)
            }
        };
        for _ in 0..random.usize(1..=3) {
            let at = random.usize(0..length);
            match random.bool() {
                true => part[at] ^= 1 << random.u8(0..8),
                false => part[at] = random.u8(..),
            }
        }
        if random.u8(0..4) > 0 {
            seal(&mut part[..length], checksum);
        }
    });
    let mut guest = plan.boot();
    guest.assert_sound();
    assert_eq!(guest.alloc("16M").pages, 4096);
    assert!(guest.verify().ok);
    guest.sh("free all");
    guest.assert_sound();
}

fn survive_all(signature: &str, seeds: Range<u64>) {
    all(signature, seeds, survive);
}

fn all(signature: &str, seeds: Range<u64>, survive: fn(&str, u64)) {
    match env::var("CARAPACE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => survive(signature, seed),
        None => seeds.for_each(|seed| survive(signature, seed)),
    }
}

/// Proves for 75 spoilt DSDTs that the kernel boots, allocates, and is sound after a DIMM was plugged.
#[test]
fn hostile_dsdts_1() {
    survive_all("DSDT", 0..75);
}

/// The same for 75 more.
#[test]
fn hostile_dsdts_2() {
    survive_all("DSDT", 75..150);
}

/// The same for 75 more.
#[test]
fn hostile_dsdts_3() {
    survive_all("DSDT", 150..225);
}

/// The same for 75 more.
#[test]
fn hostile_dsdts_4() {
    survive_all("DSDT", 225..300);
}

/// Proves the same for 50 spoilt SRATs, and that each DIMM is answered.
#[test]
fn hostile_srats_1() {
    survive_all("SRAT", 0..50);
}

/// The same for 50 more.
#[test]
fn hostile_srats_2() {
    survive_all("SRAT", 50..100);
}

/// Proves for 30 spoilt FADTs, which tell where the ACPI hardware and the DSDT are, that the kernel boots, allocates and
/// is sound after a DIMM was plugged, whatever it can make of that.
#[test]
fn hostile_fadts() {
    survive_all("FACP", 0..30);
}

/// The same for 30 spoilt MADTs, which tell where the interrupt controllers are and how they are wired.
#[test]
fn hostile_madts() {
    survive_all("APIC", 0..30);
}

/// The same for 30 spoilt RSDPs and RSDTs, without which there may be no table at all.
#[test]
fn hostile_roots() {
    all("root", 0..30, survive_root);
}

/// Proves that the guest with the same tables, unspoilt, is one in which DIMMs come online: else the tests above
/// would prove nothing.
#[test]
fn hostile_tables_are_used() {
    let mut tables = Q35.clone();
    tables.change("DSDT", |table| table[10..16].copy_from_slice(b"HERMIT"));
    let mut guest = tables.plan(Plan::new(Machine::Q35)).boot();
    assert!(guest.log().contains("RSDP at 0x3000000"), "{}", guest.log());
    assert_eq!(guest.plug_online(Dimm { number: 0, size: "256M", node: 1 }).free_pages, 64512);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}
