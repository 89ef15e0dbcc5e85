//! The devices window: firmware tables and device registers, mapped on demand and for ever.
//!
//! ```text
//!  DEVICES  [ RSDP page ][ FADT.. ][ DSDT ........ ][ local APIC ][ IO APIC ] ...   next free page -> ]
//! ```
//!
//! Why not the direct map: it holds memory that is present and nothing else, so that a stray access to
//! an absent DIMM faults instead of reading an empty bus.
//!
//! Invariants: the window's page tables are made whole at boot ([`WINDOW_PAGES`]), so that mapping
//! later (AML that names a new register) takes no frame from anyone; a page range asked for twice is
//! mapped once; nothing is unmapped. RAM that the memory core manages is refused, and what is mapped here is
//! not added as memory (`hotplug`): two mappings of one frame with different owners would break every
//! argument made in `machine`.

use super::core;
use crate::sync::{Mutex, Rank};
use ::core::fmt;
use arrayvec::ArrayVec;
use carapace_mm::addr::{MAX_PHYS_BITS, PAGE_SIZE, Pfn, PfnRange, PhysAddr, VirtAddr};
use carapace_mm::address_space::DEVICES;
use carapace_mm::page_table::{FrameSource, LeafSize, MapError, Mapping, NoFrames, Rights};

/// The window's size in pages: 16 MiB, eight lowest tables made at boot.
pub const WINDOW_PAGES: u64 = 4096;
/// How many separate ranges can be mapped.
const MAX_MAPPINGS: usize = 128;

/// How the CPU may cache what is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Ordinary memory: firmware tables.
    Memory,
    /// Device registers: every access reaches the device, in order.
    Device,
}

/// Why a range could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceMapError {
    /// The range is empty or wraps around the end of physical memory.
    BadRange,
    /// Some of it is RAM that the memory core manages.
    Ram(Pfn),
    /// The window, or its list of ranges, is full.
    WindowFull,
    /// The window is asked for before it is set up.
    TooEarly,
}

impl fmt::Display for DeviceMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceMapError::BadRange => {
                f.write_str("the range is empty or leaves the physical address space")
            }
            DeviceMapError::Ram(pfn) => write!(f, "frame {pfn} is RAM, not a device or a firmware table"),
            DeviceMapError::WindowFull => f.write_str("the window for devices is full"),
            DeviceMapError::TooEarly => f.write_str("the window for devices is not set up yet"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct DeviceRange {
    frames: PfnRange,
    caching: Caching,
    at: VirtAddr,
}

#[derive(Debug)]
struct DeviceWindow {
    /// Pages of the window given out.
    used: u64,
    mapped: ArrayVec<DeviceRange, MAX_MAPPINGS>,
}

static WINDOW: Mutex<Option<DeviceWindow>> = Mutex::new(Rank::DeviceWindow, None);

/// Makes the window's page tables, from `frames`. To be called once, after the memory core took over the loader's
/// tables.
///
/// # Errors
///
/// What `frames` could not give; nothing works without the window, so the caller ends.
pub fn init(frames: &mut dyn FrameSource) -> Result<(), MapError> {
    // SAFETY: the tables are for a window that is this module's alone, and nothing is mapped there; the frames are
    // of boot memory and free (`frames` is the caller's allocator).
    let prepared = unsafe {
        core().edit_tables(|tables, machine| {
            tables.populate_range(machine, DEVICES.start, WINDOW_PAGES, frames)
        })
    };
    prepared.unwrap_or(Err(MapError::OutOfFrames { at: DEVICES.start }))?;
    *WINDOW.lock() = Some(DeviceWindow { used: 0, mapped: ArrayVec::new() });
    Ok(())
}

/// Maps `bytes` bytes of physical memory from `start` on, for ever, and tells where.
///
/// # Errors
///
/// See [`DeviceMapError`]; nothing is mapped then.
pub fn map(start: PhysAddr, bytes: u64, caching: Caching) -> Result<VirtAddr, DeviceMapError> {
    let end = start.0.checked_add(bytes).filter(|&end| bytes > 0 && end <= 1 << MAX_PHYS_BITS);
    let end = end.ok_or(DeviceMapError::BadRange)?;
    let frames = PfnRange::new(start.pfn(), Pfn(end.div_ceil(PAGE_SIZE)));
    let within = start.0 % PAGE_SIZE;
    if let Some(pfn) = first_ram(frames) {
        return Err(DeviceMapError::Ram(pfn));
    }
    let mut window = WINDOW.lock();
    let window = window.as_mut().ok_or(DeviceMapError::TooEarly)?;
    let known = window.mapped.iter().find(|m| m.caching == caching && m.frames.contains_range(frames));
    if let Some(known) = known {
        let pages = frames.start.0 - known.frames.start.0;
        return Ok(known.at.offset(pages * PAGE_SIZE + within));
    }
    if frames.pages() > WINDOW_PAGES - window.used || window.mapped.is_full() {
        return Err(DeviceMapError::WindowFull);
    }
    let at = DEVICES.start.offset(window.used * PAGE_SIZE);
    let caching_in_table = match caching {
        Caching::Memory => carapace_mm::page_table::Caching::Memory,
        Caching::Device => carapace_mm::page_table::Caching::Device,
    };
    let mapping = Mapping::data(at, frames.start.start(), frames.pages())
        .largest(LeafSize::K4)
        .with(Rights::Data, caching_in_table);
    // The tables are there since boot, so the only failure left is one of this module's arithmetic.
    // SAFETY: the pages are the next unused ones of a window that is this module's alone, and the frames are none of
    // the core's: `first_ram` found none now, and hotplug adds none that is mapped here (`mapped_in`). No table is new.
    let mapped =
        unsafe { core().edit_tables(|tables, machine| tables.map(machine, &mapping, &mut NoFrames)) };
    mapped.and_then(Result::ok).ok_or(DeviceMapError::WindowFull)?;
    window.used += frames.pages();
    window.mapped.push(DeviceRange { frames, caching, at });
    Ok(at.offset(within))
}

/// The frames of the window's mappings that lie in `frames`, the first such run: a firmware table, registers, or
/// what AML said were some. They must not become memory.
pub fn mapped_in(frames: PfnRange) -> Option<PfnRange> {
    let window = WINDOW.lock();
    let mapped = window.as_ref()?.mapped.iter().map(|mapping| mapping.frames.intersection(frames));
    mapped.filter(|part| !part.is_empty()).min_by_key(|part| part.start)
}

/// The first frame of `frames` that the memory core manages. A range is at most the window's size, so
/// the walk is short.
fn first_ram(frames: PfnRange) -> Option<Pfn> {
    let frames = PfnRange::of(frames.start, frames.pages().min(WINDOW_PAGES + 1));
    (frames.start.0..frames.end.0).map(Pfn).find(|&pfn| core().resource_of(pfn).is_some())
}
