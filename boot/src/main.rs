//! The PVH shim: QEMU starts it (`-kernel`); it loads the kernel (`-initrd`) and passes it a
//! `bootloader_api::BootInfo`. It is independent of memory hotplug.
//!
//! ```text
//! entry (32-bit) -> start info, memory map -> kernel file -> address space -> switch
//! ```
//!
//! # What a kernel gets
//! - An ELF64 x86-64 executable with a section `.bootloader-config` (macro `entry_point!`), each
//!   segment mapped in 4 KiB pages with its own rights; a segment that is writable and executable
//!   is refused. `PT_GNU_RELRO` is honoured. Position-independent kernels are placed and relocated.
//! - The mappings of its `BootloaderConfig`, `FixedAddress` or `Dynamic`: stack (the page at the
//!   address is the unmapped guard, the stack starts one page above), BootInfo, image, physical
//!   memory. Not supported, and refused: recursive page table, ASLR.
//! - The physical-memory mapping covers RAM and ACPI data of the memory map (e820 kinds 1, 3 and 4,
//!   rounded outward to 4 KiB) and nothing else: no device, no hole, no reserved range. It is
//!   not executable, and writable except for the image's read-only pages; global, with leaves of
//!   2 MiB and 4 KiB. The kernel must map the firmware's other tables (the RSDP) itself.
//! - The lower half holds one page: the trampoline with the code that jumped and the descriptor
//!   table (GDT) in use. A kernel clears level-4 entries 0 to 255 once it has its own GDT.
//! - EFER.NXE and CR0.WP on; CR4 as PVH gives it plus PAE: no PGE. Interrupts off, no IDT: an
//!   exception before the kernel has one resets the machine.
//! - Memory regions: `Usable`; `Bootloader` for occupied memory (page tables, image, stack,
//!   BootInfo, trampoline, the kernel's file at physical address `kernel_addr`, `kernel_len`);
//!   `UnknownBios` with the e820 kind for everything else. No framebuffer, and no command line:
//!   its options, which replace the firmware's ACPI tables and make a memory map of pieces, are the shim's
//!   ([`command_line`]).
//!
//! # What a kernel must do
//! Write 0 to CMOS RAM byte 0x72 (port 0x70 <- 0x72, port 0x71 <- 0) once it is up. Otherwise the
//! shim treats the fourth reset in a row as a kernel that cannot start, see [`entry`].
//!
//! # Exit statuses (isa-debug-exit at port 0xf4; in QEMU only, other machines stop)
//! 35 no kernel module; 37 not a usable ELF64 kernel; 39 the CPU lacks a feature; 41 not enough
//! memory; 43 anything else about the loader's input or the command line; 45 restarted too often.

// On the host (lints, documentation) with std: a dependency's features may have brought it in.
#![cfg_attr(target_os = "none", no_std)]
#![no_main]

mod console;
mod entry;
mod load;
mod physical;
mod space;

use boot::command_line::{self, MAX_LENGTH};
use boot::error::BootError;
use boot::frames::{Frames, Occupied};
use boot::memory_map::MemoryMap;
use boot::range::PhysRange;
use boot::start_info::{RawMapEntry, RawModule, RawStartInfo, StartInfoError};
use load::Start;

// SAFETY: link.ld defines the four symbols; only their addresses are taken, so their type does not matter.
unsafe extern "C" {
    static __shim_start: u8;
    static __shim_end: u8;
    static __trampoline_start: u8;
    static __trampoline_end: u8;
}

/// The shim's main function. The entry code passes the address that it got in ebx.
// SAFETY: no other symbol has this name; the entry code calls it as it is declared.
#[unsafe(no_mangle)]
extern "C" fn pvh_main(start_info: u64) -> ! {
    match prepare(start_info) {
        // SAFETY: `prepare` built these tables, with the trampoline page mapped where it is, and
        // checked the kernel's file; the stack's end is a multiple of 4 KiB.
        Ok(start) => unsafe { entry::switch(start.info, start.root, start.stack, start.entry) },
        Err(error) => {
            console::line(format_args!("error: {error}"));
            console::exit(error.status())
        }
    }
}

/// Reads the PVH loader's structures and loads the kernel.
fn prepare(start_info: u64) -> Result<Start, BootError> {
    let out_of_reach = |what, at| BootError::from(StartInfoError::OutOfReach { what, at });
    let raw = physical::read::<RawStartInfo>(start_info).ok_or(out_of_reach("the start info", start_info))?;
    let info = raw.check()?;
    let line = info.command_line.map(physical::string::<MAX_LENGTH>).unwrap_or_default();
    let tables = command_line::tables(&line)?;
    let entries = physical::entries::<RawMapEntry>(info.memory_map);
    let entries = entries.chain(tables.map(RawMapEntry::tables));
    let map = MemoryMap::new(entries.chain(command_line::holes(&line)?.map(RawMapEntry::reserved)))?;
    let module = physical::entries::<RawModule>(info.modules).next().filter(|module| module.size != 0);
    let module = module.ok_or(BootError::NoKernel)?;
    let file = PhysRange::sized(module.paddr, module.size).ok_or(out_of_reach("the module", module.paddr))?;

    let shim = PhysRange::new((&raw const __shim_start) as u64, (&raw const __shim_end) as u64);
    let trampoline =
        PhysRange::new((&raw const __trampoline_start) as u64, (&raw const __trampoline_end) as u64);
    let in_ram = map.usable().iter().any(|range| range.contains(file.rounded_outward()));
    if !in_ram || file.start == 0 || !file.intersection(shim).is_empty() {
        return Err(StartInfoError::ModuleNotInRam(file).into());
    }
    if !boot::start_info::READABLE.contains(file) {
        return Err(out_of_reach("the module", file.start));
    }
    // SAFETY: the map is the one that the loader passed, once. In use are the shim, the module, and the loader's
    // structures, which were copied above and are not read any more.
    let frames = unsafe { Frames::new(&map, Occupied { shim, trampoline, module: file }) }?;
    let rsdp = tables.map(|range| range.start).or(info.rsdp);
    // SAFETY: checked above to be RAM below 4 GiB, not at 0, apart from the shim; `frames` gives out nothing of it, so
    // nothing writes there.
    let bytes = unsafe { physical::file(file) };
    let start = load::load(file, bytes, &map, frames, trampoline, rsdp)?;
    let mib = map.usable_bytes() >> 20;
    console::line(format_args!("kernel of {} KiB loaded, {mib} MiB of memory", file.size() >> 10));
    Ok(start)
}
