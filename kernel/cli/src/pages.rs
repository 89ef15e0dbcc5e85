//! How much of a text a screen holds, and the keys of a pager.

use crate::keys::{Key, Keys};

/// Columns of the terminal, as [`crate::editor`] has them.
const COLUMNS: usize = 80;
/// Rows a screen may have.
pub const ROWS: core::ops::RangeInclusive<u16> = 4..=1000;
/// Rows where nobody says how many there are.
pub const ROWS_DEFAULT: u16 = 24;
/// What stands in the last row while a pager waits.
pub const WAITING: &str = "--More-- (space: a page, Enter: a line, q: the end)";

/// Counts rows as a terminal fills them: longer lines take more than one, colours take none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    left: u16,
    column: usize,
    escape: Escape,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    No,
    Begun,
    InSequence,
}

impl Page {
    /// An empty page of so many rows.
    pub const fn of(rows: u16) -> Page {
        Page { left: rows, column: 0, escape: Escape::No }
    }

    /// Whether there is no row left.
    pub const fn is_full(&self) -> bool {
        self.left == 0
    }

    /// More rows.
    pub fn turn(&mut self, rows: u16) {
        self.left = self.left.saturating_add(rows);
    }

    /// How many bytes of `text` the page still takes: all, or up to a row's end.
    pub fn take(&mut self, text: &str) -> usize {
        for (at, c) in text.char_indices() {
            if self.left == 0 {
                return at;
            }
            match (self.escape, c) {
                (_, '\n') => {
                    self.left -= 1;
                    (self.column, self.escape) = (0, Escape::No);
                }
                (Escape::No, '\x1b') => self.escape = Escape::Begun,
                (Escape::No, _) if c.is_control() => {}
                (Escape::No, _) => {
                    if self.column == COLUMNS {
                        self.column = 0;
                        self.left -= 1;
                        if self.left == 0 {
                            return at;
                        }
                    }
                    self.column += 1;
                }
                (Escape::Begun, '[') => self.escape = Escape::InSequence,
                (Escape::Begun, _) => self.escape = Escape::No,
                (Escape::InSequence, '@'..='~') => self.escape = Escape::No,
                (Escape::InSequence, _) => {}
            }
        }
        text.len()
    }
}

/// What somebody at a pager wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Another page.
    Page,
    /// Another line.
    Line,
    /// Nothing more.
    End,
    /// All the rest at once: what was typed is no pager's key, but the beginning of the next line, and waits for that.
    Rest,
}

/// What a key means to a pager; Ctrl-C is not for here.
pub fn wish(keys: &mut Keys, byte: u8) -> Option<Wish> {
    if byte == b'\r' || byte == b'\n' {
        return Some(Wish::Line);
    }
    keys.advance(byte).into_iter().find_map(|key| match key {
        Key::Text(b' ' | b'f') => Some(Wish::Page),
        Key::Text(b'j') | Key::Newer => Some(Wish::Line),
        Key::Text(b'q' | b'Q') => Some(Wish::End),
        Key::Text(_) => Some(Wish::Rest),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec;

    // A page takes as many rows as it has; a line of more than 80 columns takes two, colours take no column.
    #[test]
    fn rows() {
        let mut page = Page::of(2);
        assert_eq!(page.take("one\ntwo\nthree\n"), 8);
        assert!(page.is_full());
        page.turn(1);
        assert_eq!(page.take("three\nfour"), 6);
        for (text, rows) in [
            (String::from("x\n"), 1),
            ("x".repeat(80) + "\n", 1),
            ("x".repeat(81) + "\n", 2),
            ("x".repeat(161) + "\n", 3),
            ("\x1b[42;30mx\x1b[0m".repeat(80) + "\n", 1),
            (String::from("\n\n\n"), 3),
        ] {
            let mut page = Page::of(9);
            assert_eq!(page.take(&text), text.len());
            assert_eq!(page.left, 9 - rows, "{text:?}");
        }
        let mut page = Page::of(1);
        assert_eq!(page.take(&"x".repeat(200)), 80);
    }

    // The keys that `more` and `less` have for it, an arrow among them; other keys mean nothing, other text is not for
    // the pager.
    #[test]
    fn keys() {
        let wishes = |bytes: &[u8]| {
            let mut keys = Keys::new();
            bytes.iter().filter_map(|&byte| wish(&mut keys, byte)).collect::<vec::Vec<_>>()
        };
        assert_eq!(wishes(b" \rjq"), [Wish::Page, Wish::Line, Wish::Line, Wish::End]);
        assert_eq!(wishes(b"\x1b[B\x1b[A\x7f\tm"), [Wish::Line, Wish::Rest]);
    }

    proptest! {
        // What a page takes and what it leaves is the text, cut between characters, and pages end.
        #[test]
        fn total(text in "([ -~é]|\n|\x1b|\\[){0,300}", rows in 1u16..5) {
            let mut page = Page::of(rows);
            let mut rest = text.as_str();
            for _ in 0..400 {
                let taken = page.take(rest);
                rest = &rest[taken..];
                prop_assert!(rest.is_empty() || page.is_full());
                page.turn(1);
            }
            prop_assert!(rest.is_empty());
        }
    }
}
