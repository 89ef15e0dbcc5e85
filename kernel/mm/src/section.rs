//! Which sections a range of frames touches, and which it covers completely.
//!
//! A section can be partly present and can be shared by several resources, so nothing is stored per section: everything
//! is computed from ranges. (Linux keeps a `struct mem_section` per section and requires whole memory blocks.)
//! Neighbours: `layout` needs the sections that a resource covers completely (2 MiB leaves), `query` lists sections.

use crate::addr::{PfnRange, SECTION_PAGES, SectionNr};

/// The sections with a frame in `range`, ascending.
pub fn touched(range: PfnRange) -> impl Iterator<Item = SectionNr> + Clone {
    let end = if range.is_empty() { range.start.section().0 } else { range.end.0.div_ceil(SECTION_PAGES) };
    (range.start.section().0..end).map(SectionNr)
}

/// Number of sections with a frame in `range`.
pub const fn touched_count(range: PfnRange) -> u64 {
    if range.is_empty() { 0 } else { range.end.0.div_ceil(SECTION_PAGES) - range.start.0 / SECTION_PAGES }
}

/// Number of naturally aligned units of `unit` frames that `range` covers completely.
pub const fn whole_count(range: PfnRange, unit: u64) -> u64 {
    match range.end.0.checked_div(unit) {
        Some(end) => end.saturating_sub(range.start.0.div_ceil(unit)),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pfn;

    fn range(start: u64, end: u64) -> PfnRange {
        PfnRange::new(Pfn(start), Pfn(end))
    }

    /// Proves the counts at section borders: a range inside one section, ranges that touch a border from either side,
    /// and an empty one. Fails when a frame at a border is counted in the wrong section.
    #[test]
    fn sections_at_borders() {
        let s = SECTION_PAGES;
        for (r, sections, whole) in [
            (range(5, 5), 0, 0),
            (range(0, 1), 1, 0),
            (range(0, s), 1, 1),
            (range(1, s), 1, 0),
            (range(s - 1, s + 1), 2, 0),
            (range(s, 3 * s), 2, 2),
            (range(s - 512, 2 * s + 512), 3, 1),
        ] {
            assert_eq!(touched(r).count() as u64, sections, "{r:?}");
            assert_eq!(touched_count(r), sections, "{r:?}");
            assert_eq!(whole_count(r, s), whole, "{r:?}");
        }
    }
}
