//! Tables: columns as wide as their widest cell, rows written one by one.

use arrayvec::ArrayVec;
use core::fmt::{self, Display, Write};

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

/// Receives a cell.
pub type Cell<'a> = &'a mut dyn FnMut(&dyn Display);

/// A column of a table of `R`: its title, and what a row has in it.
#[derive(Debug)]
pub struct Column<R> {
    /// Its title.
    pub title: &'static str,
    /// Where its text stands.
    pub align: Align,
    /// Its width where the cells are narrower, as in libsmartcols; 0 for none.
    pub hint: usize,
    /// Gives a row's cell, once.
    pub cell: fn(&R, Cell<'_>),
}

impl<R> Column<R> {
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
    pub const fn hint(self, hint: usize) -> Column<R> {
        Column { hint, ..self }
    }
}

/// A column of words.
pub const fn left<R>(title: &'static str, cell: fn(&R, Cell<'_>)) -> Column<R> {
    Column { title, align: Align::Left, hint: 0, cell }
}

/// A column of numbers.
pub const fn right<R>(title: &'static str, cell: fn(&R, Cell<'_>)) -> Column<R> {
    Column { title, align: Align::Right, hint: 0, cell }
}

/// The columns of a table, at most 16, as the command that prints it declares them.
#[derive(Debug)]
pub struct Columns<R: 'static> {
    /// From left to right.
    pub all: &'static [Column<R>],
    /// Blanks between two of them.
    pub gap: usize,
}

impl<R> Columns<R> {
    /// These columns, two blanks apart.
    pub const fn new(all: &'static [Column<R>]) -> Columns<R> {
        Columns { all, gap: 2 }
    }

    /// These columns, one blank apart.
    pub const fn narrow(all: &'static [Column<R>]) -> Columns<R> {
        Columns { all, gap: 1 }
    }
}

/// Columns by their place among all.
pub type Picked = ArrayVec<u8, COLUMNS_MAX>;

/// A table whose rows come one by one, twice: first [`Table::measure`] for all, then [`Table::row`]. For
/// walks that give way between rows; a row that was not measured may stand out of its column.
pub struct Table<R: 'static> {
    columns: &'static Columns<R>,
    /// The columns shown.
    picked: Picked,
    /// The widest cell of each column.
    widths: [usize; COLUMNS_MAX],
}

impl<R> Table<R> {
    /// A table that has measured no row.
    pub fn new(columns: &'static Columns<R>) -> Table<R> {
        Table::of(columns, (0..COLUMNS_MAX as u8).take(columns.all.len()).collect())
    }

    /// A table of some columns, in their order.
    pub fn of(columns: &'static Columns<R>, picked: Picked) -> Table<R> {
        Table { columns, picked, widths: [0; COLUMNS_MAX] }
    }

    /// Makes the columns as wide as this row's cells.
    pub fn measure(&mut self, row: &R) {
        for (column, width) in self.columns.all.iter().zip(&mut self.widths) {
            (column.cell)(row, &mut |cell| *width = width_of(cell).max(*width));
        }
    }

    /// Writes the titles.
    pub fn titles(&self, out: &mut dyn Write) -> fmt::Result {
        self.line(out, &|column, cell| cell(&column.title))
    }

    /// Writes a row.
    pub fn row(&self, out: &mut dyn Write, row: &R) -> fmt::Result {
        self.line(out, &|column, cell| (column.cell)(row, cell))
    }

    fn line(&self, out: &mut dyn Write, text: &dyn Fn(&Column<R>, Cell<'_>)) -> fmt::Result {
        // Blanks before the next cell: not written at a row's end.
        let mut pending = 0;
        let mut result = Ok(());
        for place in self.picked.iter().copied().map(usize::from) {
            let Some((column, &widest)) = self.columns.all.get(place).zip(self.widths.get(place)) else {
                continue;
            };
            text(column, &mut |cell| {
                let missing = column.width(widest).saturating_sub(width_of(cell));
                let (before, after) = match column.align {
                    Align::Left => (pending, missing),
                    Align::Right => (pending + missing, 0),
                };
                pending = after + self.columns.gap;
                result = result.and_then(|()| write!(out, "{:before$}{cell}", ""));
            });
        }
        result.and_then(|()| out.write_char('\n'))
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
