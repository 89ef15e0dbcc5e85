//! Text in fixed memory.

use arrayvec::ArrayString;
use core::fmt::{self, Display, Write};
use core::ops::Deref;
use serde::{Deserialize, Serialize};

/// A device's ACPI path, or "boot".
pub type Device = Text<128>;
/// A state, a zone, an owner.
pub type Word = Text<16>;
/// Who holds a frame.
pub type Holder = Text<48>;

/// A text of at most `N` bytes. What does not fit is cut off, and `...` says so.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<const N: usize>(ArrayString<N>);

impl<const N: usize> Text<N> {
    /// The text of `what`.
    pub fn of(what: &dyn Display) -> Text<N> {
        struct Cut<'a, const N: usize>(&'a mut ArrayString<N>);
        impl<const N: usize> Write for Cut<'_, N> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| self.0.try_push(c)).map_err(|_| fmt::Error)
            }
        }
        let mut text = ArrayString::new();
        if write!(Cut(&mut text), "{what}").is_err() {
            let mut end = text.len().saturating_sub(3);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            let _ = text.try_push_str("...");
        }
        Text(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> PartialEq<str> for Text<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<const N: usize> Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Proves that a text that is too long is cut at a character and ends in dots, and that one that fits is whole.
    #[test]
    fn cut() {
        assert_eq!(Text::<8>::of(&"12345678"), "12345678");
        assert_eq!(Text::<8>::of(&"123456789"), "12345...");
        assert_eq!(Text::<8>::of(&"1234ééé"), "1234...");
    }

    // Proves that a text is read back, escapes included, and that a longer one than fits is an error and not cut.
    #[test]
    fn read() {
        let text = Text::<8>::of(&"\\_\"\u{1}");
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(serde_json::from_str::<Text<8>>(&json).unwrap(), text);
        assert!(serde_json::from_str::<Text<8>>("\"123456789\"").is_err());
    }
}
