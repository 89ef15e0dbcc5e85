//! Tables: columns as wide as their widest cell, rows written one by one.

use arrayvec::ArrayVec;
use core::fmt::{self, Display, Write};
use core::marker::PhantomData;
use serde::Serialize;

/// Columns a table can have.
const COLUMNS_MAX: usize = 16;

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Where its text stands.
    pub align: Align,
    /// Its width where the cells have room for less, as libsmartcols has it; 0 for none.
    pub hint: usize,
}

impl Column {
    /// The width for cells of at most `widest`: libsmartcols' rule, so that util-linux's tables look the
    /// same (`count_column_width` there): a title wider than the cells decides, else the hint does.
    fn width(&self, widest: usize) -> usize {
        let title = self.title.len();
        if widest < title {
            title
        } else if title < self.hint {
            widest.max(self.hint)
        } else {
            widest
        }
    }

    /// This column with a hint for its width.
    pub const fn hint(mut self, hint: usize) -> Column {
        self.hint = hint;
        self
    }
}

/// A column of words.
pub const fn left(title: &'static str) -> Column {
    Column { title, align: Align::Left, hint: 0 }
}

/// A column of numbers.
pub const fn right(title: &'static str) -> Column {
    Column { title, align: Align::Right, hint: 0 }
}

/// A row: derives its JSON, and tells its cells for the table.
pub trait Row: Serialize {
    /// The table's columns, at most 16.
    const COLUMNS: &'static [Column];
    /// Blanks between columns.
    const GAP: usize = 2;
    /// Tells the cells, one for each column, in their order.
    fn cells(&self, cell: &mut dyn FnMut(&dyn Display));
}

/// Columns by their place among all.
pub type Picked = ArrayVec<u8, COLUMNS_MAX>;

/// A source of cells.
type Cells<'a> = &'a mut dyn FnMut(&mut dyn FnMut(&dyn Display));

/// A table whose rows come one by one, twice: first [`Table::measure`] for all, then [`Table::row`]. For
/// walks that give way between rows; a row that was not measured may stand out of its column.
pub struct Table<R> {
    /// The columns shown, by their place in `R::COLUMNS`.
    picked: Picked,
    /// The widest cell of each column.
    widths: [usize; COLUMNS_MAX],
    rows: PhantomData<fn(&R)>,
}

impl<R: Row> Table<R> {
    /// A table that has measured no row.
    pub fn new() -> Table<R> {
        Table::of((0..COLUMNS_MAX as u8).take(R::COLUMNS.len()).collect())
    }

    /// A table of some columns, in their order.
    pub fn of(picked: Picked) -> Table<R> {
        Table { picked, widths: [0; COLUMNS_MAX], rows: PhantomData }
    }

    /// Makes the columns as wide as this row's cells.
    pub fn measure(&mut self, row: &R) {
        let mut columns = self.widths.iter_mut();
        row.cells(&mut |cell| {
            if let Some(width) = columns.next() {
                *width = width_of(cell).max(*width);
            }
        });
    }

    /// Writes the titles.
    pub fn titles(&self, out: &mut dyn Write) -> fmt::Result {
        self.line(out, &mut |cell| R::COLUMNS.iter().for_each(|column| cell(&column.title)))
    }

    /// Writes a row.
    pub fn row(&self, out: &mut dyn Write, row: &R) -> fmt::Result {
        self.line(out, &mut |cell| row.cells(cell))
    }

    fn line(&self, out: &mut dyn Write, cells: Cells<'_>) -> fmt::Result {
        // Blanks before the next cell: not written at a row's end.
        let mut pending = 0;
        let mut result = Ok(());
        for wanted in self.picked.iter().copied().map(usize::from) {
            let Some((column, &widest)) = R::COLUMNS.get(wanted).zip(self.widths.get(wanted)) else {
                continue;
            };
            let mut place = 0;
            cells(&mut |cell| {
                if place == wanted {
                    let missing = column.width(widest).saturating_sub(width_of(cell));
                    let (before, after) = match column.align {
                        Align::Left => (pending, missing),
                        Align::Right => (pending + missing, 0),
                    };
                    pending = after + R::GAP;
                    result = result.and_then(|()| write!(out, "{:before$}{cell}", ""));
                }
                place += 1;
            });
        }
        result.and_then(|()| out.write_char('\n'))
    }
}

impl<R: Row> Default for Table<R> {
    fn default() -> Table<R> {
        Table::new()
    }
}

impl<R> fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("widths", &self.widths).finish()
    }
}

fn width_of(cell: &dyn Display) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.chars().count();
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = write!(count, "{cell}");
    count.0
}
