//! Frames for the time before the memory core runs.

use core::fmt;

use crate::addr::PfnRange;

/// What holds frames since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// The firmware's tables and data.
    Firmware,
    /// The kernel image and what the loader left.
    Boot,
    /// The kernel's heap.
    Heap,
    /// Kernel stacks.
    Stack,
    /// Page tables.
    PageTables,
    /// The memmap of a boot range.
    Memmap,
}

impl Owner {
    /// All of them.
    pub const ALL: [Owner; 6] =
        [Owner::Firmware, Owner::Boot, Owner::Heap, Owner::Stack, Owner::PageTables, Owner::Memmap];
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Owner::Firmware => "firmware",
            Owner::Boot => "boot",
            Owner::Heap => "heap",
            Owner::Stack => "stack",
            Owner::PageTables => "page tables",
            Owner::Memmap => "memmap",
        })
    }
}

/// Frames that are taken since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// The frames.
    pub range: PfnRange,
    /// What holds them.
    pub owner: Owner,
}

/// The allocator of the time before the memory core runs.
#[derive(Debug)]
pub struct EarlyFrames;

impl EarlyFrames {
    /// What was given out.
    pub fn taken(&self) -> impl Iterator<Item = Occupied> + '_ {
        core::iter::empty()
    }
}

impl crate::page_table::FrameSource for EarlyFrames {
    fn take(&mut self) -> Option<crate::addr::Pfn> {
        None
    }
    fn give_back(&mut self, _frame: crate::addr::Pfn) {}
}
