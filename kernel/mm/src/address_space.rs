//! The virtual address space of the kernel: where each window lies. All of it is the higher half;
//! the lower half belongs to nobody (the shim's identity mapping is gone once the kernel runs).
//!
//! ```text
//! ffff_8000_0000_0000  direct map    64 TiB   physical address p at DIRECT_MAP + p, where RAM is present
//! ffff_c000_0000_0000  vmemmap        1 TiB   descriptor of frame n at VMEMMAP + 64 n, where RAM is present
//! ffff_d000_0000_0000  alloc window  32 TiB   what `alloc` handed out
//! ffff_f000_0000_0000  heap         512 GiB   the kernel's heap, populated at boot
//! ffff_f100_0000_0000  stacks       512 GiB   each with an unmapped guard page below
//! ffff_f200_0000_0000  devices      512 GiB   device registers and firmware tables
//! ffff_f300_0000_0000  fixmap       512 GiB   single pages: the first write into an unmapped frame
//! ffff_f400_0000_0000  boot info      4 TiB   what the loader hands over, and whatever else it maps
//! ffff_ffff_8000_0000  kernel image   2 GiB
//! ```
//!
//! The windows are fixed: the kernel's `BootloaderConfig` asks for these addresses, so that every
//! loader agrees. Neighbours: `page_table` fills the windows, `vmemmap` and `window` use theirs.

use crate::addr::{MAX_PHYS_BITS, PAGE_SHIFT, Pfn, PhysAddr, VirtAddr};

/// A window of virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaRegion {
    /// What it is for, as it is printed.
    pub name: &'static str,
    /// The first address.
    pub start: VirtAddr,
    /// The size in bytes.
    pub size: u64,
}

impl VaRegion {
    /// Whether `at` lies in the window.
    pub const fn contains(&self, at: VirtAddr) -> bool {
        self.start.0 <= at.0 && at.0 - self.start.0 < self.size
    }

    /// The window's last address (inclusive, so that the topmost window can be told).
    pub const fn last(&self) -> VirtAddr {
        VirtAddr(self.start.0 + (self.size - 1))
    }
}

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// All physical memory that is present, at its physical address plus the window's start.
pub const DIRECT_MAP: VaRegion =
    VaRegion { name: "direct map", start: VirtAddr(0xffff_8000_0000_0000), size: 64 * TIB };
/// The memmap: one 64-byte descriptor a frame, backed where memory is present.
pub const VMEMMAP: VaRegion = VaRegion { name: "vmemmap", start: VirtAddr(0xffff_c000_0000_0000), size: TIB };
/// Where allocations of the shell (and of whatever comes) are mapped.
pub const ALLOC: VaRegion =
    VaRegion { name: "alloc window", start: VirtAddr(0xffff_d000_0000_0000), size: 32 * TIB };
/// The kernel heap.
pub const HEAP: VaRegion = VaRegion { name: "heap", start: VirtAddr(0xffff_f000_0000_0000), size: 512 * GIB };
/// Kernel stacks, each with a guard page below.
pub const STACKS: VaRegion =
    VaRegion { name: "stacks", start: VirtAddr(0xffff_f100_0000_0000), size: 512 * GIB };
/// Device registers and firmware tables.
pub const DEVICES: VaRegion =
    VaRegion { name: "devices", start: VirtAddr(0xffff_f200_0000_0000), size: 512 * GIB };
/// Single pages mapped for the moment, see `page_table`.
pub const FIXMAP: VaRegion =
    VaRegion { name: "fixmap", start: VirtAddr(0xffff_f300_0000_0000), size: 512 * GIB };
/// What the loader hands over; and, where crate `bootloader`'s maps more (a frame buffer), each such thing in an
/// entry of the topmost table of its own.
pub const BOOT_INFO: VaRegion =
    VaRegion { name: "boot info", start: VirtAddr(0xffff_f400_0000_0000), size: 4 * TIB };
/// The kernel image, in the top 2 GiB as the code model asks.
pub const KERNEL: VaRegion =
    VaRegion { name: "kernel image", start: VirtAddr(0xffff_ffff_8000_0000), size: 2 * GIB };

/// All windows, in ascending order.
pub const VA_REGIONS: [VaRegion; 9] =
    [DIRECT_MAP, VMEMMAP, ALLOC, HEAP, STACKS, DEVICES, FIXMAP, BOOT_INFO, KERNEL];

// No window overlaps the next, none leaves the higher half, and both maps have room for every frame.
const _: () = {
    let mut i = 0;
    while i < VA_REGIONS.len() {
        assert!(VA_REGIONS[i].start.0 >= 0xffff_8000_0000_0000);
        assert!(VA_REGIONS[i].start.0.checked_add(VA_REGIONS[i].size - 1).is_some());
        if i > 0 {
            assert!(VA_REGIONS[i - 1].last().0 < VA_REGIONS[i].start.0);
        }
        i += 1;
    }
    assert!(DIRECT_MAP.size == 1 << MAX_PHYS_BITS);
    assert!(VMEMMAP.size == DESCRIPTOR_SIZE << (MAX_PHYS_BITS - PAGE_SHIFT));
};

/// Bytes of a page descriptor (asserted against the type in `page`).
pub const DESCRIPTOR_SIZE: u64 = 64;

/// The window that holds `at`, if one does.
pub fn va_region_of(at: VirtAddr) -> Option<&'static VaRegion> {
    VA_REGIONS.iter().find(|window| window.contains(at))
}

/// Where the direct map has physical address `at` (below 2^[`MAX_PHYS_BITS`]).
pub const fn direct(at: PhysAddr) -> VirtAddr {
    DIRECT_MAP.start.offset(at.0)
}

/// Where the vmemmap has the descriptor of `pfn` (below [`crate::addr::MAX_PFN`]).
pub const fn descriptor(pfn: Pfn) -> VirtAddr {
    VMEMMAP.start.offset(pfn.0.wrapping_mul(DESCRIPTOR_SIZE))
}
