//! The kernel's virtual address space. Everything lies in the higher half; the lower half is unmapped once the
//! kernel has dropped the boot shim's identity mapping.
//!
//! ```text
//! ffff_8000_0000_0000  direct map    64 TiB   physical address p at DIRECT_MAP + p, where RAM is present
//! ffff_c000_0000_0000  vmemmap        1 TiB   descriptor of frame n at VMEMMAP + 64 n, where RAM is present
//! ffff_d000_0000_0000  vmalloc       32 TiB   allocations of the shell's `alloc`
//! ffff_f000_0000_0000  heap         512 GiB   the kernel's heap, populated at boot
//! ffff_f100_0000_0000  stacks       512 GiB   each with an unmapped guard page below
//! ffff_f200_0000_0000  devices      512 GiB   device registers and firmware tables
//! ffff_f300_0000_0000  fixmap       512 GiB   frames that are not mapped yet; pages to copy (the copy window)
//! ffff_f400_0000_0000  boot info      4 TiB   the loader's data, and other mappings the loader made
//! ffff_ffff_8000_0000  kernel image   2 GiB
//! ```
//!
//! The addresses are fixed: the kernel's `BootloaderConfig` requests them, so every loader uses the same layout.
//! Linux's counterpart is Documentation/arch/x86/x86_64/mm.rst. Neighbours: `page_table` maps into these regions;
//! `layout` and `vmalloc` use the vmemmap and the vmalloc region.

use crate::addr::{MAX_PHYS_BITS, PAGE_SHIFT, Pfn, PhysAddr, VirtAddr};

/// A region of virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaRegion {
    /// The name that `ptdump` and fault reports print.
    pub name: &'static str,
    /// The first address.
    pub start: VirtAddr,
    /// Bytes.
    pub size: u64,
}

impl VaRegion {
    /// Whether `at` lies in the region.
    pub const fn contains(&self, at: VirtAddr) -> bool {
        self.start.0 <= at.0 && at.0 - self.start.0 < self.size
    }

    /// The last address, inclusive: one past the end of the topmost region is not representable.
    pub const fn last(&self) -> VirtAddr {
        VirtAddr(self.start.0 + (self.size - 1))
    }
}

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// All present physical memory; physical address p is mapped at `start` + p.
pub const DIRECT_MAP: VaRegion =
    VaRegion { name: "direct map", start: VirtAddr(0xffff_8000_0000_0000), size: 64 * TIB };
/// The memmap: one 64-byte descriptor per frame, mapped where memory is present.
pub const VMEMMAP: VaRegion = VaRegion { name: "vmemmap", start: VirtAddr(0xffff_c000_0000_0000), size: TIB };
/// The mapped allocations of [`crate::vmalloc`].
pub const ALLOC: VaRegion =
    VaRegion { name: "vmalloc", start: VirtAddr(0xffff_d000_0000_0000), size: 32 * TIB };
/// The kernel heap.
pub const HEAP: VaRegion = VaRegion { name: "heap", start: VirtAddr(0xffff_f000_0000_0000), size: 512 * GIB };
/// Kernel stacks, each with a guard page below.
pub const STACKS: VaRegion =
    VaRegion { name: "stacks", start: VirtAddr(0xffff_f100_0000_0000), size: 512 * GIB };
/// Device registers and firmware tables.
pub const DEVICES: VaRegion =
    VaRegion { name: "devices", start: VirtAddr(0xffff_f200_0000_0000), size: 512 * GIB };
/// Pages mapped for one access or one copy (see `page_table`).
pub const FIXMAP: VaRegion =
    VaRegion { name: "fixmap", start: VirtAddr(0xffff_f300_0000_0000), size: 512 * GIB };
/// The loader's data. Crate `bootloader` may map more here (a frame buffer), each mapping below an entry of its own
/// in the PML4.
pub const BOOT_INFO: VaRegion =
    VaRegion { name: "boot info", start: VirtAddr(0xffff_f400_0000_0000), size: 4 * TIB };
/// The kernel image, in the top 2 GiB as the `kernel` code model requires.
pub const KERNEL: VaRegion =
    VaRegion { name: "kernel image", start: VirtAddr(0xffff_ffff_8000_0000), size: 2 * GIB };

/// All regions, in ascending order.
pub const VA_REGIONS: [VaRegion; 9] =
    [DIRECT_MAP, VMEMMAP, ALLOC, HEAP, STACKS, DEVICES, FIXMAP, BOOT_INFO, KERNEL];

// Regions do not overlap, lie in the higher half, and the direct map and vmemmap cover every frame below `MAX_PFN`.
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

/// Bytes of a page descriptor (asserted against the type in `descriptor`).
pub const DESCRIPTOR_SIZE: u64 = 64;

/// The region that contains `at`.
pub fn va_region_of(at: VirtAddr) -> Option<&'static VaRegion> {
    VA_REGIONS.iter().find(|region| region.contains(at))
}

/// The direct map's address of physical address `at` (below 2^[`MAX_PHYS_BITS`]).
pub const fn direct(at: PhysAddr) -> VirtAddr {
    DIRECT_MAP.start.offset(at.0)
}

/// The vmemmap's address of the descriptor of `pfn` (below [`crate::addr::MAX_PFN`]).
pub const fn descriptor(pfn: Pfn) -> VirtAddr {
    VMEMMAP.start.offset(pfn.0.wrapping_mul(DESCRIPTOR_SIZE))
}
