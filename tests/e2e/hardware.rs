//! Hardware that other machines have and QEMU's default does not, and the other way round: each guest boots, and a DIMM is
//! plugged, used, and leaves.

use std::thread;
use std::time::{Duration, Instant};
use tests::eject::Ended;
use tests::guest::{Dimm, LIMIT};
use tests::qmp::Ost;
use tests::{Guest, Machine, Plan};

const DIMM: Dimm = Dimm { number: 0, size: "256M", node: 1 };

/// Plugs a DIMM, fills it, has its pages move elsewhere, checks all.
#[track_caller]
fn hotplug_works(guest: &mut Guest) {
    guest.assert_sound();
    assert_eq!(guest.plug_online(DIMM).usable_pages, 64512);
    let got = guest.alloc("100M --node 1");
    assert_eq!(guest.unplug(0), Ended::Deleted);
    assert_eq!(guest.verify().pages, got.pages);
    guest.sh("free all");
    guest.assert_sound();
}

/// Waits until QEMU finds the CPU halted.
#[track_caller]
fn wait_halted(guest: &mut Guest) {
    let started = Instant::now();
    while !guest.human("info registers").contains("HLT=1") {
        assert!(started.elapsed() < LIMIT, "the CPU never halts");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Proves that a machine without any serial port brings a DIMM online and lets it go, that the program on the second port,
/// where there is one, gets answers, and that the CPU halts when there is nothing to do. Fails when the kernel waits for a
/// port that is not there, or polls it for ever.
#[test]
fn no_first_serial_port() {
    for (machine, second) in [(Machine::Q35, false), (Machine::Pc, false), (Machine::Pc, true)] {
        let plan = Plan::new(machine);
        let plan = if second { plan.second_port() } else { plan };
        let mut guest = plan.start_without_first_port();
        assert_eq!(guest.plug(DIMM), Ost { device: "dimm0".into(), source: 1, status: 0 });
        if second {
            let rows = guest.second_line().ask("resources");
            assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
        }
        assert_eq!(guest.unplug(0), Ended::Deleted);
        wait_halted(&mut guest);
        assert_eq!(guest.log(), "", "nothing is written to a port that is not there");
    }
}

/// Proves that the clock runs without the legacy timer, by ACPI's, and that neither that one nor HPET nor the legacy
/// interrupt controllers are needed. Fails when one of them is waited for.
#[test]
fn no_legacy_timers() {
    for machine in [Machine::Q35, Machine::Pc] {
        for off in ["pit=off,hpet=off", "pic=off,i8042=off"] {
            let mut guest = Plan::new(machine).qemu(&["-machine", off]).boot();
            guest.assert_sound();
            let log = guest.log();
            assert!(log.contains(" kHz by ACPI's power-management timer"), "{log}");
            assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
            hotplug_works(&mut guest);
            assert_eq!(guest.power_off(), 0);
        }
    }
}

/// Proves that the kernel runs on the oldest processors with 64 bits, on new ones, and on one that lacks what it can do
/// without. Fails when a feature is used unasked.
#[test]
fn old_and_new_processors() {
    let without = "max,-pge,-smep,-smap,-umip,-pdpe1gb,-mce,-mca,-pat,-mtrr,-syscall,-cx16,-rdrand,-lahf-lm";
    let models =
        ["Opteron_G1", "Conroe", "kvm64", "phenom", "Nehalem", "EPYC-Milan", "Icelake-Server", "max,level=1"];
    for model in models.into_iter().chain([without]) {
        println!("{model}");
        let mut guest = Plan::new(Machine::Q35).option("--cpu", model).option("--max-memory", "64G").boot();
        hotplug_works(&mut guest);
        assert_eq!(guest.power_off(), 0);
    }
}

/// Proves that a memory map of hundreds of pieces is used: with more ranges than the kernel's list holds it starts, says
/// what it leaves out, and adds and removes a DIMM; with as many as it holds it has all of them. Fails when the number of
/// pieces stops the shim or the kernel.
#[test]
fn memory_maps_of_many_pieces() {
    for (machine, pieces, size) in
        [(Machine::Q35, 400, "2G"), (Machine::Pc, 200, "2G"), (Machine::Q35, 500, "512M")]
    {
        // The pieces have 2 MiB, or 128 KiB, which is too few for a memmap of their own.
        let bytes = if size == "2G" { 2 << 20 } else { 128 << 10 };
        let holes = format!("holes=0x4000000+{bytes:#x}*{pieces:#x}");
        let mut guest = Plan::new(machine).option("--memory", size).qemu(&["-append", &holes]).boot();
        let log = guest.log();
        let too_many = log.contains("memory map: over 256 ranges, ");
        assert_eq!(too_many, pieces > 256, "{log}");
        let boot = guest.resources().len();
        if bytes == 2 << 20 {
            assert!(boot > 190, "{boot} resources");
        }
        hotplug_works(&mut guest);
        assert_eq!(guest.resources().len(), boot);
        assert_eq!(guest.power_off(), 0);
    }
}
