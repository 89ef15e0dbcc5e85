//! Tests of the layout's arithmetic, on the documented sizes and on random ones.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::addr::SECTION_PAGES;

const SMALL_LEAVES: CpuFeatures = CpuFeatures { gib_leaves: Support::No, phys_bits: 46 };
const GIB_LEAVES: CpuFeatures = CpuFeatures { gib_leaves: Support::Yes, phys_bits: 46 };
/// The frames of 1 MiB.
const MIB: u64 = 256;

fn plan(start: u64, pages: u64) -> Layout {
    Layout::plan(PfnRange::of(Pfn(start), pages), SMALL_LEAVES).unwrap()
}

/// Proves the proposal's figures: 256 MiB at 4 GiB have 1024 memmap frames at the start and 64512 usable frames behind
/// them. Fails when the memmap grows or the order changes.
#[test]
fn the_proposals_dimm() {
    for features in [SMALL_LEAVES, GIB_LEAVES] {
        let layout = Layout::plan(PfnRange::of(Pfn(0x100000), 65536), features).unwrap();
        assert_eq!(layout.data, PfnRange::new(Pfn(0x100000), Pfn(0x100400)));
        assert_eq!(layout.array, layout.data);
        assert_eq!(layout.usable, PfnRange::new(Pfn(0x100400), Pfn(0x110000)));
        assert_eq!(layout.usable.pages(), 64512);
        assert_eq!(layout.max_order(), Order(15));
        assert_eq!(layout.tables, 1);
    }
}

/// Proves that the first section of 8 GiB, and the first 128 of 1 TiB, hold only memmap. Fails when the memmap's size
/// is wrong.
#[test]
fn huge_dimms_begin_with_whole_sections_of_memmap() {
    for (gib, sections) in [(8, 1), (1024, 128), (4096, 512)] {
        let layout = plan(0x1000_0000, gib * GIB_PAGES);
        assert_eq!(layout.data.pages(), sections * SECTION_PAGES);
        assert_eq!(layout.data.start, layout.range.start);
    }
}

/// Proves that the array is shifted to be congruent exactly where the shift costs less than it saves: not for 1 GiB
/// behind 100 MiB, by 400 frames for 64 GiB there, and not at the start of a section. Fails when the rule weighs
/// other costs.
#[test]
fn the_shift_pays_or_is_left() {
    let start = 0x100000 + 100 * MIB;
    assert_eq!(plan(start, GIB_PAGES).array.start, Pfn(start));
    let shifted = plan(start, 64 * GIB_PAGES);
    assert_eq!(shifted.array.start, Pfn(start + 400));
    assert!(is_congruent(shifted.range, shifted.array.start));
    assert_eq!(plan(0x100000, 64 * GIB_PAGES).array.start, Pfn(0x100000));
}

/// Proves that an add with leaves of 1 GiB writes within the first 2 MiB of a DIMM, and only there if the last frame is
/// probed later: from 2 MiB to 1 TiB, 4 TiB at boundaries of 64 MiB. Excepted is an array that is shifted by nearly 2 MiB to save hundreds of tables. Fails when page tables lie
/// behind the groups, or the lowest level's groups before the others.
#[test]
fn an_add_writes_in_the_first_2_mib() {
    let sizes = [2 * MIB, 4 * MIB, 126 * MIB, 256 * MIB, GIB_PAGES, 5 * GIB_PAGES, 64 * GIB_PAGES];
    let sizes = sizes.into_iter().chain([1, 2, 4].map(|tib| tib * 1024 * GIB_PAGES));
    for (start, pages) in [0x100000, 0x100000 + 2 * MIB, 0x110000, 0x100000 + 30 * MIB]
        .into_iter()
        .flat_map(|start| sizes.clone().map(move |pages| (start, pages)))
        // The groups of 64 MiB of more than 1 TiB take up to 3.5 MiB, and the last one may be written.
        .filter(|(start, pages)| *pages <= 1024 * GIB_PAGES || start.is_multiple_of(64 * MIB))
    {
        let layout = Layout::plan(PfnRange::of(Pfn(start), pages), GIB_LEAVES).unwrap();
        let first = PfnRange::of(Pfn(start), LARGE_PAGES);
        let outside = layout.written().find(|&page| !first.contains(page));
        assert_eq!(outside, None, "{pages} frames at {start:#x}");
        assert_eq!(layout.count_written(ProbeEnd::AtFirstUse).1, 1);
        let at_once = layout.count_written(ProbeEnd::AtOnce).1;
        assert_eq!(at_once, if pages == LARGE_PAGES { 1 } else { 2 });
    }
}

/// Checks the invariants of a layout.
fn assert_layout(layout: &Layout, hot: bool) {
    let Layout { range, data, array, usable, .. } = *layout;
    assert!(range.contains_range(data) && data.contains_range(array));
    assert!(array.pages() * DESCRIPTORS_PER_PAGE >= range.pages());
    let words = MetadataLayout::bytes(usable);
    let mut tables = BTreeSet::new();
    let mut n = 0;
    while let Some(page) = layout.table_page(n) {
        assert!(data.contains(page), "table page {page:?} outside {data:?}");
        assert!(tables.insert(page), "{page:?} has two tables");
        n += 1;
    }
    assert!(n >= layout.tables, "{n} reserved pages for up to {} tables", layout.tables);
    if !hot {
        assert_eq!(usable, range);
        assert!(tables.iter().all(|page| *page < array.start));
        assert!(tables.iter().all(|page| page.0 - data.start.0 >= words.div_ceil(4096)));
        return;
    }
    assert_eq!((data.start, data.end, usable.end), (range.start, usable.start, range.end));
    assert!(!usable.is_empty());
    // Header, groups and tables in the array lie before the first descriptor of a usable frame.
    for page in tables.iter().filter(|page| array.contains(**page)) {
        let described_end = (page.0 - array.start.0 + 1) * DESCRIPTORS_PER_PAGE;
        assert!(described_end <= data.pages(), "{page:?} has descriptors of usable frames");
        assert!(*page < layout.header_page(), "{page:?} holds the header or groups");
    }
    assert!(layout.written().is_sorted_by(|one, other| one < other), "{layout:?}");
    let own = descriptor(range.start);
    assert!(layout.header >= own && layout.header.0 + words <= own.0 + data.pages() * DESCRIPTOR_SIZE);
    let whole = section::whole_count(range, SECTION_PAGES) > 0;
    let front = array.start.0 - data.start.0;
    assert!(data.pages() - front <= range.pages() / 64 + if whole { 0 } else { 4 }, "{layout:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Proves that every multiple of 2 MiB at every boundary of 2 MiB has a layout in which header, tables and
    /// descriptors do not overlap, and that a DIMM without a whole section has at most 4 frames beside the array. Fails
    /// when a page is counted twice or the header's page is reserved for a table.
    #[test]
    fn every_dimm_has_a_layout(start in 1u64..1 << 24, pages in 1u64..20_000, small in any::<bool>(), gib in any::<bool>()) {
        let pages = if small { pages % 130 + 1 } else { pages } * LARGE_PAGES;
        let features = if gib { GIB_LEAVES } else { SMALL_LEAVES };
        let range = PfnRange::of(Pfn(start * LARGE_PAGES), pages);
        assert_layout(&Layout::plan(range, features).unwrap(), true);
    }

    /// Proves that a boot range of any start and length has its data inside the hole, without overlaps, or has no layout
    /// when the hole is too small. Fails when the data's position is computed from the range.
    #[test]
    fn boot_data_lies_in_its_hole(start in 0u64..1 << 22, pages in MIN_BOOT_PAGES..1 << 22, from in 0u64..1 << 22, hole in 1u64..1 << 18) {
        let range = PfnRange::of(Pfn(start), pages);
        let hole = PfnRange::of(Pfn(start + from % pages), hole).intersection(range);
        match Layout::plan_boot(range, hole) {
            Some(layout) => {
                prop_assert!(hole.contains_range(layout.data));
                assert_layout(&layout, false);
            }
            None => prop_assert!(hole.pages() < pages.div_ceil(64) + 4 + 2 * section::touched_count(range) + MetadataLayout::bytes(range) / 4096),
        }
    }
}

proptest! {
    /// Proves that each table at a resource's ends has its own reserved page, that the adjacent resource names the same
    /// table at their border, and that other tables have none. Fails when two tables share a page: handing one over
    /// would overwrite the other.
    #[test]
    fn each_shared_table_has_its_page(
        start in 0u64..5000, units in 1u64..4000, next in 1u64..2000, gib_leaves in any::<bool>(),
    ) {
        let features = if gib_leaves { GIB_LEAVES } else { SMALL_LEAVES };
        let range = PfnRange::of(Pfn(0x100000 + start * LARGE_PAGES), units * LARGE_PAGES);
        let behind = PfnRange::of(range.end, next * LARGE_PAGES);
        let layouts = [range, behind].map(|range| Layout::plan(range, features));
        let [Some(one), Some(other)] = layouts else { return Ok(()) };
        let mut pages = BTreeSet::new();
        for table in one.border_tables() {
            let page = one.page_for(table).unwrap();
            prop_assert!((0..one.tables).any(|n| one.table_page(n) == Some(page)));
            prop_assert!(pages.insert(page), "{table:?}");
            if table.range().overlaps(behind) {
                prop_assert!(other.border_tables().any(|shared| shared.range() == table.range()));
            }
        }
        let far = Pfn(1 << 33);
        prop_assert!(!one.border_tables().any(|table| table.range().contains(far)));
    }
}
