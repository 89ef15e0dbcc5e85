//! Sizes as QEMU and the kernel's shell write them: a number and one of K, M, G, T (powers of 1024). They are read by the
//! shell's own parser.

use std::fmt;
use std::str::FromStr;

use anyhow::anyhow;
use carapace_cli::parse;
use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

impl ByteSize {
    /// One MiB, the unit in which guest memory is given.
    pub const MIB: Self = Self(1 << 20);
    /// One GiB, the alignment of QEMU's hot-plug window.
    pub const GIB: Self = Self(1 << 30);

    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// `count` times this size, or the largest size there is.
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl FromStr for ByteSize {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        parse::size(text).map(Self).map_err(|error| anyhow!("{error}"))
    }
}

impl fmt::Display for ByteSize {
    /// Writes the largest unit that gives a whole number, so that QEMU reads back the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        match units.iter().find(|(shift, _)| self.0 != 0 && self.0.is_multiple_of(1 << shift)) {
            Some((shift, unit)) => f.pad(&format!("{}{unit}", self.0 >> shift)),
            None => f.pad(&format!("{}B", self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<u64> {
        text.parse().ok().map(ByteSize::bytes)
    }

    /// Every unit means its power of 1024, in either case.
    #[test]
    fn units_are_powers_of_1024() {
        assert_eq!(parse("12"), Some(12));
        assert_eq!(parse("4K"), Some(4096));
        assert_eq!(parse("512M"), Some(512 << 20));
        assert_eq!(parse("256g"), Some(256 << 30));
        assert_eq!(parse("1T"), Some(1 << 40));
    }

    /// A malformed size is refused instead of being read as a similar one.
    #[test]
    fn nonsense_is_refused() {
        for text in ["", "M", "12X", "12MB", "-1M", "0.3G", "0x10M", "16777216T", "é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    /// A size survives being written and read again, in the shortest form.
    #[test]
    fn written_in_the_largest_whole_unit() {
        for (text, written) in [("1024M", "1G"), ("1T", "1T"), ("1536M", "1536M"), ("3K", "3K"), ("5", "5B")]
        {
            assert_eq!(text.parse::<ByteSize>().expect("a size").to_string(), written);
        }
    }
}
