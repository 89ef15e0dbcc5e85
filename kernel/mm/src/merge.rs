//! Joins ranges that touch or overlap, without a heap.
//!
//! ```text
//!  pieces   [  c  ]      [ a ][ b ]     [d]      any number, any order
//!             [  e  ]                    [d]
//!  merged   [       ]    [        ]     [  ]     ascending, with gaps between
//! ```
//!
//! Firmware may describe one range in many pieces, and our lists have a fixed capacity, so pieces are joined before
//! they are stored. Nothing is collected here: each result walks all pieces again, at least twice. Invariant: the
//! results cover exactly what the pieces cover, each ends below the start of the next, and none is empty. Neighbours:
//! `firmware_map` (RAM), `boot` (hotpluggable ranges), crate `carapace-acpi` (SRAT).

use core::iter;
use core::ops::Range;

/// The ranges that `pieces` cover, ascending; no two touch. `pieces` must return the same pieces at each call, in any
/// order; empty ones are ignored.
pub fn merged<I>(pieces: impl Fn() -> I) -> impl Iterator<Item = Range<u64>>
where
    I: Iterator<Item = Range<u64>>,
{
    let mut done = 0;
    iter::from_fn(move || {
        // Every piece that ends above `done` also starts above it; else it would have been joined (in the first round:
        // above 0).
        let rest = || pieces().filter(|piece| !piece.is_empty() && piece.end > done);
        let start = rest().map(|piece| piece.start).min()?;
        let mut end = start;
        loop {
            let grown =
                rest().fold(end, |end, piece| if piece.start <= end { end.max(piece.end) } else { end });
            if grown == end {
                break;
            }
            end = grown;
        }
        done = end;
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn all(pieces: &[(u64, u64)]) -> Vec<(u64, u64)> {
        merged(|| pieces.iter().map(|&(start, end)| start..end))
            .map(|range| (range.start, range.end))
            .collect()
    }

    /// Proves that touching, overlapping, nested, repeated and empty pieces become one range, in any order, and that a
    /// gap of one keeps ranges apart. Fails when an order of pieces matters or a border is off by one.
    #[test]
    fn pieces_are_joined() {
        assert_eq!(all(&[]), []);
        assert_eq!(all(&[(5, 5), (7, 3)]), []);
        assert_eq!(all(&[(8, 9), (0, 4), (4, 6), (5, 7), (1, 2), (8, 9), (3, 3)]), [(0, 7), (8, 9)]);
        assert_eq!(all(&[(1, u64::MAX), (0, 1)]), [(0, u64::MAX)]);
        assert_eq!(all(&[(2, u64::MAX), (0, 1)]), [(0, 1), (2, u64::MAX)]);
    }

    /// Proves the same for every set of three pieces within eight numbers, against a brute-force set.
    #[test]
    fn any_three_pieces() {
        let pieces: Vec<_> = (0..8).flat_map(|start| (start..8).map(move |end| (start, end))).collect();
        for &one in &pieces {
            for &two in &pieces {
                for &three in &pieces {
                    let given = [one, two, three];
                    let covered = |at: u64| given.iter().any(|piece| (piece.0..piece.1).contains(&at));
                    let result = all(&given);
                    assert!(result.windows(2).all(|pair| pair[0].1 < pair[1].0), "{given:?}: {result:?}");
                    for at in 0..8 {
                        let found = result.iter().filter(|range| (range.0..range.1).contains(&at)).count();
                        assert_eq!(found, usize::from(covered(at)), "{given:?}: {result:?} at {at}");
                    }
                }
            }
        }
    }
}
