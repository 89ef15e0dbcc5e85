//! Memory devices of an SSDT, with several ranges and with lies: each lie costs one line of the log and
//! changes nothing.

use tempfile::TempDir;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan, asl};

/// The devices of `lies.asl`, and the text that the log must have about each.
const LIES: [(&str, &str); 50] = [
    ("ALLM", "are mapped as a firmware table"),
    ("BITS", "is beyond the 40 physical address bits"),
    ("BOOT", "frames [0x800, 0xa00) overlap resource 0"),
    ("BUSM", "PCI function 00:10.0 must not become a bus master"),
    ("CRSI", "_CRS is not a buffer"),
    ("CRSN", "_CRS is not a buffer"),
    ("CRSP", "_CRS is not a buffer"),
    ("DIMM", "frames [0x108000, 0x108200) overlap resource"),
    ("DIVZ", "division by zero"),
    ("DMAC", "I/O port 0x8 is refused: a DMA controller could harm memory"),
    ("EMPT", "no end tag"),
    ("ENDT", "_CRS contains no memory range"),
    ("FWDM", "I/O port 0x518 is QEMU's fw_cfg, the kernel's own"),
    ("HEAD", "reaches beyond the resource buffer"),
    ("HIGH", "outside the hotpluggable memory"),
    ("LAST", "is beyond the 40 physical address bits"),
    ("LEN0", "has length 0"),
    ("LENG", "states a length of 0x100000 bytes"),
    ("LOOP", "too many steps"),
    ("LOOS", "too many steps"),
    ("LOWW", "outside the hotpluggable memory"),
    ("MANY", "more than 16 memory ranges"),
    ("NCRS", "no _CRS"),
    ("NENA", "_STA is 0xd: not present, enabled and functioning"),
    ("NEND", "no end tag"),
    ("NFUN", "_STA is 0x7: not present, enabled and functioning"),
    ("NRA2", "no memory answers at 0x25ffff000"),
    ("NRAM", "no memory answers at 0x300000000"),
    ("ODDB", "not aligned to 2 MiB"),
    ("ODDC", "not aligned to 2 MiB"),
    ("ODDL", "not aligned to 2 MiB"),
    ("PART", "no memory answers at 0x300000000"),
    ("PCIC", "I/O port 0xcf8 is refused: PCI's configuration mechanism could harm memory"),
    ("PXMP", "_PXM is not a proximity domain"),
    ("RAMW", "register at 0x10000000: frame 0x10000 is RAM"),
    ("RECS", "nested too deeply"),
    ("RECU", "nested too deeply"),
    ("REGS", "frames [0xc0400, 0xc0401) are mapped as a firmware table or as registers"),
    ("SELF", "of the same device overlap"),
    ("SERL", "I/O port 0x3f8 is the kernel's serial line"),
    ("SHRT", "too short for its kind"),
    ("STAS", "_STA is not an integer"),
    ("SUMS", "checksum is wrong"),
    ("TRAN", "is translated by 0x1000"),
    ("TRUN", "reaches beyond the resource buffer"),
    ("TYPE", "_CRS contains no memory range"),
    ("TYPV", "_CRS contains no memory range"),
    ("UNKN", "_CRS contains no memory range"),
    ("WRAP", "states a length of 0x400000 bytes"),
    // the last one in the namespace's order: nothing stopped the scan before
    ("WRP2", "has length 0"),
];

/// The lines of the log that name the device.
fn lines_of(log: &str, device: &str) -> Vec<String> {
    let name = format!(" {device}: ");
    log.lines().filter(|line| line.contains(&name)).map(str::to_owned).collect()
}

/// Proves that of forty lying devices each gets one line with its path and its reason, that none of them changes
/// anything, that a cold-plugged DIMM and a good device among them (three ranges, a memmap in each)
/// are online all the same, and that a DIMM plugged afterwards works.
fn lies(machine: Machine) {
    let directory = TempDir::new().expect("a temporary directory");
    let table = asl::compile("lies", directory.path());
    // A CPU with 40 physical address bits.
    let mut guest = Plan::new(machine)
        .option("--max-memory", "256G")
        .qemu(&["-acpitable", &format!("file={}", table.display())])
        .qemu(&["-object", "memory-backend-ram,id=p,size=256M"])
        .qemu(&["-device", "virtio-pmem-pci,memdev=p,memaddr=0x240000000,addr=0x10"])
        .qemu(&["-object", "memory-backend-ram,id=ram0,size=256M"])
        .qemu(&["-device", "pc-dimm,id=dimm0,memdev=ram0,node=1"])
        .boot();
    let log = guest.log();
    for (device, reason) in LIES {
        let lines = lines_of(&log, device);
        let [line] = &lines[..] else { panic!("{device}: one line, not {lines:?}") };
        assert!(line.contains("not added") && line.contains(reason), "{device}: `{reason}` is not in {line}");
    }
    for device in ["NPRE", "GONE.BELO"] {
        assert_eq!(lines_of(&log, device), [""; 0], "{device}: the log names an absent device");
    }
    assert_eq!(log.matches(": not added: ").count(), LIES.len());
    only_good_ones(&mut guest);
    guest.plug_online(Dimm { number: 1, size: "256M", node: 1 });
    guest.assert_sound();
    let got = guest.alloc("700M --node 1");
    assert_eq!(guest.verify().pages, got.pages);
    guest.assert_sound();
    guest.sh("free all");
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// That boot memory, the DIMM, and the three ranges of the good device are there, and nothing else.
fn only_good_ones(guest: &mut Guest) {
    let mib = 1 << 20;
    let real = 0x2_4000_0000;
    let rows: Vec<_> = guest.resources();
    let plugged = rows.iter().filter(|row| row.device != "boot");
    let plugged: Vec<_> =
        plugged.map(|row| (row.device.as_str(), row.base, row.size, row.node, row.state.as_str())).collect();
    let expected = [
        ("\\_SB.MHPC.MP00", 0x1_0000_0000, 256 * mib, 1, "online"),
        ("\\_SB.REAL", real, 64 * mib, 1, "online"),
        ("\\_SB.REAL", real + 64 * mib, 62 * mib, 1, "online"),
        ("\\_SB.REAL", real + 128 * mib, 128 * mib, 1, "online"),
    ];
    assert_eq!(plugged, expected);
    for row in rows.iter().filter(|row| row.device != "boot") {
        let pages = row.size / 4096;
        assert_eq!(row.memmap_pages + row.usable_pages, pages, "{row:?}");
        // each has a memmap of its own, in its own first frames
        let first = row.base / 4096;
        assert!((first..first + 512).contains(&row.memmap_start_pfn), "{row:?}");
        assert!((pages / 64..pages / 64 + 64).contains(&row.memmap_pages), "{row:?}");
        assert_eq!(row.add.existing_pages_used, 0, "{row:?}");
    }
    guest.assert_sound();
}

/// Proves it on q35.
#[test]
fn lies_on_q35() {
    lies(Machine::Q35);
}

/// Proves it on pc.
#[test]
fn lies_on_pc() {
    lies(Machine::Pc);
}

/// Proves that each Notify gets one answer, with its value and the truth (0 and 1: failure, 3: not
/// supported, others: failure), also where the device lies or its slot is empty; that a device whose `_OST`
/// never ends holds nothing up, and that one which asks again whenever it is answered does neither fill the
/// log nor keep the shell and the next DIMM from being served.
#[test]
fn notifications_are_answered() {
    let directory = TempDir::new().expect("a temporary directory");
    let table = asl::compile("notify", directory.path());
    let answers = directory.path().join("answers");
    let mut guest = Plan::new(Machine::Q35)
        .qemu(&["-acpitable", &format!("file={}", table.display())])
        .qemu(&["-chardev", &format!("file,id=answers,path={}", answers.display())])
        .qemu(&["-device", "isa-debugcon,iobase=0xe9,chardev=answers"])
        .boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    guest.assert_sound();
    let told = std::fs::read(&answers).expect("the debug console's file");
    // what SeaBIOS prints there, if anything, comes before
    let expected = [0, 1, 1, 1, 3, 0x80, 0x81, 1, 1, 1];
    assert!(told.ends_with(&expected), "{told:02x?}");
    let log = guest.log();
    for device in ["ANSW", "GONE", "FLOD"] {
        let lines = lines_of(&log, device);
        assert!((1..=10).contains(&lines.len()), "{device}: {} lines", lines.len());
    }
    assert_eq!(guest.power_off(), 0);
}
