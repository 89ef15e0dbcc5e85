//! Eject requests for memory devices of an SSDT: several ranges, no `_EJ0`, an `_EJ0` without effect or that fails, an
//! empty slot; and a surprise-removed device.

use tempfile::TempDir;
use tests::{Guest, Machine, Plan, asl};

/// What `_EJ0` of a device writes.
const EJ0: (u8, u8) = (0xee, 0xee);

/// The calls a device received, in order: the source and the status of each `_OST`, and [`EJ0`].
fn calls(answers: &[u8], device: u8) -> Vec<(u8, u8)> {
    // what SeaBIOS prints there, if anything, comes before, and is no whole number of answers
    let answers = answers.rchunks_exact(3).rev();
    answers.filter(|answer| answer[0] == device).map(|answer| (answer[1], answer[2])).collect()
}

/// The devices of the SSDT that have memory in use, each as often as it has resources, with the nodes of these.
#[track_caller]
fn in_use(guest: &mut Guest) -> Vec<(String, u32)> {
    let rows = guest.resources().into_iter().filter(|row| row.device != "boot");
    rows.map(|row| (row.device.trim_start_matches("\\_SB.").to_owned(), row.node)).collect()
}

/// Proves that a device of three ranges is ejected as a whole, once, although ejection is requested twice; that a device
/// still present after `_EJ0`, and one whose `_EJ0` fails, get a failure as answer and are online again; that without
/// `_EJ0` a request is answered as not supported, and for an empty slot as failed; that the memory of a surprise-removed
/// device is dropped; that each request gets one final answer; and that the node of a device without `_PXM` is that of
/// the enclosing device, or SRAT's. Fails when a request gets a wrong answer or none.
#[test]
fn devices_of_an_ssdt() {
    let directory = TempDir::new().expect("a temporary directory");
    let table = asl::compile("eject", directory.path());
    let answers = directory.path().join("answers");
    let mut guest = Plan::new(Machine::Q35)
        .qemu(&["-acpitable", &format!("file={}", table.display())])
        .qemu(&["-chardev", &format!("file,id=answers,path={}", answers.display())])
        .qemu(&["-device", "isa-debugcon,iobase=0xe9,chardev=answers"])
        .qemu(&["-object", "memory-backend-ram,id=p,size=256M"])
        .qemu(&["-device", "virtio-pmem-pci,memdev=p,memaddr=0x240000000"])
        .boot();
    guest.wait_text("DIVZ: not ejected");
    guest.assert_sound();
    let heard = std::fs::read(&answers).expect("the debug console's file");
    let progress = (3, 0x84);
    // the second request comes while the first is under way, or finds an empty slot
    let [shared, late] = [[progress, progress, EJ0, (3, 0)], [progress, EJ0, (3, 0), (3, 1)]];
    let real = calls(&heard, 1);
    assert!(real == shared || real == late, "{real:x?}");
    assert_eq!(calls(&heard, 2), [progress, EJ0, (3, 1)]);
    assert_eq!(calls(&heard, 3), [progress, EJ0, (3, 1)]);
    assert_eq!(calls(&heard, 4), [(3, 0x80)]);
    assert_eq!(calls(&heard, 5), [(3, 1)]);
    // surprise-removed, none of its memory in use
    assert_eq!(calls(&heard, 6), [(1, 0)]);
    // Of those without a `_PXM` SRAT tells the node, unless something above them does.
    let expected = [("HOME.KNOW", 0), ("STAY", 1), ("DIVZ", 1), ("NOEJ", 1)];
    assert_eq!(in_use(&mut guest), expected.map(|(device, node)| (device.to_owned(), node)));
    let log = guest.log();
    for line in
        ["STAY: not ejected: _EJ0 had no effect, the device is still present", "NOEJ: cannot be ejected"]
    {
        assert!(log.contains(line), "{line}");
    }
    guest.alloc("100M");
    assert!(guest.verify().ok);
    assert_eq!(guest.power_off(), 0);
}
