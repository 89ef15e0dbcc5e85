//! The kernel heap: `linked_list_allocator` over memory that is mapped at boot and never grows.
//!
//! ```text
//!  HEAP window  [ general part .................. ][ reserve ... ]
//!                 every allocation                   AML only, when the general part is full
//! ```
//!
//! Why two parts: a DIMM must be answered when memory is exhausted, and answering runs AML, which
//! needs a few kilobytes. So evaluation runs inside [`with_reserve`]; nothing else can take a byte
//! of the reserve, and no fragmentation of the general part reaches it. The interpreter's byte limit
//! (`aml::Limits`) is below the reserve's size, so running out there is an AML error, never a panic.
//!
//! Invariants: a block is freed to the part it lies in. The heap's frames are pinned and come from
//! boot memory, so no hot-added DIMM ever holds a piece of the kernel. Not used by interrupt handlers.
//! Lock order: the heap's locks are taken last but the log's, general part before reserve (`sync`).

use crate::arch::percpu;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;
use linked_list_allocator::Heap;
use mm::addr::VirtAddr;
use spin::Mutex;

/// Bytes kept for AML evaluation, see the module's head: the interpreter's limit counts objects, names and
/// tables; operands in flight and open blocks of calls come on top, at most as much again (its
/// documentation has the figures), and so does what fragmentation wastes.
pub const RESERVE_BYTES: u64 = 3 << 20;

struct KernelHeap {
    general: Mutex<Heap>,
    reserve: Mutex<Heap>,
}

#[global_allocator]
static HEAP: KernelHeap =
    KernelHeap { general: Mutex::new(Heap::empty()), reserve: Mutex::new(Heap::empty()) };

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

/// Gives the heap its memory: `general` bytes from `start` on, the reserve behind them.
///
/// # Safety
///
/// `general` + [`RESERVE_BYTES`] bytes from `start` on are mapped, writable, used by nothing else for
/// ever, and this is called once.
pub unsafe fn init(start: VirtAddr, general: u64) {
    let reserve = start.offset(general);
    // SAFETY: the caller's promise for the first part of the range.
    unsafe { HEAP.general.lock().init(start.0 as *mut u8, general as usize) };
    // SAFETY: the caller's promise for the second.
    unsafe { HEAP.reserve.lock().init(reserve.0 as *mut u8, RESERVE_BYTES as usize) };
}

/// Sizes and use of the heap.
pub fn stats() -> HeapStats {
    let (general, general_used) = {
        let heap = HEAP.general.lock();
        (heap.size(), heap.used())
    };
    let (reserve, reserve_used) = {
        let heap = HEAP.reserve.lock();
        (heap.size(), heap.used())
    };
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
