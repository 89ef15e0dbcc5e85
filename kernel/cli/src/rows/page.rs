//! `page` for people: every number of a frame, with how it comes about.

use super::{Device, PAGE, PageRow, Word, pages};
use core::fmt;

/// What `page` tells beside its row.
#[derive(Clone, Copy, Debug)]
pub struct PageNote {
    /// The first address of the vmemmap.
    pub vmemmap: u64,
    /// Its resource.
    pub resource: Option<PageResource>,
}

/// The resource of a frame.
#[derive(Clone, Copy, Debug)]
pub struct PageResource {
    /// Its device.
    pub device: Device,
    /// Its first frame.
    pub start: u64,
    /// The frame behind its last.
    pub end: u64,
    /// Its zone.
    pub zone: Word,
}

/// Frames of a section.
const SECTION: u64 = 32768;
/// Descriptors in a frame of the memmap.
const DESCRIPTORS: u64 = 64;

/// What a state of a frame means.
fn means(state: &str) -> &'static str {
    match state {
        "free" => "it can be allocated",
        "movable" => "allocated, and can be moved to another frame",
        "pinned" => "in use, and stays where it is",
        "offline" => "present, but not to be allocated",
        "memmap" => "descriptors, header or page tables of its resource",
        _ => "no resource has it",
    }
}

impl PageRow {
    /// Writes the answer for people.
    pub fn write(&self, note: &PageNote, out: &mut dyn fmt::Write) -> fmt::Result {
        let (pfn, section, offset) = (self.pfn, self.section, self.section_offset);
        writeln!(out, "frame       {pfn:#x} ({pfn})")?;
        writeln!(out, "address     {:#x} = 4096 * {pfn}", self.phys)?;
        writeln!(out, "section     {section} = {pfn} / {SECTION}; its frame {offset} of {SECTION}")?;
        writeln!(out, "descriptor  {:#x} = {:#x} + 64 * {pfn}", self.descriptor, note.vmemmap)?;
        match self.descriptor_phys {
            Some(at) => {
                writeln!(out, "            lies at {at:#x}, in frame {:#x} of the memmap", at / PAGE)?
            }
            None => writeln!(out, "            is not there: nothing is mapped at that address")?,
        }
        writeln!(out, "state       {}: {}", self.state, means(self.state.as_str()))?;
        if let Some(first) = self.describes_pfn {
            let last = first.saturating_add(DESCRIPTORS - 1);
            writeln!(out, "            has room for the descriptors of frames {first:#x} to {last:#x}")?;
        }
        if let Some((order, head)) = self.order.zip(self.head_pfn) {
            let (size, frames) = (pages(1 << order.min(51)), self.block_pages.unwrap_or(0));
            writeln!(out, "block       order {order} ({size}) at frame {head:#x}")?;
            let last = head.saturating_add(frames.saturating_sub(1));
            write!(out, "            2^{order} = {frames} frames, to {last:#x}; this one is ")?;
            match pfn.saturating_sub(head) {
                0 => writeln!(out, "its head")?,
                number => writeln!(out, "number {number} of them")?,
            }
        }
        if let Some(at) = self.mapped_at {
            writeln!(out, "mapped      its block at {at:#x}")?;
        }
        if let Some(allocation) = self.allocation {
            writeln!(out, "held by     allocation {allocation}")?;
        }
        if let Some(owner) = self.owner {
            writeln!(out, "held by     {owner}, since boot")?;
        }
        match (self.resource, note.resource) {
            (Some(id), Some(of)) => {
                let (start, last) = (of.start, of.end.saturating_sub(1));
                writeln!(out, "resource    {id}: {}, zone {}", of.device, of.zone)?;
                let number = pfn.saturating_sub(start);
                writeln!(out, "            frames {start:#x} to {last:#x}; this is its frame {number}")
            }
            (Some(id), None) => writeln!(out, "resource    {id}"),
            (None, _) => writeln!(out, "resource    none"),
        }
    }
}
