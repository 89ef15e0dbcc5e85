//! What the inspecting commands tell, as plain data: field names and units are the interface that
//! programs rely on (`-J`). Numbers are integers, addresses and sizes in bytes, frames as pfn.

use crate::format_size::{ShortSize, Size};
use crate::output::{Column, Row, Text, left, right};
use core::fmt::{self, Display};
use serde::Serialize;

/// Bytes of a page frame.
const PAGE: u64 = 4096;
/// A device's ACPI path, or "boot".
pub type Device = Text<128>;
/// A state, a zone, an owner.
pub type Word = Text<16>;
/// Who holds a frame.
pub type Holder = Text<48>;

const fn pages(count: u64) -> Size {
    Size(count.saturating_mul(PAGE))
}

const fn short(pages: u64) -> ShortSize {
    ShortSize(pages.saturating_mul(PAGE))
}

struct Hex(u64);

impl Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What adding a resource cost.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct AddRow {
    /// Microseconds in the device's AML.
    pub aml_us: u64,
    /// Microseconds for checks, direct map and vmemmap.
    pub map_us: u64,
    /// Microseconds for free blocks and going online.
    pub online_us: u64,
    /// Nanoseconds from the interrupt to the end of `_OST`; 0 where there was none. The rows below are parts.
    pub answer_ns: u64,
    /// All of the firmware's code in that time: its scan of the slots, the device's own, `_OST`.
    pub aml_ns: u64,
    /// The checks.
    pub check_ns: u64,
    /// Direct map and vmemmap.
    pub map_ns: u64,
    /// Free blocks and going online.
    pub online_ns: u64,
    /// Frames taken from memory that was there before.
    pub existing_pages_used: u64,
    /// Bytes of the kernel's heap that are in use since and were not before; 0 where there was no `_OST`.
    pub existing_heap_bytes_used: u64,
    /// Page-table entries written.
    pub entries_written: u64,
    /// Page-table pages made inside the resource.
    pub tables: u64,
    /// Descriptors written: those that the allocator's first groups lie in.
    pub descriptors_written: u64,
}

/// A row of `resources`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct ResourceRow {
    pub id: u32,
    pub device: Device,
    pub base: u64,
    pub size: u64,
    pub node: u32,
    pub zone: Word,
    pub state: Word,
    pub memmap_start_pfn: u64,
    pub memmap_pages: u64,
    pub usable_start_pfn: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
    pub largest_free_pages: u64,
    pub offline_pages: u64,
    pub movable_pages: u64,
    pub pinned_pages: u64,
    /// Whether its device can be removed as far as its content goes: it is no boot memory, and nothing is pinned.
    pub removable: bool,
    /// The first frame that is pinned.
    pub pinned_pfn: Option<u64>,
    /// Who has pinned it.
    pub pinned_by: Option<Holder>,
    pub add: AddRow,
}

impl ResourceRow {
    /// The line below the table about what keeps this resource's device from being removed.
    pub fn write_pinned(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let Some((pfn, by)) = self.pinned_pfn.zip(self.pinned_by) else { return Ok(()) };
        writeln!(out, "resource {} cannot be removed: frame {pfn:#x} is pinned by {by}", self.id)
    }
}

impl ResourceRow {
    /// The lines of `-v`: its frames, and how they are divided.
    pub fn write_frames(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let (first, frames) = (self.base / PAGE, self.size / PAGE);
        let last = (first + frames).saturating_sub(1);
        writeln!(
            out,
            "{}: {frames} frames, {first:#x} to {last:#x}; {first:#x} is {:#x} / 4096",
            self.id, self.base
        )?;
        writeln!(out, "   {} carry its own data, or are pinned since boot", self.memmap_pages)?;
        writeln!(out, "   {} are usable, the first one is {:#x}", self.usable_pages, self.usable_start_pfn)?;
        let (free, movable) = (self.free_pages, self.movable_pages);
        let (pinned, offline) = (self.pinned_pages, self.offline_pages);
        writeln!(out, "   {free} of them free, {movable} movable, {pinned} pinned, {offline} offline")
    }
}

impl Row for ResourceRow {
    const COLUMNS: &'static [Column] = &[
        right("ID"),
        left("DEVICE"),
        right("BASE"),
        right("SIZE"),
        right("NODE"),
        left("ZONE"),
        left("STATE"),
        right("MEMMAP"),
        right("USABLE"),
        right("FREE"),
    ];

    // 80 columns hold a DIMM's row.
    const GAP: usize = 1;

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.id);
        cell(&self.device);
        cell(&Hex(self.base));
        cell(&ShortSize(self.size));
        cell(&self.node);
        cell(&self.zone);
        cell(&self.state);
        cell(&short(self.memmap_pages));
        cell(&short(self.usable_pages));
        cell(&short(self.free_pages));
    }
}

/// A row of `sections`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct SectionRow {
    pub section: u64,
    pub start_pfn: u64,
    pub pages: u64,
    pub present_pages: u64,
    pub memmap_pages: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
    pub node: u32,
    pub state: Word,
    pub resource: u32,
}

impl Row for SectionRow {
    const COLUMNS: &'static [Column] = &[
        right("SECTION"),
        right("START PFN"),
        right("PRESENT"),
        right("MEMMAP"),
        right("USABLE"),
        right("FREE"),
        right("NODE"),
        left("STATE"),
        right("RESOURCE"),
    ];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.section);
        cell(&Hex(self.start_pfn));
        cell(&short(self.present_pages));
        cell(&short(self.memmap_pages));
        cell(&short(self.usable_pages));
        cell(&short(self.free_pages));
        cell(&self.node);
        cell(&self.state);
        cell(&self.resource);
    }
}

/// The sums of `meminfo`, beside its nodes.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct Meminfo {
    pub total_pages: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
    pub offline_pages: u64,
    pub memmap_pages: u64,
    pub page_table_pages: u64,
    pub heap_bytes: u64,
    pub heap_used: u64,
}

/// A line of `meminfo` for people.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SumRow {
    /// What is summed up.
    pub name: &'static str,
    /// Bytes.
    pub bytes: u64,
}

impl Meminfo {
    /// The lines for people.
    pub fn lines(&self) -> [SumRow; 8] {
        [
            ("present", self.total_pages * PAGE),
            ("usable", self.usable_pages * PAGE),
            ("free", self.free_pages * PAGE),
            ("offline", self.offline_pages * PAGE),
            ("memmap and pinned since boot", self.memmap_pages * PAGE),
            ("page tables made at boot", self.page_table_pages * PAGE),
            ("heap", self.heap_bytes),
            ("heap in use", self.heap_used),
        ]
        .map(|(name, bytes)| SumRow { name, bytes })
    }
}

impl Row for SumRow {
    const COLUMNS: &'static [Column] = &[left("MEMORY"), right("SIZE"), right("PAGES")];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.name);
        cell(&Size(self.bytes));
        cell(&self.bytes.div_ceil(PAGE));
    }
}

/// A node of `meminfo`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct NodeRow {
    pub node: u32,
    pub total_pages: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
}

impl Row for NodeRow {
    const COLUMNS: &'static [Column] = &[right("NODE"), right("PRESENT"), right("USABLE"), right("FREE")];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.node);
        cell(&pages(self.total_pages));
        cell(&pages(self.usable_pages));
        cell(&pages(self.free_pages));
    }
}

/// The answer of `page`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct PageRow {
    pub pfn: u64,
    pub phys: u64,
    pub section: u64,
    pub descriptor: u64,
    pub state: Word,
    pub order: Option<u8>,
    pub head_pfn: Option<u64>,
    pub resource: Option<u32>,
    /// The allocation that has it.
    pub allocation: Option<u64>,
    /// Where its block is mapped, for one that an allocation holds.
    pub mapped_at: Option<u64>,
    /// What it is pinned for since boot.
    pub owner: Option<Word>,
    /// Which of its section's frames it is.
    pub section_offset: u64,
    /// Where its descriptor lies; `None` where nothing is mapped there.
    pub descriptor_phys: Option<u64>,
    /// Frames of its block.
    pub block_pages: Option<u64>,
    /// For a frame of the memmap: the first frame whose descriptor it has room for.
    pub describes_pfn: Option<u64>,
}

/// The answer of `alloc`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct AllocRow {
    pub id: u64,
    pub pages: u64,
    pub address: u64,
}

/// The answer of `free`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct FreeRow {
    pub allocations: u64,
    pub pages: u64,
}

/// The answer of `verify`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct VerifyRow {
    pub ok: bool,
    pub pages: u64,
    pub bad_pages: u64,
}

/// The answer of `check`, beside its errors.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct CheckHead {
    pub ok: bool,
    pub checked: u64,
    /// How many things are broken; the answer names the first of them.
    pub broken: u64,
}

/// A run of frames of `map -J`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExtentRow {
    /// The first frame.
    pub start_pfn: u64,
    /// Frames.
    pub pages: u64,
    /// Its node.
    pub node: u32,
    /// Its resource.
    pub resource: u32,
    /// What they are: the picture's words.
    pub kind: &'static str,
}

impl ExtentRow {
    /// Takes `next` into this run if it goes on where this one ends and is alike; else it is the next run.
    pub fn join(&mut self, next: &ExtentRow) -> Joined {
        let goes_on = self.start_pfn.saturating_add(self.pages) == next.start_pfn;
        let alike = (self.node, self.resource, self.kind) == (next.node, next.resource, next.kind);
        if !(goes_on && alike) {
            return Joined::No;
        }
        self.pages += next.pages;
        Joined::Yes
    }
}

mod kernel;
mod lsmem;
mod news;
mod page;
mod session;
mod trial;
mod zones;

pub use kernel::{
    DeviceRow, DumpHead, EventRow, Leaves, LevelRow, Stat, TableRow, Uptime, WalkRow, WindowRow,
};
pub use lsmem::{
    Joined, LSMEM_COLUMNS, LsmemColumns, LsmemLine, LsmemRow, LsmemSummary, Merge, OFFLINE, Removable, Unit,
};
pub use news::{LogRow, NewsRow};
pub use page::{PageNote, PageResource};
pub use session::HistoryRow;
pub use trial::{FailRow, MisuseRow, OfflineRow, OnlineRow, PoisonRow, PolicyRow, StressRow};
pub use zones::{BuddyRow, ORDERS_MAX, buddy_line};

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
