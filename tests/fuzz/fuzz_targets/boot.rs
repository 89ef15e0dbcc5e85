//! What QEMU hands to the boot shim, of any bytes: start_info, the memory map, the command line.
//!
//! ```text
//!  bytes 0 to 55: start_info        then 24 bytes an entry of the memory map        all of them: a command line
//! ```
#![no_main]

use boot::command_line;
use boot::frames::{Frames, Occupied};
use boot::memory_map::MemoryMap;
use boot::range::{PAGE, PhysRange};
use boot::start_info::{RawMapEntry, RawStartInfo};
use libfuzzer_sys::fuzz_target;

/// Where the shim and the kernel's file lie, as QEMU puts them.
const OCCUPIED: Occupied = Occupied {
    shim: PhysRange::new(0x10_0000, 0x12_0000),
    trampoline: PhysRange::new(0x10_1000, 0x10_2000),
    module: PhysRange::new(0x800_0000, 0x812_3456),
};

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn start_info(bytes: &[u8]) -> Option<RawStartInfo> {
    Some(RawStartInfo {
        magic: word(bytes, 0)?,
        version: word(bytes, 4)?,
        flags: word(bytes, 8)?,
        nr_modules: word(bytes, 12)?,
        modlist_paddr: long(bytes, 16)?,
        cmdline_paddr: long(bytes, 24)?,
        rsdp_paddr: long(bytes, 32)?,
        memmap_paddr: long(bytes, 40)?,
        memmap_entries: word(bytes, 48)?,
        reserved: word(bytes, 52)?,
    })
}

fn map_entry(bytes: &[u8]) -> Option<RawMapEntry> {
    let (addr, size) = (long(bytes, 0)?, long(bytes, 8)?);
    Some(RawMapEntry { addr, size, kind: word(bytes, 16)?, reserved: word(bytes, 20)? })
}

/// Whole frames, ascending, apart.
fn orderly(ranges: &[PhysRange]) {
    assert!(ranges.iter().all(|range| !range.is_empty()));
    assert!(ranges.iter().all(|range| range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE)));
    assert!(ranges.windows(2).all(|two| two[0].end < two[1].start));
}

fuzz_target!(|input: &[u8]| {
    let _checked = start_info(input).map(|raw| raw.check());
    let _tables = command_line::tables(input);
    let entries = input.get(56..).unwrap_or_default().chunks_exact(24).filter_map(map_entry);
    let Ok(map) = MemoryMap::new(entries) else { return };
    orderly(map.usable());
    orderly(map.mapped());
    assert!(map.usable().iter().all(|usable| map.mapped().iter().any(|mapped| mapped.contains(*usable))));
    // SAFETY: the map is made up, and so are the frames: nothing here reads or writes them.
    let Ok(mut frames) = (unsafe { Frames::new(&map, OCCUPIED) }) else { return };
    for pages in [1, 3, 600] {
        let Some(taken) = frames.take(pages).map(|taken| taken.range()) else { break };
        assert_eq!(taken.size(), pages * PAGE);
        assert!(map.usable().iter().any(|usable| usable.contains(taken)));
        for kept in [OCCUPIED.shim, OCCUPIED.trampoline, OCCUPIED.module] {
            assert!(taken.intersection(kept).is_empty());
        }
    }
    if let Ok(regions) = frames.regions(&map) {
        assert!(regions.iter().all(|region| region.start < region.end));
    }
});
