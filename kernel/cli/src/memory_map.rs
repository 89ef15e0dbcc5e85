//! Physical memory as a picture of 80 columns: a row of 64 cells behind its address, a cell for a
//! fixed power of two of frames. A cell's colour is what most of its frames are; its letter is the
//! rarest kind in it, so that one used frame in a free cell is seen, and so that the picture can be
//! read without colour.
//!
//! ```text
//!  0x000100000000 mmmm............................................................
//! ```
//!
//! Rows without any present frame are left out. Extents come in ascending order and are not kept:
//! the picture holds the counts of one row. Neighbours: the kernel's `map` feeds it block by block.

use core::fmt::{self, Write};

/// Cells of a row.
pub const CELLS: usize = 64;
/// Rows aimed at; more memory makes larger cells.
const ROWS: u64 = 24;
/// Frames of the smallest cell: 1 MiB.
const CELL_MIN: u64 = 256;
const PAGE: u64 = 4096;

/// What a frame is, for the picture, the rarest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Free.
    Free,
    /// Allocated.
    Used,
    /// Pinned since boot: firmware's tables, kernel image, boot page tables.
    Boot,
    /// The resource's own data.
    Memmap,
    /// Offline.
    Offline,
}

/// All kinds, in the order of [`Kind`].
pub const KINDS: [Kind; 5] = [Kind::Free, Kind::Used, Kind::Boot, Kind::Memmap, Kind::Offline];

impl Kind {
    /// Its letter.
    pub const fn letter(self) -> char {
        match self {
            Kind::Free => '.',
            Kind::Used => 'u',
            Kind::Boot => 'B',
            Kind::Memmap => 'm',
            Kind::Offline => 'o',
        }
    }

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Free => "free",
            Kind::Used => "used",
            Kind::Boot => "boot",
            Kind::Memmap => "memmap",
            Kind::Offline => "offline",
        }
    }

    /// Select Graphic Rendition (ECMA-48): background and a foreground that can be read on it.
    const fn colour(self) -> &'static str {
        match self {
            Kind::Free => "\x1b[42;30m",
            Kind::Used => "\x1b[43;30m",
            Kind::Boot => "\x1b[45;97m",
            Kind::Memmap => "\x1b[44;97m",
            Kind::Offline => "\x1b[41;97m",
        }
    }
}

/// What is in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What most of its frames are: its colour.
    pub most: Kind,
    /// The rarest kind in it: its letter.
    pub rarest: Kind,
}

/// What a cell with so many frames of each kind shows; `None` where no frame is present.
pub fn cell(counts: &[u64; KINDS.len()]) -> Option<Cell> {
    let most = KINDS.into_iter().rev().max_by_key(|&kind| counts[kind as usize])?;
    let rarest = KINDS.into_iter().rfind(|&kind| counts[kind as usize] > 0)?;
    Some(Cell { most, rarest })
}

type Counts = [[u64; KINDS.len()]; CELLS];
const NOTHING: Counts = [[0; KINDS.len()]; CELLS];
const PLAIN: &str = "\x1b[0m";
/// A cell without any present frame.
pub const ABSENT: char = '-';

/// A source of ranges: calls its argument with first frame and frames of each, ascending, and tells
/// the same ones each time it is called.
pub type Ranges<'a> = &'a mut dyn FnMut(&mut dyn FnMut(u64, u64));

/// How many frames a cell stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    cell: u64,
}

impl Scale {
    /// The smallest cells with which the ranges (first frame, frames) fit a screen; as large as they
    /// must be where there are many ranges.
    pub fn fit(ranges: Ranges<'_>) -> Scale {
        let mut cell = CELL_MIN;
        while cell < 1 << 40 {
            let row = cell * CELLS as u64;
            let (mut rows, mut next) = (0u64, 0);
            ranges(&mut |start, pages| {
                if pages > 0 {
                    let last = start.saturating_add(pages - 1) / row;
                    rows = rows.saturating_add((last + 1).saturating_sub(next.max(start / row)));
                    next = next.max(last + 1);
                }
            });
            if rows <= ROWS {
                break;
            }
            cell *= 2;
        }
        Scale { cell }
    }

    /// Bytes that a cell stands for.
    pub const fn bytes(self) -> u64 {
        self.cell * PAGE
    }
}

/// Whether a picture has colours beside its letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// It has.
    Shown,
    /// Letters alone.
    None,
}

impl Colours {
    /// What is written in front of cells of which most is `kind`; `None`: nothing is there.
    const fn of(self, kind: Option<Kind>) -> &'static str {
        match (self, kind) {
            (Colours::None, _) => "",
            (Colours::Shown, Some(kind)) => kind.colour(),
            (Colours::Shown, None) => PLAIN,
        }
    }
}

/// Writes what the letters and colours mean.
pub fn legend(out: &mut dyn Write, colours: Colours) -> fmt::Result {
    for kind in KINDS {
        let (colour, plain) = (colours.of(Some(kind)), colours.of(None));
        write!(out, "{colour} {} {plain} {}  ", kind.letter(), kind.name())?;
    }
    writeln!(out, " {ABSENT}  absent")
}

/// A picture that is being drawn.
pub struct Picture<'a> {
    out: &'a mut dyn Write,
    scale: Scale,
    colours: Colours,
    /// The row that is being counted.
    row: Option<u64>,
    counts: Counts,
    result: fmt::Result,
}

impl fmt::Debug for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture").field("scale", &self.scale).field("row", &self.row).finish_non_exhaustive()
    }
}

impl<'a> Picture<'a> {
    /// An empty picture.
    pub fn new(out: &'a mut dyn Write, scale: Scale, colours: Colours) -> Picture<'a> {
        Picture { out, scale, colours, row: None, counts: NOTHING, result: Ok(()) }
    }

    /// Draws `pages` frames of one kind from frame `start` on; extents come in ascending order.
    pub fn extent(&mut self, start: u64, pages: u64, kind: Kind) {
        let end = start.saturating_add(pages);
        let mut at = start;
        while at < end {
            let cell = at / self.scale.cell;
            let row = cell / CELLS as u64;
            if self.row != Some(row) {
                self.flush();
                self.row = Some(row);
            }
            let until = end.min((cell + 1).saturating_mul(self.scale.cell));
            self.counts[(cell % CELLS as u64) as usize][kind as usize] += until - at;
            at = until;
        }
    }

    /// Draws the last row.
    pub fn finish(mut self) -> fmt::Result {
        self.flush();
        self.result
    }

    fn flush(&mut self) {
        if let Some(row) = self.row.take() {
            let drawn = self.draw(row);
            self.result = self.result.and(drawn);
            self.counts = NOTHING;
        }
    }

    fn draw(&mut self, row: u64) -> fmt::Result {
        let start = row.saturating_mul(CELLS as u64 * self.scale.cell).saturating_mul(PAGE);
        write!(self.out, "{start:#014x} ")?;
        let mut colour = None;
        let last = self.counts.iter().rposition(|counts| counts.iter().any(|&count| count > 0)).unwrap_or(0);
        for counts in &self.counts[..=last] {
            let (wanted, letter) = match cell(counts) {
                Some(cell) => (Some(cell.most), cell.rarest.letter()),
                None => (None, ABSENT),
            };
            if wanted != colour {
                self.out.write_str(self.colours.of(wanted))?;
                colour = wanted;
            }
            self.out.write_char(letter)?;
        }
        if colour.is_some() {
            self.out.write_str(self.colours.of(None))?;
        }
        self.out.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_terminal::Terminal;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn draw(ranges: &[(u64, u64)], extents: &[(u64, u64, Kind)]) -> (Scale, Terminal) {
        let scale = Scale::fit(&mut |tell| ranges.iter().for_each(|&(start, pages)| tell(start, pages)));
        let mut terminal = Terminal::default();
        let mut text = String::new();
        legend(&mut text, Colours::Shown).unwrap();
        let mut picture = Picture::new(&mut text, scale, Colours::Shown);
        extents.iter().for_each(|&(start, pages, kind)| picture.extent(start, pages, kind));
        picture.finish().unwrap();
        terminal.write_str(&text.replace('\n', "\r\n")).unwrap();
        (scale, terminal)
    }

    // Without colours the letters are the same, and nothing else is there.
    #[test]
    fn letters_alone() {
        let scale = Scale::fit(&mut |tell| tell(0, 4096));
        let drawn = |colours| {
            let mut text = String::new();
            legend(&mut text, colours).unwrap();
            let mut picture = Picture::new(&mut text, scale, colours);
            picture.extent(0, 1024, Kind::Memmap);
            picture.extent(2048, 2048, Kind::Free);
            picture.finish().unwrap();
            text
        };
        let (coloured, plain) = (drawn(Colours::Shown), drawn(Colours::None));
        assert!(coloured.contains("\x1b[44;97m") && !plain.contains('\x1b'), "{plain}");
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
        assert_eq!(scale.bytes(), 1 << 20);
        let rows = terminal.rows();
        assert!(rows[0].starts_with(" .  free   u  used") && rows[0].len() <= 80, "{}", rows[0]);
        assert_eq!(rows[1], ["0x000000000000 Bmmmmmmmm", &".".repeat(55)].concat());
        assert_eq!(rows[8], ["0x00001c000000 ", &".".repeat(64)].concat());
        assert_eq!(rows[9], ["0x000100000000 mmmm", &".".repeat(60)].concat());
        assert_eq!(rows[12], ["0x00010c000000 ", &".".repeat(63), "u"].concat());
        assert_eq!(rows.len(), 14);
        // The last cell is free but for one frame: the colour says free, the letter says used.
        assert!(terminal.bytes.contains(&[&".".repeat(63), "u\x1b[0m"].concat()));
    }

    // A hole inside a row is drawn as absent, in no colour.
    #[test]
    fn hole() {
        let (_, terminal) = draw(&[(0, 1024)], &[(0, 256, Kind::Free), (768, 256, Kind::Offline)]);
        assert_eq!(terminal.rows()[1], "0x000000000000 .--o");
        assert!(terminal.bytes.contains(".\x1b[0m--\x1b[41;97mo\x1b[0m"));
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
            prop_assert!(terminal.rows().len() as u64 <= ROWS + 2);
        }
    }
}
