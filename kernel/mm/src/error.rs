//! Why the memory core refuses: each reason with the numbers a person needs to act on it.
//!
//! `Display` is the sentence for the log and the shell. Neighbours: `hotplug` and `memory` return
//! them, the kernel maps an [`AddError`] to a code for `_OST`. What removal refuses is in `remove::error`.

use core::fmt;

use crate::addr::{Pfn, PfnRange, PhysAddr, VirtAddr};
use crate::fault_injection::Step;
use crate::info::{MAX_DEVICE_RANGES, PageState, ResourceId};

/// Why a device's memory was not added. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// The device names no range at all.
    NoRanges,
    /// The device names more ranges than [`MAX_DEVICE_RANGES`].
    TooManyRanges {
        /// How many it names.
        ranges: usize,
    },
    /// A range has no bytes.
    Empty {
        /// Where it starts.
        base: PhysAddr,
    },
    /// A range ends beyond the last address there is.
    Wraps {
        /// Where it starts.
        base: PhysAddr,
        /// Its bytes.
        size: u64,
    },
    /// A range does not start or end at a multiple of 2 MiB.
    Unaligned {
        /// Where it starts.
        base: PhysAddr,
        /// Its bytes.
        size: u64,
    },
    /// A range lies (partly) above the physical addresses that CPU and virtual layout have.
    BeyondPhysBits {
        /// Where it starts.
        base: PhysAddr,
        /// Its bytes.
        size: u64,
        /// The physical address bits that count.
        bits: u8,
    },
    /// A range is not inside the memory that the firmware says may be hot-plugged.
    OutsideWindow {
        /// The range.
        range: PfnRange,
    },
    /// A range overlaps memory that is present.
    OverlapsPresent {
        /// The range.
        range: PfnRange,
        /// The resource that is there.
        resource: ResourceId,
        /// That resource's range.
        present: PfnRange,
    },
    /// Two ranges of the device overlap.
    OverlapsItself {
        /// One of them.
        range: PfnRange,
        /// The other.
        other: PfnRange,
    },
    /// The range has no room for its own memmap and tables.
    NoRoom {
        /// The range.
        range: PfnRange,
    },
    /// All numbers of resources are taken.
    TooManyResources {
        /// How many there can be.
        max: usize,
    },
    /// All numbers of nodes are taken.
    TooManyNodes {
        /// How many there can be.
        max: usize,
    },
    /// A frame of the range does not keep what is written to it: no memory answers there.
    NoMemoryBehind {
        /// The frame.
        pfn: Pfn,
    },
    /// Something is mapped where the range's frames or descriptors belong.
    MapConflict {
        /// Where.
        at: VirtAddr,
    },
    /// The page tables that boot should have made for this place are missing or too few pages were
    /// kept for them: a bug of the memory core, found before it did harm.
    NoTable {
        /// Where the table would be needed.
        at: VirtAddr,
    },
    /// The memory core has not been started.
    NotStarted,
    /// The step was told to fail (`fail`, tests).
    Injected {
        /// The step.
        step: Step,
    },
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            AddError::NoRanges => write!(f, "the device has no memory range"),
            AddError::TooManyRanges { ranges } => {
                write!(f, "the device has {ranges} memory ranges, at most {MAX_DEVICE_RANGES} are taken")
            }
            AddError::Empty { base } => write!(f, "the range at {base} has length 0"),
            AddError::Wraps { base, size } => {
                write!(f, "the range at {base} of {size:#x} bytes ends beyond the last address")
            }
            AddError::Unaligned { base, size } => {
                write!(f, "the range at {base} of {size:#x} bytes is not aligned to 2 MiB")
            }
            AddError::BeyondPhysBits { base, size, bits } => {
                write!(f, "the range at {base} of {size:#x} bytes is beyond the {bits} physical address bits")
            }
            AddError::OutsideWindow { range } => {
                write!(f, "frames {range} are not inside the hot-pluggable memory the firmware announced")
            }
            AddError::OverlapsPresent { range, resource, present } => {
                write!(f, "frames {range} overlap resource {resource}, which has {present}")
            }
            AddError::OverlapsItself { range, other } => {
                write!(f, "frames {range} and {other} of the same device overlap")
            }
            AddError::NoRoom { range } => {
                write!(f, "frames {range} are too few for their own memmap and tables")
            }
            AddError::TooManyResources { max } => {
                write!(f, "there are {max} resources already, which is the most there can be")
            }
            AddError::TooManyNodes { max } => {
                write!(f, "there are {max} nodes already, which is the most there can be")
            }
            AddError::NoMemoryBehind { pfn } => {
                write!(
                    f,
                    "no memory answers at {} (frame {pfn}): what is written there is lost; the firmware \
                     announces memory that is not there, or that is broken",
                    pfn.start()
                )
            }
            AddError::MapConflict { at } => write!(f, "something is mapped at {at} already"),
            AddError::NoTable { at } => write!(f, "no page table can be had for {at}"),
            AddError::NotStarted => write!(f, "the memory core is not started"),
            AddError::Injected { step } => write!(f, "step {step} was told to fail"),
        }
    }
}

impl core::error::Error for AddError {}

/// Why boot memory could not be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The memory core was started before.
    Started,
    /// No range of the memory map has room for its own memmap.
    NoMemory,
    /// More ranges than the fixed tables hold.
    TooManyRanges {
        /// How many there can be.
        max: usize,
    },
    /// Boot ranges overlap or are not in ascending order.
    Disordered {
        /// The range that does not lie above the one before.
        range: PfnRange,
    },
    /// All numbers of nodes are taken.
    TooManyNodes {
        /// How many there can be.
        max: usize,
    },
    /// No frame is left for a page table.
    NoFrames,
    /// Something is mapped where a descriptor belongs.
    MapConflict {
        /// Where.
        at: VirtAddr,
    },
    /// Page tables with another root were taken over before.
    OtherTables {
        /// That root.
        root: Pfn,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            BootError::Started => write!(f, "the memory core was started before"),
            BootError::NoMemory => write!(f, "no range of the memory map has room for its own memmap"),
            BootError::TooManyRanges { max } => write!(f, "the memory map has more than {max} ranges"),
            BootError::Disordered { range } => {
                write!(f, "boot range {range} does not lie above the one before it")
            }
            BootError::TooManyNodes { max } => write!(f, "the firmware names more than {max} nodes"),
            BootError::NoFrames => write!(f, "no frame is left for a page table"),
            BootError::MapConflict { at } => write!(f, "something is mapped at {at} already"),
            BootError::OtherTables { root } => {
                write!(f, "the memory core has the page tables of another root already, frame {root}")
            }
        }
    }
}

impl core::error::Error for BootError {}

/// Why a block was not freed. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeError {
    /// No resource has the frame.
    Absent {
        /// The frame.
        pfn: Pfn,
    },
    /// The frame is no head of a block.
    NoHead {
        /// The frame.
        pfn: Pfn,
        /// The head of the block it is in.
        head: Pfn,
    },
    /// The frame's block is not an allocated one.
    NotAllocated {
        /// The frame.
        pfn: Pfn,
        /// What it is.
        state: PageState,
    },
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            FreeError::Absent { pfn } => write!(f, "frame {pfn} is absent"),
            FreeError::NoHead { pfn, head } => write!(f, "frame {pfn} is inside the block at {head}"),
            FreeError::NotAllocated { pfn, state } => write!(f, "frame {pfn} is {state}, not allocated"),
        }
    }
}

impl core::error::Error for FreeError {}
