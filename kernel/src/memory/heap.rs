//! The kernel heap: `linked_list_allocator` over memory that is mapped at boot and never grows.
//!
//! ```text
//!  HEAP window  hole [ general part .................. ] hole [ reserve ... ] hole
//!                      every allocation                        AML only, when the general part is full
//! ```
//!
//! The holes are guard pages, so that what runs over an end of either part faults there and then instead of
//! changing something else.
//!
//! Why two parts: a DIMM must be answered when memory is exhausted, and answering runs AML, which
//! needs a few kilobytes. So evaluation runs inside [`with_reserve`]; nothing else can take a byte
//! of the reserve, and no fragmentation of the general part reaches it. The interpreter's byte limit
//! (`carapace_aml::Limits`) is below the reserve's size, so running out there is an AML error, never a panic.
//!
//! Invariants: a block is freed to the part it lies in. The heap's frames are pinned and come from
//! boot memory, so no hot-added DIMM ever holds a piece of the kernel. Not used by interrupt handlers.

use crate::arch::percpu;
use crate::sync::{Mutex, Rank};
use carapace_mm::addr::{PAGE_SIZE, VirtAddr};
use carapace_mm::address_space::HEAP as WINDOW;
use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;
use linked_list_allocator::Heap;
use spin::Once;

/// Bytes kept for AML evaluation, see the module's head: the interpreter's limit counts objects, names and
/// tables; operands in flight and open blocks of calls come on top, at most as much again (its
/// documentation has the figures), and so does what fragmentation wastes.
pub const RESERVE_BYTES: u64 = 3 << 20;

struct KernelHeap {
    general: Mutex<Heap>,
    reserve: Mutex<Heap>,
}

#[global_allocator]
static HEAP: KernelHeap = KernelHeap {
    general: Mutex::new(Rank::Heap, Heap::empty()),
    reserve: Mutex::new(Rank::HeapReserve, Heap::empty()),
};

/// What the heap holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapStats {
    /// Both parts.
    pub bytes: u64,
    /// In use in both parts.
    pub used: u64,
    /// The reserve's part of `bytes`.
    pub reserve_bytes: u64,
    /// Free in the general part, in however many pieces.
    pub left: u64,
}

/// Where the two parts lie in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The first byte of the general part, and how many it has.
    pub general: (VirtAddr, u64),
    /// The same of the reserve.
    pub reserve: (VirtAddr, u64),
}

impl Parts {
    /// With a general part of `general` bytes, a multiple of the page's size.
    pub const fn with(general: u64) -> Parts {
        let start = WINDOW.start.offset(PAGE_SIZE);
        Parts { general: (start, general), reserve: (start.offset(general + PAGE_SIZE), RESERVE_BYTES) }
    }
}

/// Set by [`init`].
static PARTS: Once<Parts> = Once::new();

/// The pages that must not be mapped: in front of, between and behind the two parts. None before [`init`].
pub fn guard_pages() -> impl Iterator<Item = VirtAddr> {
    let holes = |parts: &Parts| {
        let end = |(start, bytes): (VirtAddr, u64)| start.offset(bytes);
        [WINDOW.start, end(parts.general), end(parts.reserve)]
    };
    PARTS.get().map(holes).into_iter().flatten()
}

/// What is said of a fault at `at`, when that is in a guard page of the heap.
pub fn guard_page(at: VirtAddr) -> Option<&'static str> {
    let in_page = |page: VirtAddr| page.0 <= at.0 && at.0 - page.0 < PAGE_SIZE;
    let place = guard_pages().position(in_page)?;
    Some(match place {
        0 => "guard page in front of the kernel's heap",
        1 => "guard page behind the general part of the kernel's heap: something ran over its end",
        _ => "guard page behind the reserve of the kernel's heap: something ran over its end",
    })
}

/// Where the general part's bytes are.
pub fn general() -> Option<Range<u64>> {
    PARTS.get().map(|parts| parts.general.0.0..parts.general.0.0 + parts.general.1)
}

/// Gives the heap its memory.
///
/// # Safety
///
/// Both parts are mapped, writable, used by nothing else for ever, and this is called once.
pub unsafe fn init(parts: Parts) {
    let (start, bytes) = parts.general;
    // SAFETY: by the caller's promise the general part's bytes are mapped, writable and used by nobody, and this runs once.
    unsafe { HEAP.general.lock().init(start.0 as *mut u8, bytes as usize) };
    let (start, bytes) = parts.reserve;
    // SAFETY: by the caller's promise the reserve's bytes are mapped, writable and used by nobody, and this runs once.
    unsafe { HEAP.reserve.lock().init(start.0 as *mut u8, bytes as usize) };
    PARTS.call_once(|| parts);
}

/// Sizes and use of the heap.
pub fn stats() -> HeapStats {
    let sums = |heap: &Mutex<Heap>| {
        let heap = heap.lock();
        (heap.size(), heap.used())
    };
    of(sums(&HEAP.general), sums(&HEAP.reserve))
}

/// The same where nobody holds its locks: for fatal reports.
pub fn try_stats() -> Option<HeapStats> {
    let sums = |heap: &Mutex<Heap>| heap.try_lock().map(|heap| (heap.size(), heap.used()));
    Some(of(sums(&HEAP.general)?, sums(&HEAP.reserve)?))
}

/// Calls `tell` with the name of each lock of the heap's that is held: for fatal reports.
pub fn held_locks(tell: &mut dyn FnMut(&'static str)) {
    for (lock, name) in [(&HEAP.general, "heap"), (&HEAP.reserve, "heap's reserve")] {
        if lock.is_locked() {
            tell(name);
        }
    }
}

/// Runs `work`, which must not allocate, with the heap's locks held.
pub fn while_locked(work: impl FnOnce()) {
    let _general = HEAP.general.lock();
    let _reserve = HEAP.reserve.lock();
    work();
}

fn of((general, general_used): (usize, usize), (reserve, reserve_used): (usize, usize)) -> HeapStats {
    HeapStats {
        bytes: (general + reserve) as u64,
        used: (general_used + reserve_used) as u64,
        reserve_bytes: reserve as u64,
        left: (general - general_used) as u64,
    }
}

/// Runs `work`, which stays on this CPU, with the reserve open for it: allocations that the general part
/// has no room for come from the reserve.
pub fn with_reserve<R>(work: impl FnOnce() -> R) -> R {
    let open = &percpu::this().reserve_open;
    open.fetch_add(1, Ordering::Relaxed);
    let result = work();
    open.fetch_sub(1, Ordering::Relaxed);
    result
}

/// Whether `block` lies in `heap`.
fn holds(heap: &Heap, block: *mut u8) -> bool {
    (heap.bottom()..heap.top()).contains(&block)
}

// SAFETY: `allocate_first_fit` hands out blocks that satisfy the layout and overlap no other; a block
// goes back to the part whose range holds it, with the layout it was asked for with.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = self.general.lock().allocate_first_fit(layout);
        let block = match block {
            Err(()) if percpu::this().reserve_open.load(Ordering::Relaxed) > 0 => {
                self.reserve.lock().allocate_first_fit(layout)
            }
            block => block,
        };
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(pointer) = NonNull::new(block) else { return };
        let mut general = self.general.lock();
        if holds(&general, block) {
            // SAFETY: the block lies in this part, so it was allocated from it, with `layout`.
            unsafe { general.deallocate(pointer, layout) };
            return;
        }
        drop(general);
        // SAFETY: a block that is not in the general part is in the reserve, with `layout`.
        unsafe { self.reserve.lock().deallocate(pointer, layout) };
    }
}
