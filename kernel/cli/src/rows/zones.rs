//! A node's zones as Linux tells them: `buddyinfo`, `zoneinfo`.

use super::Word;
use arrayvec::ArrayVec;
use core::fmt;
use serde::Serialize;

/// Orders a buddy can have at most.
pub const ORDERS_MAX: usize = 48;

/// A row of `buddyinfo`: free blocks of order 0, 1, ...
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "DESIGN's interface, whose words these are")]
pub struct BuddyRow {
    pub resource: u32,
    pub node: u32,
    pub zone: Word,
    pub free: ArrayVec<u64, ORDERS_MAX>,
}

/// Writes a line of Linux's `/proc/buddyinfo` (`frag_show_print` in mm/vmstat.c).
pub fn buddy_line(out: &mut dyn fmt::Write, node: u32, zone: &str, free: &[u64]) -> fmt::Result {
    write!(out, "Node {node}, zone {zone:>8} ")?;
    for blocks in free {
        write!(out, "{blocks:>6} ")?;
    }
    out.write_char('\n')
}

/// The frames of a node's zone, for `zoneinfo`. As in Linux, what is offline is not present.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "Linux's words")]
pub struct ZoneRow {
    pub node: u32,
    pub zone: Word,
    pub free_pages: u64,
    /// From the first frame to the last, holes included.
    pub spanned_pages: u64,
    pub present_pages: u64,
    /// What the buddy allocators have.
    pub managed_pages: u64,
    pub offline_pages: u64,
    pub movable_pages: u64,
    pub pinned_pages: u64,
    pub start_pfn: u64,
}

impl ZoneRow {
    /// Writes the zone as Linux's `/proc/zoneinfo` does (`zoneinfo_show_print` in mm/vmstat.c), without
    /// what there is not here: watermarks stand at 0, there are no lists of cached pages.
    pub fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "Node {}, zone {:>8}", self.node, self.zone.as_str())?;
        writeln!(out, "  pages free     {}", self.free_pages)?;
        for (name, pages) in [
            ("boost", 0),
            ("min", 0),
            ("low", 0),
            ("high", 0),
            ("spanned", self.spanned_pages),
            ("present", self.present_pages),
            ("managed", self.managed_pages),
            ("cma", 0),
        ] {
            writeln!(out, "        {name:<8} {pages}")?;
        }
        for (name, pages) in [
            ("nr_free_pages", self.free_pages),
            ("nr_movable", self.movable_pages),
            ("nr_pinned", self.pinned_pages),
            ("nr_offline", self.offline_pages),
        ] {
            writeln!(out, "      {name:<12} {pages}")?;
        }
        writeln!(out, "  start_pfn:           {}", self.start_pfn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::object;
    use serde_json::Value;
    use std::string::String;

    // buddyinfo: a row of the most orders fits, and the text is the line Linux writes.
    #[test]
    fn buddyinfo() {
        let full = BuddyRow {
            resource: 1,
            node: 1,
            zone: Word::of(&"movable"),
            free: [u64::MAX; ORDERS_MAX].into(),
        };
        let mut out = String::new();
        object(&mut out, &full).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&out)
                .unwrap()
                .as_object()
                .unwrap()
                .keys()
                .collect::<std::vec::Vec<_>>(),
            ["free", "node", "resource", "zone"]
        );
        out.clear();
        buddy_line(&mut out, 1, "any", &[0, 1, 20]).unwrap();
        assert_eq!(out, "Node 1, zone      any      0      1     20 \n");
    }

    // zoneinfo: the lines of Linux's file, in their order and their columns; JSON has the same numbers.
    #[test]
    fn zoneinfo() {
        let row = ZoneRow {
            node: 1,
            zone: Word::of(&"movable"),
            free_pages: 100,
            spanned_pages: 65536,
            present_pages: 65535,
            managed_pages: 64512,
            offline_pages: 1,
            movable_pages: 2,
            pinned_pages: 3,
            start_pfn: 1048576,
        };
        let mut out = String::new();
        row.write(&mut out).unwrap();
        assert_eq!(
            out,
            "Node 1, zone  movable\n  pages free     100\n        boost    0\n        min      0\n        low      0\n\
             \x20       high     0\n        spanned  65536\n        present  65535\n        managed  64512\n\
             \x20       cma      0\n      nr_free_pages 100\n      nr_movable   2\n      nr_pinned    3\n\
             \x20     nr_offline   1\n  start_pfn:           1048576\n"
        );
        out.clear();
        object(&mut out, &row).unwrap();
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&value["zone"], &value["managed_pages"]), (&"movable".into(), &64512.into()));
    }
}
