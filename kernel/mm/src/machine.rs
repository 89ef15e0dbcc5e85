//! The memory core's interface to hardware: words of virtual memory, TLB flushes, and CPU numbers. The same code
//! therefore runs in the kernel and in host tests, which simulate physical memory and page walks (module `sim`).
//!
//! ```text
//!  words          load, store, fetch_or, fetch_xor, fetch_and       pages   zero_page, fill_page, copy_pages
//!  translations   flush, flush_all (every CPU)           flush_local (this CPU)
//!  CPUs           cpu, run_parallel (work on several)      fence_all, fence_light (a barrier on every CPU)
//!                 sharing (how many would work)
//! ```
//!
//! All accesses use *virtual* addresses: the direct map for page tables and headers, the vmemmap for descriptors, the
//! fixmap for frames that are not mapped yet. The simulation walks the page tables that the core built, so a wrong
//! entry shows at the first access.

use crate::addr::VirtAddr;

/// Whether the CPU supports a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Supported.
    Yes,
    /// Not supported.
    No,
}

/// The CPU's features that matter to the memory core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuFeatures {
    /// 1 GiB leaves (CPUID 0x8000_0001 EDX bit 26).
    pub gib_leaves: Support,
    /// Physical address bits (CPUID 0x8000_0008 EAX bits 7:0). More than 46 count as 46.
    pub phys_bits: u8,
}

/// The maximum number of CPUs.
pub const MAX_CPUS: usize = 32;

/// The number of a CPU, below [`MAX_CPUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuNr(u8);

impl CpuNr {
    /// The boot CPU.
    pub const FIRST: CpuNr = CpuNr(0);

    /// The CPU `number`. `None` when it is not below [`MAX_CPUS`].
    pub const fn new(number: usize) -> Option<CpuNr> {
        if number < MAX_CPUS { Some(CpuNr(number as u8)) } else { None }
    }

    /// The number, for arrays of [`MAX_CPUS`] entries.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Access to memory and to the translation caches.
///
/// The methods are safe to call, so a value or a reference is a *capability*: safe code that has one can read and write
/// all memory. Two promises make this sound.
///
/// The **memory core** promises:
/// - It accesses only its own address regions ([`crate::address_space`]): the direct map and the vmemmap of memory from
///   [`Memory::boot`](crate::Memory::boot) or `add`, the vmalloc region, the fixmap, and the page tables below its root.
///   Word addresses are multiples of 8, page addresses multiples of 4096.
/// - It writes only to frames that it owns: its own data, page tables, free frames, and allocations that it migrates or
///   fills at the owner's request. It never writes to an allocated block that it has not mapped itself.
/// - It gives `&M` to no safe code outside of the crate. The only way is [`Memory::edit_tables`](crate::Memory::edit_tables),
///   which is unsafe. (Feature `sim`, for host tests, adds `Memory::machine`.)
///
/// An access without a present entry is a bug: the kernel faults, the simulation panics.
///
/// # Safety
///
/// An implementor promises:
/// - **Accesses are exact.** `load` returns the word last stored at that address. `store`, `fetch_or`, `fetch_xor`, `fetch_and`,
///   `fill_page`, `zero_page` and `copy_pages` write exactly the words they name. On an unmapped address they do not
///   return. The compiler neither drops nor reorders accesses, because the CPU reads page tables too.
/// - **Words are atomic.** Several CPUs may access one word. `load` is an Acquire, `store` a Release. `fetch_or`, `fetch_xor` and
///   `fetch_and` are atomic and sequentially consistent. The page functions promise no order.
/// - **Flushes are complete.** After `flush(pages)` no CPU uses an old translation of these pages. After `flush_all` no
///   CPU uses any old translation, including global ones and cached upper levels.
/// - **A fence reaches all CPUs.** When `fence_all` returns, every CPU has executed a full memory barrier since the call.
///   `fence_light` pairs with it.
/// - **CPU numbers are stable.** `cpu` returns the same number while a function of the core runs, and CPUs have
///   different numbers. (A kernel that migrates threads between CPUs must disable that meanwhile.)
/// - **Safe code cannot make one.** Constructing a value is `unsafe`: the caller gives it to one memory core only and
///   keeps no Rust reference into the core's regions. (Except where no memory can be harmed, as in the simulation.)
#[expect(unsafe_code, reason = "a declaration: no unsafe block")]
pub unsafe trait Machine {
    /// Loads the word at `at`.
    fn load(&self, at: VirtAddr) -> u64;

    /// Stores `value` at `at`.
    fn store(&self, at: VirtAddr, value: u64);

    /// Atomically sets `bits` in the word at `at`. Returns the old word.
    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64;

    /// Atomically inverts `bits` in the word at `at`. Returns the old word.
    fn fetch_xor(&self, at: VirtAddr, bits: u64) -> u64;

    /// Atomically clears all bits but `bits` in the word at `at`. Returns the old word.
    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64;

    /// Hints that the word at `at` will be written soon: the CPU loads its cache line meanwhile. Changes nothing, and may be
    /// called with any address, mapped or not.
    #[inline(always)]
    fn prefetch(&self, at: VirtAddr) {
        let _ = at;
    }

    /// Drops the translations of these pages on every CPU (INVLPG, SDM vol. 3 section 4.10.4), with at most one request
    /// to the other CPUs, and waits until each has done so.
    fn flush(&self, pages: &[VirtAddr]);

    /// Drops every translation on every CPU, including global ones and paging-structure caches, with at most one
    /// request to the other CPUs, and waits until each has done so.
    fn flush_all(&self);

    /// Drops the translation of the page at `at` on this CPU only.
    fn flush_local(&self, at: VirtAddr);

    /// Writes the cache line of the word at `at` back to memory and drops it, so that the next load comes from memory
    /// (CLFLUSH, SDM vol. 2A). Only a probe needs it: without caches there is nothing to do.
    fn write_back(&self, _at: VirtAddr) {}

    /// Waits until every running CPU has executed a full memory barrier. This is the expensive half of an asymmetric
    /// barrier; [`Machine::fence_light`] is the other. Linux: `membarrier`, `smp_call_function`.
    fn fence_all(&self);

    /// The cheap half of an asymmetric barrier. A CPU that stores a word, calls this, and loads another word is ordered
    /// with each CPU that stores the second word, calls [`Machine::fence_all`], and loads the first: at least one of the
    /// two loads sees the other CPU's store. Where `fence_all` makes this CPU execute a barrier, wherever it is, an order
    /// for the compiler suffices.
    fn fence_light(&self);

    /// Calls `work` with each number below `count`: on any CPUs, in any order, several at a time. Returns when all calls
    /// have ended; what they stored is visible then. `work` takes no lock and waits for no other CPU. The caller may
    /// hold locks of the core. Linux: `padata_do_multithreaded`.
    fn run_parallel(&self, count: u64, work: &(dyn Fn(&Self, u64) + Sync)) {
        (0..count).for_each(|number| work(self, number));
    }

    /// How many CPUs would share the work of [`Machine::run_parallel`] now, the current one included: at least 1. A hint:
    /// the others may be busy by the time it begins.
    fn sharing(&self) -> u64 {
        1
    }

    /// The current CPU.
    fn cpu(&self) -> CpuNr;

    /// Zeroes the 4 KiB page at `at`.
    fn zero_page(&self, at: VirtAddr) {
        for word in 0..512 {
            self.store(at.offset(word * 8), 0);
        }
    }

    /// Stores `word` in every word of the 4 KiB page at `at`.
    fn fill_page(&self, at: VirtAddr, word: u64) {
        for index in 0..512 {
            self.store(at.offset(index * 8), word);
        }
    }

    /// The index of the first word of the page at `at` that differs from `word`.
    fn first_mismatch(&self, at: VirtAddr, word: u64) -> Option<u64> {
        (0..512).find(|index| self.load(at.offset(index * 8)) != word)
    }

    /// Copies `pages` pages of 4 KiB from `from` to `to`. They do not overlap.
    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        for word in 0..512 * pages {
            self.store(to.offset(word * 8), self.load(from.offset(word * 8)));
        }
    }
}

/// Lets a test, or another owner of the machine, use it beside the memory core.
#[expect(unsafe_code, reason = "an implementation of the trait: no unsafe block")]
// SAFETY: each method forwards to `M`, whose implementor promised the contract. Making a reference takes a value of
// `M`, to which the third promise applies.
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
    fn prefetch(&self, at: VirtAddr) {
        (**self).prefetch(at);
    }

    #[inline(always)]
    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64 {
        (**self).fetch_or(at, bits)
    }

    #[inline(always)]
    fn fetch_xor(&self, at: VirtAddr, bits: u64) -> u64 {
        (**self).fetch_xor(at, bits)
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

    fn write_back(&self, at: VirtAddr) {
        (**self).write_back(at);
    }

    fn fence_all(&self) {
        (**self).fence_all();
    }

    #[inline(always)]
    fn fence_light(&self) {
        (**self).fence_light();
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

    fn first_mismatch(&self, at: VirtAddr, word: u64) -> Option<u64> {
        (**self).first_mismatch(at, word)
    }

    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        (**self).copy_pages(from, to, pages);
    }
}
