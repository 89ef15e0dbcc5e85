//! One page-table entry: its bits (SDM vol. 3 section 4.5, tables 4-15 to 4-20), the four levels,
//! and the division of a range into entries.
//!
//! ```text
//!  63 | 62..52 | 51 ............ 12 | 11..9 | 8 | 7    | 6 | 5 | 4   | 3   | 2 | 1 | 0
//!  NX | -      | address of a frame | free  | G | PS   | D | A | PCD | PWT | U | W | P
//!                                     bit 9: the linked table is permanent
//!                                     bit 10, with P clear: a migration entry
//! ```
//!
//! A *migration entry* is a leaf without P whose other bits stay: its page is being copied. A CPU that accesses the page
//! meanwhile faults, and no CPU caches the entry.
//!
//! The CPU sets A and D, so entries are never compared as words.
//! Neighbours: used by the other files of `page_table` only.

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::page_table::{Caching, LeafSize, Lifetime, Rights};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LEAF: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const PERMANENT: u64 = 1 << 9;
const MIGRATING: u64 = 1 << 10;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Entries per table.
pub(super) const ENTRIES: u64 = 512;

/// The level of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Page table: 4 KiB per entry.
    Pt,
    /// Page directory: 2 MiB per entry.
    Pd,
    /// Page-directory-pointer table: 1 GiB per entry.
    Pdpt,
    /// The topmost table: 512 GiB per entry.
    Pml4,
}

impl Level {
    /// Returns the table's name in the SDM.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Pt => "PT",
            Level::Pd => "PD",
            Level::Pdpt => "PDPT",
            Level::Pml4 => "PML4",
        }
    }

    /// Returns the level below.
    pub(super) const fn below(self) -> Option<Level> {
        match self {
            Level::Pt => None,
            Level::Pd => Some(Level::Pt),
            Level::Pdpt => Some(Level::Pd),
            Level::Pml4 => Some(Level::Pdpt),
        }
    }

    /// Returns the number of pages that one entry of this level covers.
    pub(super) const fn entry_pages(self) -> u64 {
        1 << (9 * self as u32)
    }

    /// Returns the size of a leaf of this level.
    pub(super) const fn leaf(self) -> Option<LeafSize> {
        match self {
            Level::Pt => Some(LeafSize::K4),
            Level::Pd => Some(LeafSize::M2),
            Level::Pdpt => Some(LeafSize::G1),
            Level::Pml4 => None,
        }
    }

    /// Returns the index of the entry that covers `at` in a table of this level.
    pub(super) const fn index(self, at: VirtAddr) -> u64 {
        (at.0 >> PAGE_SHIFT) / self.entry_pages() % ENTRIES
    }
}

/// A page-table entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u64);

impl Entry {
    /// The entry that maps nothing.
    pub(super) const ABSENT: Entry = Entry(0);

    /// Makes a link to `table`. It allows everything: the leaves restrict the rights.
    pub(super) const fn table(table: Pfn, lifetime: Lifetime) -> Entry {
        let permanent = match lifetime {
            Lifetime::UntilEmpty => 0,
            Lifetime::Permanent => PERMANENT,
        };
        Entry(table.start().0 & ADDRESS | PRESENT | WRITABLE | permanent)
    }

    /// Makes a global leaf of `size` that maps `phys`, a multiple of `size`.
    pub(super) const fn leaf(phys: PhysAddr, size: LeafSize, rights: Rights, caching: Caching) -> Entry {
        let rights = match rights {
            Rights::Data => WRITABLE | NO_EXECUTE,
            Rights::ReadOnly => NO_EXECUTE,
            Rights::Code => 0,
        };
        let caching = match caching {
            Caching::Memory => 0,
            Caching::Device => WRITE_THROUGH | CACHE_DISABLE,
        };
        let large = match size {
            LeafSize::K4 => 0,
            LeafSize::M2 | LeafSize::G1 => LEAF,
        };
        Entry(phys.0 & ADDRESS | PRESENT | GLOBAL | rights | caching | large)
    }

    /// Marks the linked table as permanent.
    pub(super) const fn made_permanent(self) -> Entry {
        Entry(self.0 | PERMANENT)
    }

    /// Makes the migration entry of a present leaf.
    pub(super) const fn made_migrating(self) -> Entry {
        Entry(self.0 & !PRESENT | MIGRATING)
    }

    /// Makes the leaf that a migration entry was.
    pub(super) const fn made_present(self) -> Entry {
        Entry(self.0 & !MIGRATING | PRESENT)
    }

    /// Makes the leaf that maps `phys` as this leaf or migration entry does, and is of the same size.
    pub(super) const fn moved_to(self, phys: PhysAddr) -> Entry {
        Entry(self.0 & !ADDRESS | phys.0 & ADDRESS).made_present()
    }

    /// Returns whether this entry of a page table maps `frame`.
    pub(super) fn maps_single(self, frame: Pfn) -> bool {
        self.is_present() && self.leaf_phys(LeafSize::K4) == frame.start()
    }

    /// Returns whether the entry is a leaf or a link.
    pub(super) const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// Returns whether the entry is a leaf, a migration entry or a link.
    pub(super) const fn is_used(self) -> bool {
        self.0 & (PRESENT | MIGRATING) != 0
    }

    /// Returns whether the linked table is permanent.
    pub(super) const fn is_permanent(self) -> bool {
        self.0 & PERMANENT != 0
    }

    /// Decodes an entry of a table of `level`.
    pub(super) fn kind(self, level: Level) -> EntryKind {
        match level.leaf() {
            Some(size) if !self.is_present() && self.is_used() => EntryKind::Migrating(size),
            _ if !self.is_present() => EntryKind::Absent,
            Some(size) if size == LeafSize::K4 || self.0 & LEAF != 0 => EntryKind::Leaf(size),
            _ => EntryKind::Table(Pfn((self.0 & ADDRESS) >> PAGE_SHIFT)),
        }
    }

    /// Returns the physical address of a leaf of `size`. Bit 12 of a large leaf is its PAT bit, not an address bit.
    pub(super) const fn leaf_phys(self, size: LeafSize) -> PhysAddr {
        PhysAddr(self.0 & ADDRESS & !(size.bytes() - 1))
    }

    /// Returns a leaf's rights; `None` for writable and executable, which only a loader makes.
    pub(super) const fn rights(self) -> Option<Rights> {
        match (self.0 & WRITABLE != 0, self.0 & NO_EXECUTE != 0) {
            (true, true) => Some(Rights::Data),
            (false, true) => Some(Rights::ReadOnly),
            (false, false) => Some(Rights::Code),
            (true, false) => None,
        }
    }

    /// Reports the attributes of a link.
    pub(super) fn link_attributes(self, report: &mut dyn FnMut(&'static str)) {
        let words = [(USER, "user"), (ACCESSED, "accessed"), (PERMANENT, "permanent")];
        words.iter().filter(|(bit, _)| self.0 & bit != 0).for_each(|(_, word)| report(word));
    }

    /// Reports the attributes of a leaf.
    pub(super) fn leaf_attributes(self, report: &mut dyn FnMut(&'static str)) {
        report(if self.0 & WRITABLE != 0 { "writable" } else { "read only" });
        report(if self.0 & NO_EXECUTE != 0 { "no execute" } else { "executable" });
        let words = [(USER, "user"), (GLOBAL, "global"), (ACCESSED, "accessed"), (DIRTY, "dirty")];
        words.iter().filter(|(bit, _)| self.0 & bit != 0).for_each(|(_, word)| report(word));
        report(match self.caching() {
            Caching::Memory => "write-back",
            Caching::Device => "uncached",
        });
    }

    /// Returns a leaf's memory type.
    pub(super) const fn caching(self) -> Caching {
        if self.0 & CACHE_DISABLE != 0 { Caching::Device } else { Caching::Memory }
    }
}

/// A decoded entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// Maps nothing.
    Absent,
    /// A leaf.
    Leaf(LeafSize),
    /// A migration entry, of a leaf of this size.
    Migrating(LeafSize),
    /// A link to a table of the level below.
    Table(Pfn),
}

/// A range of virtual pages, with the physical address that it maps (0 and unused when nothing is mapped).
#[derive(Clone, Copy, Debug)]
pub(super) struct VaRange {
    pub(super) virt: VirtAddr,
    pub(super) phys: PhysAddr,
    pub(super) pages: u64,
}

impl VaRange {
    /// Makes a range without a physical address.
    pub(super) const fn of(virt: VirtAddr, pages: u64) -> VaRange {
        VaRange { virt, phys: PhysAddr(0), pages }
    }

    /// Splits the range at the borders of entries of `level`, in ascending order.
    pub(super) fn entries(self, level: Level) -> impl Iterator<Item = VaRange> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let first = rest.first_entry(level)?;
            rest = rest.skip_pages(first.pages);
            Some(first)
        })
    }

    /// Returns the range without its first `pages` pages.
    pub(super) const fn skip_pages(self, pages: u64) -> VaRange {
        VaRange {
            virt: self.virt.offset(pages * PAGE_SIZE),
            phys: PhysAddr(self.phys.0 + pages * PAGE_SIZE),
            pages: self.pages - pages,
        }
    }

    /// Returns the part that the first entry of `level` covers; `None` when the range is empty.
    pub(super) fn first_entry(self, level: Level) -> Option<VaRange> {
        let covered = level.entry_pages();
        let into = (self.virt.0 >> PAGE_SHIFT) % covered;
        let pages = self.pages.min(covered - into);
        if pages == 0 { None } else { Some(VaRange { pages, ..self }) }
    }

    /// Returns whether the range is as long as an entry of `level`.
    pub(super) const fn is_whole_entry(self, level: Level) -> bool {
        self.pages == level.entry_pages()
    }

    /// Returns the address of the last page.
    pub(super) const fn last(self) -> VirtAddr {
        self.virt.offset((self.pages - 1) * PAGE_SIZE)
    }

    /// Returns the first address after the range.
    pub(super) const fn end(self) -> VirtAddr {
        self.virt.offset(self.pages * PAGE_SIZE)
    }
}
