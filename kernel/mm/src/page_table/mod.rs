//! Page tables: the kernel's mapping code for 4-level paging (Intel SDM vol. 3 chapter 4).
//!
//! ```text
//!  PML4 (512 GiB an entry) -> PDPT (1 GiB) -> PD (2 MiB) -> PT (4 KiB)
//!   root, permanent            leaf or PD      leaf or PT    leaves
//!
//!            linked table:  accessed through the direct map
//!   new or detached table:  accessed through a fixmap slot, one slot per level
//! ```
//!
//! A table for hot-added memory comes from that memory itself. It may lie in frames that are not mapped yet, and may
//! be the table that maps them. Hence the invariants:
//!
//! - A new table is filled through the fixmap and is complete before an entry links it; a linked
//!   table is edited through the direct map.
//! - To remove a table, unmap clears its parent's entry first (top down) and then accesses the table through the
//!   fixmap only, so that one call can unmap memory that holds its own tables. The table is freed after the TLB
//!   flush. Tables in memory that is being removed are never accessed (`handover`).
//! - [`PageTables::map`] maps all or nothing; an error leaves every entry unchanged.
//! - A linked table either is *permanent* (bit 9 of the entry that links it, which the CPU ignores:
//!   made at boot, never freed) or holds at least one present entry.
//! - Kernel leaves are global; only code lacks NX; no leaf is both writable and executable.
//!
//! Before [`PageTables::prepare_hotplug`] makes the fixmap, new tables come from boot memory and are filled through
//! the direct map.
//!
//! Neighbours: `hot_add` maps resources and vmemmap, `vmalloc` maps allocations, `boot_alloc` provides frames at
//! boot. Callers serialise edits of the tables (`&mut self`): `tables` has the one owner and its
//! lock.
//! Corresponds to Linux `arch/x86/mm/init_64.c` (`kernel_physical_mapping_init`, `remove_pagetable`).

mod copy_window;
mod detach_unread;
mod entry;
#[cfg(test)]
mod estimate;
mod fixmap;
mod flush;
mod handover;
mod map;
mod populate;
mod replace;
mod replace_singles;
mod sanitize;
mod unmap;
mod walk;

use core::fmt;

use crate::addr::{MAX_PHYS_BITS, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::machine::{CpuFeatures, Support};

pub(crate) use copy_window::PAGES as COPY_WINDOW_PAGES;
pub use detach_unread::Hole;
pub use entry::Level;
#[cfg(test)]
pub(crate) use estimate::TableNeed;
pub(crate) use flush::FlushBatch;
pub use replace::ReplaceError;
pub(crate) use replace::{NewTables, PageMove};
pub(crate) use replace_singles::{LastTable, SingleMove};
pub use unmap::{UnmapError, UnmapStats};
pub use walk::{EntryTarget, Leaf, PathStep, Translation};

/// The size of a leaf: the memory that one entry maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeafSize {
    /// 4 KiB, an entry of a PT.
    K4,
    /// 2 MiB, an entry of a PD.
    M2,
    /// 1 GiB, an entry of a PDPT.
    G1,
}

impl LeafSize {
    /// All sizes, ascending.
    pub const ALL: [LeafSize; 3] = [LeafSize::K4, LeafSize::M2, LeafSize::G1];

    /// Returns the size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            LeafSize::K4 => PAGE_SIZE,
            LeafSize::M2 => 2 << 20,
            LeafSize::G1 => 1 << 30,
        }
    }

    /// Returns the size in 4 KiB pages.
    pub const fn pages(self) -> u64 {
        self.bytes() / PAGE_SIZE
    }
}

impl fmt::Display for LeafSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeafSize::K4 => "4 KiB",
            LeafSize::M2 => "2 MiB",
            LeafSize::G1 => "1 GiB",
        })
    }
}

/// Access rights. No combination is both writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rights {
    /// Readable and writable.
    Data,
    /// Readable.
    ReadOnly,
    /// Readable and executable.
    Code,
}

/// The memory type (SDM vol. 3 section 4.9, with the PAT's reset value).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caching {
    /// Write-back, for memory.
    Memory,
    /// Uncached (PCD and PWT set), for device registers.
    Device,
}

/// The lifetime of the page tables that a mapping makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// Freed when they become empty.
    UntilEmpty,
    /// Never freed.
    Permanent,
}

/// A request to map `pages` pages, at `virt`, to contiguous frames at `phys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first virtual address: a multiple of 4 KiB in the higher half.
    pub virt: VirtAddr,
    /// The first physical address: a multiple of 4 KiB.
    pub phys: PhysAddr,
    /// The size in 4 KiB pages.
    pub pages: u64,
    /// The access rights of the leaves.
    pub rights: Rights,
    /// The memory type of the leaves.
    pub caching: Caching,
    /// The largest leaf size to use; CPU support and alignment limit it further.
    pub largest: LeafSize,
    /// The lifetime of new tables.
    pub tables: Lifetime,
}

impl Mapping {
    /// Maps ordinary memory: [`Rights::Data`], [`Caching::Memory`], the largest leaves that fit,
    /// [`Lifetime::UntilEmpty`].
    pub const fn data(virt: VirtAddr, phys: PhysAddr, pages: u64) -> Mapping {
        Mapping {
            virt,
            phys,
            pages,
            rights: Rights::Data,
            caching: Caching::Memory,
            largest: LeafSize::G1,
            tables: Lifetime::UntilEmpty,
        }
    }

    /// Limits the leaf size to `largest`.
    pub const fn largest(self, largest: LeafSize) -> Mapping {
        Mapping { largest, ..self }
    }

    /// Makes new tables permanent.
    pub const fn permanent(self) -> Mapping {
        Mapping { tables: Lifetime::Permanent, ..self }
    }

    /// Sets rights and caching.
    pub const fn with(self, rights: Rights, caching: Caching) -> Mapping {
        Mapping { rights, caching, ..self }
    }

    /// Checks alignment and range, without reading a table.
    fn check(&self) -> Result<(), MapError> {
        check_range(self.virt, self.pages)?;
        let bytes = self.pages * PAGE_SIZE;
        if !self.phys.0.is_multiple_of(PAGE_SIZE) {
            return Err(MapError::Unaligned { at: self.virt });
        }
        match self.phys.0.checked_add(bytes) {
            Some(end) if end <= 1 << MAX_PHYS_BITS => Ok(()),
            _ => Err(MapError::BeyondPhysBits { phys: self.phys, pages: self.pages }),
        }
    }
}

/// Checks that `virt` is aligned and that the `pages` pages there lie in the higher half.
fn check_range(virt: VirtAddr, pages: u64) -> Result<(), MapError> {
    if !virt.0.is_multiple_of(PAGE_SIZE) {
        return Err(MapError::Unaligned { at: virt });
    }
    let last = pages.checked_mul(PAGE_SIZE).filter(|bytes| *bytes > 0).map(|bytes| bytes - 1);
    match last.and_then(|last| virt.0.checked_add(last)) {
        Some(_) if virt.0 >= HIGHER_HALF => Ok(()),
        _ => Err(MapError::BadRange { virt, pages }),
    }
}

/// The first address of the higher half.
const HIGHER_HALF: u64 = 0xffff_8000_0000_0000;

/// An allocator of frames for page tables. The frames' contents are arbitrary, and they need not be mapped.
pub trait FrameSource {
    /// Allocates a frame, `None` when none is left.
    fn alloc_frame(&mut self) -> Option<Pfn>;

    /// Frees a frame of `alloc_frame`, of this or of an earlier call.
    fn free_frame(&mut self, frame: Pfn);
}

/// A source without frames, which drops freed ones: for tables in memory that is removed as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFrames;

impl FrameSource for NoFrames {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        None
    }

    fn free_frame(&mut self, _frame: Pfn) {}
}

/// The work done by one call of [`PageTables::map`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapStats {
    /// The entries written: leaves and links to tables.
    pub entries_written: u64,
    /// The tables allocated.
    pub tables: u64,
}

/// The reason why nothing was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The range contains a present entry.
    AlreadyMapped {
        /// The first address that both the range and the entry cover.
        at: VirtAddr,
    },
    /// No frame was left for a table.
    OutOfFrames {
        /// An address that the table would map.
        at: VirtAddr,
    },
    /// An address is not a multiple of 4 KiB.
    Unaligned {
        /// The virtual address of the mapping.
        at: VirtAddr,
    },
    /// The range is empty, wraps, or is not in the higher half.
    BadRange {
        /// The first virtual address.
        virt: VirtAddr,
        /// The size in pages.
        pages: u64,
    },
    /// The physical range exceeds [`MAX_PHYS_BITS`].
    BeyondPhysBits {
        /// The first physical address.
        phys: PhysAddr,
        /// The size in pages.
        pages: u64,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::AlreadyMapped { at } => write!(f, "virtual address {at} is mapped already"),
            MapError::OutOfFrames { at } => write!(f, "no free frame for a page table of {at}"),
            MapError::Unaligned { at } => write!(f, "the mapping at {at} is not aligned to 4 KiB"),
            MapError::BadRange { virt, pages } => {
                write!(f, "{pages} pages at {virt} are not a range of kernel addresses")
            }
            MapError::BeyondPhysBits { phys, pages } => {
                write!(f, "{pages} pages at physical {phys} reach beyond {MAX_PHYS_BITS} address bits")
            }
        }
    }
}

impl core::error::Error for MapError {}

/// The kernel's page tables. See the module's documentation.
#[derive(Debug)]
pub struct PageTables {
    root: Pfn,
    features: CpuFeatures,
    /// The PT of the fixmap; `None` before `prepare_hotplug`.
    fixmap: Option<Pfn>,
    window: copy_window::CopyWindow,
}

impl PageTables {
    /// Wraps the tables that a loader left below `root`, the frame in CR3.
    pub const fn new(root: Pfn, features: CpuFeatures) -> PageTables {
        PageTables { root, features, fixmap: None, window: copy_window::CopyWindow::EMPTY }
    }

    /// Returns the frame of the PML4.
    pub const fn root(&self) -> Pfn {
        self.root
    }

    /// Returns the largest leaf size that the CPU supports.
    pub fn largest_leaf(&self) -> LeafSize {
        match self.features.gib_leaves {
            Support::Yes => LeafSize::G1,
            Support::No => LeafSize::M2,
        }
    }
}

#[cfg(test)]
mod tests;
