//! Loads the kernel's file and builds the address space that it requests.

use crate::physical;
use crate::space::{Lifetime, Space, take};
use boot::bulk;
use boot::error::BootError;
use boot::frames::{Frames, MAX_REGIONS, Taken};
use boot::kernel_file::{KernelFile, Linkage, Rights};
use boot::memory_map::MemoryMap;
use boot::placement::{Placement, PlacementError};
use boot::range::{PAGE, PhysRange};
use boot::relocate::relocate;
use bootloader_api::BootInfo;
use bootloader_api::config::Mapping;
use bootloader_api::info::MemoryRegion;
use core::slice;

/// The arguments of the switch to the kernel.
pub struct Start {
    /// Physical address of the level-4 table.
    pub root: u64,
    /// Virtual address of the stack's end.
    pub stack: u64,
    /// Virtual address of the entry.
    pub entry: u64,
    /// Virtual address of the BootInfo.
    pub info: u64,
}

/// The virtual addresses of the kernel's parts.
struct Places {
    /// Added to the file's addresses.
    offset: u64,
    /// The lowest byte of the stack; the guard page is below.
    stack: u64,
    stack_size: u64,
    direct_map: Option<u64>,
    info: u64,
}

/// The offset of the memory regions behind the BootInfo.
const REGIONS_AT: usize = size_of::<BootInfo>().next_multiple_of(align_of::<MemoryRegion>());
/// The size of both.
const INFO_SIZE: u64 =
    (REGIONS_AT + MAX_REGIONS * size_of::<MemoryRegion>()).next_multiple_of(PAGE as usize) as u64;
const _: () = assert!(align_of::<BootInfo>() <= PAGE as usize);

/// Loads the kernel in `module`. `trampoline` is the page with the code that switches to it.
pub fn load(
    module: PhysRange,
    bytes: &[u8],
    map: &MemoryMap,
    mut frames: Frames,
    trampoline: PhysRange,
    rsdp: Option<u64>,
) -> Result<Start, BootError> {
    let kernel = KernelFile::parse(bytes)?;
    let places = place(&kernel, map)?;
    let frames = &mut frames;
    let mut space = Space::new(frames)?;
    let image = load_image(&kernel, places.offset, frames, &mut space)?;

    let stack = take(frames, "the kernel's stack", places.stack_size / PAGE)?;
    let stack_range = stack.range();
    physical::fresh(stack); // zeroes the stack
    space.map("the kernel's stack", frames, (places.stack, stack_range), Rights::Write, Lifetime::Kernel)?;

    if let Some(base) = places.direct_map {
        for range in map.mapped() {
            for part in [range.before(image), range.after(image)] {
                space.map_direct(base, frames, part, Rights::Write)?;
            }
        }
        map_image_again(&kernel, image, base, frames, &mut space)?;
    }
    let identity = (trampoline.start, trampoline);
    space.map("the trampoline", frames, identity, Rights::Execute, Lifetime::Trampoline)?;

    let page = take(frames, "the boot info", INFO_SIZE / PAGE)?;
    space.map("the boot info", frames, (places.info, page.range()), Rights::Write, Lifetime::Kernel)?;
    // No frame is allocated from here on, so the memory map is final.
    let tls = kernel.tls.map(|mut tls| {
        tls.start_addr = tls.start_addr.wrapping_add(places.offset);
        tls
    });
    write_info(page, places.info, map, frames, |info| {
        info.physical_memory_offset = places.direct_map.into();
        info.rsdp_addr = rsdp.into();
        info.tls_template = tls.into();
        info.kernel_addr = module.start;
        info.kernel_len = module.size();
        info.kernel_image_offset = places.offset;
        info.kernel_stack_bottom = places.stack;
        info.kernel_stack_len = places.stack_size;
    })?;
    Ok(Start {
        root: space.root(),
        stack: places.stack + places.stack_size,
        entry: kernel.entry.wrapping_add(places.offset),
        info: places.info,
    })
}

/// Chooses all virtual addresses: first the fixed ones, then the rest.
fn place(kernel: &KernelFile<'_>, map: &MemoryMap) -> Result<Places, BootError> {
    let asked = &kernel.config.mappings;
    let stack_name = "the kernel's stack";
    let map_name = "the physical-memory mapping";
    let no_stack = PlacementError::Unsupported("a kernel stack of this size");
    let stack_size = kernel.config.kernel_stack_size.checked_next_multiple_of(PAGE).ok_or(no_stack)?;
    let guarded = stack_size.checked_add(PAGE).filter(|size| *size > PAGE).ok_or(no_stack)?;
    let physical_end = map.mapped().last().map_or(0, |range| range.end);
    let (low, high) = kernel.span();

    let mut placement = Placement::new(asked)?;
    placement.reserve(stack_name, asked.kernel_stack, guarded)?;
    placement.reserve("the boot info", asked.boot_info, INFO_SIZE)?;
    if let Some(mapping) = asked.physical_memory {
        placement.reserve(map_name, mapping, physical_end)?;
    }
    let offset = match kernel.linkage {
        Linkage::Fixed => {
            placement.reserve("the kernel image", Mapping::FixedAddress(low), high - low)?;
            0
        }
        Linkage::Relocatable => {
            placement.place("the kernel image", asked.kernel_base, high - low)?.wrapping_sub(low)
        }
    };
    let direct_map = match asked.physical_memory {
        Some(mapping) => Some(placement.place(map_name, mapping, physical_end)?),
        None => None,
    };
    Ok(Places {
        offset,
        stack: placement.place(stack_name, asked.kernel_stack, guarded)? + PAGE,
        stack_size,
        direct_map,
        info: placement.place("the boot info", asked.boot_info, INFO_SIZE)?,
    })
}

/// Copies the segments to fresh frames, relocates them there, and maps each page with its rights.
fn load_image(
    kernel: &KernelFile<'_>,
    offset: u64,
    frames: &mut Frames,
    space: &mut Space,
) -> Result<PhysRange, BootError> {
    let (low, high) = kernel.span();
    let image = take(frames, "the kernel image", (high - low) / PAGE)?;
    let range = image.range();
    let bytes = physical::used(image);
    let mut filled = 0;
    for segment in &kernel.segments {
        let at = (segment.start - low) as usize;
        let end = at + segment.data.len();
        // `KernelFile` guarantees that segments ascend, that data is not longer than its segment, and no segment outside
        if let Some(gap) = bytes.get_mut(filled..at) {
            bulk::zero(gap);
        }
        if let Some(place) = bytes.get_mut(at..end) {
            bulk::copy(place, segment.data);
        }
        filled = end;
    }
    if let Some(rest) = bytes.get_mut(filled..) {
        bulk::zero(rest);
    }
    if let Some((table, size)) = kernel.relocations {
        relocate(bytes, low, table, size, offset)?;
    }
    for segment in &kernel.segments {
        for page in (segment.first_page()..segment.end_page()).step_by(PAGE as usize) {
            let phys = range.start + (page - low);
            let frame = PhysRange::new(phys, phys + PAGE);
            let rights = kernel.page_rights(segment, page);
            let virt = page.wrapping_add(offset);
            space.map("the kernel image", frames, (virt, frame), rights, Lifetime::Kernel)?;
        }
    }
    Ok(range)
}

/// Maps the image's frames in the physical-memory mapping. Pages that are read-only in the image are read-only there too.
fn map_image_again(
    kernel: &KernelFile<'_>,
    image: PhysRange,
    base: u64,
    frames: &mut Frames,
    space: &mut Space,
) -> Result<(), BootError> {
    let (low, _) = kernel.span();
    for phys in (image.start..image.end).step_by(PAGE as usize) {
        let page = low + (phys - image.start);
        let segment =
            kernel.segments.iter().find(|segment| (segment.first_page()..segment.end_page()).contains(&page));
        let rights = match segment.map(|segment| kernel.page_rights(segment, page)) {
            Some(Rights::Read | Rights::Execute) => Rights::Read,
            Some(Rights::Write) | None => Rights::Write,
        };
        space.map_direct(base, frames, PhysRange::new(phys, phys + PAGE), rights)?;
    }
    Ok(())
}

/// Writes the BootInfo and the memory regions to `page`, with pointers valid for the kernel, which maps it at `virt`.
fn write_info(
    page: Taken,
    virt: u64,
    map: &MemoryMap,
    frames: &Frames,
    fill: impl FnOnce(&mut BootInfo),
) -> Result<(), BootError> {
    let bytes = physical::fresh(page);
    if bytes.len() < INFO_SIZE as usize {
        return Err(BootError::OutOfMemory { what: "the boot info", bytes: INFO_SIZE });
    }
    let regions = frames.regions(map)?;
    let list = bytes.as_mut_ptr().wrapping_add(REGIONS_AT).cast::<MemoryRegion>();
    // SAFETY: there are `INFO_SIZE` bytes, checked above, which hold MAX_REGIONS after REGIONS_AT, aligned for them
    // since frames are; the source is a list of its own.
    unsafe { list.copy_from_nonoverlapping(regions.as_ptr(), regions.len()) };
    let list = (virt + REGIONS_AT as u64) as *mut MemoryRegion;
    // SAFETY: only the slice's address is passed on; it is first accessed by the kernel, in
    // whose page tables the regions just written are mapped there, writable, and its alone.
    let list: &'static mut [MemoryRegion] = unsafe { slice::from_raw_parts_mut(list, regions.len()) };
    let mut info = BootInfo::new(list.into());
    fill(&mut info);
    // SAFETY: a frame is aligned for a BootInfo, and the `INFO_SIZE` bytes hold it; `bytes` is not used any more.
    unsafe { bytes.as_mut_ptr().cast::<BootInfo>().write(info) };
    Ok(())
}
