//! Every row of the schema fits the buffer that it is written to, however long its texts and numbers are.

use super::*;
use crate::editor::LINE_MAX;
use carapace_schema::*;
use serde_json::Value;
use std::string::String;

fn read(row: &impl Serialize) -> Value {
    let mut out = String::new();
    object(&mut out, row).unwrap();
    serde_json::from_str(&out).unwrap()
}

fn resource(n: u64, device: &str) -> Resource {
    Resource {
        id: n as u32,
        device: Text::of(&device),
        base: n,
        size: n,
        node: n as u32,
        zone: Text::of(&device),
        state: Text::of(&device),
        memmap_start_pfn: n,
        memmap_pages: n,
        usable_start_pfn: n,
        usable_pages: n,
        free_pages: n,
        largest_free_pages: n,
        offline_pages: n,
        unplugged_pages: n,
        movable_pages: n,
        pinned_pages: n,
        removable: false,
        pinned_pfn: Some(n),
        pinned_by: Some(Text::of(&device)),
        add: Add {
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
            frames_written: n,
            large_frames_written: n,
        },
    }
}

// Proves that rows of the largest numbers and of texts whose every byte is escaped are written whole, and that an ACPI
// path comes back from JSON with one backslash.
#[test]
fn longest_rows() {
    assert_eq!(read(&resource(u64::MAX, "\\_SB.MHPC.MP00"))["device"], "\\_SB.MHPC.MP00");
    let bad = "\u{1}".repeat(200);
    assert_eq!(read(&resource(u64::MAX, &bad))["add"]["descriptors_written"], u64::MAX);
    // The reasons are the kernel's own words, at worst with a path's backslashes.
    let why = "\\".repeat(200);
    let device = AcpiDevice {
        device: Text::of(&bad),
        uid: Text::of(&bad),
        state: Text::of(&why),
        eject_refused: Some(Text::of(&why)),
        resources: [u32::MAX; 16].into(),
    };
    assert_eq!(read(&device)["resources"][15], u32::MAX);
    let buddy = Buddyinfo { resource: 1, node: 1, zone: Word::of(&bad), free: [u64::MAX; ORDERS_MAX].into() };
    assert_eq!(read(&buddy)["free"][ORDERS_MAX - 1], u64::MAX);
    let line = "\"".repeat(LINE_MAX);
    assert_eq!(read(&History { number: u64::MAX, line: &line })["line"], line);
    assert!(read(&Finding::of(&bad)).is_string());
}

// Proves that a list streamed beside its sums is read as the whole answer.
#[test]
fn streamed() {
    let leaves = Leaves { small: 3, large: 2, huge: 1 };
    let window = Word::of(&"vmemmap");
    let row = PtdumpWindow { window, start: 1 << 63, leaves, writable_executable: 0, executable: 4 };
    let head = PtdumpOf { writable_executable: 0, leaves, windows: Streamed };
    let mut out = String::new();
    object_with(&mut out, "windows", &mut |tell: &mut dyn FnMut(&PtdumpWindow)| tell(&row), &mut || head)
        .unwrap();
    let whole: PtdumpOf<[PtdumpWindow; 1]> = serde_json::from_str(&out).unwrap();
    assert_eq!(whole, PtdumpOf { writable_executable: 0, leaves, windows: [row] });
}
