//! The address region for devices: firmware tables and device registers, mapped on demand and never unmapped.
//!
//! ```text
//!  DEVICES  [ RSDP page ][ FADT.. ][ DSDT ........ ][ local APIC ][ IO APIC ] ...   next free page -> ]
//! ```
//!
//! The direct map cannot serve: it maps only present memory, so that a stray access to an absent DIMM faults.
//!
//! Invariants:
//! * All page tables of the region are built at boot ([`REGION_PAGES`]), so a later mapping, such as AML naming a new
//!   register, allocates no frame.
//! * A range requested twice is mapped once. Nothing is unmapped.
//! * RAM of the memory core is refused, and frames mapped here are never added as memory (`hotplug`): the safety of
//!   `machine` relies on one owner per frame.

use super::core;
use crate::sync::{Mutex, Rank};
use ::core::fmt;
use arrayvec::ArrayVec;
use carapace_mm::addr::{MAX_PHYS_BITS, PAGE_SIZE, Pfn, PfnRange, PhysAddr, VirtAddr};
use carapace_mm::address_space::DEVICES;
use carapace_mm::page_table::{FrameSource, LeafSize, MapError, Mapping, NoFrames, Rights};

/// The region's size in pages: 16 MiB, with eight lowest-level tables built at boot.
pub const REGION_PAGES: u64 = 4096;
/// The most separate ranges.
const MAX_MAPPINGS: usize = 128;

/// How the CPU caches a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Ordinary memory: firmware tables.
    Memory,
    /// Device registers: uncached.
    Device,
}

/// Why a range could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceMapError {
    /// The range is empty or wraps around the end of physical memory.
    BadRange,
    /// Some of it is RAM of the memory core.
    Ram(Pfn),
    /// The region, or its list of ranges, is full.
    RegionFull,
    /// The region is not set up yet.
    TooEarly,
}

impl fmt::Display for DeviceMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceMapError::BadRange => {
                f.write_str("the range is empty or leaves the physical address space")
            }
            DeviceMapError::Ram(pfn) => write!(f, "frame {pfn} is RAM, not a device or a firmware table"),
            DeviceMapError::RegionFull => f.write_str("the address region for devices is full"),
            DeviceMapError::TooEarly => f.write_str("the address region for devices is not set up yet"),
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
struct DeviceRegion {
    /// Used pages of the region.
    used: u64,
    mapped: ArrayVec<DeviceRange, MAX_MAPPINGS>,
}

static REGION: Mutex<Option<DeviceRegion>> = Mutex::new(Rank::DeviceRegion, None);

/// Builds the region's page tables with frames from `frames`. Call it once, after the memory core has taken over the
/// loader's tables.
///
/// # Errors
///
/// When `frames` runs out. The kernel cannot start then.
pub fn init(frames: &mut dyn FrameSource) -> Result<(), MapError> {
    // SAFETY: only this module uses the region, and nothing is mapped there. `frames` returns free frames of boot memory.
    let prepared = unsafe {
        core().edit_tables(|tables, machine| {
            tables.populate_range(machine, DEVICES.start, REGION_PAGES, frames)
        })
    };
    prepared.unwrap_or(Err(MapError::OutOfFrames { at: DEVICES.start }))?;
    *REGION.lock() = Some(DeviceRegion { used: 0, mapped: ArrayVec::new() });
    Ok(())
}

/// Maps `bytes` bytes of physical memory from `start` on permanently. Returns the virtual address.
///
/// # Errors
///
/// See [`DeviceMapError`]. Nothing is mapped then.
pub fn map(start: PhysAddr, bytes: u64, caching: Caching) -> Result<VirtAddr, DeviceMapError> {
    let end = start.0.checked_add(bytes).filter(|&end| bytes > 0 && end <= 1 << MAX_PHYS_BITS);
    let end = end.ok_or(DeviceMapError::BadRange)?;
    let frames = PfnRange::new(start.pfn(), Pfn(end.div_ceil(PAGE_SIZE)));
    let within = start.0 % PAGE_SIZE;
    if let Some(pfn) = first_ram(frames) {
        return Err(DeviceMapError::Ram(pfn));
    }
    let mut region = REGION.lock();
    let region = region.as_mut().ok_or(DeviceMapError::TooEarly)?;
    let known = region.mapped.iter().find(|m| m.caching == caching && m.frames.contains_range(frames));
    if let Some(known) = known {
        let pages = frames.start.0 - known.frames.start.0;
        return Ok(known.at.offset(pages * PAGE_SIZE + within));
    }
    if frames.pages() > REGION_PAGES - region.used || region.mapped.is_full() {
        return Err(DeviceMapError::RegionFull);
    }
    let at = DEVICES.start.offset(region.used * PAGE_SIZE);
    let caching_in_table = match caching {
        Caching::Memory => carapace_mm::page_table::Caching::Memory,
        Caching::Device => carapace_mm::page_table::Caching::Device,
    };
    let mapping = Mapping::data(at, frames.start.start(), frames.pages())
        .largest(LeafSize::K4)
        .with(Rights::Data, caching_in_table);
    // The tables exist since boot, so this can fail only by an arithmetic error in this module.
    // SAFETY: the pages are the next unused ones of a region that only this module uses. No frame belongs to the core:
    // `first_ram` found none, and hotplug adds no frame that is mapped here (`mapped_in`). No table is allocated.
    let mapped =
        unsafe { core().edit_tables(|tables, machine| tables.map(machine, &mapping, &mut NoFrames)) };
    mapped.and_then(Result::ok).ok_or(DeviceMapError::RegionFull)?;
    region.used += frames.pages();
    region.mapped.push(DeviceRange { frames, caching, at });
    Ok(at.offset(within))
}

/// The first part of `frames` that is mapped here, as a firmware table or as registers. It must not be added as memory.
pub fn mapped_in(frames: PfnRange) -> Option<PfnRange> {
    let region = REGION.lock();
    let mapped = region.as_ref()?.mapped.iter().map(|mapping| mapping.frames.intersection(frames));
    mapped.filter(|part| !part.is_empty()).min_by_key(|part| part.start)
}

/// The first frame of `frames` that belongs to the memory core. The walk is short: a mappable range is not larger than
/// the region.
fn first_ram(frames: PfnRange) -> Option<Pfn> {
    let frames = PfnRange::of(frames.start, frames.pages().min(REGION_PAGES + 1));
    (frames.start.0..frames.end.0).map(Pfn).find(|&pfn| core().resource_of(pfn).is_some())
}
