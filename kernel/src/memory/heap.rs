//! The kernel heap: `linked_list_allocator` on memory mapped at boot. It never grows.
//!
//! ```text
//!  HEAP region  hole [ general part .................. ] hole [ reserve ... ] hole
//!                      every allocation                        AML only, when the general part is full
//! ```
//!
//! The holes are guard pages: an overrun of either part faults at once.
//!
//! The reserve exists because a DIMM must be answered when memory is exhausted, and the answer runs AML, which needs a
//! few kilobytes. Evaluation runs inside [`with_reserve`]. No other allocation uses the reserve, and fragmentation of the
//! general part does not affect it. The interpreter's byte limit (`carapace_aml::Limits`) is below the reserve's size,
//! so exhausting it is an AML error, never a panic.
//!
//! Invariants: a block is freed to its own part. The heap's frames are pinned boot memory, so no DIMM ever holds a part
//! of the kernel. Interrupt handlers do not use the heap.

use crate::arch::percpu;
use crate::sync::{Mutex, Rank};
use carapace_mm::addr::{PAGE_SIZE, VirtAddr};
use carapace_mm::address_space::HEAP as REGION;
use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;
use linked_list_allocator::Heap;
use spin::Once;

/// Bytes reserved for AML evaluation, see the module's head. The interpreter's limit counts objects, names and tables.
/// Its operands and open calls add at most as much again (its documentation has the figures), and fragmentation adds
/// some.
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

/// The heap's sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapStats {
    /// Size of both parts.
    pub bytes: u64,
    /// Used bytes in both parts.
    pub used: u64,
    /// Size of the reserve.
    pub reserve_bytes: u64,
    /// Free bytes in the general part, in any number of pieces.
    pub left: u64,
}

/// The addresses of the two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The general part: its start and its size in bytes.
    pub general: (VirtAddr, u64),
    /// The reserve: its start and its size in bytes.
    pub reserve: (VirtAddr, u64),
}

impl Parts {
    /// The parts for a general part of `general` bytes, a multiple of the page size.
    pub const fn with(general: u64) -> Parts {
        let start = REGION.start.offset(PAGE_SIZE);
        Parts { general: (start, general), reserve: (start.offset(general + PAGE_SIZE), RESERVE_BYTES) }
    }
}

/// Set by [`init`].
static PARTS: Once<Parts> = Once::new();

/// The guard pages: in front of, between and behind the two parts. None before [`init`].
pub fn guard_pages() -> impl Iterator<Item = VirtAddr> {
    let holes = |parts: &Parts| {
        let end = |(start, bytes): (VirtAddr, u64)| start.offset(bytes);
        [REGION.start, end(parts.general), end(parts.reserve)]
    };
    PARTS.get().map(holes).into_iter().flatten()
}

/// The description of a fault at `at` in a guard page of the heap.
pub fn guard_page(at: VirtAddr) -> Option<&'static str> {
    let in_page = |page: VirtAddr| page.0 <= at.0 && at.0 - page.0 < PAGE_SIZE;
    let index = guard_pages().position(in_page)?;
    Some(match index {
        0 => "guard page in front of the kernel's heap",
        1 => "guard page behind the general part of the kernel's heap: an overrun",
        _ => "guard page behind the reserve of the kernel's heap: an overrun",
    })
}

/// The addresses of the general part.
pub fn general() -> Option<Range<u64>> {
    PARTS.get().map(|parts| parts.general.0.0..parts.general.0.0 + parts.general.1)
}

/// Gives the heap its memory. The reserve is first written to when it is first needed, hardly ever.
///
/// # Safety
///
/// Both parts are mapped and writable, no other code ever uses them, and this is called once.
pub unsafe fn init(parts: Parts) {
    let (start, bytes) = parts.general;
    // SAFETY: the caller promises that the general part is mapped, writable and unused, and that this runs once.
    unsafe { HEAP.general.lock().init(start.0 as *mut u8, bytes as usize) };
    PARTS.call_once(|| parts);
}

/// Allocates from the reserve.
fn allocate_from_reserve(layout: Layout) -> Result<NonNull<u8>, ()> {
    let mut reserve = HEAP.reserve.lock();
    if reserve.size() == 0 {
        let (start, bytes) = PARTS.get().ok_or(())?.reserve;
        // SAFETY: `init` has set `PARTS`, and its caller promised that the reserve is mapped, writable and unused; the heap
        // has no memory yet, so this runs once.
        unsafe { reserve.init(start.0 as *mut u8, bytes as usize) };
    }
    reserve.allocate_first_fit(layout)
}

/// The heap's sizes.
pub fn stats() -> HeapStats {
    let sums = |heap: &Mutex<Heap>| {
        let heap = heap.lock();
        (heap.size(), heap.used())
    };
    of(sums(&HEAP.general), sums(&HEAP.reserve))
}

/// The heap's sizes if its locks are free, for fatal reports.
pub fn try_stats() -> Option<HeapStats> {
    let sums = |heap: &Mutex<Heap>| heap.try_lock().map(|heap| (heap.size(), heap.used()));
    Some(of(sums(&HEAP.general)?, sums(&HEAP.reserve)?))
}

/// Calls `report` with the name of each of the heap's locks that is held, for fatal reports.
pub fn held_locks(report: &mut dyn FnMut(&'static str)) {
    for (lock, name) in [(&HEAP.general, "heap"), (&HEAP.reserve, "heap's reserve")] {
        if lock.is_locked() {
            report(name);
        }
    }
}

/// Runs `work`, which must not allocate, with the heap's locks held, to provoke errors there.
pub fn while_locked(work: impl FnOnce()) {
    let _general = HEAP.general.lock();
    let _reserve = HEAP.reserve.lock();
    work();
}

fn of((general, general_used): (usize, usize), (reserve, reserve_used): (usize, usize)) -> HeapStats {
    // Before its first use the reserve is no heap yet.
    let reserve = PARTS.get().map_or(reserve as u64, |parts| parts.reserve.1);
    HeapStats {
        bytes: general as u64 + reserve,
        used: (general_used + reserve_used) as u64,
        reserve_bytes: reserve,
        left: (general - general_used) as u64,
    }
}

/// Runs `work`, which stays on this CPU, with the reserve open: allocations that do not fit into the general part come
/// from the reserve.
pub fn with_reserve<R>(work: impl FnOnce() -> R) -> R {
    let open = &percpu::this().reserve_open;
    open.fetch_add(1, Ordering::Relaxed);
    let result = work();
    open.fetch_sub(1, Ordering::Relaxed);
    result
}

/// Whether `block` is in `heap`.
fn holds(heap: &Heap, block: *mut u8) -> bool {
    (heap.bottom()..heap.top()).contains(&block)
}

// SAFETY: `allocate_first_fit` returns blocks that satisfy the layout and overlap no other. `dealloc` returns a block to
// the part that contains it, with the layout of its allocation.
// Not inlined: the compiler would put a copy at each place that drops something, and an emulator translates each copy.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = self.general.lock().allocate_first_fit(layout);
        let block = match block {
            Err(()) if percpu::this().reserve_open.load(Ordering::Relaxed) > 0 => {
                allocate_from_reserve(layout)
            }
            block => block,
        };
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(pointer) = NonNull::new(block) else { return };
        let mut general = self.general.lock();
        if holds(&general, block) {
            // SAFETY: the block is in this part, so it was allocated from it, with `layout`.
            unsafe { general.deallocate(pointer, layout) };
            return;
        }
        drop(general);
        // SAFETY: a block that is not in the general part is in the reserve, with `layout`.
        unsafe { self.reserve.lock().deallocate(pointer, layout) };
    }
}
