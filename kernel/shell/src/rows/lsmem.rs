//! `lsmem` as util-linux has it: its columns, its words, and its way of joining blocks into ranges.

use super::Word;
use crate::commands::LSMEM_COLUMNS;
use crate::human::ShortSize;
use crate::report::{Column, Row, Table, Text, left, right};
use core::fmt::{self, Display};
use serde::Serialize;
use serde::ser::SerializeStruct;

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
    /// How its size is told.
    pub unit: Unit,
    /// What of it is told; what is not is no reason for a row of its own.
    pub columns: LsmemColumns,
}

/// The columns shown: `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsmemColumns {
    /// Places among all columns, in the order wanted.
    places: [usize; LSMEM_COLUMNS.len()],
    count: usize,
}

const STATE: usize = 2;
const REMOVABLE: usize = 3;
const NODE: usize = 5;
const ZONES: usize = 6;

impl LsmemColumns {
    /// Those without `-o`: up to BLOCK.
    pub const DEFAULT: LsmemColumns = LsmemColumns { places: [0, 1, 2, 3, 4, 5, 6], count: 5 };

    /// `COLUMN,...` (these), or `+COLUMN,...` (these too); upper or lower case.
    ///
    /// # Errors
    /// The word that is no column, or is there already.
    pub fn parse(list: &str) -> Result<LsmemColumns, &str> {
        let (mut columns, names) = match list.strip_prefix('+') {
            Some(more) => (LsmemColumns::DEFAULT, more),
            None => (LsmemColumns { count: 0, ..LsmemColumns::DEFAULT }, list),
        };
        for name in names.split(',') {
            let place = LSMEM_COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(name));
            let place = place.filter(|&place| !columns.has(place)).ok_or(name)?;
            // Each at most once, so there is room.
            *columns.places.get_mut(columns.count).ok_or(name)? = place;
            columns.count += 1;
        }
        Ok(columns)
    }

    /// A table of these columns.
    pub fn table(&self) -> Table<LsmemRow> {
        Table::of(self.places().map(|place| place as u8).collect())
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        self.places.into_iter().take(self.count)
    }

    fn has(&self, place: usize) -> bool {
        self.places().any(|picked| picked == place)
    }
}

/// Whether memory can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removable {
    /// It belongs to a device, and nothing in it is pinned.
    Yes,
    /// It is boot memory, or some of it is pinned.
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
        let mut fields = serializer.serialize_struct("LsmemRow", self.columns.count)?;
        for place in self.columns.places() {
            match place {
                0 => fields.serialize_field("range", &Text::<48>::of(&LsmemRange(self)))?,
                1 if self.unit == Unit::Bytes => fields.serialize_field("size", &self.size)?,
                1 => fields.serialize_field("size", &self.unit.text(self.size))?,
                STATE => fields.serialize_field("state", &self.state)?,
                REMOVABLE => fields.serialize_field("removable", &(self.removable == Removable::Yes))?,
                4 => fields.serialize_field("block", &Text::<48>::of(&LsmemBlocks(self)))?,
                NODE => fields.serialize_field("node", &self.node)?,
                _ => fields.serialize_field("zones", &self.zone)?,
            }
        }
        fields.end()
    }
}

impl Row for LsmemRow {
    const COLUMNS: &'static [Column] = &[
        left("RANGE"),
        right("SIZE").hint(5),
        right("STATE"),
        right("REMOVABLE"),
        right("BLOCK"),
        right("NODE"),
        right("ZONES"),
    ];
    const GAP: usize = 1;

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&LsmemRange(self));
        cell(&self.unit.text(self.size));
        cell(&self.state);
        cell(&if self.removable == Removable::Yes { "yes" } else { "no" });
        cell(&LsmemBlocks(self));
        cell(&self.node);
        cell(&self.zone);
    }
}

impl LsmemRow {
    /// Takes `next`, which does not start before this row, into it if the two touch and are alike.
    pub fn join(&mut self, next: &LsmemRow, merge: Merge) -> Joined {
        let end = self.start.saturating_add(self.size);
        let columns = &self.columns;
        let alike = (!columns.has(STATE) || self.state == next.state)
            && (!columns.has(REMOVABLE) || self.removable == next.removable)
            && (!columns.has(NODE) || self.node == next.node)
            && (!columns.has(ZONES) || self.zone == next.zone);
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
            let width = if self.unit == Unit::Bytes { 15 } else { 5 };
            writeln!(out, "{name:<23} {:>width$}", self.unit.text(bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Format, array_line};
    use serde_json::{Value, json};
    use std::string::String;

    const BLOCK: u64 = 1 << 27;

    fn block(n: u64, state: &str, removable: Removable) -> LsmemRow {
        let state = Word::of(&state);
        let (unit, columns) = (Unit::Suffix, LsmemColumns::DEFAULT);
        let (node, zone) = ((n / 36) as u32, Word::of(&"any"));
        LsmemRow {
            start: n * BLOCK,
            size: BLOCK,
            blocks: (n, n),
            state,
            removable,
            node,
            zone,
            unit,
            columns,
        }
    }

    fn range(first: u64, last: u64) -> LsmemRow {
        let size = (last - first + 1) * BLOCK;
        LsmemRow { size, blocks: (first, last), ..block(first, "online", Removable::Yes) }
    }

    fn show(rows: &[LsmemRow], format: Format) -> String {
        let mut out = String::new();
        let mut told = |tell: &mut dyn FnMut(&LsmemRow)| rows.iter().for_each(tell);
        match format {
            Format::Json => array_line(&mut out, &mut told).unwrap(),
            Format::Table => {
                let mut table = rows[0].columns.table();
                told(&mut |row| table.measure(row));
                table.titles(&mut out).unwrap();
                told(&mut |row| table.row(&mut out, row).unwrap());
            }
        }
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
        out.clear();
        let bytes = LsmemSummary { block: BLOCK, online: 24 << 30, offline: 0, unit: Unit::Bytes };
        bytes.write(&mut out).unwrap();
        assert!(out.contains("block size:            134217728\nTotal online memory:        25769803776\n"));
    }

    // -o: columns in the order wanted, those with + behind the others; a column that is not shown is no
    // reason for another row; a word that is none, or is there twice, is named.
    #[test]
    fn columns() {
        let columns = |list| LsmemColumns::parse(list);
        for (list, wrong) in
            [("", ""), ("RANGE,", ""), ("size,frob", "frob"), ("+RANGE", "RANGE"), ("NODE,node", "node")]
        {
            assert_eq!(columns(list), Err(wrong), "{list}");
        }
        let row = LsmemRow { columns: columns("node,RANGE").unwrap(), ..range(35, 35) };
        assert_eq!(show(&[row], Format::Table), "NODE RANGE\n   0 0x0000000118000000-0x000000011fffffff\n");
        let value: Value = serde_json::from_str(&show(&[row], Format::Json)).unwrap();
        assert_eq!(value[0], json!({"node": 0, "range": "0x0000000118000000-0x000000011fffffff"}));
        // Block 36 is of another node, and offline here.
        for (list, joined) in
            [("RANGE", Joined::Yes), ("+NODE", Joined::No), ("NODE", Joined::No), ("STATE", Joined::No)]
        {
            let columns = columns(list).unwrap();
            let mut row = LsmemRow { columns, ..range(35, 35) };
            let other = LsmemRow { columns, ..block(36, "offline", Removable::Yes) };
            assert_eq!(row.join(&other, Merge::Ranges), joined, "{list}");
        }
        let all = columns("+NODE,ZONES").unwrap();
        assert_eq!(all.places().count(), LsmemRow::COLUMNS.len());
        assert!(LsmemRow::COLUMNS.iter().map(|column| &column.title).eq(LSMEM_COLUMNS));
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
