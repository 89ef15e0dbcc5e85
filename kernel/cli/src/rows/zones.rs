//! Free blocks as Linux shows them: `buddyinfo`.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::object;
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
}
