//! The map of a node's memory: rows of cells, a cell for a fixed power of two of frames, as the shell's `map` draws
//! it, but as large as the screen has room for.
//!
//! ```text
//!  0x000100000000 mmmm............................................................
//! ```
//!
//! A row starts at a multiple of its length; rows without a present frame are left out. Extents come by ascending
//! address.

use std::collections::BTreeMap;

use carapace_cli::memory_map::{ABSENT, Cell, Kind, cell};

use crate::model::Extent;

/// Bytes of a frame.
pub const PAGE: u64 = 4096;
/// Frames of the smallest cell: 64 KiB.
const CELL_MIN: u64 = 16;

/// A node's picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Frames that a cell stands for.
    pub scale: u64,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first frame.
    pub start: u64,
    /// What is there; `None` where nothing is.
    pub cells: Vec<Option<Cell>>,
}

/// Frames of each kind.
type Counts = [u64; carapace_cli::memory_map::KINDS.len()];

/// The picture of these extents in rows of `columns` cells, with the smallest cells that need at most `rows` rows (or,
/// where even large ones need more because memory is scattered, in as many as it takes).
pub fn picture(extents: &[&Extent], columns: u64, rows: usize) -> Picture {
    let mut scale = CELL_MIN;
    while scale < 1 << 40 && rows_of(extents, scale * columns) > rows.max(1) {
        scale *= 2;
    }
    let mut counted: BTreeMap<u64, Vec<Counts>> = BTreeMap::new();
    for extent in extents {
        count(extent, scale, columns, &mut counted);
    }
    let drawn = |(row, counts): (u64, Vec<Counts>)| Row {
        start: row * columns * scale,
        cells: counts.iter().map(cell).collect(),
    };
    Picture { scale, rows: counted.into_iter().map(drawn).collect() }
}

fn rows_of(extents: &[&Extent], row: u64) -> usize {
    let (mut rows, mut next) = (0, 0);
    for extent in extents.iter().filter(|extent| extent.pages > 0) {
        let first = (extent.start_pfn / row).max(next);
        let last = extent.start_pfn.saturating_add(extent.pages - 1) / row;
        rows += (last + 1).saturating_sub(first);
        next = next.max(last + 1);
    }
    usize::try_from(rows).unwrap_or(usize::MAX)
}

fn count(extent: &Extent, scale: u64, columns: u64, rows: &mut BTreeMap<u64, Vec<Counts>>) {
    let end = extent.start_pfn.saturating_add(extent.pages);
    let mut at = extent.start_pfn;
    while at < end {
        let number = at / scale;
        let until = end.min((number + 1).saturating_mul(scale));
        let row = rows
            .entry(number / columns)
            .or_insert_with(|| vec![Counts::default(); usize::try_from(columns).unwrap_or(1)]);
        if let Some(counts) = row.get_mut(usize::try_from(number % columns).unwrap_or(0)) {
            counts[extent.kind as usize] += until - at;
        }
        at = until;
    }
}

/// The letter that says what is in a cell.
pub fn letter(cell: Option<Cell>) -> char {
    cell.map_or(ABSENT, |cell| cell.rarest.letter())
}

/// What most of a cell is.
pub fn colour(cell: Option<Cell>) -> Option<Kind> {
    cell.map(|cell| cell.most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::MAP;

    fn node(number: u32) -> Vec<Extent> {
        let mut all: Vec<Extent> = serde_json::from_str(MAP).expect("extents");
        all.retain(|extent| extent.node == number);
        all
    }

    fn draw(node: &[Extent], columns: u64, rows: usize) -> (u64, Vec<(u64, String)>) {
        let picture = picture(&node.iter().collect::<Vec<_>>(), columns, rows);
        let text = |row: &Row| (row.start, row.cells.iter().map(|cell| letter(*cell)).collect());
        (picture.scale, picture.rows.iter().map(text).collect())
    }

    /// The DIMM at 1 MiB a cell: four cells of memmap, four free, 200 used, the rest free; each in its place.
    #[test]
    fn dimm_by_the_page() {
        let (scale, rows) = draw(&node(1), 64, 4);
        assert_eq!(scale, 256);
        let whole: String = rows.iter().map(|(_, cells)| cells.as_str()).collect();
        assert_eq!(whole, ["mmmm", "....", &"u".repeat(200), &".".repeat(48)].concat());
        let starts: Vec<u64> = rows.iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, [0x100000, 0x104000, 0x108000, 0x10c000]);
    }

    /// Half the rows, cells twice as large, and no cell lost; a row is never shared by what lies far apart.
    #[test]
    fn scales() {
        let (scale, rows) = draw(&node(1), 64, 3);
        assert_eq!((scale, rows.len()), (512, 2));
        assert_eq!(rows[0].1, ["mm..", &"u".repeat(60)].concat());
        let far = [node(0), node(1)].concat();
        let (_, rows) = draw(&far, 64, 1);
        assert!(!rows.is_empty());
        assert_eq!(draw(&[], 64, 4).1, []);
    }

    /// One frame of another kind is seen in a cell of many, and what is absent is no memory: the first MiB.
    #[test]
    fn rare_frames_are_seen() {
        let (scale, rows) = draw(&node(0), 64, 8);
        assert_eq!((scale, rows[0].0), (256, 0));
        assert!(rows[0].1.starts_with("-B..............mmmmmmmm"), "{}", rows[0].1);
        let picture = picture(&node(0).iter().collect::<Vec<_>>(), 64, 8);
        let cell = picture.rows[0].cells[1].expect("memory");
        assert_eq!((cell.most, cell.rarest), (Kind::Free, Kind::Boot));
    }
}
