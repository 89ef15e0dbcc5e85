//! The System Locality Information Table (ACPI 6.5, section 5.2.17): the distances between nodes.
//!
//! ```text
//!  header (36) | number of localities N (8) | N rows of N bytes: row i, byte j is the distance from i to j
//! ```
//!
//! A distance is a relative latency: 10 is local memory, 20 takes twice as long, 255 is unreachable.

use crate::bytes::{u8_at, u64_at};
use carapace_mm::addr::NodeId;

/// The offset of N.
const COUNT: usize = 36;
/// The offset of the first row.
const ROWS: usize = 44;
/// The distance of a node to itself.
const LOCAL: u8 = 10;

/// The distance where the firmware has no SLIT: Linux's `LOCAL_DISTANCE` and `REMOTE_DISTANCE`.
pub const fn assumed(from: NodeId, to: NodeId) -> u8 {
    if from.0 == to.0 { LOCAL } else { 20 }
}

/// The table's bytes, header included.
#[derive(Clone, Copy, Debug)]
pub struct Slit<'a>(pub &'a [u8]);

impl Slit<'_> {
    /// Whether it has a byte for each pair of nodes, 10 from each node to itself, and more between nodes (Linux:
    /// `slit_valid`).
    pub fn is_valid(&self) -> bool {
        let count = self.count().filter(|&count| count > 0);
        count.is_some_and(|count| {
            let whole = count.checked_mul(count).and_then(|bytes| bytes.checked_add(ROWS));
            whole.is_some_and(|whole| whole <= self.0.len())
                && (0..count).all(|from| {
                    (0..count).all(|to| {
                        let distance = self.at(count, from, to);
                        if from == to { distance == Some(LOCAL) } else { distance > Some(LOCAL) }
                    })
                })
        })
    }

    /// The distance between two nodes; `None` for a node that the table does not have.
    pub fn distance(&self, from: NodeId, to: NodeId) -> Option<u8> {
        let count = self.count()?;
        let (from, to) = (usize::try_from(from.0).ok()?, usize::try_from(to.0).ok()?);
        if from.max(to) < count { self.at(count, from, to) } else { None }
    }

    fn count(&self) -> Option<usize> {
        usize::try_from(u64_at(self.0, COUNT)?).ok()
    }

    fn at(&self, count: usize, from: usize, to: usize) -> Option<u8> {
        u8_at(self.0, from.checked_mul(count)?.checked_add(to)?.checked_add(ROWS)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn table(count: u64, distances: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![0; COUNT];
        bytes.extend(count.to_le_bytes());
        bytes.extend(distances);
        bytes
    }

    // Proves that rows are "from" and columns "to", and that nodes beyond the table have no distance. Fails when the
    // indices are swapped.
    #[test]
    fn reads_distances() {
        let bytes = table(2, &[10, 21, 31, 10]);
        let slit = Slit(&bytes);
        assert!(slit.is_valid());
        assert_eq!(slit.distance(NodeId(0), NodeId(1)), Some(21));
        assert_eq!(slit.distance(NodeId(1), NodeId(0)), Some(31));
        assert_eq!(slit.distance(NodeId(1), NodeId(1)), Some(10));
        assert_eq!((slit.distance(NodeId(2), NodeId(0)), slit.distance(NodeId(0), NodeId(2))), (None, None));
        assert_eq!((assumed(NodeId(1), NodeId(1)), assumed(NodeId(0), NodeId(1))), (10, 20));
    }

    // Proves that a table that is shorter than it claims, empty, or wrong on its diagonal is not valid, and that no
    // content makes a lookup panic.
    #[test]
    fn broken_tables() {
        for bytes in [
            Vec::new(),
            table(0, &[]),
            table(2, &[10, 20, 20]),
            table(u64::MAX, &[10; 9]),
            table(1 << 32, &[10; 9]),
            table(2, &[10, 20, 20, 11]),
            table(2, &[10, 10, 20, 10]),
        ] {
            assert!(!Slit(&bytes).is_valid(), "{bytes:?}");
            let _ = Slit(&bytes).distance(NodeId(u32::MAX), NodeId(3));
        }
    }
}
