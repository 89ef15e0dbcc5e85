//! `lsmem` as util-linux has it: adjacent sections of one state in one row, its columns and its words.

use super::Word;
use crate::human::ShortSize;
use crate::report::{Column, Row, Text, left, right};
use core::fmt::{self, Display};
use serde::Serialize;

/// A row of `lsmem`, as util-linux has it: adjacent sections of one state in one row.
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
    /// Whether it belongs to a device that can be removed.
    pub removable: Removable,
    /// Its node.
    pub node: u32,
}

/// Whether memory can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removable {
    /// It belongs to a device.
    Yes,
    /// It is boot memory.
    No,
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

impl Serialize for LsmemRow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields {
            range: Text<48>,
            size: Text<16>,
            state: Word,
            removable: bool,
            block: Text<48>,
            node: u32,
        }
        Fields {
            range: Text::of(&LsmemRange(self)),
            size: Text::of(&ShortSize(self.size)),
            state: self.state,
            removable: self.removable == Removable::Yes,
            block: Text::of(&LsmemBlocks(self)),
            node: self.node,
        }
        .serialize(serializer)
    }
}

impl Row for LsmemRow {
    const COLUMNS: &'static [Column] =
        &[left("RANGE"), right(" SIZE"), right("STATE"), right("REMOVABLE"), right("BLOCK")];
    const GAP: usize = 1;

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&LsmemRange(self));
        cell(&ShortSize(self.size));
        cell(&self.state);
        cell(&if self.removable == Removable::Yes { "yes" } else { "no" });
        cell(&LsmemBlocks(self));
    }
}

impl LsmemRow {
    /// Takes `next` into this row if it goes on where this one ends and is the same otherwise.
    pub fn join(&mut self, next: &LsmemRow) -> Joined {
        let adjacent = self.start.checked_add(self.size) == Some(next.start);
        let same = (self.state, self.removable, self.node) == (next.state, next.removable, next.node);
        if adjacent && same {
            self.size += next.size;
            self.blocks.1 = next.blocks.1;
            Joined::Yes
        } else {
            Joined::No
        }
    }
}

/// Whether two rows have become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// They have.
    Yes,
    /// They stay two.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, list};
    use serde_json::{Value, json};
    use std::string::String;

    // lsmem: rows as util-linux prints them, and adjacent equal ones become one.
    #[test]
    fn lsmem() {
        let block = |n: u64, state: &str, removable| LsmemRow {
            start: n << 27,
            size: 1 << 27,
            blocks: (n, n),
            state: Word::of(&state),
            removable,
            node: 0,
        };
        let mut row = block(32, "online", Removable::Yes);
        assert_eq!(row.join(&block(33, "online", Removable::Yes)), Joined::Yes);
        assert_eq!(row.join(&block(34, "offline", Removable::Yes)), Joined::No);
        assert_eq!(row.join(&block(34, "online", Removable::No)), Joined::No);
        assert_eq!(row.join(&block(35, "online", Removable::Yes)), Joined::No);
        let expected = json!({"range": "0x0000000100000000-0x000000010fffffff", "size": "256M", "state": "online",
            "removable": true, "block": "32-33", "node": 0});
        let mut out = String::new();
        list(&mut out, Format::Json, &mut |tell: &mut dyn FnMut(&LsmemRow)| tell(&row)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap()[0], expected);
        let mut out = String::new();
        list(&mut out, Format::Table, &mut |tell: &mut dyn FnMut(&LsmemRow)| tell(&row)).unwrap();
        assert_eq!(
            out,
            "RANGE                                  SIZE  STATE REMOVABLE BLOCK\n\
         0x0000000100000000-0x000000010fffffff  256M online       yes 32-33\n"
        );
    }
}
