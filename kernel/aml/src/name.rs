//! Name segments (20.2.2) and paths as text.
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, ErrorKind};

/// A name segment: four characters, padded with underscores. Ordered as its text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameSeg(u32);

impl NameSeg {
    /// Takes the four bytes of a name in a table.
    #[inline(never)] // a name is read in many places, and an emulator translates each copy
    pub(crate) fn new(bytes: [u8; 4]) -> Result<Self, Error> {
        let [first, rest @ ..] = bytes;
        if is_lead(first) && rest.iter().all(|&byte| is_lead(byte) || byte.is_ascii_digit()) {
            Ok(Self(u32::from_be_bytes(bytes)))
        } else {
            Err(ErrorKind::BadName.into())
        }
    }

    /// The segment `name`, as a table has it: four characters, padded with underscores. It is not checked; no object has
    /// a malformed name.
    #[must_use]
    pub const fn literal(name: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(name))
    }

    /// The segment of a textual path: one to four characters.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut bytes = [b'_'; 4];
        if text.is_empty() || text.len() > bytes.len() {
            return Err(ErrorKind::BadName.into());
        }
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from.to_ascii_uppercase();
        }
        Self::new(bytes)
    }

    /// The number that orders segments.
    pub(crate) const fn key(self) -> u32 {
        self.0
    }

    /// Appends the text without the padding, as ACPI's own documents write it.
    pub(crate) fn push_to(self, text: &mut String) {
        let bytes = self.0.to_be_bytes();
        let length = bytes.iter().rposition(|&byte| byte != b'_').map_or(1, |last| last.saturating_add(1));
        text.extend(bytes.iter().take(length).map(|&byte| char::from(byte)));
    }
}

/// Whether a byte can start a name segment.
pub(crate) const fn is_lead(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'_'
}

/// A parsed textual path.
#[derive(Debug)]
pub(crate) struct TextPath {
    pub(crate) start: Start,
    pub(crate) segments: Vec<NameSeg>,
}

/// Where a path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the root.
    Root,
    /// The given number of levels above the current scope; 0 is the current scope.
    Up(u32),
}

impl TextPath {
    /// Parses "\\A.B", "^A.B" or "A.B".
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let (start, rest) = match text.strip_prefix('\\') {
            Some(rest) => (Start::Root, rest),
            None => {
                let rest = text.trim_start_matches('^');
                let up = text.len().saturating_sub(rest.len());
                (Start::Up(u32::try_from(up).unwrap_or(u32::MAX)), rest)
            }
        };
        let segments = if rest.is_empty() {
            Vec::new()
        } else {
            rest.split('.').map(NameSeg::parse).collect::<Result<_, _>>()?
        };
        Ok(Self { start, segments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Padding is added when reading and removed when printing; digits may not come first.
    #[test]
    fn segments_are_padded() {
        let mut text = String::new();
        NameSeg::parse("_SB").map(|seg| seg.push_to(&mut text)).unwrap_or_default();
        NameSeg::parse("MP00").map(|seg| seg.push_to(&mut text)).unwrap_or_default();
        assert_eq!(text, "_SBMP00");
        assert!(NameSeg::parse("0AB").is_err());
        assert!(NameSeg::parse("").is_err());
        assert!(NameSeg::parse("ABCDE").is_err());
        assert_eq!(NameSeg::parse("_SB"), NameSeg::parse("_SB_"));
    }
}
