//! The units of the memory core: addresses, frame numbers, orders, sections and nodes, each a newtype.
//!
//! ```text
//!  PhysAddr (bytes) --/4 KiB--> Pfn (frames) --/32768--> SectionNr (128 MiB)
//! ```
//!
//! Invariants: a [`PhysAddr`] and a [`Pfn`] may hold any number that firmware reports; the checks of `hot_add` reject
//! numbers above [`MAX_PHYS_BITS`] before any arithmetic relies on them. A [`PfnRange`] whose end is not above its
//! start is empty.

use core::fmt;

/// Bytes of a page frame.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// log2 of a section's bytes: 128 MiB, as on Linux x86-64 (`SECTION_SIZE_BITS`, there 27 too).
pub const SECTION_SHIFT: u32 = 27;
/// Frames of a section.
pub const SECTION_PAGES: u64 = 1 << (SECTION_SHIFT - PAGE_SHIFT);
/// Physical address bits that the virtual layout supports (64 TiB).
pub const MAX_PHYS_BITS: u32 = 46;
/// One past the highest frame number that the virtual layout supports.
pub const MAX_PFN: Pfn = Pfn(1 << (MAX_PHYS_BITS - PAGE_SHIFT));

/// A physical address in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysAddr(pub u64);

/// A virtual address in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtAddr(pub u64);

/// A page frame number: a physical address in units of [`PAGE_SIZE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pfn(pub u64);

/// The number of a 128 MiB section of physical memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SectionNr(pub u64);

/// The maximum number of nodes. Proximity domain numbers are arbitrary; so many different ones fit.
pub const MAX_NODES: usize = 64;

/// A NUMA node (an ACPI proximity domain).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u32);

/// A buddy order: a block of order n holds 2^n frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Order(pub u8);

impl PhysAddr {
    /// The frame that contains this address.
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 >> PAGE_SHIFT)
    }
}

impl VirtAddr {
    /// This address plus `bytes`, wrapping like the CPU's address arithmetic.
    pub const fn offset(self, bytes: u64) -> VirtAddr {
        VirtAddr(self.0.wrapping_add(bytes))
    }
}

impl Pfn {
    /// The address of the frame's first byte. Meaningful up to [`MAX_PFN`]; wraps above 2^52.
    pub const fn start(self) -> PhysAddr {
        PhysAddr(self.0 << PAGE_SHIFT)
    }

    /// The section that contains this frame.
    pub const fn section(self) -> SectionNr {
        SectionNr(self.0 / SECTION_PAGES)
    }

    /// This frame number plus `pages`, wrapping.
    pub const fn offset(self, pages: u64) -> Pfn {
        Pfn(self.0.wrapping_add(pages))
    }

    /// The first frame of the aligned block of `order` that contains this frame.
    pub const fn align_down(self, order: Order) -> Pfn {
        Pfn(self.0 & !(order.pages() - 1))
    }

    /// Whether a block of `order` can start here: blocks are aligned by absolute frame number.
    pub const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.pages() - 1) == 0
    }
}

impl SectionNr {
    /// The section's first frame.
    pub const fn start(self) -> Pfn {
        Pfn(self.0.saturating_mul(SECTION_PAGES))
    }

    /// All frames of the section, present or not.
    pub const fn range(self) -> PfnRange {
        PfnRange { start: self.start(), end: Pfn(self.0.saturating_add(1).saturating_mul(SECTION_PAGES)) }
    }
}

impl Order {
    /// The highest order: one block of all physical memory that the virtual layout supports.
    pub const MAX: Order = Order((MAX_PHYS_BITS - PAGE_SHIFT) as u8);
    /// The number of orders, 0 to [`Order::MAX`].
    pub const COUNT: usize = Order::MAX.0 as usize + 1;

    /// Frames of a block of this order. Meaningless above [`Order::MAX`].
    pub const fn pages(self) -> u64 {
        1u64.wrapping_shl(self.0 as u32)
    }

    /// The smallest order whose block holds `pages` frames; `None` above [`Order::MAX`]. Linux: `get_order`.
    pub const fn holding(pages: u64) -> Option<Order> {
        let order = if pages <= 1 { 0 } else { 64 - (pages - 1).leading_zeros() as u8 };
        if order <= Order::MAX.0 { Some(Order(order)) } else { None }
    }
}

/// Frames from `start` up to, not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PfnRange {
    /// The first frame.
    pub start: Pfn,
    /// One past the last frame.
    pub end: Pfn,
}

impl PfnRange {
    /// All frames, ascending.
    pub fn each(self) -> impl Iterator<Item = Pfn> {
        (self.start.0..self.end.0).map(Pfn)
    }

    /// `start` up to `end`; empty (at `start`) when `end` lies below.
    pub const fn new(start: Pfn, end: Pfn) -> PfnRange {
        if end.0 < start.0 { PfnRange { start, end: start } } else { PfnRange { start, end } }
    }

    /// `pages` frames from `start` on.
    pub const fn of(start: Pfn, pages: u64) -> PfnRange {
        PfnRange::new(start, Pfn(start.0.saturating_add(pages)))
    }

    /// The last frame of a range that is not empty.
    pub const fn last(self) -> Pfn {
        Pfn(self.end.0.saturating_sub(1))
    }

    /// Number of frames.
    pub const fn pages(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether the range has no frame.
    pub const fn is_empty(self) -> bool {
        self.start.0 >= self.end.0
    }

    /// Whether `pfn` lies in the range.
    pub const fn contains(self, pfn: Pfn) -> bool {
        self.start.0 <= pfn.0 && pfn.0 < self.end.0
    }

    /// Whether all of `other` lies in the range.
    pub const fn contains_range(self, other: PfnRange) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// Whether the ranges share a frame.
    pub const fn overlaps(self, other: PfnRange) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }

    /// The frames in both ranges; may be empty.
    pub const fn intersection(self, other: PfnRange) -> PfnRange {
        let start = if self.start.0 > other.start.0 { self.start } else { other.start };
        let end = if self.end.0 < other.end.0 { self.end } else { other.end };
        PfnRange::new(start, end)
    }
}

/// A block of 2^order frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// Its first frame.
    pub head: Pfn,
    /// Its order.
    pub order: Order,
}

impl Block {
    /// Its frames.
    pub const fn range(self) -> PfnRange {
        PfnRange::of(self.head, self.order.pages())
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SectionNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "section {}", self.0)
    }
}

impl fmt::Display for SectionNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order {}", self.0)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for PfnRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.start.0, self.end.0)
    }
}

impl fmt::Display for PfnRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.start.0, self.end.0)
    }
}
