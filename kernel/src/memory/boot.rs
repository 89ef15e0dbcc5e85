//! Starts the memory core from the loader's information, in two steps: the firmware's tables can be read only after the
//! first, and the second needs SRAT for the node of each range.
//!
//! ```text
//!  BootInfo regions ──> FirmwareMap ──> BootAllocator ──> region for devices ──> [SRAT]
//!  [SRAT] ──> ranges by node ──> heap ──> Memory::boot: a region and a memmap for each range
//! ```
//!
//! Invariants: the memory core learns every frame that the boot allocator has allocated and marks it pinned; no frame is
//! allocated twice. From then on boot memory uses the same code as a DIMM.

use super::{core, devices, heap};
use crate::arch::{cpu, stacks};
use crate::cpus::trampoline::{self, Trampoline};
use ::core::fmt;
use ::core::ops::Range;
use arrayvec::ArrayVec;
use bootloader_api::BootInfo;
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use carapace_acpi::srat::Srat;
use carapace_mm::addr::{NodeId, PAGE_SIZE, PfnRange, PhysAddr, VirtAddr};
use carapace_mm::address_space::{DIRECT_MAP, direct};
use carapace_mm::boot_alloc::{BootAllocator, Owner};
use carapace_mm::error::BootError;
use carapace_mm::firmware_map::{EntryKind, FirmwareMap, MAX_ENTRIES, MapEntry};
use carapace_mm::info::BootRange;
use carapace_mm::machine::{CpuNr, Machine};
use carapace_mm::memory::{BootMemory, MAX_HOTPLUG_RANGES};
use carapace_mm::page_table::{MapError, Mapping};
use log::{info, warn};

/// The size of the heap's general part in bytes: a 64th of memory, within these bounds, and what the AML takes.
const HEAP_BYTES: ::core::ops::RangeInclusive<u64> = 1 << 20..=8 << 20;
/// The AML takes at most this part of memory.
const AML_PART: u64 = 16;

/// The error when the memory core owns no page tables. [`take_over`] hands them over first.
const NO_TABLES: MapError = MapError::OutOfFrames { at: DIRECT_MAP.start };

/// Why the kernel cannot start.
#[derive(Clone, Copy, Debug)]
pub enum StartError {
    /// The loader's direct map is missing or at another address.
    NoDirectMap,
    /// The memory map is unusable.
    Map(carapace_mm::firmware_map::MapError),
    /// Not enough memory for a part of the kernel.
    OutOfMemory(Owner),
    /// An address region cannot be mapped.
    Tables(MapError),
    /// The memory core cannot boot.
    Core(BootError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoDirectMap => {
                write!(f, "the loader did not map physical memory at {}", DIRECT_MAP.start)
            }
            StartError::Map(error) => error.fmt(f),
            StartError::OutOfMemory(owner) => write!(f, "not enough memory for: {owner}"),
            StartError::Tables(error) => error.fmt(f),
            StartError::Core(error) => error.fmt(f),
        }
    }
}

/// The result of the first step.
#[derive(Debug)]
pub struct EarlyMemory {
    map: FirmwareMap,
    frames: BootAllocator,
}

/// Takes memory over from the loader: sorts its map, restricts the direct map to it, and prepares the region for
/// firmware tables and devices.
///
/// # Errors
///
/// See [`StartError`]. The kernel cannot start then.
pub fn take_over(boot: &BootInfo) -> Result<EarlyMemory, StartError> {
    if boot.physical_memory_offset.into_option() != Some(DIRECT_MAP.start.0) {
        return Err(StartError::NoDirectMap);
    }
    let map = FirmwareMap::new(boot.memory_regions.iter().map(entry)).map_err(StartError::Map)?;
    if map.left_out() > 0 {
        warn!("memory map: over {MAX_ENTRIES} ranges, {} frames left out", map.left_out());
    }
    let mut frames = BootAllocator::new(map.ranges(), map.occupied());
    // SAFETY: `cpu::root` reads CR3 and `cpu::features` reads CPUID. The loader, which built the tables, has ended, and
    // its direct map covers them.
    unsafe { core().take_tables(cpu::root(), cpu::features()) };
    // SAFETY: the direct map loses only addresses that are not memory by the firmware's map, to which nothing refers. New
    // tables use free frames: `frames` excludes all occupied ones.
    let sanitized = unsafe {
        core().edit_tables(|tables, machine| tables.sanitize_direct_map(machine, map.ranges(), &mut frames))
    };
    sanitized.unwrap_or(Err(NO_TABLES)).map_err(StartError::Tables)?;
    devices::init(&mut frames).map_err(StartError::Tables)?;
    Ok(EarlyMemory { map, frames })
}

/// Starts the heap and the memory core. `srat` defines nodes and hot-pluggable ranges. Of `cpus` CPUs those beside the
/// first get their stacks and the frames of their first instructions, as far as memory suffices. The heap gets `aml`
/// bytes more, for AML and its objects.
///
/// # Errors
///
/// See [`StartError`]. The kernel cannot start then.
pub fn finish(
    mut early: EarlyMemory,
    srat: Option<&Srat<'_>>,
    cpus: usize,
    aml: usize,
) -> Result<Option<Trampoline>, StartError> {
    start_heap(&mut early, aml)?;
    let trampoline = if cpus > 1 { prepare_cpus(&mut early, cpus) } else { None };
    let ranges = by_node(&early.map, srat);
    let mut hotplug: ArrayVec<PfnRange, MAX_HOTPLUG_RANGES> = ArrayVec::new();
    for range in srat.into_iter().flat_map(Srat::hot_pluggable) {
        match hotplug.try_push(range) {
            Ok(()) => info!("SRAT: pluggable frames {range}"),
            Err(_) => warn!("SRAT: over {MAX_HOTPLUG_RANGES} ranges, {range} left out"),
        }
    }
    let memory = BootMemory {
        root: cpu::root(),
        features: cpu::features(),
        ranges: &ranges,
        occupied: early.map.occupied(),
        hotplug: &hotplug,
    };
    let mut left_out = |range: PfnRange| info!("frames {range} left out: too few for a memmap");
    // SAFETY: the tables are those of `take_over`. The firmware and the loader describe the ranges and what is occupied,
    // and `early` has recorded every frame allocated since. Memory that is added later is named by a device or SRAT, and
    // no device register is mapped there (`hotplug`, `devices::mapped_in`).
    unsafe { core().boot(memory, &mut early.frames, &mut left_out) }.map_err(StartError::Core)?;
    Ok(trampoline)
}

/// Maps stacks for the CPUs from the second to the one before `cpus`, and prepares the frames of their first steps.
/// Nothing is taken for a CPU that cannot have all of it.
fn prepare_cpus(early: &mut EarlyMemory, cpus: usize) -> Option<Trampoline> {
    let low = early.frames.alloc_below(trampoline::LIMIT, trampoline::FRAMES, Owner::Kernel)?;
    for cpu in (1..cpus).map_while(CpuNr::new) {
        if let Err(error) = map_stacks(early, cpu) {
            warn!("no stacks for CPU {} and those after it: {error}", cpu.index());
            break;
        }
        stacks::mapped(cpu.index() + 1);
    }
    // SAFETY: the frames were just taken from unused memory, below the limit, for ever, and `early` makes the core
    // leave them alone; the direct map has all memory of the firmware's map. `finish` runs once.
    Some(unsafe { Trampoline::new(low) })
}

fn map_stacks(early: &mut EarlyMemory, cpu: CpuNr) -> Result<(), StartError> {
    let stacks = stacks::of_other(cpu);
    let pages = |stack: &Range<u64>| (stack.end - stack.start) / PAGE_SIZE;
    let frames = early.frames.alloc_run(stacks.iter().map(pages).sum(), Owner::Stack);
    let mut phys = frames.ok_or(StartError::OutOfMemory(Owner::Stack))?.start.start();
    for stack in stacks {
        let mapping = Mapping::data(VirtAddr(stack.start), phys, pages(&stack)).permanent();
        // SAFETY: the pages are this CPU's alone and nothing is mapped there yet; the frames were just taken from
        // unused memory, as are those of new tables, and `early` makes the core leave them alone.
        let mapped =
            unsafe { core().edit_tables(|tables, machine| tables.map(machine, &mapping, &mut early.frames)) };
        mapped.unwrap_or(Err(NO_TABLES)).map_err(StartError::Tables)?;
        phys = PhysAddr(phys.0 + pages(&stack) * PAGE_SIZE);
    }
    Ok(())
}

/// Converts an entry of the loader's map.
fn entry(region: &MemoryRegion) -> MapEntry {
    let kind = match region.kind {
        MemoryRegionKind::Usable => EntryKind::Usable,
        MemoryRegionKind::Bootloader => EntryKind::Occupied(Owner::Boot),
        // Also kinds that later versions of the loader's interface may add.
        _ => EntryKind::Reserved,
    };
    MapEntry { start: PhysAddr(region.start), end: PhysAddr(region.end), kind }
}

/// The map's ranges, split where the node changes.
fn by_node(map: &FirmwareMap, srat: Option<&Srat<'_>>) -> ArrayVec<BootRange, MAX_ENTRIES> {
    let mut ranges: ArrayVec<BootRange, MAX_ENTRIES> = ArrayVec::new();
    let mut left_out = 0;
    for &range in map.ranges() {
        let mut push = |range: PfnRange, node| {
            if ranges.try_push(BootRange { range, node }).is_err() {
                left_out += range.pages();
            }
        };
        match srat {
            Some(srat) => srat.split(range, &mut push),
            None => push(range, NodeId(0)),
        }
    }
    if left_out > 0 {
        warn!("memory map: over {MAX_ENTRIES} ranges with nodes, {left_out} frames left out");
    }
    ranges
}

/// Maps the heap, without its guard pages, and gives it to the allocator.
fn start_heap(early: &mut EarlyMemory, aml: usize) -> Result<(), StartError> {
    let memory = early.map.pages() * PAGE_SIZE;
    let share = (memory / 64).clamp(*HEAP_BYTES.start(), *HEAP_BYTES.end());
    let aml = (aml as u64).min(memory / AML_PART);
    let general = (share + aml).next_multiple_of(PAGE_SIZE);
    let pages = (general + heap::RESERVE_BYTES) / PAGE_SIZE;
    let frames = early.frames.alloc_run(pages, Owner::Heap);
    let frames = frames.ok_or(StartError::OutOfMemory(Owner::Heap))?;
    let parts = heap::Parts::with(general);
    let mut phys = frames.start.start();
    for (start, bytes) in [parts.general, parts.reserve] {
        let mapping = Mapping::data(start, phys, bytes / PAGE_SIZE).permanent();
        // SAFETY: only the heap uses this region, and nothing is mapped there yet. The frames, and those of new tables,
        // were just allocated from free memory, and `early` reports them to the core as occupied.
        let mapped =
            unsafe { core().edit_tables(|tables, machine| tables.map(machine, &mapping, &mut early.frames)) };
        mapped.unwrap_or(Err(NO_TABLES)).map_err(StartError::Tables)?;
        phys = PhysAddr(phys.0 + bytes);
    }
    // SAFETY: the pages were just mapped, in a region that only the heap uses, to frames just allocated from free memory.
    // `finish` runs once.
    unsafe { heap::init(parts) };
    Ok(())
}

/// Removes the loader's mappings of the lower half (its trampoline). From now on a null pointer faults.
pub fn unmap_lower_half() {
    let root = direct(cpu::root().start());
    // SAFETY: the lower half holds the loader's trampoline and nothing of the kernel: code, stacks, descriptor tables and
    // all regions are in the upper half. Only the first 256 words of the root are written.
    unsafe {
        core().edit_tables(|_, machine| {
            (0..256).for_each(|index| machine.store(root.offset(index * 8), 0));
            machine.flush_all();
        })
    };
}
