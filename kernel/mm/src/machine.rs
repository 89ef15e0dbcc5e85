//! The narrow door to hardware: words of virtual memory, the flushing of translations, and which CPU runs. The memory
//! core knows nothing else of the machine, so that the same code runs in the kernel and, over simulated physical memory
//! with simulated page tables, in host tests.
//!
//! ```text
//!  words          load, store, fetch_or, fetch_and       pages   zero_page, fill_page, copy_pages
//!  translations   flush, flush_all (every CPU)           flush_local (this CPU)
//!  CPUs           cpu                                    fence_all (a barrier on every CPU)
//! ```
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

/// CPUs there can be.
pub const MAX_CPUS: usize = 64;

/// A CPU's number: the first one is 0, and all are below [`MAX_CPUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuNr(u8);

impl CpuNr {
    /// The CPU that boots.
    pub const FIRST: CpuNr = CpuNr(0);

    /// The CPU `number`; `None` when there can be no such CPU.
    pub const fn new(number: usize) -> Option<CpuNr> {
        if number < MAX_CPUS { Some(CpuNr(number as u8)) } else { None }
    }

    /// The number, for arrays of [`MAX_CPUS`] entries.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Memory and translation caches, as the memory core sees them.
///
/// Its functions are safe to call, so a value or a reference is a *right*: safe code that has one reads and writes
/// whatever the machine reaches. Two promises make this sound.
///
/// The **memory core** promises:
/// - It calls these functions only with addresses of its own windows ([`crate::address_space`]): the direct map and
///   the vmemmap of memory that it was given by [`Memory::boot`](crate::Memory::boot) or `add`, the alloc window, the
///   fixmap, and page tables below the root that it was given. Addresses of words are multiples of 8, those of pages
///   multiples of 4096.
/// - It writes to frames that it owns: its own data, page tables, free frames, and those of an allocation that it
///   migrates or that its holder asks it to fill. Never to an allocated block that the core does not map itself.
/// - It hands `&M` to no safe code outside of the crate. The only way is [`Memory::edit_tables`](crate::Memory::edit_tables),
///   which is unsafe. (With feature `sim`, for host tests, there is `Memory::machine` too.)
///
/// An access to an address that no present entry maps is a bug: the kernel faults, the simulation panics.
///
/// # Safety
///
/// An implementor promises:
/// - **Words are words.** `load` returns what was last stored at that address; `store`, `fetch_or`, `fetch_and`,
///   `fill_page`, `zero_page` and `copy_pages` write the words they name and no other. Where nothing is mapped they do
///   not return. The compiler neither drops nor reorders them, since the CPU reads page tables too.
/// - **Words are atomic.** Several CPUs may access one word. `load` is an Acquire, `store` a Release, `fetch_or` and
///   `fetch_and` are one indivisible step each and sequentially consistent. The functions for pages promise no order.
/// - **Flushed is gone.** After `flush(pages)` no CPU uses an old translation of one of these pages; after `flush_all`
///   none uses any old translation, global ones and cached upper levels included.
/// - **A fence reaches all.** When `fence_all` returns, every CPU has executed a full memory barrier since the call.
/// - **A CPU has its number.** `cpu` returns the same number for as long as a function of the core runs, and no two CPUs
///   have the same one. (A kernel that moved threads between CPUs would have to forbid that meanwhile.)
/// - **Safe code cannot get one.** Making a value takes `unsafe`, whose caller gives it to one memory core and to
///   nothing else, and keeps no Rust reference into the core's windows. (Or the machine has nothing to harm, as the
///   simulated one.)
#[expect(unsafe_code, reason = "a declaration: no unsafe block")]
pub unsafe trait Machine {
    /// The word at `at`.
    fn load(&self, at: VirtAddr) -> u64;

    /// Makes `value` the word at `at`.
    fn store(&self, at: VirtAddr, value: u64);

    /// Sets `bits` in the word at `at`, in one step with respect to all CPUs. Returns the word as it was.
    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64;

    /// Clears all bits but `bits` in the word at `at`, in one step with respect to all CPUs. Returns the word as it was.
    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64;

    /// Drops the translations of these pages on every CPU (INVLPG, SDM vol. 3 section 4.10.4), with at most one request
    /// to the other CPUs, and waits until each has done so.
    fn flush(&self, pages: &[VirtAddr]);

    /// Drops every translation on every CPU, global ones and paging-structure caches included, with at most one request
    /// to the other CPUs, and waits until each has done so.
    fn flush_all(&self);

    /// Drops the translation of the page at `at` on the CPU that runs, and on no other.
    fn flush_local(&self, at: VirtAddr);

    /// Waits until each CPU that runs has executed a full memory barrier. This is the expensive half of a barrier
    /// whose other half costs nothing but an order for the compiler. Linux: `membarrier`, `smp_call_function`.
    fn fence_all(&self);

    /// The CPU that runs.
    fn cpu(&self) -> CpuNr;

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

/// So that a test (or another owner of the machine) can use it beside the memory core.
#[expect(unsafe_code, reason = "an implementation of the trait: no unsafe block")]
// SAFETY: each function is the one of `M`, whose implementor promised the contract. A reference is no easier to get
// than by having the machine, to which the third promise applies.
unsafe impl<M: Machine + ?Sized> Machine for &M {
    #[inline(always)]
    fn load(&self, at: VirtAddr) -> u64 {
        (**self).load(at)
    }

    #[inline(always)]
    fn store(&self, at: VirtAddr, value: u64) {
        (**self).store(at, value);
    }

    #[inline(always)]
    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64 {
        (**self).fetch_or(at, bits)
    }

    #[inline(always)]
    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64 {
        (**self).fetch_and(at, bits)
    }

    fn flush(&self, pages: &[VirtAddr]) {
        (**self).flush(pages);
    }

    fn flush_all(&self) {
        (**self).flush_all();
    }

    fn flush_local(&self, at: VirtAddr) {
        (**self).flush_local(at);
    }

    fn fence_all(&self) {
        (**self).fence_all();
    }

    #[inline(always)]
    fn cpu(&self) -> CpuNr {
        (**self).cpu()
    }

    fn zero_page(&self, at: VirtAddr) {
        (**self).zero_page(at);
    }

    fn fill_page(&self, at: VirtAddr, word: u64) {
        (**self).fill_page(at, word);
    }

    fn first_other(&self, at: VirtAddr, word: u64) -> Option<u64> {
        (**self).first_other(at, word)
    }

    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        (**self).copy_pages(from, to, pages);
    }
}
