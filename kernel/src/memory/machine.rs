//! The memory core's access to this machine: words of virtual memory, and TLB flushes.
//!
//! The memory core has no `unsafe` block: it accesses memory only through this module.
//!
//! Invariant: the memory core owns the only [`KernelMachine`] and passes it only addresses of its own regions
//! (`carapace_mm::address_space`): page tables and headers in the direct map, descriptors in the vmemmap, allocations in
//! the vmalloc region, the fixmap. No Rust reference points there, so no write invalidates a borrow.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use carapace_irq::mailbox::{BATCH, Request};
use carapace_mm::addr::VirtAddr;
use carapace_mm::machine::{CpuNr, Machine};

use super::copy;
use crate::arch::{cpu, percpu};
use crate::cpus;

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

// SAFETY: each function fulfils its contract with atomic or whole-page accesses. A flush or a fence runs on this CPU and on
// every other one that runs (`cpus::ask_while` waits for all); one that starts meanwhile drops all translations after it
// can be asked. A CPU's number never changes. Only [`KernelMachine::new`], which is unsafe, makes a value.
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
    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64 {
        word(at).fetch_or(bits, Ordering::SeqCst)
    }

    #[inline(always)]
    fn fetch_xor(&self, at: VirtAddr, bits: u64) -> u64 {
        word(at).fetch_xor(bits, Ordering::SeqCst)
    }

    #[inline(always)]
    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64 {
        word(at).fetch_and(bits, Ordering::SeqCst)
    }

    #[inline(always)]
    fn prefetch(&self, at: VirtAddr) {
        // SAFETY: a prefetch is a hint: it accesses no memory and faults on no address (SDM vol. 2, PREFETCHh).
        unsafe {
            core::arch::asm!("prefetcht0 byte ptr [{}]", in(reg) at.0, options(nomem, nostack, preserves_flags));
        }
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
        debug_assert!(from.0.abs_diff(to.0) >= pages * carapace_mm::addr::PAGE_SIZE);
        // SAFETY: aligned whole pages of regions that the memory core owns, which do not overlap and to which no Rust
        // reference points. The core owns them during the copy, so no other code writes to them.
        unsafe { copy::pages(from.0 as *const u64, to.0 as *mut u64, pages) }
    }

    fn flush(&self, pages: &[VirtAddr]) {
        if pages.len() > BATCH {
            return self.flush_all();
        }
        let mut words = [0; BATCH];
        words.iter_mut().zip(pages).for_each(|(word, at)| *word = at.0);
        cpus::ask_while(Request::Flush(&words[..pages.len()]), || {
            pages.iter().for_each(|&at| self.flush_local(at));
        });
    }

    fn flush_local(&self, at: VirtAddr) {
        cpu::flush(at);
    }

    fn write_back(&self, at: VirtAddr) {
        cpu::write_back(at);
    }

    fn fence_all(&self) {
        fence(Ordering::SeqCst);
        cpus::ask(Request::Fence);
    }

    #[inline(always)]
    fn fence_light(&self) {
        // `fence_all` makes each CPU execute a barrier wherever it is: here the compiler must keep the order.
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn cpu(&self) -> CpuNr {
        percpu::number()
    }

    fn run_parallel(&self, count: u64, work: &(dyn Fn(&Self, u64) + Sync)) {
        cpus::jobs::run(count, &|number| work(self, number));
    }

    fn sharing(&self) -> u64 {
        1 + cpus::jobs::helpers().len() as u64
    }

    fn flush_all(&self) {
        // An emulator takes some ten microseconds for each CPU.
        cpus::ask_while(Request::FlushAll, cpu::flush_all);
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
