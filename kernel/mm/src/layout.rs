//! Where in a resource its own data lies: pure arithmetic, no memory is touched.
//!
//! ```text
//!  a hot-added resource (for 256 MiB: 65536 frames, memmap 1024, usable 64512)
//!
//!  | front |            memmap array (N/64 frames)            | extra |        usable run       |
//!  |       | header | table pages ... | descriptors of usable |       |                         |
//!  range.start       `- own slots: they would describe -'      memmap ends = usable starts     range.end
//!                       the memmap's own frames
//! ```
//!
//! * The array's slot n describes frame `range.start + n`. The slots of the memmap's own frames
//!   ("own slots") are never read as descriptors, since those frames are known from here; they hold
//!   the header and the words of the buddy's groups (from the first slot on, a third of the room) and page
//!   tables (in the other pages that are own slots only).
//! * Front frames exist only where shifting the array by less than 2 MiB makes its virtual and
//!   physical addresses congruent modulo 2 MiB and costs fewer frames than the tables it saves;
//!   extra frames only where own slots are too few (small DIMMs). Both count as memmap and hold tables.
//! * One page is reserved for each page table that the resource may need *or share*, and that page is for
//!   that table alone: a table that exists already lies in the page that a neighbour reserved for it, and is
//!   handed over into ours when the neighbour leaves, so a hand-over cannot fail.
//!
//! A boot range has its data (pages for header and groups, tables, the array) in a hole somewhere inside; its
//! usable run is the whole range, out of which the data is carved.
//!
//! Neighbours: `hotplug` and `boot` follow the layout, `region` keeps it, `buddy` reads the header.

use crate::addr::{Order, PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange, SECTION_PAGES, SectionNr, VirtAddr};
use crate::address_space::{DESCRIPTOR_SIZE, VMEMMAP, descriptor, direct};
use crate::buddy::{self, MetadataLayout};
use crate::machine::{CpuFeatures, Support};
use crate::page_table::{LeafSize, Level};
use crate::section;

/// Descriptors in a frame of the memmap.
pub const DESCRIPTORS_PER_PAGE: u64 = 64;
/// Frames of 2 MiB: the smallest DIMM, its alignment, and a large leaf.
pub const LARGE_PAGES: u64 = 512;
/// Frames of 1 GiB: what one page directory of the direct map covers.
pub const GIB_PAGES: u64 = 512 * 512;
/// Frames of the smallest boot range that is worth a memmap of its own.
pub const MIN_BOOT_PAGES: u64 = 512;

/// Where a resource's own data lies. Recomputable from range and CPU, except a boot range's hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// All frames of the resource.
    pub range: PfnRange,
    /// The frames that carry its own data, in one run.
    pub data: PfnRange,
    /// The frames of the memmap array, inside `data`.
    pub array: PfnRange,
    /// The frames that the buddy manages: behind `data` in a hot-added resource, all of a boot range.
    pub usable: PfnRange,
    /// Where the buddy's header is, with the words of its groups behind it.
    pub header: VirtAddr,
    /// Pages that header and groups take, the last one in part.
    words: u64,
    /// Page tables it may need or share, each with a page of its own (see [`Layout::table_page`]).
    pub tables: u64,
    /// How many of them are page directories of the direct map; the rest are lowest tables of the vmemmap.
    pub direct_tables: u64,
}

/// A page table that resources share where they meet: one that is not made at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The page directory of the direct map for the GiB of this frame.
    Direct(Pfn),
    /// The lowest table of the vmemmap for this section.
    Vmemmap(SectionNr),
}

impl Table {
    /// The frames that the table maps, or whose descriptors it maps.
    pub const fn range(self) -> PfnRange {
        match self {
            Table::Direct(pfn) => PfnRange::of(Pfn(pfn.0 / GIB_PAGES * GIB_PAGES), GIB_PAGES),
            Table::Vmemmap(section) => section.range(),
        }
    }

    /// The first address that the table maps.
    pub const fn address(self) -> VirtAddr {
        match self {
            Table::Direct(_) => direct(self.range().start.start()),
            Table::Vmemmap(_) => descriptor(self.range().start),
        }
    }

    /// Its level.
    pub const fn level(self) -> Level {
        match self {
            Table::Direct(_) => Level::Pd,
            Table::Vmemmap(_) => Level::Pt,
        }
    }
}

/// Virtual page number of the memmap's page that holds `pfn`'s descriptor, from the window's start.
const fn descriptor_page(pfn: Pfn) -> u64 {
    pfn.0 / DESCRIPTORS_PER_PAGE
}

/// The frames whose descriptors lie in the pages of `range`'s array: `range`, rounded outward. No other
/// resource can have one of them (a boot range that starts among them is rounded).
const fn described(range: PfnRange) -> PfnRange {
    let end = range.end.0.next_multiple_of(DESCRIPTORS_PER_PAGE);
    PfnRange::new(Pfn(descriptor_page(range.start) * DESCRIPTORS_PER_PAGE), Pfn(end))
}

/// Lowest tables of the vmemmap that `range` needs or shares when its array starts at `array`: one a
/// section, but none where a leaf of 2 MiB fits.
fn vmemmap_tables(range: PfnRange, array: Pfn) -> u64 {
    let whole = if is_congruent(range, array) { whole_sections(range) } else { 0 };
    section::touched_count(range) - whole
}

/// Sections whose descriptors are all in `range`'s array.
fn whole_sections(range: PfnRange) -> u64 {
    section::whole_count(described(range), SECTION_PAGES)
}

/// Whether the array's virtual and physical addresses are the same modulo 2 MiB.
const fn is_congruent(range: PfnRange, array: Pfn) -> bool {
    descriptor_page(range.start).wrapping_sub(array.0).is_multiple_of(LARGE_PAGES)
}

/// Page directories of the direct map that `range` needs or shares: one a GiB, but none where a
/// leaf of 1 GiB fits.
fn direct_tables(range: PfnRange, features: CpuFeatures) -> u64 {
    let touched = range.end.0.div_ceil(GIB_PAGES) - range.start.0 / GIB_PAGES;
    match features.gib_leaves {
        Support::Yes => touched - section::whole_count(range, GIB_PAGES),
        Support::No => touched,
    }
}

impl Layout {
    /// The layout of hot-added `range`, whose borders must be multiples of 2 MiB. `None` when it has
    /// no room for its own data and at least one usable frame.
    pub fn plan(range: PfnRange, features: CpuFeatures) -> Option<Layout> {
        let pages = range.pages();
        let aligned = range.start.0.is_multiple_of(LARGE_PAGES) && range.end.0.is_multiple_of(LARGE_PAGES);
        if pages == 0 || !aligned {
            return None;
        }
        let shift = descriptor_page(range.start).wrapping_sub(range.start.0) % LARGE_PAGES;
        let saved = vmemmap_tables(range, range.start)
            .saturating_sub(vmemmap_tables(range, range.start.offset(shift)));
        let front = if shift < saved { shift } else { 0 };
        let array = PfnRange::of(range.start.offset(front), pages / DESCRIPTORS_PER_PAGE);
        let direct_tables = direct_tables(range, features);
        let tables = direct_tables + vmemmap_tables(range, array.start);

        // At most `tables` extra frames, and those only in small DIMMs: the loop is short.
        let mut data = PfnRange::new(range.start, array.end);
        loop {
            let usable = PfnRange::new(data.end, range.end);
            let header = descriptor(range.start);
            let words = room_pages(usable);
            let layout = Layout { range, data, array, usable, header, words, tables, direct_tables };
            if usable.is_empty() {
                return None;
            }
            let pages = front + layout.pages_for_tables() + (data.end.0 - array.end.0);
            if pages >= tables && MetadataLayout::bytes(usable) <= layout.own_slot_bytes() {
                return Some(layout);
            }
            data.end = data.end.offset(1);
        }
    }

    /// The layout of boot memory `range` with its data in `hole`, a part of it that nothing occupies.
    /// `None` when the hole is too small.
    pub fn plan_boot(range: PfnRange, hole: PfnRange) -> Option<Layout> {
        // The descriptor pages are mapped whole: slots in front of the range are just never read.
        let first = descriptor_page(range.start);
        let array_pages = range.end.0.div_ceil(DESCRIPTORS_PER_PAGE) - first;
        let words = room_pages(range);
        let fits = |array_start: u64| {
            let array = PfnRange::of(Pfn(array_start), array_pages);
            let tables = vmemmap_tables(range, array.start);
            let data = PfnRange::new(Pfn(array.start.0.checked_sub(words + tables)?), array.end);
            hole.contains_range(data).then_some(Layout {
                range,
                data,
                array,
                usable: range,
                header: direct(data.start.start()),
                words,
                tables,
                direct_tables: 0,
            })
        };
        // Large leaves where the first congruent place leaves enough of the hole, else the first place.
        let most = words + section::touched_count(range);
        let first_place = hole.start.0.checked_add(most)?;
        let congruent = first_place.checked_add(first.wrapping_sub(first_place) % LARGE_PAGES)?;
        if whole_sections(range) > 0
            && let Some(layout) = fits(congruent)
        {
            return Some(layout);
        }
        fits(first_place)
    }

    /// The frame of the `n`th page that is kept for page tables; `None` when there are no more.
    pub fn table_page(&self, n: u64) -> Option<Pfn> {
        if self.is_boot() {
            let page = self.data.start.offset(self.words).offset(n);
            return (n < self.tables && page < self.array.start).then_some(page);
        }
        let front = self.array.start.0 - self.data.start.0;
        let room = self.pages_for_tables();
        let page = if n < front {
            self.data.start.offset(n)
        } else if n - front < room {
            self.array.start.offset(self.words + (n - front))
        } else {
            self.array.end.offset(n - front - room)
        };
        (page < self.data.end).then_some(page)
    }

    /// The frame that is kept for `table`; `None` when the resource needs no such table.
    pub fn page_for(&self, table: Table) -> Option<Pfn> {
        let place = match table {
            Table::Direct(pfn) => {
                let (first, gib) = (self.range.start.0 / GIB_PAGES, pfn.0 / GIB_PAGES);
                let touched = self.range.end.0.div_ceil(GIB_PAGES) - first;
                if self.direct_tables == touched {
                    gib.checked_sub(first)?
                } else {
                    // Leaves of 1 GiB map what lies between: there are tables at the ends alone.
                    u64::from(gib != first && !self.range.start.0.is_multiple_of(GIB_PAGES))
                }
            }
            Table::Vmemmap(section) => {
                let first = self.range.start.section();
                let touched = section::touched_count(self.range);
                let place = if self.tables - self.direct_tables == touched {
                    section.0.checked_sub(first.0)?
                } else {
                    u64::from(section != first && !self.range.start.0.is_multiple_of(SECTION_PAGES))
                };
                self.direct_tables + place
            }
        };
        let kept = match table {
            Table::Direct(_) => 0..self.direct_tables,
            Table::Vmemmap(_) => self.direct_tables..self.tables,
        };
        if kept.contains(&place) { self.table_page(place) } else { None }
    }

    /// The tables that a neighbour may share, and those at the ends that it does not: the page directories of
    /// the direct map and the lowest tables of the vmemmap for the first and the last frame.
    pub fn border_tables(&self) -> impl Iterator<Item = Table> + use<> {
        let (first, last) = (self.range.start, Pfn(self.range.end.0 - 1));
        let (one, other) = (first.section(), last.section());
        let ends = [Table::Direct(first), Table::Direct(last), Table::Vmemmap(one), Table::Vmemmap(other)];
        let layout = *self;
        let new = move |&n: &usize| n % 2 == 0 || ends[n].range() != ends[n - 1].range();
        (0..ends.len()).filter(new).map(move |n| ends[n]).filter(move |&table| layout.uses(table))
    }

    /// Whether the resource's mappings go through `table`, one at its ends, rather than a larger leaf.
    fn uses(&self, table: Table) -> bool {
        let larger_leaf = match table {
            Table::Direct(_) => {
                let touched = self.range.end.0.div_ceil(GIB_PAGES) - self.range.start.0 / GIB_PAGES;
                self.direct_tables != touched && self.range.contains_range(table.range())
            }
            Table::Vmemmap(section) => self.vmemmap_leaf(descriptor(section.start())) == LeafSize::M2,
        };
        !larger_leaf
    }

    /// Whether the data lies inside the usable run (boot memory).
    pub fn is_boot(&self) -> bool {
        self.usable == self.range
    }

    /// Where the words of its allocator lie.
    pub fn metadata(&self) -> MetadataLayout {
        MetadataLayout::of(self.usable, self.header)
    }

    /// Bytes of a hot-added resource's own slots.
    const fn own_slot_bytes(&self) -> u64 {
        self.data.pages() * DESCRIPTOR_SIZE
    }

    /// Pages of a hot-added resource's own slots that may hold page tables: those that are own slots from end to end,
    /// without those of header and groups.
    const fn pages_for_tables(&self) -> u64 {
        (self.own_slot_bytes() >> PAGE_SHIFT).saturating_sub(self.words)
    }

    /// The highest order a block of the usable run can have.
    pub fn max_order(&self) -> Order {
        buddy::max_order(self.usable)
    }

    /// The leaf that maps the vmemmap's page at `at`, one of the resource's: large where the resource covers
    /// the section wholly, so that no neighbour can need a part of what the leaf maps, else 4 KiB.
    pub fn vmemmap_leaf(&self, at: VirtAddr) -> LeafSize {
        let pfn = Pfn(at.0.wrapping_sub(VMEMMAP.start.0) / DESCRIPTOR_SIZE);
        if is_congruent(self.range, self.array.start)
            && described(self.range).contains_range(pfn.section().range())
        {
            LeafSize::M2
        } else {
            LeafSize::K4
        }
    }

    /// Where the vmemmap has the resource's descriptors, in whole pages: start and bytes.
    pub fn vmemmap(&self) -> (VirtAddr, u64) {
        (descriptor(described(self.range).start), self.array.pages() << PAGE_SHIFT)
    }
}

/// Pages that header and groups of a region with this usable run take, the last one in part.
fn room_pages(usable: PfnRange) -> u64 {
    MetadataLayout::bytes(usable).div_ceil(PAGE_SIZE)
}

#[cfg(test)]
mod tests;
