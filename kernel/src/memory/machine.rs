//! The kernel's side of the memory core's narrow door: words of virtual memory and the TLB.
//!
//! One of the few modules with `unsafe`: the memory core itself has none, so whatever it does to
//! memory it does through these functions.
//!
//! Invariant: there is one [`KernelMachine`], inside the memory core, and the core passes it only
//! addresses of windows it owns (`carapace_mm::address_space`): page tables and headers in the direct map,
//! descriptors in the vmemmap, allocations in the alloc window, the fixmap's page. No Rust
//! reference ever points there, so a word that changes breaks no one's borrow.

use carapace_mm::addr::VirtAddr;
use carapace_mm::machine::Machine;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr4, Cr4Flags};

/// The running machine.
#[derive(Debug)]
pub struct KernelMachine(());

impl KernelMachine {
    /// The machine this code runs on.
    ///
    /// # Safety
    ///
    /// Whoever holds it writes to any address it names. Give it to the memory core only, whose
    /// windows nothing else keeps references into.
    pub const unsafe fn new() -> KernelMachine {
        KernelMachine(())
    }
}

// SAFETY: each function does what the contract says of it, see there, with volatile or whole-page accesses. One CPU
// runs, so its own flushes are those of every CPU. A value comes from [`KernelMachine::new`] alone, which is unsafe.
unsafe impl Machine for KernelMachine {
    #[inline(always)]
    fn load(&self, at: VirtAddr) -> u64 {
        debug_assert!(at.0.is_multiple_of(8));
        let word = at.0 as *const u64;
        // SAFETY: the module's invariant: `at` is an aligned word of a window that the memory core
        // owns and that no reference points into. Where nothing is mapped the CPU faults, and the
        // page-fault report names the window; no memory is read then. Volatile, since the CPU reads
        // and writes page tables too.
        unsafe { word.read_volatile() }
    }

    #[inline(always)]
    fn store(&self, at: VirtAddr, value: u64) {
        debug_assert!(at.0.is_multiple_of(8));
        let word = at.0 as *mut u64;
        // SAFETY: `at` is an aligned word of a window that the memory core owns, so what is changed is the core's own
        // and no Rust reference points there. Where nothing is mapped writable the CPU faults.
        unsafe { word.write_volatile(value) }
    }

    fn fill_page(&self, at: VirtAddr, word: u64) {
        debug_assert!(at.0.is_multiple_of(carapace_mm::addr::PAGE_SIZE));
        // SAFETY: the 512 words of one page of a window that the memory core owns, to which no Rust reference points;
        // the direction flag is clear, as the calling convention has it.
        unsafe {
            core::arch::asm!("rep stosq", inout("rcx") 512u64 => _, inout("rdi") at.0 => _, in("rax") word,
                options(nostack, preserves_flags));
        }
    }

    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        let bytes = pages * carapace_mm::addr::PAGE_SIZE;
        debug_assert!(from.0.abs_diff(to.0) >= bytes);
        // SAFETY: whole pages of windows that the memory core owns, aligned, which do not overlap and to which no Rust
        // reference points; nobody writes to them meanwhile, since they are the core's until it lets them go.
        unsafe {
            core::ptr::copy_nonoverlapping(from.0 as *const u64, to.0 as *mut u64, (bytes / 8) as usize)
        }
    }

    fn flush(&self, at: VirtAddr) {
        tlb::flush(x86_64::VirtAddr::new_truncate(at.0));
    }

    fn flush_all(&self) {
        let flags = Cr4::read();
        if !flags.contains(Cr4Flags::PAGE_GLOBAL) {
            // No global translations: reloading CR3 drops all there are (SDM vol. 3 section 4.10.4.1).
            tlb::flush_all();
            return;
        }
        // SAFETY: PGE goes off and on again, which drops all translations, global ones and
        // paging-structure caches included (same section), and changes no mapping.
        unsafe { Cr4::write(flags - Cr4Flags::PAGE_GLOBAL) };
        // SAFETY: restores the flags just read.
        unsafe { Cr4::write(flags) };
    }
}
