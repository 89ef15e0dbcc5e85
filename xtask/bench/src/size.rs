//! Sizes as QEMU writes them: a number and one of K, M, G, T (powers of 1024).

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Size(pub u64);

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Size> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let number: u64 = digits.parse().with_context(|| format!("`{text}` is not a size such as 256M"))?;
        let unit = text[digits.len()..].to_ascii_uppercase();
        let shift = match UNITS.iter().find(|(name, _)| unit == name.to_string()) {
            Some(&(_, shift)) => shift,
            None if unit.is_empty() => 0,
            None => bail!("the unit `{unit}` is not one of K, M, G, T"),
        };
        number.checked_mul(1 << shift).map(Size).with_context(|| format!("`{text}` is too much"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |shift: &u32| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.iter().find(|(_, shift)| whole(shift)) {
            Some((unit, shift)) => f.pad(&format!("{}{unit}", self.0 >> shift)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A size is read as it is written, and nonsense is refused: fails when a unit means something else.
    #[test]
    fn sizes() {
        for (text, bytes) in [("256M", 256 << 20), ("1t", 1 << 40), ("4096", 4096), ("3K", 3072)] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes));
        }
        assert_eq!((Size(1 << 30).to_string(), Size(3 << 20).to_string()), ("1G".into(), "3M".into()));
        assert!(["", "G", "1X", "-1M", "99999999T"].iter().all(|text| text.parse::<Size>().is_err()));
    }
}
