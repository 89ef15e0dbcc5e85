//! `lsmem` as util-linux has it: its columns, its words, and its way of joining blocks into ranges.

use super::Word;
use crate::human::ShortSize;
use crate::report::{Column, Row, Text, left, right};
use core::fmt::{self, Display};
use serde::Serialize;

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
    /// Whether it belongs to a device that can be removed.
    pub removable: Removable,
    /// How its size is told.
    pub unit: Unit,
}

/// Whether memory can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removable {
    /// It belongs to a device.
    Yes,
    /// It is boot memory.
    No,
}

/// How sizes are told.
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

/// What becomes one row.
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
        #[derive(Serialize)]
        struct Fields<Size> {
            range: Text<48>,
            size: Size,
            state: Word,
            removable: bool,
            block: Text<48>,
        }
        let (range, block) = (Text::of(&LsmemRange(self)), Text::of(&LsmemBlocks(self)));
        let (state, removable) = (self.state, self.removable == Removable::Yes);
        match self.unit {
            Unit::Suffix => {
                let size = self.unit.text(self.size);
                Fields { range, size, state, removable, block }.serialize(serializer)
            }
            Unit::Bytes => Fields { range, size: self.size, state, removable, block }.serialize(serializer),
        }
    }
}

impl Row for LsmemRow {
    const COLUMNS: &'static [Column] =
        &[left("RANGE"), right("SIZE").hint(5), right("STATE"), right("REMOVABLE"), right("BLOCK")];
    const GAP: usize = 1;

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&LsmemRange(self));
        cell(&self.unit.text(self.size));
        cell(&self.state);
        cell(&if self.removable == Removable::Yes { "yes" } else { "no" });
        cell(&LsmemBlocks(self));
    }
}

impl LsmemRow {
    /// Takes `next`, which does not start before this row, into it if the two touch and are alike.
    pub fn join(&mut self, next: &LsmemRow, merge: Merge) -> Joined {
        let end = self.start.saturating_add(self.size);
        let alike = (self.state, self.removable) == (next.state, next.removable);
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

/// Whether two rows have become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// They have.
    Yes,
    /// They stay two.
    No,
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
    /// How they are told.
    pub unit: Unit,
}

impl LsmemSummary {
    /// Writes them, an empty line in front.
    pub fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_char('\n')?;
        for (name, bytes) in [
            ("Memory block size:", self.block),
            ("Total online memory:", self.online),
            ("Total offline memory:", self.offline),
        ] {
            writeln!(out, "{name:<23} {:>5}", self.unit.text(bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, list};
    use serde_json::{Value, json};
    use std::string::String;

    const BLOCK: u64 = 1 << 27;

    fn block(n: u64, state: &str, removable: Removable) -> LsmemRow {
        let state = Word::of(&state);
        LsmemRow { start: n * BLOCK, size: BLOCK, blocks: (n, n), state, removable, unit: Unit::Suffix }
    }

    fn range(first: u64, last: u64) -> LsmemRow {
        let size = (last - first + 1) * BLOCK;
        LsmemRow { size, blocks: (first, last), ..block(first, "online", Removable::Yes) }
    }

    fn show(rows: &[LsmemRow], format: Format) -> String {
        let mut out = String::new();
        list(&mut out, format, &mut |tell: &mut dyn FnMut(&LsmemRow)| rows.iter().for_each(tell)).unwrap();
        out
    }

    // Neighbours that are alike become one range; a gap, another state or another device does not.
    #[test]
    fn joins() {
        use Removable::{No, Yes};
        let mut row = block(32, "online", Yes);
        assert_eq!(row.join(&block(33, "online", Yes), Merge::Ranges), Joined::Yes);
        assert_eq!((row.size, row.blocks), (2 * BLOCK, (32, 33)));
        for other in [block(34, "offline", Yes), block(34, "online", No), block(35, "online", Yes)] {
            assert_eq!(row.join(&other, Merge::Ranges), Joined::No);
        }
        // -a: only what is of the same block: two DIMMs share block 40.
        let part = |start, size| LsmemRow { start, size, ..block(40, "online", Yes) };
        let mut shared = part(40 * BLOCK, 100 << 20);
        assert_eq!(shared.join(&part(40 * BLOCK + (100 << 20), 28 << 20), Merge::Blocks), Joined::Yes);
        assert_eq!(shared, block(40, "online", Yes));
        assert_eq!(shared.join(&block(41, "online", Yes), Merge::Blocks), Joined::No);
        // Two ranges of boot memory in one block count once.
        let mut boot = block(0, "online", No);
        assert_eq!(boot.join(&block(0, "online", No), Merge::Ranges), Joined::Yes);
        assert_eq!(boot, block(0, "online", No));
    }

    // What util-linux 2.38.1 printed on two machines, byte for byte: the SIZE column is 4 wide where no
    // size has 4 letters, else at least 5.
    #[test]
    fn tables_of_util_linux() {
        assert_eq!(
            show(&[range(0, 23), range(32, 199)], Format::Table),
            "RANGE                                 SIZE  STATE REMOVABLE  BLOCK\n\
             0x0000000000000000-0x00000000bfffffff   3G online       yes   0-23\n\
             0x0000000100000000-0x000000063fffffff  21G online       yes 32-199\n"
        );
        assert_eq!(
            show(&[range(0, 0)], Format::Table),
            "RANGE                                  SIZE  STATE REMOVABLE BLOCK\n\
             0x0000000000000000-0x0000000007ffffff  128M online       yes     0\n"
        );
        let mut out = String::new();
        LsmemSummary { block: BLOCK, online: 24 << 30, offline: 0, unit: Unit::Suffix }
            .write(&mut out)
            .unwrap();
        assert_eq!(
            out,
            "\nMemory block size:       128M\n\
             Total online memory:      24G\n\
             Total offline memory:      0B\n"
        );
    }

    // JSON has util-linux's keys and no others, its size is a text, and with -b a number.
    #[test]
    fn json_of_util_linux() {
        let read =
            |row: LsmemRow| serde_json::from_str::<Value>(&show(&[row], Format::Json)).unwrap()[0].clone();
        let row = range(32, 33);
        let mut expected = json!({"range": "0x0000000100000000-0x000000010fffffff", "size": "256M",
            "state": "online", "removable": true, "block": "32-33"});
        assert_eq!(read(row), expected);
        expected["size"] = json!(256 << 20);
        assert_eq!(read(LsmemRow { unit: Unit::Bytes, ..row }), expected);
    }
}
