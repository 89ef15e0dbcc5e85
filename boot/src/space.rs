//! The kernel's address space, built in frames that the shim's identity mapping reaches.

use crate::physical;
use boot::error::BootError;
use boot::frames::{Frames, Taken};
use boot::kernel_file::Rights;
use boot::range::{PAGE, PhysRange};
use x86_64::structures::paging::mapper::{MapToError, Mapper};
use x86_64::structures::paging::{
    FrameAllocator, OffsetPageTable, Page, PageSize, PageTable, PageTableFlags as Flags, PhysFrame, Size2MiB,
    Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

/// Page tables under construction.
pub struct Space {
    root: PhysRange,
    table: OffsetPageTable<'static>,
}

/// Whether a mapping stays across loads of CR3.
#[derive(Clone, Copy)]
pub enum Lifetime {
    /// The kernel's own: global.
    Kernel,
    /// Removed by the kernel.
    Trampoline,
}

/// Gives table frames to the mapper.
struct Source<'a>(&'a mut Frames);

// SAFETY: `Frames` hands out each frame once, and none in use.
unsafe impl FrameAllocator<Size4KiB> for Source<'_> {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let taken = self.0.take(1)?;
        Some(PhysFrame::containing_address(PhysAddr::new_truncate(taken.range().start)))
    }
}

impl Space {
    /// An empty space.
    pub fn new(frames: &mut Frames) -> Result<Space, BootError> {
        let root = take(frames, "page tables", 1)?;
        let range = root.range();
        let bytes = physical::fresh(root);
        // SAFETY: one zeroed page, aligned as a frame is, is an empty page table; the reference is
        // the only one, since `bytes` ends here.
        let level_4 = unsafe { &mut *bytes.as_mut_ptr().cast::<PageTable>() };
        // SAFETY: the identity mapping (offset 0) reaches every table: all frames are below 4 GiB.
        let table = unsafe { OffsetPageTable::new(level_4, VirtAddr::zero()) };
        Ok(Space { root: range, table })
    }

    /// The level-4 table's physical address.
    pub fn root(&self) -> u64 {
        self.root.start
    }

    /// Maps `range` (whole frames) at `virt` with leaves of 4 KiB.
    pub fn map(
        &mut self,
        what: &'static str,
        frames: &mut Frames,
        (virt, range): (u64, PhysRange),
        rights: Rights,
        lifetime: Lifetime,
    ) -> Result<(), BootError> {
        let flags = flags(rights, lifetime);
        for offset in (0..range.size()).step_by(PAGE as usize) {
            self.leaf::<Size4KiB>(what, frames, virt + offset, range.start + offset, flags)?;
        }
        Ok(())
    }

    /// Maps `range` (whole frames) at `base` + its physical address, with leaves of 2 MiB where one fits and 4 KiB elsewhere. No larger leaf: tables may then be
    /// shared with memory that is added beside it.
    pub fn map_direct(
        &mut self,
        base: u64,
        frames: &mut Frames,
        range: PhysRange,
        rights: Rights,
    ) -> Result<(), BootError> {
        let what = "the physical-memory mapping";
        let flags = flags(rights, Lifetime::Kernel);
        let mut at = range.start;
        while at < range.end {
            let virt = base.wrapping_add(at);
            let large = Size2MiB::SIZE;
            if at.is_multiple_of(large) && virt.is_multiple_of(large) && range.end - at >= large {
                self.leaf::<Size2MiB>(what, frames, virt, at, flags)?;
                at += large;
            } else {
                self.leaf::<Size4KiB>(what, frames, virt, at, flags)?;
                at += PAGE;
            }
        }
        Ok(())
    }

    fn leaf<S: PageSize>(
        &mut self,
        what: &'static str,
        frames: &mut Frames,
        virt: u64,
        phys: u64,
        flags: Flags,
    ) -> Result<(), BootError>
    where
        OffsetPageTable<'static>: Mapper<S>,
    {
        let twice = BootError::MappedTwice { what, at: virt };
        let page = VirtAddr::try_new(virt)
            .ok()
            .and_then(|at| Page::<S>::from_start_address(at).ok())
            .ok_or(twice)?;
        let frame = PhysAddr::try_new(phys)
            .ok()
            .and_then(|at| PhysFrame::from_start_address(at).ok())
            .ok_or(twice)?;
        let parents = Flags::PRESENT | Flags::WRITABLE;
        // SAFETY: these tables are not in use, so no mapping changes under anybody. The kernel is
        // given each frame once, but for the direct map, which `bootloader_api` defines to alias.
        let mapped =
            unsafe { self.table.map_to_with_table_flags(page, frame, flags, parents, &mut Source(frames)) };
        match mapped {
            Ok(flush) => {
                flush.ignore(); // the tables are not in use
                Ok(())
            }
            Err(MapToError::FrameAllocationFailed) => {
                Err(BootError::OutOfMemory { what: "page tables", bytes: PAGE })
            }
            Err(MapToError::ParentEntryHugePage | MapToError::PageAlreadyMapped(_)) => Err(twice),
        }
    }
}

/// Takes `pages` frames in a row.
pub fn take(frames: &mut Frames, what: &'static str, pages: u64) -> Result<Taken, BootError> {
    frames.take(pages).ok_or(BootError::OutOfMemory { what, bytes: pages.saturating_mul(PAGE) })
}

fn flags(rights: Rights, lifetime: Lifetime) -> Flags {
    let rights = match rights {
        Rights::Read => Flags::NO_EXECUTE,
        Rights::Execute => Flags::empty(),
        Rights::Write => Flags::NO_EXECUTE | Flags::WRITABLE,
    };
    let lifetime = match lifetime {
        Lifetime::Kernel => Flags::GLOBAL,
        Lifetime::Trampoline => Flags::empty(),
    };
    Flags::PRESENT | rights | lifetime
}
