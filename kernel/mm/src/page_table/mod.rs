//! Page tables: the kernel's own mapping code for the four levels of x86-64 (SDM vol. 3 chapter 4).
//!
//! ```text
//!  PML4 (512 GiB an entry) -> PDPT (1 GiB) -> PD (2 MiB) -> PT (4 KiB)
//!   root, kept for ever        leaf or PD      leaf or PT    leaves
//!
//!            linked table:  read and written through the direct map
//!   new or detached table:  read and written through a fixmap slot, one slot a level
//! ```
//!
//! A table for hot-added memory comes from that memory itself, so it may lie in frames that nothing
//! maps yet, and its own mapping may be among those it is to hold. Hence the invariants:
//!
//! - A new table is filled through the fixmap and is complete before an entry points to it; a linked
//!   table is edited through the direct map.
//! - A table that goes is detached first (its parent's entry cleared, top down) and from then on
//!   reached through the fixmap only, so that memory which maps itself can be taken out in one call.
//!   It is given back after the flush, never before. One in memory that leaves is not touched at all (`leave`).
//! - [`PageTables::map`] maps all or nothing; a failure leaves every entry as it was.
//! - A linked table is either *permanent* (bit 9 of the entry that points to it, free for software:
//!   made at boot, never freed) or holds at least one present entry.
//! - Kernel leaves are global; only code lacks NX; nothing is writable and executable.
//!
//! Before the fixmap exists ([`PageTables::prepare_hotplug`] makes it) new tables come from boot memory,
//! which the direct map covers, and are filled through that.
//!
//! Neighbours: `hotplug` maps resources and vmemmap, `window` maps allocations, `early` feeds the
//! boot. Callers serialise the editing of tables (`&mut self`); the lock order is in `memory`.
//! Corresponds to Linux `arch/x86/mm/init_64.c` (`kernel_physical_mapping_init`, `remove_pagetable`).

mod detach_unread;
mod entry;
#[cfg(test)]
mod estimate;
mod fixmap;
mod handover;
mod map;
mod populate;
mod replace;
mod sanitize;
mod unmap;
mod walk;

use core::fmt;

use crate::addr::{MAX_PHYS_BITS, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::machine::{CpuFeatures, Support};

pub use detach_unread::Hole;
pub use entry::Level;
#[cfg(test)]
pub(crate) use estimate::TableNeed;
pub use replace::ReplaceError;
pub use unmap::{UnmapError, UnmapStats};
pub use walk::{EntryTarget, Leaf, PathStep, Translation};

/// The size of a leaf: what one entry maps.
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

    /// Bytes of the leaf.
    pub const fn bytes(self) -> u64 {
        match self {
            LeafSize::K4 => PAGE_SIZE,
            LeafSize::M2 => 2 << 20,
            LeafSize::G1 => 1 << 30,
        }
    }

    /// Frames of the leaf.
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

/// What may be done with mapped memory. There is no writable and executable memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rights {
    /// Read and written, not executed.
    Data,
    /// Read only.
    ReadOnly,
    /// Read and executed.
    Code,
}

/// How the CPU caches accesses (SDM vol. 3 section 4.9, with the PAT as it is after reset).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caching {
    /// Write-back: memory.
    Memory,
    /// Uncached (PCD and PWT set): device registers.
    Device,
}

/// How long the tables stay that a mapping makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// Until they are empty.
    UntilEmpty,
    /// For ever: made at boot.
    Permanent,
}

/// A wish to map `pages` frames from `phys` on at `virt` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first address, a multiple of 4 KiB in the higher half.
    pub virt: VirtAddr,
    /// What it maps to, a multiple of 4 KiB.
    pub phys: PhysAddr,
    /// How many 4 KiB pages.
    pub pages: u64,
    /// What may be done with them.
    pub rights: Rights,
    /// How they are cached.
    pub caching: Caching,
    /// The largest leaf to use; the CPU's ability and alignment bound it further.
    pub largest: LeafSize,
    /// How long new tables stay.
    pub tables: Lifetime,
}

impl Mapping {
    /// Ordinary memory: [`Rights::Data`], [`Caching::Memory`], leaves as large as fit, tables that go
    /// when they are empty.
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

    /// The same with no leaf above `largest`.
    pub const fn largest(self, largest: LeafSize) -> Mapping {
        Mapping { largest, ..self }
    }

    /// The same with tables that stay for ever.
    pub const fn permanent(self) -> Mapping {
        Mapping { tables: Lifetime::Permanent, ..self }
    }

    /// The same with other rights and caching.
    pub const fn with(self, rights: Rights, caching: Caching) -> Mapping {
        Mapping { rights, caching, ..self }
    }

    /// Checks what can be known without looking at any table.
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

/// Whether `pages` pages from `virt` on are a range of the higher half.
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

/// Where frames for tables come from. They may hold anything and need not be mapped.
pub trait FrameSource {
    /// A frame for a table, `None` when there is none left.
    fn alloc_frame(&mut self) -> Option<Pfn>;

    /// Takes back a frame that `take` gave, now or in an earlier call.
    fn free_frame(&mut self, frame: Pfn);
}

/// A source that has nothing and takes back without a trace: for tables that belong to memory which
/// goes as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFrames;

impl FrameSource for NoFrames {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        None
    }

    fn free_frame(&mut self, _frame: Pfn) {}
}

/// What a call of [`PageTables::map`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapStats {
    /// Entries written, leaves and links to tables.
    pub entries_written: u64,
    /// New tables.
    pub tables: u64,
}

/// Why nothing was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// A present entry stands at `at`.
    AlreadyMapped {
        /// The first address of the entry's part of the range.
        at: VirtAddr,
    },
    /// The source of frames had none left for a table that `at` needs.
    OutOfFrames {
        /// The address that needed it.
        at: VirtAddr,
    },
    /// An address is no multiple of 4 KiB.
    Unaligned {
        /// The virtual address of the mapping.
        at: VirtAddr,
    },
    /// The range is empty, wraps, or is not in the higher half.
    BadRange {
        /// Its first address.
        virt: VirtAddr,
        /// Its pages.
        pages: u64,
    },
    /// The physical range reaches above what the layout has room for.
    BeyondPhysBits {
        /// Its first address.
        phys: PhysAddr,
        /// Its pages.
        pages: u64,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::AlreadyMapped { at } => write!(f, "virtual address {at} is mapped already"),
            MapError::OutOfFrames { at } => write!(f, "no frame left for a page table of {at}"),
            MapError::Unaligned { at } => write!(f, "the mapping at {at} is not aligned to 4 KiB"),
            MapError::BadRange { virt, pages } => {
                write!(f, "{pages} pages at {virt} are no range of kernel addresses")
            }
            MapError::BeyondPhysBits { phys, pages } => {
                write!(f, "{pages} pages at physical {phys} reach beyond {MAX_PHYS_BITS} address bits")
            }
        }
    }
}

impl core::error::Error for MapError {}

/// The kernel's page tables. See the module's head.
#[derive(Debug)]
pub struct PageTables {
    root: Pfn,
    features: CpuFeatures,
    /// The lowest table of the fixmap, once there is one.
    fixmap: Option<Pfn>,
}

impl PageTables {
    /// The tables below `root` (the frame CR3 names), as a loader left them.
    pub const fn new(root: Pfn, features: CpuFeatures) -> PageTables {
        PageTables { root, features, fixmap: None }
    }

    /// The frame of the topmost table.
    pub const fn root(&self) -> Pfn {
        self.root
    }

    /// The largest leaf the CPU has.
    pub fn largest_leaf(&self) -> LeafSize {
        match self.features.gib_leaves {
            Support::Yes => LeafSize::G1,
            Support::No => LeafSize::M2,
        }
    }
}

#[cfg(test)]
mod tests;
