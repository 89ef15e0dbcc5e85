//! The narrow door to hardware: words of virtual memory and the flushing of translations. Nothing
//! else of the machine is known to the memory core, so that the same code runs in the kernel and,
//! over simulated physical memory with simulated page tables, in host tests.
//!
//! All memory is read and written by *virtual* address: page tables and headers through the direct
//! map, descriptors through the vmemmap, a frame that nothing maps yet through the fixmap. The
//! simulation walks the page tables that the core itself built, so a wrong entry shows at once.

use crate::addr::VirtAddr;

/// Whether the CPU has a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It has.
    Yes,
    /// It has not.
    No,
}

/// What the memory core needs to know about the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuFeatures {
    /// Leaves of 1 GiB (CPUID 0x8000_0001 EDX bit 26).
    pub gib_leaves: Support,
    /// Physical address bits (CPUID 0x8000_0008 EAX bits 7:0); above 46 counts as 46.
    pub phys_bits: u8,
}

/// Memory and translation caches, as the memory core sees them.
///
/// Addresses are multiples of 8 inside the windows of `address_space` that the core owns. Access to
/// an address that no present entry maps is a bug of the caller: the kernel faults and says which
/// section is absent, the simulation panics.
pub trait Machine {
    /// The word at `at`.
    fn load(&self, at: VirtAddr) -> u64;

    /// Makes `value` the word at `at`.
    fn store(&self, at: VirtAddr, value: u64);

    /// Drops the translation of the page at `at` on every CPU (INVLPG, SDM vol. 3 section 4.10.4).
    fn flush(&self, at: VirtAddr);

    /// Drops every translation on every CPU, global ones and paging-structure caches included.
    fn flush_all(&self);

    /// Zeroes the 4 KiB page at `at`.
    fn zero_page(&self, at: VirtAddr) {
        for word in 0..512 {
            self.store(at.offset(word * 8), 0);
        }
    }

    /// Makes every word of the 4 KiB page at `at` be `word`.
    fn fill_page(&self, at: VirtAddr, word: u64) {
        for index in 0..512 {
            self.store(at.offset(index * 8), word);
        }
    }

    /// The number of the first word of the page at `at` that is not `word`.
    fn first_other(&self, at: VirtAddr, word: u64) -> Option<u64> {
        (0..512).find(|index| self.load(at.offset(index * 8)) != word)
    }

    /// Copies `pages` pages of 4 KiB from `from` on to `to` on, which do not overlap.
    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        for word in 0..512 * pages {
            self.store(to.offset(word * 8), self.load(from.offset(word * 8)));
        }
    }
}

/// So that a test (or whoever owns the machine) keeps hold of it beside the memory core.
impl<M: Machine + ?Sized> Machine for &M {
    fn load(&self, at: VirtAddr) -> u64 {
        (**self).load(at)
    }

    fn store(&self, at: VirtAddr, value: u64) {
        (**self).store(at, value);
    }

    fn flush(&self, at: VirtAddr) {
        (**self).flush(at);
    }

    fn flush_all(&self) {
        (**self).flush_all();
    }

    fn zero_page(&self, at: VirtAddr) {
        (**self).zero_page(at);
    }

    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        (**self).copy_pages(from, to, pages);
    }
}
