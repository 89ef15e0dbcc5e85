//! The map of a node's memory, like the shell's `map`, but as large as the screen allows: the model's rows as lines.

use carapace_cli::memory_map::{ABSENT, Cell, Counts, Row, Rows, Scale, Screen};
use guest::schema::{Extent, PAGE};
use ratatui::text::{Line, Span};

use crate::theme::Theme;

/// Frames of the smallest cell: 64 KiB.
const CELL_MIN: u64 = 16;

/// The picture of these extents, which come by ascending address, in rows of `columns` cells, and its scale.
pub fn picture(theme: &Theme, extents: &[&Extent], columns: u64, rows: usize) -> (Scale, Vec<Line<'static>>) {
    let mut lines = Vec::new();
    let scale = each_row(extents, columns, rows, &mut |row| lines.push(line(theme, row)));
    (scale, lines)
}

/// Calls `paint` with each row.
fn each_row(extents: &[&Extent], columns: u64, rows: usize, paint: &mut dyn FnMut(Row<'_>)) -> Scale {
    let scale = Scale::fit(Screen { columns, rows: rows as u64, cell_min: CELL_MIN }, &mut |tell| {
        extents.iter().for_each(|extent| tell(extent.start_pfn, extent.pages));
    });
    let mut counted = Rows::new(scale, vec![Counts::default(); usize::try_from(columns).unwrap_or(1)]);
    for extent in extents {
        counted.extent(extent.start_pfn, extent.pages, extent.kind, paint);
    }
    counted.finish(paint);
    scale
}

/// A row behind its address; cells that look alike are one span.
fn line(theme: &Theme, row: Row<'_>) -> Line<'static> {
    let cells: Vec<Option<Cell>> = row.cells().collect();
    let colour = |cell: &Option<Cell>| cell.map(|cell| cell.most);
    let mut spans = vec![Span::raw(format!("{:#014x} ", row.start_pfn * PAGE))];
    for run in cells.chunk_by(|one, other| colour(one) == colour(other)) {
        let text: String = run.iter().map(letter).collect();
        spans.push(Span::styled(text, theme.cell(run.first().and_then(colour))));
    }
    Line::from(spans)
}

fn letter(cell: &Option<Cell>) -> char {
    cell.map_or(ABSENT, |cell| cell.rarest.letter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::MAP;
    use guest::schema::Kind;

    fn node(number: u32) -> Vec<Extent> {
        let mut all: Vec<Extent> = serde_json::from_str(MAP).expect("extents");
        all.retain(|extent| extent.node == number);
        all
    }

    fn draw(node: &[Extent], columns: u64, rows: usize) -> (u64, Vec<(u64, String)>) {
        let (extents, mut drawn) = (node.iter().collect::<Vec<_>>(), Vec::new());
        let scale = each_row(&extents, columns, rows, &mut |row| {
            drawn.push((row.start_pfn, row.cells().map(|cell| letter(&cell)).collect()));
        });
        (scale.cell_bytes() / PAGE, drawn)
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

    /// A cell shows a single frame of another kind among many, and absent memory is no kind: the first MiB.
    #[test]
    fn rare_frames_are_seen() {
        let (scale, rows) = draw(&node(0), 64, 8);
        assert_eq!((scale, rows[0].0), (256, 0));
        assert!(rows[0].1.starts_with("-B..............mmmmmmmm"), "{}", rows[0].1);
        let (mut second, extents) = (None, node(0));
        each_row(&extents.iter().collect::<Vec<_>>(), 64, 8, &mut |row| {
            second = second.or(row.cells().nth(1).flatten());
        });
        assert_eq!(second, Some(Cell { most: Kind::Free, rarest: Kind::Boot }));
    }
}
