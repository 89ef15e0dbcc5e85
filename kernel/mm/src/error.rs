//! Errors of the memory core for adding, booting and freeing, each with the numbers a person needs to act on it.
//!
//! `Display` is the message for the log and the shell. Neighbours: `hot_add`, `boot` and `allocate` return these; the
//! kernel maps an [`AddError`] to an ACPI `_OST` status code. Errors of removal are in `hot_remove::error`.

use core::fmt;

use crate::addr::{Pfn, PfnRange, PhysAddr, VirtAddr};
use crate::fault_injection::Step;
use crate::info::{MAX_DEVICE_RANGES, PageState, ResourceId};

/// Why a device's memory was not added. The memory core is unchanged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// The device's `_CRS` has no memory range.
    NoRanges,
    /// The device has more ranges than [`MAX_DEVICE_RANGES`].
    TooManyRanges {
        /// Number of ranges.
        ranges: usize,
    },
    /// A range has length 0.
    Empty {
        /// Start of the range.
        base: PhysAddr,
    },
    /// A range ends beyond 2^64.
    Wraps {
        /// Start of the range.
        base: PhysAddr,
        /// Length in bytes.
        size: u64,
    },
    /// A range's start or length is not a multiple of 2 MiB.
    Unaligned {
        /// Start of the range.
        base: PhysAddr,
        /// Length in bytes.
        size: u64,
    },
    /// A range lies (partly) above the physical addresses that the CPU and the virtual layout support.
    BeyondPhysBits {
        /// Start of the range.
        base: PhysAddr,
        /// Length in bytes.
        size: u64,
        /// Supported physical address bits.
        bits: u8,
    },
    /// A range is not inside the hotpluggable memory that SRAT announces.
    OutsideHotpluggable {
        /// The range.
        range: PfnRange,
    },
    /// A range overlaps present memory.
    OverlapsPresent {
        /// The range.
        range: PfnRange,
        /// The resource it overlaps.
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
    /// The range is too small for its own memmap and page tables.
    TooSmall {
        /// The range.
        range: PfnRange,
    },
    /// Frames of a chunk were to be plugged whose memmap is not plugged, or which are plugged, or not whole pieces.
    NotPluggable {
        /// The frames.
        range: PfnRange,
    },
    /// The chunk is being taken out of use.
    GoingOffline {
        /// The chunk's resource.
        resource: ResourceId,
    },
    /// All region slots are in use.
    TooManyResources {
        /// The limit.
        max: usize,
    },
    /// The node table is full.
    TooManyNodes {
        /// The limit.
        max: usize,
    },
    /// A frame does not return the written value: no memory answers at that address.
    NoMemoryBehind {
        /// The frame.
        pfn: Pfn,
    },
    /// Another mapping occupies the range's place in the direct map or the vmemmap.
    MapConflict {
        /// The mapped address.
        at: VirtAddr,
    },
    /// A page table that boot should have populated is missing, or too few pages were reserved for tables. This is a
    /// bug in the memory core, detected before any damage.
    NoTable {
        /// The address whose table is missing.
        at: VirtAddr,
    },
    /// The memory core has not been started.
    NotStarted,
    /// Fault injection failed this step (the shell's `fail`, tests).
    Injected {
        /// The failed step.
        step: Step,
    },
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            AddError::NoRanges => write!(f, "the device has no memory range"),
            AddError::TooManyRanges { ranges } => {
                write!(f, "the device has {ranges} memory ranges, the limit is {MAX_DEVICE_RANGES}")
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
            AddError::OutsideHotpluggable { range } => {
                write!(f, "frames {range} are outside the hotpluggable memory that the firmware announced")
            }
            AddError::OverlapsPresent { range, resource, present } => {
                write!(f, "frames {range} overlap resource {resource} at {present}")
            }
            AddError::OverlapsItself { range, other } => {
                write!(f, "frames {range} and {other} of the same device overlap")
            }
            AddError::TooSmall { range } => {
                write!(f, "frames {range} are too few for their own memmap and page tables")
            }
            AddError::NotPluggable { range } => {
                write!(
                    f,
                    "frames {range} cannot be plugged: their memmap is not plugged, or they are plugged"
                )
            }
            AddError::GoingOffline { resource } => {
                write!(f, "resource {resource} is being taken out of use")
            }
            AddError::TooManyResources { max } => {
                write!(f, "there are already {max} resources, the maximum")
            }
            AddError::TooManyNodes { max } => {
                write!(f, "there are already {max} nodes, the maximum")
            }
            AddError::NoMemoryBehind { pfn } => {
                write!(
                    f,
                    "no memory answers at {} (frame {pfn}): writes to it are lost; the firmware \
                     announced absent or defective memory",
                    pfn.start()
                )
            }
            AddError::MapConflict { at } => write!(f, "address {at} is already mapped"),
            AddError::NoTable { at } => write!(f, "no page table for {at} (a bug of the memory core)"),
            AddError::NotStarted => write!(f, "the memory core is not started"),
            AddError::Injected { step } => write!(f, "fault injected at {step}"),
        }
    }
}

impl core::error::Error for AddError {}

/// Why boot memory was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// Boot memory was taken over before.
    Started,
    /// No range of the memory map can hold its own memmap.
    NoMemory,
    /// More ranges than the fixed-size tables hold.
    TooManyRanges {
        /// The limit.
        max: usize,
    },
    /// Boot ranges overlap or are not in ascending order.
    Disordered {
        /// The range that does not lie above the one before.
        range: PfnRange,
    },
    /// The node table is full.
    TooManyNodes {
        /// The limit.
        max: usize,
    },
    /// No frame is left for a page table.
    NoFrames,
    /// Another mapping occupies a descriptor's place in the vmemmap.
    MapConflict {
        /// The mapped address.
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
            BootError::Started => write!(f, "the memory core is already started"),
            BootError::NoMemory => write!(f, "no range of the memory map can hold its own memmap"),
            BootError::TooManyRanges { max } => write!(f, "the memory map has more than {max} ranges"),
            BootError::Disordered { range } => {
                write!(f, "boot range {range} does not lie above the one before it")
            }
            BootError::TooManyNodes { max } => write!(f, "the firmware names more than {max} nodes"),
            BootError::NoFrames => write!(f, "no frame is left for a page table"),
            BootError::MapConflict { at } => write!(f, "address {at} is already mapped"),
            BootError::OtherTables { root } => {
                write!(f, "the memory core already uses page tables with another root, frame {root}")
            }
        }
    }
}

impl core::error::Error for BootError {}

/// Why a block was not freed. The memory core is unchanged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeError {
    /// No resource contains the frame.
    Absent {
        /// The frame.
        pfn: Pfn,
    },
    /// The frame is not the head of a block.
    NoHead {
        /// The frame.
        pfn: Pfn,
        /// The head of the frame's block.
        head: Pfn,
    },
    /// The block is not allocated.
    NotAllocated {
        /// The frame.
        pfn: Pfn,
        /// Its state.
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
