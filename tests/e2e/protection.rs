//! The protections of memory: those that the kernel says it has, seen from outside.

use serde_json::Value;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan};

/// A register as QEMU has it.
#[track_caller]
fn register(guest: &mut Guest, name: &str) -> u64 {
    let all = guest.human("info registers");
    let (_, rest) = all.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("no {name} in\n{all}"));
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).expect("a number")
}

/// Proves, from the registers that QEMU shows, that every protection which the CPU has is on, and says so in the log:
/// WP and NX, and on a CPU that has them SMEP, SMAP and UMIP; and from the kernel's own walk over every leaf, with a DIMM
/// plugged and an allocation mapped, that none may be written and executed, that none but the image's may be executed,
/// and that nothing is mapped where null pointers lead. Fails when a switch is left off or a window has other rights.
#[test]
fn protections_are_on() {
    for (machine, cpu, names, cr4) in [
        (Machine::Q35, "max", "WP NX SMEP SMAP UMIP PGE", 1 << 20 | 1 << 21 | 1 << 11 | 1 << 7 | 1 << 6),
        (Machine::Pc, "max", "WP NX SMEP SMAP UMIP PGE", 1 << 20 | 1 << 21 | 1 << 11 | 1 << 7 | 1 << 6),
        (Machine::Q35, "qemu64", "WP NX PGE", 1 << 7 | 1 << 6),
    ] {
        let mut guest = Plan::new(machine).option("--cpu", cpu).boot();
        assert!(guest.log().contains(&format!("protections: {names};")), "{cpu}");
        assert_eq!(register(&mut guest, "CR0") & (1 << 16), 1 << 16, "WP");
        assert_eq!(register(&mut guest, "CR4") & cr4, cr4, "{names}");
        assert_eq!(register(&mut guest, "EFER") & (1 << 11), 1 << 11, "NX");
        guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
        guest.alloc("100M");
        let dump: Value = guest.json("ptdump -J");
        assert_eq!(dump["writable_executable"], 0, "{dump}");
        let windows = dump["windows"].as_array().expect("windows");
        for window in windows {
            let executable = window["executable"].as_u64().expect("a number");
            assert_eq!(executable > 0, window["window"] == "kernel image", "{window}");
        }
        let elsewhere = windows.iter().find(|window| window["window"] == "elsewhere").expect("the rest");
        assert!(
            elsewhere["leaves"].as_object().expect("leaves").values().all(|count| *count == 0),
            "{elsewhere}"
        );
        let null: Value = guest.json("ptwalk 0 -J");
        assert!(null["phys"].is_null(), "{null}");
        guest.assert_sound();
    }
}
