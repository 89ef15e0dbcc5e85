//! The kernel's side of the memory core's narrow door: words of virtual memory and the TLB.
//!
//! One of the few modules with `unsafe`: the memory core itself has none, so whatever it does to
//! memory it does through these functions.
//!
//! Invariant: there is one [`KernelMachine`], inside the memory core, and the core passes it only
//! addresses of windows it owns (`carapace_mm::address_space`): page tables and headers in the direct map,
//! descriptors in the vmemmap, allocations in the alloc window, the fixmap's page. No Rust
//! reference ever points there, so a word that changes breaks no one's borrow.

use core::sync::atomic::{AtomicU64, Ordering};

use carapace_mm::addr::VirtAddr;
use carapace_mm::machine::{CpuNr, Machine};
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

// SAFETY: each function does what the contract says of it, see there, with atomic or whole-page accesses. One CPU
// runs, so its own flushes are those of every CPU. A value comes from [`KernelMachine::new`] alone, which is unsafe.
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

/// The word at `at`, as the memory core's machine accesses it.
#[inline(always)]
fn word<'a>(at: VirtAddr) -> &'a AtomicU64 {
    debug_assert!(at.0.is_multiple_of(8));
    // SAFETY: the module's invariant: `at` is an aligned word of a window that the memory core owns, to which no other
    // kind of Rust reference points, so that atomic accesses are the only ones. The reference does not outlive the
    // access of its caller, all of which are above. Where nothing is mapped the CPU faults, and the page-fault report
    // names the window; no memory is accessed then.
    unsafe { AtomicU64::from_ptr(at.0 as *mut u64) }
}
