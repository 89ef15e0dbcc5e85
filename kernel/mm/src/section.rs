//! How a range of frames lies over the grid of sections, and what of it is whole.
//!
//! A section can be partly present and be shared by several resources: nothing is stored a section,
//! everything here is computed from ranges. Neighbours: `layout` asks which sections a resource
//! covers wholly (large leaves), `memory` lists rows of sections.

use crate::addr::{PfnRange, SECTION_PAGES, SectionNr};

/// The sections that have a frame in `range`, ascending.
pub fn touched(range: PfnRange) -> impl Iterator<Item = SectionNr> + Clone {
    let end = if range.is_empty() { range.start.section().0 } else { range.end.0.div_ceil(SECTION_PAGES) };
    (range.start.section().0..end).map(SectionNr)
}

/// How many sections have a frame in `range`.
pub const fn touched_count(range: PfnRange) -> u64 {
    if range.is_empty() { 0 } else { range.end.0.div_ceil(SECTION_PAGES) - range.start.0 / SECTION_PAGES }
}

/// How many units of `unit` frames (aligned to themselves) `range` covers wholly.
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

    /// Proves the counts at borders: a range inside one section, one that touches a border from
    /// each side, and an empty one. Fails when a border frame is counted to the wrong section.
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
