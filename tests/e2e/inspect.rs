//! Commands that look: the page tables, the one line of JSON of each and the schema behind it, and the forms for people.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tests::guest::Dimm;
use tests::schema::*;
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
/// 256 MiB adds 128 leaves of 2 MiB to the direct map and two to the vmemmap, and that addresses translate as the
/// layout says. Fails if a protection, a leaf or a region differs.
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

/// That the answer of `command` is this type: every field of the one is in the other, under its name.
#[track_caller]
fn is_schema<T: Serialize + DeserializeOwned>(guest: &mut Guest, command: &str) {
    let answer: Value = guest.json(&format!("{command} -J"));
    let typed: T =
        serde_json::from_value(answer.clone()).unwrap_or_else(|error| panic!("{command}: {error}"));
    assert_eq!(serde_json::to_value(typed).expect("it was JSON"), answer, "{command}");
}

/// Proves that the kernel's answers follow the schema: each answer is read into its type and written again, with nothing
/// lost or added. Fails if a command adds a field by hand, or names a list that it writes row by row differently.
#[test]
fn answers_are_the_schema() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let guest = &mut guest;
    is_schema::<Alloc>(guest, "alloc 8M --node 1 --pinned");
    is_schema::<Vec<Resource>>(guest, "resources");
    is_schema::<Vec<Section>>(guest, "sections");
    is_schema::<Meminfo>(guest, "meminfo");
    is_schema::<Numa>(guest, "numa");
    is_schema::<Vec<Buddyinfo>>(guest, "buddyinfo");
    is_schema::<Vec<Extent>>(guest, "map");
    for frame in ["0", "1048576", "1049600", "0x200000"] {
        is_schema::<Page>(guest, &format!("page {frame}"));
    }
    is_schema::<Ptwalk>(guest, "ptwalk 0");
    is_schema::<Ptwalk>(guest, "ptwalk 0xffff800100400000");
    is_schema::<Ptdump>(guest, "ptdump");
    is_schema::<Verify>(guest, "verify");
    is_schema::<Free>(guest, "free all");
    is_schema::<Offline>(guest, "offline 33-33");
    is_schema::<Online>(guest, "online 33-33");
    is_schema::<Policy>(guest, "policy");
    is_schema::<Check>(guest, "check");
    is_schema::<Poison>(guest, "poison on");
    is_schema::<Misuse>(guest, "misuse write-freed");
    let check: Check = guest.json("check -J");
    assert_eq!((check.ok, check.errors.len()), (false, 1), "a broken thing is in the list");
    is_schema::<Check>(guest, "check");
    is_schema::<Poison>(guest, "poison off");
    is_schema::<Vec<Fail>>(guest, "fail");
    is_schema::<Fail>(guest, "fail check 0");
    is_schema::<StressHeap>(guest, "stress off");
    is_schema::<Acpi>(guest, "acpi");
    is_schema::<Refusal>(guest, "page x");
    is_schema::<Vec<History<String>>>(guest, "history 3");
    // These two change from one answer to the next, so they are only read.
    let (_, log): (Stat, Dmesg) = (guest.json("stat -J"), guest.json("dmesg -J"));
    assert!(log.lines.iter().any(|line| line.contains("256 MiB at 0x100000000")));
    let _: Uptime = guest.json("uptime -J");
}

/// The lines that a command prints, which fit a terminal.
#[track_caller]
fn lines(guest: &mut Guest, command: &str) -> Vec<String> {
    let lines = guest.sh(command);
    let long = lines.iter().find(|line| line.chars().count() > 80);
    assert_eq!(long, None, "{command}: a line of more than 80 columns");
    lines
}

/// Proves the text that commands print for the proposal's DIMM, in 80 columns: tables with sizes, a frame with every
/// number spelled out, Linux's line of free blocks, and the message for a missing frame. Fails if a column is missing or
/// shifted, or a format differs from Linux's.
#[test]
fn forms_for_people() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let guest = &mut guest;
    let table = lines(guest, "resources");
    assert!(
        table[0].starts_with("ID DEVICE                BASE   SIZE NODE ZONE   STATE  MEMMAP USABLE"),
        "{table:#?}"
    );
    // The last column is as wide as boot memory's figure there, which depends on the window for DIMMs.
    let row = " 1 \\_SB.MHPC.MP00 0x100000000   256M    1 any    online     4M   252M";
    assert_eq!(table[2].strip_prefix(row).map(str::trim_start), Some("252M"), "{table:#?}");
    let table = lines(guest, "sections 1");
    let head = "SECTION  START PFN  PRESENT  MEMMAP  USABLE  FREE  NODE  STATE   RESOURCE";
    let first = "     32   0x100000     128M      4M    124M  124M     1  online         1";
    assert_eq!((&*table[0], &*table[1]), (head, first));
    let expected = [
        "frame       0x100400 (1049600)",
        "address     0x100400000 = 4096 * 1049600",
        "section     32 = 1049600 / 32768; its frame 1024 of 32768",
        "descriptor  0xffffc00004010000 = 0xffffc00000000000 + 64 * 1049600",
        "            lies at 0x100010000, in frame 0x100010 of the memmap",
        "state       free: it can be allocated",
        "block       order 10 (4 MiB) at frame 0x100400",
        "            2^10 = 1024 frames, to 0x1007ff; this one is its head",
        "resource    1: \\_SB.MHPC.MP00, zone any",
        "            frames 0x100000 to 0x10ffff; this is its frame 1024",
    ];
    assert_eq!(lines(guest, "page 1049600"), expected);
    let inside = lines(guest, "page 1049601");
    assert!(inside[7].ends_with("to 0x1007ff; this one is number 1 of them"), "{inside:#?}");
    let absent = lines(guest, "page 0x200000");
    assert_eq!(absent[4], "            is not there: nothing is mapped at that address");
    assert_eq!(absent[5..], ["state       absent: no resource has it", "resource    none"]);
    let address = lines(guest, "page 0x100400000");
    assert!(address[7].ends_with("the frame at address 0x100400000 is 0x100400"), "{address:#?}");
    let buddies: Vec<Buddyinfo> = guest.json("buddyinfo 1 -J");
    let blocks: String = buddies[0].free.iter().map(|blocks| format!("{blocks:>4} ")).collect();
    let orders: String = (0..buddies[0].free.len()).map(|order| format!("{order:>4} ")).collect();
    // As in Linux, with a blank at a line's end; what has no place in 80 columns follows.
    let ([orders, more], [blocks, rest]) = (orders.split_at(55).into(), blocks.split_at(55).into());
    let expected = [orders, blocks, more, rest];
    let heads = ["blocks of order        ", "Node 1, zone      any "];
    let expected: Vec<_> =
        expected.iter().zip(heads.iter().cycle()).map(|(row, head)| [head, *row].concat()).collect();
    assert_eq!(guest.sh("buddyinfo 1"), expected);
    assert_eq!(lines(guest, "ptwalk 16")[..2], ["address   0x10, in no window", "mapped to nothing"]);
    assert_eq!(
        lines(guest, "fail direct-map 2"),
        ["the next 2 operations of kind add will fail at direct-map"]
    );
    let steps = lines(guest, "fail");
    assert!(steps[0].starts_with("OF      STEP"), "{steps:#?}");
    assert!(steps.iter().any(|row| row.split_whitespace().eq(["add", "direct-map", "2"])), "{steps:#?}");
    let acpi = guest.sh("acpi");
    assert!(acpi[0].starts_with("TABLE     ADDRESS  LENGTH  REVISION  NAME"), "{acpi:#?}");
    assert!(acpi.iter().any(|row| row.split_whitespace().eq(["\\_SB.MHPC.MP00", "0x00", "1", "online"])));
    assert!(
        acpi.iter().any(|row| row.split_whitespace().eq(["\\_SB.MHPC.MP01", "0x01", "-", "absent"])),
        "{acpi:#?}"
    );
}
