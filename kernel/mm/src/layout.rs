//! Where a resource's metadata (memmap, buddy header, page tables) lies inside the resource. Pure arithmetic; touches
//! no memory.
//!
//! ```text
//!  a hot-added resource (for 256 MiB: 65536 frames, memmap 1024, usable 64512)
//!
//!  | front |            memmap array (N/64 frames)            | extra |        usable run       |
//!  |       | table pages | header | groups | descr. of usable |       |                         |
//!  range.start  `- own slots: they would describe -'           memmap ends = usable starts     range.end
//!                  the memmap's own frames
//! ```
//!
//! * Slot n of the array describes frame `range.start + n`. The slots of the memmap's own frames ("own slots") are
//!   never read as descriptors: the layout already says what those frames are. They hold page tables (in pages that
//!   consist of own slots only), then the buddy's header and group words (about a third of the own slots).
//! * An add writes the page tables, the header and the groups of the upper levels, which follow it. So these lie
//!   in the first 2 MiB wherever they fit: a host that backs memory with huge pages provides one of them.
//! * Front frames shift the array by less than 2 MiB so that its virtual and physical addresses are congruent modulo
//!   2 MiB. They exist only where the shift costs fewer frames than the page tables it saves. Extra frames exist only
//!   where own slots are too few (small DIMMs). Both count as memmap and hold tables.
//! * Each page table that the resource may need *or share* has one page reserved for it alone. A shared table that
//!   exists already lies in the page that the neighbouring resource reserved; when that neighbour is removed, the table
//!   is copied into our page. So a hand-over never has to allocate and cannot fail.
//!
//! A boot range keeps its metadata (pages for header and groups, tables, the array) in a hole inside the range. Its
//! usable run is the whole range, and the metadata is carved out of the buddy as allocated.
//!
//! Neighbours: `hot_add` and `boot` build what the layout describes, `region` stores it, `buddy` uses the header.

use crate::addr::{Order, PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange, SECTION_PAGES, SectionNr, VirtAddr};
use crate::address_space::{DESCRIPTOR_SIZE, VMEMMAP, descriptor, direct};
use crate::buddy::{self, MetadataLayout};
use crate::info::ProbeEnd;
use crate::machine::{CpuFeatures, Support};
use crate::page_table::{LeafSize, Level};
use crate::section;

/// Descriptors in one frame of the memmap.
pub const DESCRIPTORS_PER_PAGE: u64 = 64;
/// Frames in 2 MiB: the smallest DIMM, the alignment of a DIMM, and a large leaf.
pub const LARGE_PAGES: u64 = 512;
/// Frames in 1 GiB: what one page directory of the direct map covers.
pub const GIB_PAGES: u64 = 512 * 512;
/// Boot ranges of fewer frames are not used: a memmap of their own costs too much.
pub const MIN_BOOT_PAGES: u64 = 512;

/// Where a resource's metadata lies. A hot-added resource's layout follows from its range and the CPU's features; a
/// boot range's also depends on its hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// All frames of the resource.
    pub range: PfnRange,
    /// The frames that hold the metadata; one contiguous run.
    pub data: PfnRange,
    /// The frames of the memmap array, inside `data`.
    pub array: PfnRange,
    /// The frames that the buddy manages: after `data` in a hot-added resource, the whole of a boot range.
    pub usable: PfnRange,
    /// Address of the buddy's header; its group words follow.
    pub header: VirtAddr,
    /// Pages of header and group words, rounded up.
    words: u64,
    /// Page tables the resource may need or share, each with a reserved page (see [`Layout::table_page`]).
    pub tables: u64,
    /// How many of `tables` are page directories of the direct map; the rest are lowest-level tables of the vmemmap.
    pub direct_tables: u64,
    /// The largest leaf that maps its frames: 2 MiB in a chunk, whose pieces come and go.
    pub largest: LeafSize,
}

/// A page table that adjacent resources can share: any level that boot does not populate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The page directory of the direct map for the GiB of this frame.
    Direct(Pfn),
    /// The lowest-level table of the vmemmap for this section.
    Vmemmap(SectionNr),
}

impl Table {
    /// The frames that the table maps (direct map), or whose descriptors it maps (vmemmap).
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

    /// Its paging level.
    pub const fn level(self) -> Level {
        match self {
            Table::Direct(_) => Level::Pd,
            Table::Vmemmap(_) => Level::Pt,
        }
    }
}

/// Index of the vmemmap page that holds `pfn`'s descriptor.
const fn descriptor_page(pfn: Pfn) -> u64 {
    pfn.0 / DESCRIPTORS_PER_PAGE
}

/// The frames whose descriptors lie in the pages of `range`'s array: `range`, rounded outward to 64 frames. No other
/// resource owns one of the additional frames, because boot ranges are rounded inward.
const fn described(range: PfnRange) -> PfnRange {
    let end = range.end.0.next_multiple_of(DESCRIPTORS_PER_PAGE);
    PfnRange::new(Pfn(descriptor_page(range.start) * DESCRIPTORS_PER_PAGE), Pfn(end))
}

/// Lowest-level vmemmap tables that `range` needs or shares when its array starts at `array`: one per section, except
/// where a 2 MiB leaf fits.
fn vmemmap_tables(range: PfnRange, array: Pfn) -> u64 {
    let whole = if is_congruent(range, array) { whole_sections(range) } else { 0 };
    section::touched_count(range) - whole
}

/// Sections whose descriptors all lie in `range`'s array.
fn whole_sections(range: PfnRange) -> u64 {
    section::whole_count(described(range), SECTION_PAGES)
}

/// Whether the array's virtual and physical addresses are congruent modulo 2 MiB.
const fn is_congruent(range: PfnRange, array: Pfn) -> bool {
    descriptor_page(range.start).wrapping_sub(array.0).is_multiple_of(LARGE_PAGES)
}

/// Page directories of the direct map that `range` needs or shares: one per GiB, except where a 1 GiB leaf fits.
fn direct_tables(range: PfnRange, features: CpuFeatures) -> u64 {
    let touched = range.end.0.div_ceil(GIB_PAGES) - range.start.0 / GIB_PAGES;
    match features.gib_leaves {
        Support::Yes => touched - section::whole_count(range, GIB_PAGES),
        Support::No => touched,
    }
}

impl Layout {
    /// The layout of hot-added `range`, whose borders must be multiples of 2 MiB. `None` when the metadata leaves no
    /// usable frame.
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

        // Adds at most `tables` extra frames, and only in small DIMMs.
        let mut data = PfnRange::new(range.start, array.end);
        loop {
            let usable = PfnRange::new(data.end, range.end);
            if usable.is_empty() {
                return None;
            }
            let own_bytes = data.pages() * DESCRIPTOR_SIZE;
            let words = room_pages(usable);
            // Pages that consist of own slots only and are not used for header and groups.
            let spare = (own_bytes >> PAGE_SHIFT).saturating_sub(words);
            let before_header = spare.min(tables.saturating_sub(front));
            let header = descriptor(range.start).offset(before_header << PAGE_SHIFT);
            let largest = LeafSize::G1;
            let pages = front + before_header + (data.end.0 - array.end.0);
            if pages >= tables && MetadataLayout::bytes(usable) <= own_bytes {
                return Some(Layout {
                    range,
                    data,
                    array,
                    usable,
                    header,
                    words,
                    tables,
                    direct_tables,
                    largest,
                });
            }
            data.end = data.end.offset(1);
        }
    }

    /// The layout of a chunk, at most a GiB whose pieces of 2 MiB are plugged one by one: that of a resource that is mapped
    /// by 2 MiB leaves. `None` also when the tables' pages would not all lie in its first piece, which is always plugged.
    pub fn plan_chunk(range: PfnRange, features: CpuFeatures) -> Option<Layout> {
        let layout = Layout::plan(range, CpuFeatures { gib_leaves: Support::No, ..features })?;
        let first = PfnRange::of(range.start, LARGE_PAGES);
        let in_first =
            (0..layout.tables).all(|n| layout.table_page(n).is_some_and(|page| first.contains(page)));
        (layout.array.start == range.start && in_first).then_some(Layout { largest: LeafSize::M2, ..layout })
    }

    /// The layout of boot memory `range` with its metadata in `hole`, an unoccupied part of it. `None` when the hole is
    /// too small.
    pub fn plan_boot(range: PfnRange, hole: PfnRange) -> Option<Layout> {
        // Descriptor pages are mapped whole; the slots in front of the range are never read.
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
                largest: LeafSize::G1,
            })
        };
        // Use 2 MiB leaves if the hole is large enough from the first congruent frame on; else start at the first
        // frame.
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

    /// The frame of the `n`th page reserved for page tables; `None` when `n` is too large.
    pub fn table_page(&self, n: u64) -> Option<Pfn> {
        if self.is_boot() {
            let page = self.data.start.offset(self.words).offset(n);
            return (n < self.tables && page < self.array.start).then_some(page);
        }
        // The front frames and the array's first ones are one run.
        let in_front = self.header_page().0 - self.data.start.0;
        let page = if n < in_front { self.data.start.offset(n) } else { self.array.end.offset(n - in_front) };
        (page < self.data.end).then_some(page)
    }

    /// The frame that holds the header.
    fn header_page(&self) -> Pfn {
        if self.is_boot() {
            return self.data.start;
        }
        self.array.start.offset((self.header.0 - descriptor(self.range.start).0) >> PAGE_SHIFT)
    }

    /// The page tables before the header: one run from the first frame on.
    fn tables_in_front(&self) -> u64 {
        self.tables.min(self.header_page().0 - self.data.start.0)
    }

    /// The frames that an add may write, ascending: page tables, header, and the groups that
    /// [`Buddy::init`](crate::buddy::Buddy::init) opens.
    pub fn written(&self) -> impl Iterator<Item = Pfn> + use<'_> {
        let tables = (0..self.tables_in_front()).map(|n| self.data.start.offset(n));
        tables.chain(self.written_from_header())
    }

    /// Those of them that are not in front of the header.
    fn written_from_header(&self) -> impl Iterator<Item = Pfn> + use<'_> {
        let (first, mut last) = (self.header_page(), None);
        let words = MetadataLayout::first_written(self.usable).map(move |at| first.offset(at >> PAGE_SHIFT));
        let tables = (self.tables_in_front()..self.tables).filter_map(|n| self.table_page(n));
        words.chain(tables).filter(move |&page| last.replace(page) != Some(page))
    }

    /// How many frames an add writes, those included that it probes at once, and in how many aligned runs of 2 MiB they lie.
    pub fn count_written(&self, end: ProbeEnd) -> (u64, u64) {
        let mut frames = self.tables_in_front().max(1);
        let mut large = frames.div_ceil(LARGE_PAGES);
        let mut last = self.range.start.offset(frames - 1);
        let end = (end == ProbeEnd::AtOnce).then(|| self.range.last());
        for page in self.written_from_header().filter(|&page| page != self.range.start).chain(end) {
            frames += 1;
            large += u64::from(page.0 / LARGE_PAGES != last.0 / LARGE_PAGES);
            last = page;
        }
        (frames, large)
    }

    /// The frame reserved for `table`; `None` when the resource never uses that table.
    pub fn page_for(&self, table: Table) -> Option<Pfn> {
        let index = match table {
            Table::Direct(pfn) => {
                let (first, gib) = (self.range.start.0 / GIB_PAGES, pfn.0 / GIB_PAGES);
                let touched = self.range.end.0.div_ceil(GIB_PAGES) - first;
                if self.direct_tables == touched {
                    gib.checked_sub(first)?
                } else {
                    // 1 GiB leaves map the middle, so only the two ends have tables.
                    u64::from(gib != first && !self.range.start.0.is_multiple_of(GIB_PAGES))
                }
            }
            Table::Vmemmap(section) => {
                let first = self.range.start.section();
                let touched = section::touched_count(self.range);
                let index = if self.tables - self.direct_tables == touched {
                    section.0.checked_sub(first.0)?
                } else {
                    u64::from(section != first && !self.range.start.0.is_multiple_of(SECTION_PAGES))
                };
                self.direct_tables + index
            }
        };
        let kept = match table {
            Table::Direct(_) => 0..self.direct_tables,
            Table::Vmemmap(_) => self.direct_tables..self.tables,
        };
        if kept.contains(&index) { self.table_page(index) } else { None }
    }

    /// The tables for the first and the last frame (page directory of the direct map, lowest-level table of the
    /// vmemmap): the only ones that an adjacent resource can share.
    pub fn border_tables(&self) -> impl Iterator<Item = Table> + use<> {
        let (first, last) = (self.range.start, Pfn(self.range.end.0 - 1));
        let (one, other) = (first.section(), last.section());
        let ends = [Table::Direct(first), Table::Direct(last), Table::Vmemmap(one), Table::Vmemmap(other)];
        let layout = *self;
        let new = move |&n: &usize| n % 2 == 0 || ends[n].range() != ends[n - 1].range();
        (0..ends.len()).filter(new).map(move |n| ends[n]).filter(move |&table| layout.uses(table))
    }

    /// Whether the resource is mapped through `table` (one of its end tables) rather than by a larger leaf.
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

    /// Whether this is boot memory, whose metadata lies inside the usable run.
    pub fn is_boot(&self) -> bool {
        self.usable == self.range
    }

    /// Where the buddy's header and group words lie.
    pub fn metadata(&self) -> MetadataLayout {
        MetadataLayout::of(self.usable, self.header)
    }

    /// The highest order that a block of the usable run can have.
    pub fn max_order(&self) -> Order {
        buddy::max_order(self.usable)
    }

    /// The size of the leaf that maps the vmemmap page at `at` (one of the resource's): 2 MiB where the resource covers
    /// the whole section, so that no adjacent resource needs part of the leaf; else 4 KiB.
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

    /// The resource's part of the vmemmap in whole pages: start and bytes.
    pub fn vmemmap(&self) -> (VirtAddr, u64) {
        (descriptor(described(self.range).start), self.array.pages() << PAGE_SHIFT)
    }
}

/// Pages that header and groups of a region with this usable run take, rounded up.
fn room_pages(usable: PfnRange) -> u64 {
    MetadataLayout::bytes(usable).div_ceil(PAGE_SIZE)
}

#[cfg(test)]
mod tests;
