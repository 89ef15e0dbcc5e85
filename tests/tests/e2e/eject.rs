//! `device_del`: a DIMM goes, and what is left is as if it had never been.

use tests::answers::Meminfo;
use tests::eject::Ended;
use tests::guest::Dimm;
use tests::monitor::Ost;
use tests::{Guest, Machine, Plan};

/// `meminfo -J` without what the shell itself uses of the heap: it keeps the lines that were typed.
#[track_caller]
fn sums(guest: &mut Guest) -> Meminfo {
    Meminfo { heap_used: 0, ..guest.meminfo() }
}

/// Proves that an idle DIMM is given back when it is asked for: QEMU takes it away, its memory too, sums are as
/// before it came, and the same can be done again and again, in the same slot and at the same address, each
/// time as a new resource. `old_bytes` in the memory do not matter.
fn idle(machine: Machine) {
    let mut guest = Plan::new(machine).boot();
    let before = (guest.resources(), sums(&mut guest));
    let mut last = None;
    for round in 0..3 {
        let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
        assert_eq!((dimm.base, dimm.device.as_str()), (0x1_0000_0000, "\\_SB.MHPC.MP00"));
        assert_ne!(last, Some(dimm.id), "numbers are not used again");
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

/// Proves that a DIMM which was refused when it came, and so is not in use, is given back when it is asked for.
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
