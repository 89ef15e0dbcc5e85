//! One entry of a page table: its bits (SDM vol. 3 section 4.5, tables 4-15 to 4-20), the four levels,
//! and how a range falls apart into entries.
//!
//! ```text
//!  63 | 62..52 | 51 ............ 12 | 11..9 | 8 | 7    | 6 | 5 | 4   | 3   | 2 | 1 | 0
//!  NX | -      | address of a frame | free  | G | PS   | D | A | PCD | PWT | U | W | P
//!                                     bit 9: the table below is permanent
//! ```
//!
//! The CPU sets A and D by itself, so entries are never compared as words.
//! Neighbour: only the other files of `page_table` use it.

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
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Entries of a table.
pub(super) const ENTRIES: u64 = 512;

/// A level of the tables, by what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Page table: 4 KiB an entry.
    Pt,
    /// Page directory: 2 MiB an entry.
    Pd,
    /// Page-directory-pointer table: 1 GiB an entry.
    Pdpt,
    /// The topmost table: 512 GiB an entry.
    Pml4,
}

impl Level {
    /// Its table's name in Intel's manual.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Pt => "PT",
            Level::Pd => "PD",
            Level::Pdpt => "PDPT",
            Level::Pml4 => "PML4",
        }
    }

    /// The level below.
    pub(super) const fn below(self) -> Option<Level> {
        match self {
            Level::Pt => None,
            Level::Pd => Some(Level::Pt),
            Level::Pdpt => Some(Level::Pd),
            Level::Pml4 => Some(Level::Pdpt),
        }
    }

    /// Pages that one entry of this level covers.
    pub(super) const fn entry_pages(self) -> u64 {
        1 << (9 * self as u32)
    }

    /// The leaf an entry of this level can be.
    pub(super) const fn leaf(self) -> Option<LeafSize> {
        match self {
            Level::Pt => Some(LeafSize::K4),
            Level::Pd => Some(LeafSize::M2),
            Level::Pdpt => Some(LeafSize::G1),
            Level::Pml4 => None,
        }
    }

    /// Which entry of this level's table covers `at`.
    pub(super) const fn index(self, at: VirtAddr) -> u64 {
        (at.0 >> PAGE_SHIFT) / self.entry_pages() % ENTRIES
    }
}

/// An entry as it stands in a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u64);

impl Entry {
    /// An entry that maps nothing.
    pub(super) const ABSENT: Entry = Entry(0);

    /// A link to `table`. Rights are the leaves' matter, so a link allows everything.
    pub(super) const fn table(table: Pfn, lifetime: Lifetime) -> Entry {
        let permanent = match lifetime {
            Lifetime::UntilEmpty => 0,
            Lifetime::Permanent => PERMANENT,
        };
        Entry(table.start().0 & ADDRESS | PRESENT | WRITABLE | permanent)
    }

    /// A leaf of `size` at `phys` (aligned to it), global.
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

    /// The same link, to a table that stays for ever.
    pub(super) const fn made_permanent(self) -> Entry {
        Entry(self.0 | PERMANENT)
    }

    /// Whether it maps or links anything.
    pub(super) const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// Whether the table it links (if it does) stays for ever.
    pub(super) const fn is_permanent(self) -> bool {
        self.0 & PERMANENT != 0
    }

    /// What a present entry of `level` is.
    pub(super) fn kind(self, level: Level) -> Kind {
        if !self.is_present() {
            return Kind::Absent;
        }
        match level.leaf() {
            Some(size) if size == LeafSize::K4 || self.0 & LEAF != 0 => Kind::Leaf(size),
            _ => Kind::Table(Pfn((self.0 & ADDRESS) >> PAGE_SHIFT)),
        }
    }

    /// Where a leaf of `size` begins in physical memory (bit 12 of a large leaf is its PAT bit).
    pub(super) const fn leaf_phys(self, size: LeafSize) -> PhysAddr {
        PhysAddr(self.0 & ADDRESS & !(size.bytes() - 1))
    }

    /// A leaf's rights; `None` for writable and executable, which a loader may have left.
    pub(super) const fn rights(self) -> Option<Rights> {
        match (self.0 & WRITABLE != 0, self.0 & NO_EXECUTE != 0) {
            (true, true) => Some(Rights::Data),
            (false, true) => Some(Rights::ReadOnly),
            (false, false) => Some(Rights::Code),
            (true, false) => None,
        }
    }

    /// What the bits of a link say.
    pub(super) fn table_words(self, report: &mut dyn FnMut(&'static str)) {
        let words = [(USER, "user"), (ACCESSED, "accessed"), (PERMANENT, "permanent")];
        words.iter().filter(|(bit, _)| self.0 & bit != 0).for_each(|(_, word)| report(word));
    }

    /// What the bits of a leaf say.
    pub(super) fn leaf_words(self, report: &mut dyn FnMut(&'static str)) {
        report(if self.0 & WRITABLE != 0 { "writable" } else { "read only" });
        report(if self.0 & NO_EXECUTE != 0 { "no execute" } else { "executable" });
        let words = [(USER, "user"), (GLOBAL, "global"), (ACCESSED, "accessed"), (DIRTY, "dirty")];
        words.iter().filter(|(bit, _)| self.0 & bit != 0).for_each(|(_, word)| report(word));
        report(match self.caching() {
            Caching::Memory => "write-back",
            Caching::Device => "uncached",
        });
    }

    /// A leaf's caching.
    pub(super) const fn caching(self) -> Caching {
        if self.0 & CACHE_DISABLE != 0 { Caching::Device } else { Caching::Memory }
    }
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Absent,
    /// A leaf.
    Leaf(LeafSize),
    /// A link to a table of the level below.
    Table(Pfn),
}

/// A stretch of virtual pages inside one table, with the physical address it goes with (0 and unused
/// where nothing is mapped).
#[derive(Clone, Copy, Debug)]
pub(super) struct VaRange {
    pub(super) virt: VirtAddr,
    pub(super) phys: PhysAddr,
    pub(super) pages: u64,
}

impl VaRange {
    /// A stretch without a physical side.
    pub(super) const fn of(virt: VirtAddr, pages: u64) -> VaRange {
        VaRange { virt, phys: PhysAddr(0), pages }
    }

    /// The parts that the entries of `level` cover, in ascending order.
    pub(super) fn entries(self, level: Level) -> impl Iterator<Item = VaRange> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let first = rest.first_entry(level)?;
            rest = rest.behind(first.pages);
            Some(first)
        })
    }

    /// What is left of it behind its first `pages`.
    pub(super) const fn behind(self, pages: u64) -> VaRange {
        VaRange {
            virt: self.virt.offset(pages * PAGE_SIZE),
            phys: PhysAddr(self.phys.0 + pages * PAGE_SIZE),
            pages: self.pages - pages,
        }
    }

    /// The part that the first entry of `level` covers, if anything is left.
    pub(super) fn first_entry(self, level: Level) -> Option<VaRange> {
        let covered = level.entry_pages();
        let into = (self.virt.0 >> PAGE_SHIFT) % covered;
        let pages = self.pages.min(covered - into);
        if pages == 0 { None } else { Some(VaRange { pages, ..self }) }
    }

    /// Whether it is all that an entry of `level` covers.
    pub(super) const fn is_whole_entry(self, level: Level) -> bool {
        self.pages == level.entry_pages()
    }

    /// Its last page.
    pub(super) const fn last(self) -> VirtAddr {
        self.virt.offset((self.pages - 1) * PAGE_SIZE)
    }

    /// The first address behind it.
    pub(super) const fn end(self) -> VirtAddr {
        self.virt.offset(self.pages * PAGE_SIZE)
    }
}
