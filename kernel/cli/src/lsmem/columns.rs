//! The columns of `lsmem`: which are shown, and which decide what becomes a row of its own.

use super::{LSMEM, LsmemRow};
use crate::output::{Column, Table};
use core::fmt::{self, Write};

/// How many there are.
const COUNT: usize = 7;

/// Some of the columns, in an order: `-o`, `-S`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsmemColumns {
    /// Places among all columns, in the order wanted.
    places: [usize; COUNT],
    count: usize,
}

pub(super) const STATE: usize = 2;
pub(super) const REMOVABLE: usize = 3;
pub(super) const NODE: usize = 5;
pub(super) const ZONES: usize = 6;

impl LsmemColumns {
    /// Those without `-o`: up to BLOCK.
    pub const DEFAULT: LsmemColumns = LsmemColumns { places: [0, 1, 2, 3, 4, 5, 6], count: 5 };
    /// `--output-all`.
    pub const ALL: LsmemColumns = LsmemColumns { count: COUNT, ..LsmemColumns::DEFAULT };
    /// `-S none`.
    const NONE: LsmemColumns = LsmemColumns { count: 0, ..LsmemColumns::DEFAULT };

    /// `COLUMN,...` (these), or `+COLUMN,...` (these too); upper or lower case.
    ///
    /// # Errors
    /// The word that is no column, or is there already.
    pub fn parse(list: &str) -> Result<LsmemColumns, &str> {
        let (mut columns, names) = match list.strip_prefix('+') {
            Some(more) => (LsmemColumns::DEFAULT, more),
            None => (LsmemColumns::NONE, list),
        };
        for name in names.split(',') {
            let place = LSMEM.all.iter().position(|column| column.title.eq_ignore_ascii_case(name));
            let place = place.filter(|&place| !columns.has(place)).ok_or(name)?;
            // Each at most once, so there is room.
            *columns.places.get_mut(columns.count).ok_or(name)? = place;
            columns.count += 1;
        }
        Ok(columns)
    }

    /// The argument of `-S`: as that of `-o`, or "none".
    ///
    /// # Errors
    /// As [`LsmemColumns::parse`].
    pub fn parse_split(list: &str) -> Result<LsmemColumns, &str> {
        if list.eq_ignore_ascii_case("none") { Ok(LsmemColumns::NONE) } else { LsmemColumns::parse(list) }
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A table of these columns.
    pub fn table(&self) -> Table<LsmemRow> {
        Table::of(&LSMEM, self.places().map(|place| place as u8).collect())
    }

    /// Writes their names, as `-r` has them.
    pub fn write_titles(&self, out: &mut dyn Write) -> fmt::Result {
        for (number, column) in self.all().enumerate() {
            write!(out, "{}{}", if number == 0 { "" } else { " " }, column.title)?;
        }
        out.write_char('\n')
    }

    /// The columns, in the order wanted.
    pub(super) fn all(&self) -> impl Iterator<Item = &'static Column<LsmemRow>> {
        self.places().filter_map(|place| LSMEM.all.get(place))
    }

    /// Places among all columns, in the order wanted.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.places.into_iter().take(self.count)
    }

    /// Whether the column of that place is among them.
    pub(super) fn has(&self, place: usize) -> bool {
        self.places().any(|picked| picked == place)
    }
}
