//! The interface's words, and that the longest rows fit their buffer.

use super::*;
use crate::output::{Format, list, object};
use serde_json::{Value, json};
use std::string::String;

fn resource(n: u64, device: &str) -> ResourceRow {
    ResourceRow {
        id: n as u32,
        device: Device::of(&device),
        base: n,
        size: n,
        node: n as u32,
        zone: Word::of(&"movable"),
        state: Word::of(&"offline"),
        memmap_start_pfn: n,
        memmap_pages: n,
        usable_start_pfn: n,
        usable_pages: n,
        free_pages: n,
        largest_free_pages: n,
        offline_pages: n,
        movable_pages: n,
        pinned_pages: n,
        removable: false,
        pinned_pfn: Some(n),
        pinned_by: Some(Holder::of(&device)),
        add: AddRow {
            aml_us: n,
            map_us: n,
            online_us: n,
            answer_ns: n,
            aml_ns: n,
            check_ns: n,
            map_ns: n,
            online_ns: n,
            existing_pages_used: n,
            existing_heap_bytes_used: n,
            entries_written: n,
            tables: n,
            descriptors_written: n,
        },
    }
}

fn read<R: Row>(row: &R) -> Value {
    let mut out = String::new();
    list(&mut out, Format::Json, &mut |tell: &mut dyn FnMut(&R)| tell(row)).unwrap();
    serde_json::from_str::<Value>(&out).unwrap()[0].clone()
}

// `resources -J` and `sections -J` have the interface's fields under their names, an ACPI path comes
// back from JSON with one backslash, and rows of the largest numbers and longest names fit.
#[test]
fn fields() {
    let value = read(&resource(u64::MAX, "\\_SB.MHPC.MP00"));
    assert_eq!(value["device"], "\\_SB.MHPC.MP00");
    for name in
        "id device base size node zone state memmap_start_pfn memmap_pages usable_start_pfn usable_pages \
                 free_pages largest_free_pages add"
            .split_whitespace()
    {
        assert!(value.get(name).is_some(), "{name}");
    }
    for name in ["aml_us", "map_us", "online_us", "existing_pages_used"] {
        assert_eq!(value["add"][name], u64::MAX, "{name}");
    }
    read(&resource(u64::MAX, &"\\\"".repeat(100)));
    read(&resource(u64::MAX, &"\u{1}".repeat(200)));
    let section = SectionRow {
        section: 32,
        start_pfn: 1 << 20,
        pages: 32768,
        present_pages: 32768,
        memmap_pages: 1024,
        usable_pages: 31744,
        free_pages: 31744,
        node: 1,
        state: Word::of(&"online"),
        resource: 1,
    };
    let expected = json!({"section": 32, "start_pfn": 1048576, "pages": 32768, "present_pages": 32768,
        "memmap_pages": 1024, "usable_pages": 31744, "free_pages": 31744, "node": 1, "state": "online", "resource": 1});
    assert_eq!(read(&section), expected);
}

// The widest rows that memory can make: within 80 columns.
#[test]
fn section_table() {
    let row = SectionRow {
        section: 131071,
        start_pfn: 131071 * 32768,
        pages: 32768,
        present_pages: 32767,
        memmap_pages: 25701,
        usable_pages: 25701,
        free_pages: 25701,
        node: 1023,
        state: Word::of(&"offline"),
        resource: 99999999,
    };
    let mut out = String::new();
    list(&mut out, Format::Table, &mut |tell: &mut dyn FnMut(&SectionRow)| tell(&row)).unwrap();
    assert!(out.contains("128M  100.4M  100.4M  100.4M"), "{out}");
    assert!(out.lines().all(|line| line.len() <= 80), "{out}");
}

// The proposal's DIMM in `resources`' table: sizes for people, within 80 columns.
#[test]
fn resource_table() {
    let mut row = resource(1, "\\_SB.MHPC.MP00");
    row.base = 1 << 32;
    (row.size, row.memmap_pages, row.usable_pages, row.free_pages) = (256 << 20, 1024, 64512, 64512);
    let mut out = String::new();
    list(&mut out, Format::Table, &mut |tell: &mut dyn FnMut(&ResourceRow)| tell(&row)).unwrap();
    assert_eq!(
        out,
        "ID DEVICE                BASE SIZE NODE ZONE    STATE   MEMMAP USABLE FREE\n \
         1 \\_SB.MHPC.MP00 0x100000000 256M    1 movable offline     4M   252M 252M\n"
    );
}

// Orders without number are null, as the interface says, and both forms name the frame.
#[test]
fn page() {
    let absent = PageRow {
        pfn: 5,
        phys: 20480,
        section: 0,
        descriptor: 1 << 63,
        state: Word::of(&"absent"),
        order: None,
        head_pfn: None,
        resource: None,
        allocation: None,
        mapped_at: None,
        owner: None,
        section_offset: 5,
        descriptor_phys: None,
        block_pages: None,
        describes_pfn: None,
    };
    let mut out = String::new();
    object(&mut out, &absent).unwrap();
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&value["order"], &value["head_pfn"], &value["state"]),
        (&Value::Null, &Value::Null, &json!("absent"))
    );
    assert_eq!(value["descriptor"], 1u64 << 63);
    out.clear();
    let note = PageNote { vmemmap: 0xffff_c000_0000_0000, resource: None };
    absent.write(&note, &mut out).unwrap();
    assert!(
        out.contains("is not there")
            && out.ends_with("state       absent: no resource has it\nresource    none\n")
    );
    out.clear();
    PageRow { order: Some(255), head_pfn: Some(4), ..absent }.write(&note, &mut out).unwrap();
    assert!(out.contains("this one is number 1 of them"), "{out}");
}

// The proposal's first usable frame, spelled out: every number follows from the frame's, in 80 columns.
#[test]
fn page_spelled_out() {
    let row = PageRow {
        pfn: 1_049_600,
        phys: 0x1_0040_0000,
        section: 32,
        descriptor: 0xffff_c000_0401_0000,
        state: Word::of(&"free"),
        order: Some(10),
        head_pfn: Some(1_049_600),
        resource: Some(1),
        allocation: None,
        mapped_at: None,
        owner: None,
        section_offset: 1024,
        descriptor_phys: Some(0x1_0001_0000),
        block_pages: Some(1024),
        describes_pfn: None,
    };
    let device = Device::of(&"\\_SB.MHPC.MP00");
    let resource = PageResource { device, start: 0x10_0000, end: 0x11_0000, zone: Word::of(&"any") };
    let note = PageNote { vmemmap: 0xffff_c000_0000_0000, resource: Some(resource) };
    let mut out = String::new();
    row.write(&note, &mut out).unwrap();
    assert_eq!(
        out,
        "frame       0x100400 (1049600)\n\
         address     0x100400000 = 4096 * 1049600\n\
         section     32 = 1049600 / 32768; its frame 1024 of 32768\n\
         descriptor  0xffffc00004010000 = 0xffffc00000000000 + 64 * 1049600\n\
         \x20           lies at 0x100010000, in frame 0x100010 of the memmap\n\
         state       free: it can be allocated\n\
         block       order 10 (4 MiB) at frame 0x100400\n\
         \x20           2^10 = 1024 frames, to 0x1007ff; this one is its head\n\
         resource    1: \\_SB.MHPC.MP00, zone any\n\
         \x20           frames 0x100000 to 0x10ffff; this is its frame 1024\n"
    );
    assert!(out.lines().all(|line| line.len() <= 80));
}

// map -J: blocks that follow each other and are alike become one run.
#[test]
fn extents() {
    let block = |start_pfn, kind| ExtentRow { start_pfn, pages: 4, node: 0, resource: 1, kind };
    let mut run = block(8, "free");
    assert_eq!(run.join(&block(12, "free")), Joined::Yes);
    assert_eq!((run.start_pfn, run.pages), (8, 8));
    assert_eq!(run.join(&block(16, "used")), Joined::No);
    assert_eq!(run.join(&block(20, "free")), Joined::No);
    assert_eq!(run.join(&ExtentRow { resource: 2, ..block(16, "free") }), Joined::No);
    let value = serde_json::to_value(run).unwrap();
    assert_eq!(value, json!({"start_pfn": 8, "pages": 8, "node": 0, "resource": 1, "kind": "free"}));
}
