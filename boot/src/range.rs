//! Ranges of physical memory, in bytes, and their rounding to frames.

use core::fmt;

/// Bytes of a page frame.
pub const PAGE: u64 = 4096;

/// Physical addresses from `start` up to, not including, `end`. Never ends before it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysRange {
    /// The first byte's address.
    pub start: u64,
    /// One past the last byte's address.
    pub end: u64,
}

impl PhysRange {
    /// `start` up to `end`; empty when `end` lies below.
    pub const fn new(start: u64, end: u64) -> PhysRange {
        PhysRange { start, end: if end < start { start } else { end } }
    }

    /// `size` bytes from `start` on; `None` when that passes the end of 64-bit addresses.
    pub const fn sized(start: u64, size: u64) -> Option<PhysRange> {
        match start.checked_add(size) {
            Some(end) => Some(PhysRange { start, end }),
            None => None,
        }
    }

    /// The size in bytes.
    pub const fn size(self) -> u64 {
        self.end - self.start
    }

    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether it contains all of `other`.
    pub const fn contains(self, other: PhysRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The bytes in both.
    pub fn intersection(self, other: PhysRange) -> PhysRange {
        PhysRange::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The bytes below `other`.
    pub fn before(self, other: PhysRange) -> PhysRange {
        PhysRange::new(self.start, self.end.min(other.start))
    }

    /// The bytes above `other`.
    pub fn after(self, other: PhysRange) -> PhysRange {
        PhysRange::new(self.start.max(other.end), self.end)
    }

    /// The whole frames inside.
    pub const fn rounded_inward(self) -> PhysRange {
        match self.start.checked_next_multiple_of(PAGE) {
            Some(start) => PhysRange::new(start, self.end & !(PAGE - 1)),
            None => PhysRange::new(self.start, self.start),
        }
    }

    /// All frames that it touches.
    pub const fn rounded_outward(self) -> PhysRange {
        let end = match self.end.checked_next_multiple_of(PAGE) {
            Some(end) => end,
            None => !(PAGE - 1), // the very last frame of 64-bit addresses: no CPU has it
        };
        PhysRange::new(self.start & !(PAGE - 1), end)
    }
}

impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a range consists of its parts before, in and after any other range. Fails when a border is wrong.
    #[test]
    fn before_and_after() {
        let range = PhysRange::new(10, 20);
        for (start, end, sizes) in [
            (12, 15, (2, 3, 5)),
            (0, 5, (0, 0, 10)),
            (30, 40, (10, 0, 0)),
            (5, 15, (0, 5, 5)),
            (0, 99, (0, 10, 0)),
        ] {
            let other = PhysRange::new(start, end);
            let parts =
                (range.before(other).size(), range.intersection(other).size(), range.after(other).size());
            assert_eq!(parts, sizes, "{other}");
        }
    }

    /// Proves that both ends are rounded in the right direction, also at the top of the address
    /// space. Fails when rounding overflows.
    #[test]
    fn rounding() {
        let odd = PhysRange::new(0x1001, 0x3fff);
        assert_eq!(odd.rounded_inward(), PhysRange::new(0x2000, 0x3000));
        assert_eq!(odd.rounded_outward(), PhysRange::new(0x1000, 0x4000));
        let small = PhysRange::new(0x1001, 0x1fff);
        assert!(small.rounded_inward().is_empty());
        let top = PhysRange::new(u64::MAX - 1, u64::MAX);
        assert!(top.rounded_inward().is_empty());
        assert_eq!(top.rounded_outward().end % PAGE, 0);
        assert_eq!(PhysRange::sized(u64::MAX, 2), None);
    }
}
