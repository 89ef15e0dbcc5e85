//! Sizes for people.

use arrayvec::ArrayString;
use carapace_schema::PAGE;
use core::fmt::{self, Write};

/// A size in bytes as people read it: `252 MiB`, `1.5 GiB`, `0 B`. One decimal, rounded down, and
/// none where the size is a whole number of the unit.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

/// A size in bytes as util-linux writes it: `252M`, `1.5G`, `0B`, one decimal, rounded half up
/// (`size_to_human_string` there).
#[derive(Clone, Copy, Debug)]
pub struct ShortSize(pub u64);

const SHORT_UNITS: [char; 7] = ['B', 'K', 'M', 'G', 'T', 'P', 'E'];

/// The size of so many pages, as [`ShortSize`] writes it, but in the next smaller unit where that would round to a whole
/// number: of a DIMM of 2 MiB, 2008K are usable and not 2M.
#[derive(Clone, Copy, Debug)]
pub struct PagesSize(pub u64);

impl fmt::Display for PagesSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.saturating_mul(PAGE);
        let (unit, whole, _) = split(bytes);
        let one = 1u64 << (10 * unit);
        let (rest, little) = (bytes % one, one / 20);
        if whole < 10 && rest > 0 && (rest < little || rest >= one - little) {
            let mut text = ArrayString::<16>::new();
            write!(text, "{}{}", bytes / (one >> 10), SHORT_UNITS[unit - 1])?;
            return f.pad(&text);
        }
        ShortSize(bytes).fmt(f)
    }
}

/// A time in nanoseconds as people read it, in three digits and rounded down: `647 us`, `3.31 ms`, `219 s`.
#[derive(Clone, Copy, Debug)]
pub struct Elapsed(pub u64);

/// A number of pages: `1 page`, `64512 pages`.
#[derive(Clone, Copy, Debug)]
pub struct Pages(pub u64);

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} page{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// The result of `verify` for a number of matching pages.
#[derive(Clone, Copy, Debug)]
pub struct Matching(pub u64);

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no page is filled"),
            1 => f.write_str("1 page matches its pattern"),
            pages => write!(f, "{pages} pages match their pattern"),
        }
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1_000_000 => return write!(f, "{} us", self.0 / 1_000),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let (whole, thousandths) = (self.0 / unit, self.0 % unit / (unit / 1000));
        match whole {
            0..10 => write!(f, "{whole}.{:02} {name}", thousandths / 10),
            10..100 => write!(f, "{whole}.{} {name}", thousandths / 100),
            _ => write!(f, "{whole} {name}"),
        }
    }
}

/// The unit's index (0 bytes, 1 KiB, ...), whole units, and tenths of the rest.
fn split(bytes: u64) -> (usize, u64, u64) {
    let unit = if bytes == 0 { 0 } else { (bytes.ilog2() / 10) as usize };
    let one = 1u64 << (10 * unit);
    // The rest is below 2^60, times 10 fits in 64 bits.
    (unit, bytes / one, (bytes % one) * 10 / one)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let (unit, whole, tenths) = split(self.0);
        // Longest: "1023.9 KiB".
        let mut text = ArrayString::<16>::new();
        if tenths == 0 {
            write!(text, "{whole} {}", UNITS[unit])?;
        } else {
            write!(text, "{whole}.{tenths} {}", UNITS[unit])?;
        }
        f.pad(&text)
    }
}

impl fmt::Display for ShortSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, whole, _) = split(self.0);
        let one = 1u128 << (10 * unit);
        let thousandths = u128::from(self.0) % one * 1000 / one;
        // A value rounded up to a whole number keeps its unit: 1023.96 KiB is `1024K`.
        let (whole, tenths) = match (thousandths + 50) / 100 {
            10 => (whole + 1, 0),
            tenths => (whole, tenths),
        };
        let mut text = ArrayString::<16>::new();
        if tenths == 0 {
            write!(text, "{whole}{}", SHORT_UNITS[unit])?;
        } else {
            write!(text, "{whole}.{tenths}{}", SHORT_UNITS[unit])?;
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    // One of them is one.
    #[test]
    fn pages() {
        assert_eq!([0, 1, 2].map(|pages| format!("{}", Pages(pages))), ["0 pages", "1 page", "2 pages"]);
    }

    // Three digits, in the unit that leaves at least one in front of the point.
    #[test]
    fn times() {
        for (nanos, text) in [
            (0, "0 us"),
            (999_999, "999 us"),
            (1_234_567, "1.23 ms"),
            (12_345_678, "12.3 ms"),
            (1_201_991_000, "1.20 s"),
            (219_382_000_000, "219 s"),
            (u64::MAX, "18446744073 s"),
        ] {
            assert_eq!(format!("{}", Elapsed(nanos)), text);
        }
    }

    /// Proves that a few pages less than a unit are seen. Fails when a DIMM of 2 MiB seems to have no memmap.
    #[test]
    fn pages_short_of_a_unit() {
        for (pages, text) in [
            (502, "2008K"),
            (512, "2M"),
            (10, "40K"),
            (513, "2052K"),
            (800, "3.1M"),
            (32758, "128M"),
            (0, "0B"),
        ] {
            assert_eq!(format!("{}", PagesSize(pages)), text);
        }
        assert_eq!(format!("{}", PagesSize(u64::MAX)), "16E");
    }

    // Whole units have no decimal, parts have one, and the ends of the range of u64 are written too.
    #[test]
    fn sizes() {
        for (bytes, long, short) in [
            (0, "0 B", "0B"),
            (1023, "1023 B", "1023B"),
            (4096, "4 KiB", "4K"),
            (252 << 20, "252 MiB", "252M"),
            (3 << 29, "1.5 GiB", "1.5G"),
            (1 << 40, "1 TiB", "1T"),
            ((511 << 20) + (512 << 10), "511.5 MiB", "511.5M"),
            (1048535, "1023.9 KiB", "1024K"),
            (1150 << 10, "1.1 MiB", "1.1M"),
            (1180 << 10, "1.1 MiB", "1.2M"),
            (u64::MAX, "15.9 EiB", "16E"),
        ] {
            assert_eq!(format!("{}", Size(bytes)), long);
            assert_eq!(format!("{}", ShortSize(bytes)), short);
        }
        assert_eq!(format!("{:>9}|", Size(4096)), "    4 KiB|");
    }
}
