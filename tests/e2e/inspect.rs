//! Commands that look: the page tables, and the one line of JSON of each.

use serde_json::Value;
use tests::guest::Dimm;
use tests::{Guest, Machine, Plan};

/// The row of a window in `ptdump -J`.
#[track_caller]
fn window<'a>(dump: &'a Value, name: &str) -> &'a Value {
    let rows = dump["windows"].as_array().expect("an array");
    rows.iter().find(|row| row["window"] == name).unwrap_or_else(|| panic!("no window {name} in {dump}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// `ptwalk` of an address: physical address, bytes of the leaf, rights.
#[track_caller]
fn walk(guest: &mut Guest, at: u64) -> (Option<u64>, Option<u64>, Option<String>) {
    let walk: Value = guest.json(&format!("ptwalk {at:#x} -J"));
    let rights = walk["rights"].as_str().map(str::to_owned);
    (walk["phys"].as_u64(), walk["leaf_bytes"].as_u64(), rights)
}

/// Proves that no page is writable and executable, that direct map and vmemmap are not executable, that a DIMM of
/// 256 MiB adds 128 leaves of 2 MiB to the one and two to the other, and that addresses lead where the layout says.
/// Fails when a protection, a leaf or a window is not what it should be.
#[test]
fn page_tables() {
    for cpu in ["qemu64", "max"] {
        let mut guest = Plan::new(Machine::Q35).option("--cpu", cpu).boot();
        let before: Value = guest.json("ptdump -J");
        assert_eq!(before["writable_executable"], 0);
        for name in ["direct map", "vmemmap", "vmalloc", "heap", "stacks", "devices"] {
            assert_eq!(window(&before, name)["executable"], 0, "{name}");
        }
        assert!(number(&window(&before, "kernel image")["executable"]) > 0);
        assert_eq!(window(&before, "elsewhere")["leaves"]["4k"], 0, "the lower half is empty");

        let dimm = guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
        let after: Value = guest.json("ptdump -J");
        for (name, leaves) in [("direct map", 128), ("vmemmap", 2)] {
            let large = |dump: &Value| number(&window(dump, name)["leaves"]["2m"]);
            assert_eq!(large(&after) - large(&before), leaves, "{name}");
        }
        assert_eq!(after["writable_executable"], 0);

        let data = Some("read and write".to_owned());
        let (direct_map, large) = (0xffff_8000_0000_0000, Some(2 << 20));
        assert_eq!(
            walk(&mut guest, direct_map + dimm.base + 4096),
            (Some(dimm.base + 4096), large, data.clone())
        );
        let descriptor = guest.page(dimm.base / 4096).descriptor;
        let memmap = Some(dimm.memmap_start_pfn * 4096);
        assert_eq!(walk(&mut guest, descriptor), (memmap, large, data.clone()));
        let taken: Value = guest.json("alloc 4K --node 1 -J");
        let (phys, leaf, rights) = walk(&mut guest, number(&taken["address"]));
        assert_eq!((leaf, rights), (Some(4096), data));
        let page: Value = guest.json(&format!("page {} -J", phys.expect("it is mapped") / 4096));
        assert_eq!((&page["mapped_at"], &page["resource"]), (&taken["address"], &dimm.id.into()));
        assert_eq!(walk(&mut guest, 0xffff_ffff_8000_0000).2.as_deref(), Some("read and execute"));
        // behind the DIMM, below the main stack, address 0
        for nothing in [direct_map + dimm.base + dimm.size, 0xffff_f100_0000_0000, 0] {
            assert_eq!(walk(&mut guest, nothing), (None, None, None), "{nothing:#x}");
        }
        for line in ["ptwalk 0x800000000000 -J", "ptwalk 18446744073709551616 -J", "ptwalk -J"] {
            let refused: Value = guest.json(line);
            assert!(refused["error"].is_string(), "{line}: {refused}");
        }
    }
}

/// Proves that each command that looks answers `-J` with one line of JSON and nothing else, wherever the flag
/// stands, and that an error takes that form too. Fails when a table, a log line or a second line gets into it.
#[test]
fn one_line_of_json() {
    let mut guest = Plan::new(Machine::Pc).boot();
    guest.plug_online(Dimm { number: 0, size: "100M", node: 1 });
    guest.plug_online(Dimm { number: 1, size: "256M", node: 0 });
    for command in [
        "resources",
        "sections",
        "sections 1",
        "sections 0-40",
        "meminfo",
        "buddyinfo",
        "buddyinfo 1",
        "lsmem",
        "lsmem -a -b",
        "page 0x100000",
        "page 0",
        "map",
        "alloc 1M",
        "verify",
        "free all",
        "check",
        "policy",
        "policy online",
        "stress heap",
        "stress off",
        "fail",
        "fail check 0",
        "acpi",
        "ptwalk 0",
        "ptdump",
        "stat",
        "dmesg",
        "uptime",
        "nonsense",
        "page",
        "help",
        "alloc 1M --node 9",
        "free 7",
        "sections 9-1",
        "page 1 2",
    ] {
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        for line in [format!("{command} -J"), format!("{name} -J {rest}"), format!("{command} --json")] {
            let answer = guest.sh(&line);
            let [json] = &answer[..] else { panic!("`{line}` answered {answer:?}") };
            let value: Value =
                serde_json::from_str(json).unwrap_or_else(|error| panic!("{line}: {error}: {json}"));
            assert!(value.is_object() || value.is_array(), "{line}: {json}");
        }
    }
    guest.assert_sound();
}
