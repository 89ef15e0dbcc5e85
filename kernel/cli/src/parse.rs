//! Parses numbers: sizes with K, M, G, T, frame numbers, ranges. Total: every text gives a number or an error with the
//! reason.

use core::fmt;

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError<'a> {
    /// Not digits (and for a size one of K, M, G, T after them).
    NotANumber {
        /// The expected kind: "a size", "a frame number", ...
        what: &'static str,
        /// The typed text.
        text: &'a str,
    },
    /// More than 64 bits hold.
    TooLarge {
        /// The expected kind.
        what: &'static str,
        /// The typed text.
        text: &'a str,
    },
    /// A range that ends before it starts.
    Backwards {
        /// The typed text.
        text: &'a str,
    },
}

impl fmt::Display for NumberError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumberError::NotANumber { what: what @ "a size", text } => {
                write!(
                    f,
                    "'{text}' is not {what}: digits, then nothing or one of K, M, G, T; 1.5G and 2MiB too"
                )
            }
            NumberError::NotANumber { what, text } => {
                write!(f, "'{text}' is not {what}: digits, or 0x and hexadecimal digits")
            }
            NumberError::TooLarge { what, text } => {
                write!(f, "'{text}' is too large for {what}: more than 64 bits")
            }
            NumberError::Backwards { text } => write!(f, "the range '{text}' ends before it starts"),
        }
    }
}

/// An integer: decimal, or hexadecimal after `0x`. No sign, no blanks, no separators.
///
/// `what` names the thing in the error ("a frame number").
pub fn integer<'a>(text: &'a str, what: &'static str) -> Result<u64, NumberError<'a>> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    // `from_str_radix` would take a leading '+'.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberError::NotANumber { what, text });
    }
    u64::from_str_radix(digits, radix).map_err(|_| NumberError::TooLarge { what, text })
}

/// A size in bytes, as sizes are printed: an integer, or a decimal number with K, M, G or T (powers of 1024, either case;
/// `MiB` means `M`). A fraction must give whole bytes: `1.5G`, not `0.3G`.
pub fn size(text: &str) -> Result<u64, NumberError<'_>> {
    const WHAT: &str = "a size";
    let malformed = NumberError::NotANumber { what: WHAT, text };
    let too_large = NumberError::TooLarge { what: WHAT, text };
    let without = |text, suffix: &str| {
        let (rest, end) = str::split_at_checked(text, text.len().checked_sub(suffix.len())?)?;
        end.eq_ignore_ascii_case(suffix).then_some(rest)
    };
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let short = without(text, "iB").unwrap_or(text);
    let found = units.into_iter().find_map(|(unit, shift)| Some((without(short, unit)?, shift)));
    let Some((number, shift)) = found else {
        return integer(text, WHAT);
    };
    let digits = |digits: &str| match !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
    {
        true => digits.parse::<u64>().map_err(|_| too_large),
        false => Err(malformed),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let (whole, numerator) = (digits(whole)?, digits(fraction)?);
    let denominator = u128::from(10_u8).checked_pow(fraction.len() as u32).ok_or(malformed)?;
    let part = u128::from(numerator) << shift;
    if !part.is_multiple_of(denominator) {
        return Err(malformed);
    }
    let bytes = (u128::from(whole) << shift) + part / denominator;
    u64::try_from(bytes).map_err(|_| too_large)
}

/// An operand that is one thing or a range of sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdOrRange {
    /// `ID`: a resource.
    Id(u64),
    /// `FROM-TO`: sections, both ends included.
    Sections {
        /// The first section.
        from: u64,
        /// The last section.
        to: u64,
    },
}

/// `ID` or `FROM-TO`, as `sections` and `offline` take it.
pub fn id_or_range(text: &str) -> Result<IdOrRange, NumberError<'_>> {
    match text.split_once('-') {
        None => Ok(IdOrRange::Id(integer(text, "a resource's number")?)),
        Some((from, to)) => {
            let (from, to) = (integer(from, "a section's number")?, integer(to, "a section's number")?);
            if to < from {
                Err(NumberError::Backwards { text })
            } else {
                Ok(IdOrRange::Sections { from, to })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    // Each suffix is its power of 1024, in either case, and plain digits are bytes.
    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("0x1000", 4096),
            ("3k", 3 << 10),
            ("252M", 252 << 20),
            ("16g", 16 << 30),
            ("1T", 1 << 40),
            ("1.5G", 3 << 29),
            ("0.25k", 256),
            ("256MiB", 256 << 20),
            ("485.5mib", 971 << 19),
            ("16777215T", 16777215 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    // A malformed size and an overflow are distinct errors; digits and product may overflow.
    #[test]
    fn no_sizes() {
        for text in [
            "", "M", "-1", "+1", "0.3G", "1.5", "1..5G", ".5G", "1.G", "iB", "1iB", "1 G", "1GB", "GG",
            "0x10M", "0x", "1e3", "١",
        ] {
            assert!(matches!(size(text), Err(NumberError::NotANumber { .. })), "{text}");
        }
        for text in ["16777216T", "18446744073709551616", "99999999999999999999999G", "0x10000000000000000"] {
            assert!(matches!(size(text), Err(NumberError::TooLarge { .. })), "{text}");
        }
    }

    // A range holds both ends; one that ends before it starts is an error, not empty.
    #[test]
    fn ranges() {
        assert_eq!(id_or_range("7"), Ok(IdOrRange::Id(7)));
        assert_eq!(id_or_range("32-33"), Ok(IdOrRange::Sections { from: 32, to: 33 }));
        assert_eq!(id_or_range("0x20-0x20"), Ok(IdOrRange::Sections { from: 32, to: 32 }));
        assert_eq!(id_or_range("33-32"), Err(NumberError::Backwards { text: "33-32" }));
        for text in ["-", "1-", "-1", "1-2-3", "a"] {
            assert!(matches!(id_or_range(text), Err(NumberError::NotANumber { .. })), "{text}");
        }
    }

    proptest! {
        // No text makes the parsers panic, and every number comes back as it was written.
        #[test]
        fn total(text in "\\PC{0,30}", n: u64) {
            let _ = (size(&text), integer(&text, "x"), id_or_range(&text));
            let (decimal, hexadecimal, kib) = (format!("{n}"), format!("{n:#x}"), format!("{n}K"));
            prop_assert_eq!(integer(&decimal, "x"), Ok(n));
            prop_assert_eq!(integer(&hexadecimal, "x"), Ok(n));
            prop_assert_eq!(size(&decimal), Ok(n));
            prop_assert_eq!(size(&kib).ok(), n.checked_mul(1024));
        }
    }
}
