//! Containers (ACPI0004, PNP0A05, PNP0A06): their memory comes and leaves as one; and what the kernel tells the firmware
//! before.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::guest::LIMIT;
use tests::tables::Tables;
use tests::{Guest, Machine, Plan, asl};

/// What `_EJ0` of a device writes.
const EJ0: (u8, u8) = (0xee, 0xee);
/// The answer to an eject request that is served.
const PROGRESS: (u8, u8) = (3, 0x84);
/// The devices of the SSDT, as they write.
const MODA: u8 = 1;
const MODA_MEM0: u8 = 2;
const MODX: u8 = 3;
const MODP: u8 = 4;
const MODI: u8 = 5;
const OSC: u8 = 0x5c;

/// Where the firmware puts BARs.
const PCI_MEMORY: u64 = 0xc000_0000;
const PCI_MEMORY_BYTES: u64 = 0x3ec0_0000;

/// An entry of a SRAT: memory may come here, on node 1.
fn hot_pluggable(base: u64, bytes: u64) -> Vec<u8> {
    const MEMORY: [u8; 2] = [1, 40];
    const ENABLED_AND_HOT_PLUGGABLE: u32 = 3;
    let mut entry = MEMORY.to_vec();
    entry.extend(1u32.to_le_bytes());
    entry.extend([0; 2]);
    entry.extend([base, bytes].map(u64::to_le_bytes).concat());
    entry.extend([0; 4]);
    entry.extend(ENABLED_AND_HOT_PLUGGABLE.to_le_bytes());
    entry.extend([0; 8]);
    entry
}

/// The machine with the SSDT, the serial port that raises its events, and the file that its methods write to.
struct Containers {
    guest: Guest,
    line: UnixStream,
    answers: PathBuf,
    /// Bytes of that file that are read.
    seen: usize,
    _directory: TempDir,
}

impl Containers {
    fn boot(machine: Machine) -> Containers {
        let directory = TempDir::new().expect("a temporary directory");
        let table = asl::compile("containers", directory.path());
        let [answers, socket] = ["answers", "ged"].map(|name| directory.path().join(name));
        let plan = || {
            Plan::new(machine)
                .qemu(&["-acpitable", &format!("file={}", table.display())])
                .qemu(&["-chardev", &format!("file,id=answers,path={}", answers.display())])
                .qemu(&["-device", "isa-debugcon,iobase=0xe9,chardev=answers"])
                .qemu(&["-chardev", &format!("socket,id=ged,path={},server=on,wait=off", socket.display())])
                .qemu(&["-device", "isa-serial,iobase=0x2e8,irq=5,chardev=ged"])
                .qemu(&["-object", "memory-backend-ram,id=p,size=256M"])
                .qemu(&["-device", "virtio-pmem-pci,memdev=p,memaddr=0x240000000"])
                .qemu(&["-object", "memory-backend-ram,id=s,size=64M,share=on"])
                .qemu(&["-device", "ivshmem-plain,memdev=s,addr=0x10"])
        };
        let mut tables = Tables::of(&mut plan().boot());
        tables.change("SRAT", |srat| srat.extend(hot_pluggable(PCI_MEMORY, PCI_MEMORY_BYTES)));
        let guest = tables.plan(plan()).boot();
        let line = UnixStream::connect(&socket).expect("the serial port listens");
        Containers { guest, line, answers, seen: 0, _directory: directory }
    }

    /// Raises an event, waits until `last` is answered, and returns all answers since the one before.
    #[track_caller]
    fn event(&mut self, number: u8, last: (u8, u8, u8)) -> Vec<(u8, u8, u8)> {
        self.line.write_all(&[number]).expect("the serial port takes a byte");
        let started = Instant::now();
        loop {
            let bytes = std::fs::read(&self.answers).expect("the debug console's file");
            let new = &bytes[self.seen..];
            let answers: Vec<_> =
                new.as_chunks().0.iter().map(|&[device, source, status]| (device, source, status)).collect();
            if answers.last() == Some(&last) {
                self.seen = bytes.len();
                return answers;
            }
            assert!(started.elapsed() < LIMIT, "event {number}: {answers:x?}\n{}", self.guest.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The devices with memory in use and their states, sorted.
    #[track_caller]
    fn in_use(&mut self) -> Vec<String> {
        let rows =
            self.guest.resources().into_iter().filter(|row| row.device != "boot" && row.state == "online");
        let mut names: Vec<String> =
            rows.map(|row| row.device.trim_start_matches("\\_SB.").to_owned()).collect();
        names.sort();
        names
    }
}

fn of(device: u8, answers: &[(u8, u8)]) -> Vec<(u8, u8, u8)> {
    answers.iter().map(|&(source, status)| (device, source, status)).collect()
}

/// Proves that the kernel says by `_OSC`, before the first event, that it answers by `_OST`; that a bus check or a device
/// check of a container brings all memory below it, absent at boot, after `_INI` of what came, and what `_EJD` ties to it;
/// that memory may be a PCI function's BAR; that an eject request
/// takes all of it or, when a frame is pinned in one device, none, with the others online as before; that requests that
/// come twice, or for a device below, get their answers; that memory is back when `_EJ0` has no effect; and that a
/// container with a processor stays. Fails when a container is answered without its memory, or only some of it goes.
fn containers_come_and_leave_as_one(machine: Machine) {
    let mut machine = Containers::boot(machine);
    let heard = std::fs::read(&machine.answers).expect("the debug console's file");
    // What SeaBIOS prints there, if anything, comes before.
    assert_eq!(heard[heard.len().saturating_sub(3)..], [OSC, 8, 0xff], "{}", machine.guest.log());
    machine.seen = heard.len();
    assert!(machine.guest.log().contains("the firmware expects _OST after hotplug events"));
    let others = ["MODP.MEM0", "MODX.MEM0"];
    let all = ["DOCK", "MODA.MEM0", "MODA.MEM1", others[0], others[1]];
    assert_eq!(machine.in_use(), others);

    assert_eq!(machine.event(1, (MODA, 0, 0)), of(MODA, &[(0, 0)]));
    assert_eq!(machine.in_use(), all);
    machine.guest.assert_sound();

    // Only MEM1 is in node 1.
    let pinned = machine.guest.alloc("4K --node 1 --pinned").id;
    assert_eq!(machine.event(2, (MODA, 3, 0x82)), of(MODA, &[PROGRESS, (3, 0x82)]));
    assert_eq!(machine.in_use(), all);
    assert!(machine.guest.log().contains("MODA: not ejected: "), "{}", machine.guest.log());
    machine.guest.assert_sound();
    machine.guest.sh(&format!("free {pinned}"));

    let before = machine.guest.alloc("20M --node 1").pages;
    let mut answers = machine.event(3, (MODA, 3, 0));
    let child: Vec<_> = answers.extract_if(.., |answer| answer.0 == MODA_MEM0).collect();
    assert_eq!(child.last(), Some(&(MODA_MEM0, 3, 0)), "{child:x?}");
    assert!(!child.contains(&(MODA_MEM0, EJ0.0, EJ0.1)) || child.len() > 2, "{child:x?}");
    assert_eq!(answers, of(MODA, &[PROGRESS, PROGRESS, EJ0, (3, 0)]));
    assert_eq!(machine.in_use(), others);
    machine.guest.assert_sound();
    let verify = machine.guest.verify();
    assert_eq!((verify.ok, verify.pages), (true, before), "what was below has moved");

    assert_eq!(machine.event(4, (MODA, 1, 0)), of(MODA, &[(1, 0)]));
    assert_eq!(machine.in_use(), all);

    assert_eq!(machine.event(5, (MODX, 3, 1)), of(MODX, &[PROGRESS, EJ0, (3, 1)]));
    assert_eq!(machine.event(6, (MODP, 3, 0x80)), of(MODP, &[(3, 0x80)]));
    assert_eq!(machine.in_use(), all);
    assert!(machine.guest.log().contains("MODP: cannot be ejected: it holds a processor"));
    machine.guest.assert_sound();

    assert_eq!(machine.event(7, (MODI, 1, 0)), of(MODI, &[(1, 0)]));
    let with_bar = [&all[..], &["MODI.MEM0"]].concat();
    assert_eq!(machine.in_use().len(), with_bar.len());
    assert!(machine.in_use().contains(&"MODI.MEM0".to_owned()));
    let row = machine.guest.resources().into_iter().find(|row| row.device.ends_with("MODI.MEM0"));
    let bar = row.expect("the BAR's memory").base;
    assert!(bar < 1 << 32, "the firmware puts it below 4 GiB: {bar:#x}");
    machine.guest.alloc("30M --node 1");
    assert!(machine.guest.verify().ok);
    machine.guest.assert_sound();
    assert_eq!(machine.event(8, (MODI, 3, 0)), of(MODI, &[PROGRESS, EJ0, (3, 0)]));
    assert_eq!(machine.in_use(), all);
    assert!(machine.guest.verify().ok);
    machine.guest.assert_sound();
    assert_eq!(machine.guest.power_off(), 0);
}

/// [`containers_come_and_leave_as_one`] on q35.
#[test]
fn containers_on_q35() {
    containers_come_and_leave_as_one(Machine::Q35);
}

/// [`containers_come_and_leave_as_one`] on pc.
#[test]
fn containers_on_pc() {
    containers_come_and_leave_as_one(Machine::Pc);
}
