//! The memory core's access to this machine: words of virtual memory, and TLB flushes.
//!
//! The memory core has no `unsafe` block: it accesses memory only through this module.
//!
//! Invariant: the memory core owns the only [`KernelMachine`] and passes it only addresses of its own regions
//! (`carapace_mm::address_space`): page tables and headers in the direct map, descriptors in the vmemmap, allocations in
//! the ALLOC region, the fixmap. No Rust reference points there, so no write invalidates a borrow.

use core::sync::atomic::{AtomicU64, Ordering};

use carapace_mm::addr::VirtAddr;
use carapace_mm::machine::{CpuNr, Machine};
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr4, Cr4Flags};

/// The running machine.
#[derive(Debug)]
pub struct KernelMachine(());

impl KernelMachine {
    /// The machine.
    ///
    /// # Safety
    ///
    /// Safe code that has it can write to any address. Give it to one memory core only, and keep no references into that
    /// core's regions.
    pub const unsafe fn new() -> KernelMachine {
        KernelMachine(())
    }
}

// SAFETY: each function fulfils its contract with atomic or whole-page accesses. One CPU runs, so a flush on it is a
// flush on every CPU. Only [`KernelMachine::new`], which is unsafe, makes a value.
unsafe impl Machine for KernelMachine {
    #[inline(always)]
    fn load(&self, at: VirtAddr) -> u64 {
        word(at).load(Ordering::Acquire)
    }

    #[inline(always)]
    fn store(&self, at: VirtAddr, value: u64) {
        word(at).store(value, Ordering::Release);
    }

    #[inline(always)]
    fn fetch_xor(&self, at: VirtAddr, bits: u64) -> u64 {
        word(at).fetch_xor(bits, Ordering::SeqCst)
    }

    #[inline(always)]
    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64 {
        word(at).fetch_and(bits, Ordering::SeqCst)
    }

    fn fill_page(&self, at: VirtAddr, word: u64) {
        debug_assert!(at.0.is_multiple_of(carapace_mm::addr::PAGE_SIZE));
        // SAFETY: the 512 words are one page of a region that the memory core owns, to which no Rust reference points.
        // The calling convention guarantees a clear direction flag.
        unsafe {
            core::arch::asm!("rep stosq", inout("rcx") 512u64 => _, inout("rdi") at.0 => _, in("rax") word,
                options(nostack, preserves_flags));
        }
    }

    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        let bytes = pages * carapace_mm::addr::PAGE_SIZE;
        debug_assert!(from.0.abs_diff(to.0) >= bytes);
        // SAFETY: aligned whole pages of regions that the memory core owns, which do not overlap and to which no Rust
        // reference points. The core owns them during the copy, so no other code writes to them.
        unsafe {
            core::ptr::copy_nonoverlapping(from.0 as *const u64, to.0 as *mut u64, (bytes / 8) as usize)
        }
    }

    fn flush(&self, pages: &[VirtAddr]) {
        pages.iter().for_each(|&at| self.flush_local(at));
    }

    fn flush_local(&self, at: VirtAddr) {
        tlb::flush(x86_64::VirtAddr::new_truncate(at.0));
    }

    fn fence_all(&self) {
        core::sync::atomic::fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn fence_light(&self) {
        // `fence_all` makes each CPU execute a barrier wherever it is: here the compiler must keep the order.
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn cpu(&self) -> CpuNr {
        CpuNr::FIRST
    }

    fn flush_all(&self) {
        let flags = Cr4::read();
        if !flags.contains(Cr4Flags::PAGE_GLOBAL) {
            // Without global translations reloading CR3 drops all (SDM vol. 3 section 4.10.4.1).
            tlb::flush_all();
            return;
        }
        // SAFETY: toggling PGE drops all translations, including global ones and paging-structure caches (same section),
        // and changes no mapping.
        unsafe { Cr4::write(flags - Cr4Flags::PAGE_GLOBAL) };
        // SAFETY: restores the flags just read.
        unsafe { Cr4::write(flags) };
    }
}

/// The word at `at`.
#[inline(always)]
fn word<'a>(at: VirtAddr) -> &'a AtomicU64 {
    debug_assert!(at.0.is_multiple_of(8));
    // SAFETY: by the module's invariant `at` is an aligned word of a region that the memory core owns, to which no other
    // kind of Rust reference points, so all accesses are atomic. The callers, all above, drop the reference after one
    // access. An unmapped address faults without accessing memory, and the fault's report names the region.
    unsafe { AtomicU64::from_ptr(at.0 as *mut u64) }
}
