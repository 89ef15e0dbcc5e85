//! The model of a picture of physical memory: which scale fits, which row and cell a frame falls into, and what each cell
//! shows. The terminal's `map` ([`terminal`]), the live view and the report only paint it.
//!
//! ```text
//!  row 0x100000000 | cell | cell | ...      a cell: `cell_pages` frames, a power of two
//!  row 0x104000000 | cell | cell | ...      a row: `columns` cells, from a multiple of its length on
//! ```
//!
//! A cell's colour shows the most frequent kind of its frames; its letter shows the rarest kind, so that one used frame
//! in a free cell is visible, and the picture is readable without colours. Rows without a present frame do not exist.
//!
//! Invariants: nothing is stored but the counts of one row, in the caller's memory, so that runs of frames come by
//! ascending address. Neighbours: the kernel's `map` feeds blocks; `watch` and `report` feed the runs of `map -J`.

use carapace_schema::{KINDS, Kind, PAGE};

pub mod palette;
pub mod terminal;

/// A cell without any present frame.
pub const ABSENT: char = '-';

/// The content of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The most frequent kind of its frames: its colour.
    pub most: Kind,
    /// The rarest kind in it: its letter.
    pub rarest: Kind,
}

/// Frames of each kind in a cell.
pub type Counts = [u64; KINDS.len()];

/// The cell for these numbers of frames of each kind; `None` if no frame is present.
fn cell(counts: &Counts) -> Option<Cell> {
    let most = KINDS.into_iter().rev().max_by_key(|&kind| counts[kind as usize])?;
    let rarest = KINDS.into_iter().rfind(|&kind| counts[kind as usize] > 0)?;
    Some(Cell { most, rarest })
}

/// A source of ranges: calls its argument with first frame and frames of each, ascending, and gives
/// the same ones each time it is called.
pub type Ranges<'a> = &'a mut dyn FnMut(&mut dyn FnMut(u64, u64));

/// The limits of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Cells in a row.
    pub columns: u64,
    /// Rows.
    pub rows: u64,
    /// Frames of the smallest cell, a power of two.
    pub cell_min: u64,
}

/// How many frames a cell stands for, and how many cells a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    cell: u64,
    columns: u64,
}

impl Scale {
    /// The smallest cells with which the ranges fit the screen; where memory is scattered, large cells in as many rows as
    /// it takes.
    pub fn fit(screen: Screen, ranges: Ranges<'_>) -> Scale {
        let mut scale = Scale { cell: screen.cell_min, columns: screen.columns };
        while scale.cell < 1 << 40 && scale.rows_of(ranges) > screen.rows.max(1) {
            scale.cell *= 2;
        }
        scale
    }

    /// Rows with a frame of the ranges.
    fn rows_of(self, ranges: Ranges<'_>) -> u64 {
        let (mut rows, mut next) = (0u64, 0);
        ranges(&mut |start, pages| {
            if pages > 0 {
                let last = start.saturating_add(pages - 1) / self.row_pages();
                rows = rows.saturating_add((last + 1).saturating_sub(next.max(start / self.row_pages())));
                next = next.max(last + 1);
            }
        });
        rows
    }

    /// Bytes that a cell stands for.
    pub const fn cell_bytes(self) -> u64 {
        self.cell * PAGE
    }

    /// Frames that a row stands for.
    pub const fn row_pages(self) -> u64 {
        self.cell * self.columns
    }

    /// A run of frames, divided among the rows.
    pub const fn rows(self, start_pfn: u64, pages: u64) -> Parts {
        Parts { unit: self.row_pages(), at: start_pfn, end: start_pfn.saturating_add(pages) }
    }

    /// A run of frames, divided among the cells, which are numbered through all rows.
    const fn cells(self, start_pfn: u64, pages: u64) -> Parts {
        Parts { unit: self.cell, at: start_pfn, end: start_pfn.saturating_add(pages) }
    }
}

/// A run of frames, divided among rows or cells.
#[derive(Clone, Debug)]
pub struct Parts {
    unit: u64,
    at: u64,
    end: u64,
}

/// The part of a run of frames in a row or a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The row's or the cell's number.
    pub number: u64,
    /// The first frame.
    pub start_pfn: u64,
    /// Frames.
    pub pages: u64,
}

impl Iterator for Parts {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let (number, start_pfn) = (self.at / self.unit, self.at);
        let until = self.end.min((number + 1).saturating_mul(self.unit));
        self.at = until;
        (start_pfn < until).then(|| Part { number, start_pfn, pages: until - start_pfn })
    }
}

/// A row of cells.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Its first frame.
    pub start_pfn: u64,
    counts: &'a [Counts],
}

impl<'a> Row<'a> {
    /// Its cells; `None` where no frame is present.
    pub fn cells(self) -> impl Iterator<Item = Option<Cell>> + 'a {
        self.counts.iter().map(cell)
    }
}

/// Counts runs of frames into cells, a row at a time. `C` has the counts of a row: an array or a vector, a place for each
/// column.
#[derive(Debug)]
pub struct Rows<C> {
    scale: Scale,
    /// The row that is being counted.
    row: Option<u64>,
    counts: C,
}

impl<C: AsMut<[Counts]>> Rows<C> {
    /// No frame is counted yet.
    pub fn new(scale: Scale, counts: C) -> Rows<C> {
        Rows { scale, row: None, counts }
    }

    /// Counts `pages` frames of one kind from `start_pfn` on; runs come in ascending order. `paint` gets each complete row.
    pub fn extent(&mut self, start_pfn: u64, pages: u64, kind: Kind, paint: &mut dyn FnMut(Row<'_>)) {
        for part in self.scale.cells(start_pfn, pages) {
            let row = part.number / self.scale.columns;
            if self.row != Some(row) {
                self.finish(paint);
                self.row = Some(row);
            }
            let column = usize::try_from(part.number % self.scale.columns).unwrap_or(0);
            if let Some(counts) = self.counts.as_mut().get_mut(column) {
                counts[kind as usize] += part.pages;
            }
        }
    }

    /// Gives `paint` the last row.
    pub fn finish(&mut self, paint: &mut dyn FnMut(Row<'_>)) {
        if let Some(row) = self.row.take() {
            let counts = self.counts.as_mut();
            paint(Row { start_pfn: row.saturating_mul(self.scale.row_pages()), counts });
            counts.fill(Counts::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    // Proves that a run over several rows is divided at their borders, with nothing lost, also at the end of the range of
    // frame numbers.
    #[test]
    fn parts() {
        let scale = Scale { cell: 16, columns: 4 };
        let parts: Vec<_> =
            scale.rows(100, 100).map(|part| (part.number, part.start_pfn, part.pages)).collect();
        assert_eq!(parts, [(1, 100, 28), (2, 128, 64), (3, 192, 8)]);
        assert_eq!(scale.rows(7, 0).count(), 0);
        assert_eq!(scale.rows(u64::MAX - 1, 5).map(|part| part.pages).sum::<u64>(), 1);
    }

    // Proves that cells grow until the ranges fit, and not further: a range shares a row with its neighbour.
    #[test]
    fn scales() {
        let fit = |rows, ranges: &[(u64, u64)]| {
            let screen = Screen { columns: 4, rows, cell_min: 16 };
            Scale::fit(screen, &mut |tell| ranges.iter().for_each(|&(start, pages)| tell(start, pages))).cell
        };
        assert_eq!(fit(2, &[(0, 128)]), 16);
        assert_eq!(fit(2, &[(0, 129)]), 32);
        assert_eq!(fit(2, &[(0, 60), (60, 68)]), 16);
        assert_eq!(fit(1, &[(0, 1), (1 << 50, 1)]), 1 << 40);
    }
}
