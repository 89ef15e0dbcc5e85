//! util-linux's `lsmem`: its columns, its words, and its rule for joining blocks into ranges.

use crate::format_size::ShortSize;
use crate::output::{Columns, left, right};
use carapace_schema::{Joined, Text, Word};
use columns::{NODE, REMOVABLE, STATE, ZONES};
use core::fmt::{self, Display};
use serde::Serialize;
use serde::ser::SerializeStruct;

mod columns;

pub use columns::LsmemColumns;

/// A row of `lsmem`: a block (our section) of memory, or several that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsmemRow {
    /// The first byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// The first and the last section.
    pub blocks: (u64, u64),
    /// "online" or "offline".
    pub state: Word,
    /// Whether it can be removed with its device.
    pub removable: Removable,
    /// Its node.
    pub node: u32,
    /// Its zone.
    pub zone: Word,
    /// The form of its size.
    pub unit: Unit,
    /// Its printed columns.
    pub columns: LsmemColumns,
    /// The columns whose change starts a new row: the printed ones, or those of `-S`.
    pub split: LsmemColumns,
}

/// Whether memory can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removable {
    /// It belongs to a device, and nothing in it is pinned.
    Yes,
    /// It is boot memory, or some of it is pinned.
    No,
}

/// The state's name for memory that cannot be allocated.
pub const OFFLINE: &str = "offline";

/// The forms of a row beside the table and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LsmemLine {
    /// `-P`: `NAME="value"`.
    Pairs,
    /// `-r`: the values.
    Raw,
}

/// The form of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// For people: `128M`.
    Suffix,
    /// `-b`: in bytes.
    Bytes,
}

impl Unit {
    /// A size in this unit, as text.
    pub fn text(self, bytes: u64) -> Text<24> {
        match self {
            Unit::Suffix => Text::of(&ShortSize(bytes)),
            Unit::Bytes => Text::of(&bytes),
        }
    }
}

/// The rule for joining blocks into one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Neighbours that are alike.
    Ranges,
    /// `-a`: the parts of one block.
    Blocks,
}

struct LsmemRange<'a>(&'a LsmemRow);

impl Display for LsmemRange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.start.saturating_add(self.0.size.saturating_sub(1));
        write!(f, "{:#018x}-{last:#018x}", self.0.start)
    }
}

struct LsmemBlocks<'a>(&'a LsmemRow);

impl Display for LsmemBlocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.blocks {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

/// util-linux's keys; with `-b` its size is a number there too.
impl Serialize for LsmemRow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("LsmemRow", self.columns.count())?;
        for place in self.columns.places() {
            match place {
                0 => fields.serialize_field("range", &Text::<48>::of(&LsmemRange(self)))?,
                1 if self.unit == Unit::Bytes => fields.serialize_field("size", &self.size)?,
                1 => fields.serialize_field("size", &self.unit.text(self.size))?,
                STATE => fields.serialize_field("state", &self.state)?,
                REMOVABLE => fields.serialize_field("removable", &(self.removable() == "yes"))?,
                4 => fields.serialize_field("block", &Text::<48>::of(&LsmemBlocks(self)))?,
                NODE => fields.serialize_field("node", &self.node)?,
                _ => fields.serialize_field("zones", &self.zone)?,
            }
        }
        fields.end()
    }
}

/// All columns, in util-linux's order.
pub static LSMEM: Columns<LsmemRow> = Columns::narrow(&[
    left("RANGE", |row, cell| cell(&LsmemRange(row))),
    right("SIZE", |row: &LsmemRow, cell| cell(&row.unit.text(row.size))).hint(5),
    right("STATE", |row, cell| cell(&row.state)),
    right("REMOVABLE", |row, cell| cell(&row.removable())),
    right("BLOCK", |row, cell| cell(&LsmemBlocks(row))),
    right("NODE", |row, cell| cell(&row.node)),
    right("ZONES", |row, cell| cell(&row.zone)),
]);

impl LsmemRow {
    /// Whether it can be removed, in words: util-linux has none for offline memory.
    fn removable(&self) -> &'static str {
        match self.removable {
            _ if self.state.as_str() == OFFLINE => "",
            Removable::Yes => "yes",
            Removable::No => "no",
        }
    }

    /// Writes it in the form of `-P` (`SIZE="2M" STATE="online"`) or `-r` (`2M online`).
    pub fn write_line(&self, out: &mut dyn fmt::Write, line: LsmemLine) -> fmt::Result {
        let mut result = Ok(());
        for (number, column) in self.columns.all().enumerate() {
            let (gap, title) = (if number == 0 { "" } else { " " }, column.title);
            (column.cell)(self, &mut |cell| {
                result = result.and_then(|()| match line {
                    LsmemLine::Pairs => write!(out, "{gap}{title}=\"{cell}\""),
                    LsmemLine::Raw => write!(out, "{gap}{cell}"),
                });
            });
        }
        result.and_then(|()| out.write_char('\n'))
    }

    /// Joins `next`, which does not start before this row, to it if the two touch and are alike.
    pub fn join(&mut self, next: &LsmemRow, merge: Merge) -> Joined {
        let end = self.start.saturating_add(self.size);
        let split = &self.split;
        let alike = (!split.has(STATE) || self.state == next.state)
            && (!split.has(REMOVABLE) || self.removable == next.removable)
            && (!split.has(NODE) || self.node == next.node)
            && (!split.has(ZONES) || self.zone == next.zone);
        let wanted = match merge {
            Merge::Ranges => true,
            Merge::Blocks => self.blocks.1 == next.blocks.0,
        };
        if next.start > end || !alike || !wanted {
            return Joined::No;
        }
        self.size = end.max(next.start.saturating_add(next.size)) - self.start;
        self.blocks.1 = self.blocks.1.max(next.blocks.1);
        Joined::Yes
    }
}

/// The three lines below the table.
#[derive(Clone, Copy, Debug)]
pub struct LsmemSummary {
    /// Bytes of a block.
    pub block: u64,
    /// Bytes of memory that is online.
    pub online: u64,
    /// Bytes of memory that is offline.
    pub offline: u64,
    /// The form of sizes.
    pub unit: Unit,
}

impl LsmemSummary {
    /// Writes them.
    pub fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        for (name, bytes) in [
            ("Memory block size:", self.block),
            ("Total online memory:", self.online),
            ("Total offline memory:", self.offline),
        ] {
            let width = if self.unit == Unit::Bytes { 15 } else { 5 };
            writeln!(out, "{name:<23} {:>width$}", self.unit.text(bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
