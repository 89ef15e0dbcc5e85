//! The output is the same as util-linux's.

use super::*;
use crate::output::{Format, array_line};
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
        split: columns,
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
    // -a joins only parts of the same block: two DIMMs share block 40.
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
    LsmemSummary { block: BLOCK, online: 24 << 30, offline: 0, unit: Unit::Suffix }.write(&mut out).unwrap();
    assert_eq!(
        out,
        "Memory block size:       128M\n\
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
    for (list, joined) in [
        ("RANGE", Joined::Yes),
        ("none", Joined::Yes),
        ("+NODE", Joined::No),
        ("NODE", Joined::No),
        ("STATE", Joined::No),
    ] {
        let split = LsmemColumns::parse_split(list).unwrap();
        let mut row = LsmemRow { split, ..range(35, 35) };
        let other = LsmemRow { split, ..block(36, "offline", Removable::Yes) };
        assert_eq!(row.join(&other, Merge::Ranges), joined, "{list}");
    }
    let all = columns("+NODE,ZONES").unwrap();
    assert_eq!(all, LsmemColumns::ALL);
    assert!(all.all().map(|column| column.title).eq(LSMEM.all.iter().map(|column| column.title)));
}

// JSON has util-linux's keys and no others, its size is a text, and with -b a number.
#[test]
fn json_of_util_linux() {
    let read = |row: LsmemRow| serde_json::from_str::<Value>(&show(&[row], Format::Json)).unwrap()[0].clone();
    let row = range(32, 33);
    let mut expected = json!({"range": "0x0000000100000000-0x000000010fffffff", "size": "256M",
        "state": "online", "removable": true, "block": "32-33"});
    assert_eq!(read(row), expected);
    expected["size"] = json!(256 << 20);
    assert_eq!(read(LsmemRow { unit: Unit::Bytes, ..row }), expected);
}

// -P and -r, and offline memory: the output of util-linux 2.38.1 for the same blocks.
#[test]
fn lines_of_util_linux() {
    let line = |row: LsmemRow, line| {
        let mut out = String::new();
        row.write_line(&mut out, line).unwrap();
        out
    };
    let offline = block(34, "offline", Removable::Yes);
    assert_eq!(
        line(range(32, 33), LsmemLine::Pairs),
        "RANGE=\"0x0000000100000000-0x000000010fffffff\" SIZE=\"256M\" STATE=\"online\" REMOVABLE=\"yes\" \
         BLOCK=\"32-33\"\n"
    );
    assert_eq!(line(offline, LsmemLine::Raw), "0x0000000110000000-0x0000000117ffffff 128M offline  34\n");
    assert_eq!(
        show(&[range(32, 33), offline], Format::Table),
        "RANGE                                  SIZE   STATE REMOVABLE BLOCK\n\
         0x0000000100000000-0x000000010fffffff  256M  online       yes 32-33\n\
         0x0000000110000000-0x0000000117ffffff  128M offline              34\n"
    );
    let value: Value = serde_json::from_str(&show(&[offline], Format::Json)).unwrap();
    assert_eq!(value[0]["removable"], false);
}
