//! Generic event devices, and a machine that has nothing else: QEMU's microvm.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::eject::Ended;
use tests::guest::LIMIT;
use tests::{Machine, Plan, asl};

/// Proves that a machine without fixed hardware boots to the prompt with its DSDT, and that `reboot` and `poweroff` work by
/// the reset and the sleep control register. Fails when the kernel takes the flag for more than it says.
#[test]
fn a_reduced_machine_restarts_and_powers_off() {
    let mut guest = Plan::new(Machine::Microvm).boot();
    assert!(guest.log().contains("ACPI events come hardware-reduced"), "{}", guest.log());
    guest.skip_to_now();
    guest.send(b"reboot\n");
    guest.wait_text("carapace-boot: kernel of");
    guest.wait_prompt();
    assert_eq!(guest.power_off(), 0);
}

/// Proves that an interrupt of a generic event device runs `_EVT`, and that a power button that it notifies powers the
/// machine off. Fails when the interrupt is not routed, or its notification dropped.
#[test]
fn a_power_button_powers_off() {
    let mut guest = Plan::new(Machine::Microvm).boot();
    guest.skip_to_now();
    guest.monitor_line("system_powerdown");
    guest.wait_text("power button pressed: powering off");
    assert_eq!(guest.wait_exit(), 0);
}

/// Proves that a DIMM comes and goes with no event but generic event devices': one has a method of its own for the
/// interrupt, another shares it and has `_EVT`, a third is absent; and that an interrupt of the kernel's own cannot be
/// claimed. Fails when the interrupt does not reach the methods, or they are not asked for memory.
fn memory_by_a_generic_event(machine: Machine, disable: u8, enable_register: &str) {
    let directory = TempDir::new().expect("a temporary directory");
    let table = asl::compile("ged", directory.path());
    let socket = directory.path().join("ged");
    let mut guest = Plan::new(machine)
        .qemu(&["-acpitable", &format!("file={}", table.display())])
        .qemu(&["-chardev", &format!("socket,id=ged,path={},server=on,wait=off", socket.display())])
        .qemu(&["-device", "isa-serial,iobase=0x2e8,irq=5,chardev=ged"])
        .boot();
    let mut line = UnixStream::connect(&socket).expect("the serial port listens");
    let mut send = |byte: u8| line.write_all(&[byte]).expect("the serial port takes a byte");
    let until = |what: &str, is_so: &mut dyn FnMut() -> bool| {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < LIMIT, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };

    guest.assert_sound();
    assert!(guest.log().contains("interrupt 4 is used by another device"), "{}", guest.log());
    let enabled = |guest: &mut tests::Guest| guest.human(&format!("i /b {enable_register}"));
    assert!(!enabled(&mut guest).contains("= 0x00"), "general-purpose events are on");
    send(disable);
    until("they are off", &mut || enabled(&mut guest).contains("= 0x00"));

    let online = |guest: &mut tests::Guest| guest.resources().len();
    let before = online(&mut guest);
    guest.monitor_line("object_add memory-backend-ram,id=ram0,size=256M");
    guest.monitor_line("device_add pc-dimm,id=dimm0,memdev=ram0,node=1");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(online(&mut guest), before, "nothing announces the DIMM");
    send(1);
    let ost = guest.wait_ost();
    assert_eq!((ost.source, ost.status), (1, 0), "{ost:?}");
    assert_eq!(online(&mut guest), before + 1);

    guest.monitor_line("device_del dimm0");
    send(1);
    assert_eq!(guest.unplugged(0), Ended::Deleted);
    guest.assert_sound();
    assert_eq!(guest.power_off(), 0);
}

/// [`memory_by_a_generic_event`] on q35.
#[test]
fn memory_by_a_generic_event_on_q35() {
    memory_by_a_generic_event(Machine::Q35, 0x51, "0x628");
}

/// [`memory_by_a_generic_event`] on pc.
#[test]
fn memory_by_a_generic_event_on_pc() {
    memory_by_a_generic_event(Machine::Pc, 0x50, "0xafe2");
}
