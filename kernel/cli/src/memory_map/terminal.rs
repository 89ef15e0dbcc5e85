//! The picture of `map` in 80 columns: a row of 64 cells behind its address, in letters and, where the terminal has
//! them, colours.
//!
//! ```text
//!  0x000100000000 mmmm............................................................
//! ```

use super::palette::{Depth, Sequence};
use super::{ABSENT, Counts, Ranges, Row, Rows, Scale, Screen};
use carapace_schema::{KINDS, Kind, PAGE};
use core::fmt::{self, Write};

/// Cells of a row.
const CELLS: usize = 64;
/// Rows aimed at, and the smallest cell: 1 MiB.
const SCREEN: Screen = Screen { columns: CELLS as u64, rows: 24, cell_min: 256 };

/// The scale with which the ranges fit a terminal.
pub fn scale(ranges: Ranges<'_>) -> Scale {
    Scale::fit(SCREEN, ranges)
}

/// Writes the legend of letters and colours.
pub fn legend(out: &mut dyn Write, depth: Depth) -> fmt::Result {
    for kind in KINDS {
        let (colour, plain) = (Sequence(depth, Some(kind)), Sequence(depth, None));
        write!(out, "{colour} {} {plain} {}  ", kind.letter(), kind.name())?;
    }
    writeln!(out, " {ABSENT}  absent")
}

/// A picture that is being drawn.
pub struct Picture<'a> {
    out: &'a mut dyn Write,
    depth: Depth,
    rows: Rows<[Counts; CELLS]>,
    result: fmt::Result,
}

impl fmt::Debug for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<'a> Picture<'a> {
    /// An empty picture, in a scale of [`scale`].
    pub fn new(out: &'a mut dyn Write, scale: Scale, depth: Depth) -> Picture<'a> {
        let rows = Rows::new(scale, [Counts::default(); CELLS]);
        Picture { out, depth, rows, result: Ok(()) }
    }

    /// Draws `pages` frames of one kind from `start_pfn` on; extents come in ascending order.
    pub fn extent(&mut self, start_pfn: u64, pages: u64, kind: Kind) {
        let Picture { out, depth, rows, result } = self;
        rows.extent(start_pfn, pages, kind, &mut |row| {
            *result = result.and_then(|()| paint(*out, *depth, row));
        });
    }

    /// Draws the last row.
    pub fn finish(self) -> fmt::Result {
        let Picture { out, depth, mut rows, mut result } = self;
        rows.finish(&mut |row| result = result.and_then(|()| paint(out, depth, row)));
        result
    }
}

fn paint(out: &mut dyn Write, depth: Depth, row: Row<'_>) -> fmt::Result {
    write!(out, "{:#014x} ", row.start_pfn.saturating_mul(PAGE))?;
    let mut colour = None;
    let width = row.cells().enumerate().filter(|(_, cell)| cell.is_some()).map(|(at, _)| at + 1).last();
    for cell in row.cells().take(width.unwrap_or(0)) {
        let wanted = cell.map(|cell| cell.most);
        if wanted != colour {
            write!(out, "{}", Sequence(depth, wanted))?;
            colour = wanted;
        }
        out.write_char(cell.map_or(ABSENT, |cell| cell.rarest.letter()))?;
    }
    if colour.is_some() {
        write!(out, "{}", Sequence(depth, None))?;
    }
    out.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_terminal::Terminal;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn draw(ranges: &[(u64, u64)], extents: &[(u64, u64, Kind)]) -> (Scale, Terminal) {
        let scale = scale(&mut |tell| ranges.iter().for_each(|&(start, pages)| tell(start, pages)));
        let mut terminal = Terminal::default();
        let mut text = String::new();
        legend(&mut text, Depth::Sixteen).unwrap();
        let mut picture = Picture::new(&mut text, scale, Depth::Sixteen);
        extents.iter().for_each(|&(start, pages, kind)| picture.extent(start, pages, kind));
        picture.finish().unwrap();
        terminal.write_str(&text.replace('\n', "\r\n")).unwrap();
        (scale, terminal)
    }

    // Without colours the letters are the same, and nothing else is there.
    #[test]
    fn letters_alone() {
        let scale = scale(&mut |tell| tell(0, 4096));
        let drawn = |depth| {
            let mut text = String::new();
            legend(&mut text, depth).unwrap();
            let mut picture = Picture::new(&mut text, scale, depth);
            picture.extent(0, 1024, Kind::Memmap);
            picture.extent(2048, 2048, Kind::Free);
            picture.finish().unwrap();
            text
        };
        let (coloured, plain) = (drawn(Depth::Sixteen), drawn(Depth::None));
        assert!(coloured.contains("\x1b[0;44;97m") && !plain.contains('\x1b'), "{plain}");
        let mut terminal = Terminal::default();
        terminal.write_str(&coloured.replace('\n', "\r\n")).unwrap();
        let rows = terminal.rows();
        assert!(plain.lines().zip(&rows).all(|(line, row)| line.trim_end() == row.trim_end()), "{plain}");
    }

    // The proposal's DIMM at 4 GiB: 4 MiB of memmap in front, the rest free, absent rows left out.
    #[test]
    fn dimm() {
        let dimm = 1 << 20;
        let (scale, terminal) = draw(
            &[(0, 160), (256, 131072 - 256), (dimm, 65536)],
            &[
                (0, 100, Kind::Free),
                (100, 60, Kind::Boot),
                (256, 2048, Kind::Memmap),
                (2304, 131072 - 2304, Kind::Free),
                (dimm, 1024, Kind::Memmap),
                (dimm + 1024, 64511, Kind::Free),
                (dimm + 65535, 1, Kind::Used),
            ],
        );
        assert_eq!(scale.cell_bytes(), 1 << 20);
        let rows = terminal.rows();
        assert!(rows[0].starts_with(" .  free   u  used") && rows[0].len() <= 80, "{}", rows[0]);
        assert_eq!(rows[1], ["0x000000000000 Bmmmmmmmm", &".".repeat(55)].concat());
        assert_eq!(rows[8], ["0x00001c000000 ", &".".repeat(64)].concat());
        assert_eq!(rows[9], ["0x000100000000 mmmm", &".".repeat(60)].concat());
        assert_eq!(rows[12], ["0x00010c000000 ", &".".repeat(63), "u"].concat());
        assert_eq!(rows.len(), 14);
        // The last cell is free except for one frame: the colour shows free, the letter shows used.
        assert!(terminal.bytes.contains(&[&".".repeat(63), "u\x1b[0m"].concat()));
    }

    // A hole inside a row is drawn as absent, in no colour.
    #[test]
    fn hole() {
        let (_, terminal) = draw(&[(0, 1024)], &[(0, 256, Kind::Free), (768, 256, Kind::Offline)]);
        assert_eq!(terminal.rows()[1], "0x000000000000 .--o");
        assert!(terminal.bytes.contains(".\x1b[0m--\x1b[0;41;97mo\x1b[0m"));
    }

    proptest! {
        // Whatever is drawn: no panic, 80 columns, few rows, no more letters than cells with frames.
        #[test]
        fn fits(mut starts in prop::collection::vec((0u64..1 << 34, 1u64..1 << 30), 1..20)) {
            starts.sort_unstable();
            let mut ranges: Vec<(u64, u64)> = Vec::new();
            for (start, pages) in starts {
                let end = ranges.last().map_or(0, |&(start, pages)| start + pages);
                ranges.push((start.max(end), pages));
            }
            let extents: Vec<_> = ranges.iter().map(|&(start, pages)| (start, pages, Kind::Used)).collect();
            let (_, terminal) = draw(&ranges, &extents);
            prop_assert!(terminal.rows().iter().all(|row| row.len() <= 80));
            prop_assert!(terminal.rows().len() as u64 <= SCREEN.rows + 2);
        }
    }
}
