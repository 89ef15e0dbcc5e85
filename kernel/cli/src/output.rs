//! The forms of output: aligned tables for people, one line of JSON for programs, and errors in either. Rows are streamed
//! and not collected: a table walks its rows twice, first for the widths.
//!
//! JSON is made by `serde-json-core` into a buffer on the stack, a value at a time.

use crate::TERMINAL_COLUMNS;
use carapace_schema::{Refusal, Text};
use core::fmt::{self, Display, Write};
use serde::Serialize;

mod table;

pub use table::{Align, Cell, Column, Columns, Picked, Table, left, right};

/// Bytes of JSON that a single row or object can have (asserted by the test with the longest).
pub const VALUE_MAX: usize = 2304;

/// The form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One line of JSON.
    Json,
}

/// A source of rows: calls its argument with each, and gives the same rows each time it is called.
pub type Rows<'a, R> = &'a mut dyn FnMut(&mut dyn FnMut(&R));

/// Writes rows as a table or as one JSON array.
pub fn list<R: Serialize>(
    out: &mut dyn Write,
    format: Format,
    columns: &'static Columns<R>,
    rows: Rows<'_, R>,
) -> fmt::Result {
    match format {
        Format::Table => table(out, columns, rows),
        Format::Json => array_line(out, rows),
    }
}

/// Writes rows as one JSON array, a line.
pub fn array_line<R: Serialize>(out: &mut dyn Write, rows: Rows<'_, R>) -> fmt::Result {
    array(out, rows)?;
    out.write_char('\n')
}

/// Writes rows as a table with titles.
pub fn table<R>(out: &mut dyn Write, columns: &'static Columns<R>, rows: Rows<'_, R>) -> fmt::Result {
    let mut table = Table::new(columns);
    rows(&mut |row| table.measure(row));
    let mut result = table.titles(out);
    rows(&mut |row| result = result.and_then(|()| table.row(out, row)));
    result
}

/// Rows that come one by one, in either form: as [`table`] and [`array()`] write them.
#[derive(Debug)]
pub enum Listing<R: 'static> {
    /// A table: measure all rows first.
    Table(Table<R>),
    /// An array.
    Json(Array),
}

impl<R: Serialize> Listing<R> {
    /// A list of that form.
    pub fn new(format: Format, columns: &'static Columns<R>) -> Listing<R> {
        match format {
            Format::Table => Listing::Table(Table::new(columns)),
            Format::Json => Listing::Json(Array::new()),
        }
    }

    /// Writes what stands in front of the rows.
    pub fn begin(&mut self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Listing::Table(table) => table.titles(out),
            Listing::Json(_) => Array::begin(out),
        }
    }

    /// Writes a row.
    pub fn row(&mut self, out: &mut dyn Write, row: &R) -> fmt::Result {
        match self {
            Listing::Table(table) => table.row(out, row),
            Listing::Json(array) => array.item(out, row),
        }
    }

    /// Writes what stands behind the rows: of an array not the line's end, since it may be a part of a larger value.
    pub fn end(&mut self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Listing::Table(_) => Ok(()),
            Listing::Json(_) => out.write_char(']'),
        }
    }
}

/// Writes one value as a line of JSON.
pub fn object(out: &mut dyn Write, value: &impl Serialize) -> fmt::Result {
    json(out, value)?;
    out.write_char('\n')
}

/// Writes `head`'s fields and, as one more field, `name` with an array of the rows: a line of JSON.
/// `head` is called after the rows, so that it may count them.
pub fn object_with<H: Serialize, R: Serialize>(
    out: &mut dyn Write,
    name: &'static str,
    rows: Rows<'_, R>,
    head: &mut dyn FnMut() -> H,
) -> fmt::Result {
    write!(out, "{{\"{name}\":")?;
    array(out, rows)?;
    let mut buffer = [0; VALUE_MAX];
    let text = text_of(&mut buffer, &head())?;
    // The object's opening brace becomes the comma after the array.
    match text.strip_prefix('{') {
        Some("}") => out.write_str("}\n"),
        Some(fields) => writeln!(out, ",{fields}"),
        None => Err(fmt::Error),
    }
}

/// Writes rows as one JSON array, without the line's end: a part of a larger value.
pub fn array<R: Serialize>(out: &mut dyn Write, rows: Rows<'_, R>) -> fmt::Result {
    let mut array = Array::new();
    let mut result = Array::begin(out);
    rows(&mut |row| result = result.and_then(|()| array.item(out, row)));
    result.and_then(|()| out.write_char(']'))
}

/// The commas of a JSON array whose items come one by one; the caller writes the closing bracket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Array {
    items: u64,
}

impl Array {
    /// An array without an item yet.
    pub const fn new() -> Array {
        Array { items: 0 }
    }

    /// Writes the opening bracket.
    pub fn begin(out: &mut dyn Write) -> fmt::Result {
        out.write_char('[')
    }

    /// Writes an item.
    pub fn item(&mut self, out: &mut dyn Write, value: &impl Serialize) -> fmt::Result {
        if self.items > 0 {
            out.write_char(',')?;
        }
        self.items += 1;
        json(out, value)
    }
}

fn json(out: &mut dyn Write, value: &impl Serialize) -> fmt::Result {
    let mut buffer = [0; VALUE_MAX];
    out.write_str(text_of(&mut buffer, value)?)
}

fn text_of<'a>(buffer: &'a mut [u8; VALUE_MAX], value: &impl Serialize) -> Result<&'a str, fmt::Error> {
    let length = serde_json_core::to_slice(value, buffer).map_err(|_| fmt::Error)?;
    core::str::from_utf8(buffer.get(..length).unwrap_or_default()).map_err(|_| fmt::Error)
}

/// Writes an error: one line, in the requested form.
pub fn error(out: &mut dyn Write, format: Format, reason: &dyn Display) -> fmt::Result {
    let refusal = Refusal { error: Text::of(reason) };
    match format {
        Format::Table => writeln!(out, "error: {}", refusal.error),
        Format::Json => object(out, &refusal),
    }
}

/// Writes an error for a person at a terminal: as [`error`] writes it for programs, but in lines of at most
/// [`TERMINAL_COLUMNS`], of which all but the first begin with two blanks.
///
/// # Errors
/// Those of `out`.
pub fn wrapped_error(out: &mut dyn Write, reason: &dyn Display) -> fmt::Result {
    const HEAD: &str = "error: ";
    let text = Text::<320>::of(reason);
    let mut lead = HEAD;
    wrap(&text, TERMINAL_COLUMNS - HEAD.len(), TERMINAL_COLUMNS - 2).try_for_each(|line| {
        let lead = core::mem::replace(&mut lead, "  ");
        writeln!(out, "{lead}{line}")
    })
}

/// Divides a text at blanks into lines: of at most `first` columns, and of `rest` from the second one on. A word that is
/// longer is cut.
pub fn wrap(text: &str, first: usize, rest: usize) -> impl Iterator<Item = &str> {
    let (mut text, mut width) = (text.trim_ascii(), first.max(1));
    core::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let fitting = text.floor_char_boundary(width).max(text.ceil_char_boundary(1));
        let end = match text.get(fitting..) {
            Some("") | None => text.len(),
            // A blank right behind the line is its end too.
            Some(behind) if behind.starts_with(' ') => fitting,
            Some(_) => text.get(..fitting).and_then(|line| line.rfind(' ')).unwrap_or(fitting),
        };
        let (line, behind) = text.split_at(end);
        (text, width) = (behind.trim_ascii_start(), rest.max(1));
        Some(line.trim_ascii_end())
    })
}

/// Writes the meaning of the words in a table, below it.
///
/// # Errors
/// Those of `out`.
pub fn legend(out: &mut dyn Write, words: &[(&str, &str)]) -> fmt::Result {
    let width = words.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
    words.iter().try_for_each(|(word, means)| writeln!(out, "{word:width$}  {means}"))
}

#[cfg(test)]
mod rows_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    #[derive(Serialize)]
    struct Pair {
        name: Text<16>,
        number: u64,
    }

    const PAIRS: Columns<Pair> = Columns::new(&[
        left("NAME", |pair, cell| cell(&pair.name)),
        right("NUMBER", |pair, cell| cell(&pair.number)),
    ]);

    fn pairs(tell: &mut dyn FnMut(&Pair)) {
        tell(&Pair { name: Text::of(&"\\_SB.MP00"), number: 7 });
        tell(&Pair { name: Text::of(&"a \"b\"\u{1}"), number: u64::MAX });
    }

    /// Proves that no line is longer than its width and no word is lost, also where a word or a character is wider. Fails
    /// when a log line takes a second row of the terminal.
    #[test]
    fn wrapped() {
        let lines = |text, first, rest| wrap(text, first, rest).collect::<std::vec::Vec<_>>();
        assert_eq!(lines("one two three", 7, 5), ["one two", "three"]);
        assert_eq!(lines("one two three", 6, 5), ["one", "two", "three"]);
        assert_eq!(lines("all of it", 9, 1), ["all of it"]);
        assert_eq!(lines("abcdef g", 4, 4), ["abcd", "ef g"]);
        assert_eq!(lines("  ", 4, 4), [""; 0]);
        assert_eq!(lines("\u{e9}\u{e9}", 1, 1), ["\u{e9}", "\u{e9}"]);
    }

    // Columns are as wide as their widest cell, and no row ends in blanks.
    #[test]
    fn tables() {
        let mut out = String::new();
        list(&mut out, Format::Table, &PAIRS, &mut pairs).unwrap();
        assert_eq!(
            out,
            "NAME                     NUMBER\n\\_SB.MP00                     7\na \"b\"\u{1}     18446744073709551615\n"
        );
    }

    // An independent reader gets back what went in, backslashes, quotes and control bytes included,
    // and it is one line.
    #[test]
    fn json() {
        let mut out = String::new();
        list(&mut out, Format::Json, &PAIRS, &mut pairs).unwrap();
        assert_eq!(out.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value[0]["name"], "\\_SB.MP00");
        assert_eq!(value[1]["name"], "a \"b\"\u{1}");
        assert_eq!(value[1]["number"], u64::MAX);
        out.clear();
        list(&mut out, Format::Json, &PAIRS, &mut |_: &mut dyn FnMut(&Pair)| {}).unwrap();
        assert_eq!(out, "[]\n");
    }

    // The head may count the rows, since it is called after them; all fields are in one object.
    #[test]
    fn nested() {
        #[derive(Serialize)]
        struct Head {
            rows: u64,
        }
        let rows = core::cell::Cell::new(0);
        let mut out = String::new();
        let mut tell = |each: &mut dyn FnMut(&Pair)| {
            pairs(&mut |pair| {
                rows.set(rows.get() + 1);
                each(pair);
            });
        };
        object_with(&mut out, "pairs", &mut tell, &mut || Head { rows: rows.get() }).unwrap();
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&value["rows"], &value["pairs"][0]["number"]), (&2.into(), &7.into()));
    }

    // Rows that come one by one look as those of `list`, in both forms.
    #[test]
    fn listings() {
        for format in [Format::Table, Format::Json] {
            let (mut whole, mut out) = (String::new(), String::new());
            match format {
                Format::Table => table(&mut whole, &PAIRS, &mut pairs).unwrap(),
                Format::Json => array(&mut whole, &mut pairs).unwrap(),
            }
            let mut listing = Listing::new(format, &PAIRS);
            if let Listing::Table(table) = &mut listing {
                pairs(&mut |pair| table.measure(pair));
            }
            listing.begin(&mut out).unwrap();
            pairs(&mut |pair| listing.row(&mut out, pair).unwrap());
            listing.end(&mut out).unwrap();
            assert_eq!(out, whole);
        }
    }

    /// Proves that a person's error has no line over 80 columns and no word cut or lost, and that a short one is the
    /// program's. Fails when the terminal has to break a line within a word.
    #[test]
    fn errors_for_persons() {
        let mut out = String::new();
        wrapped_error(&mut out, &"no such thing").unwrap();
        assert_eq!(out, "error: no such thing\n");
        let words = "frames of the DIMM at 0x100000000 ".repeat(8);
        let (mut wrapped, mut whole) = (String::new(), String::new());
        wrapped_error(&mut wrapped, &words.trim_end()).unwrap();
        error(&mut whole, Format::Table, &words.trim_end()).unwrap();
        assert!(
            wrapped.lines().count() > 3 && wrapped.lines().skip(1).all(|line| line.starts_with("  ")),
            "{wrapped}"
        );
        assert!(
            wrapped.lines().all(|line| line.len() <= TERMINAL_COLUMNS && !line.ends_with(' ')),
            "{wrapped}"
        );
        assert!(wrapped.split_ascii_whitespace().eq(whole.split_ascii_whitespace()), "{wrapped}");
    }

    // An error is one line in either form, however long and whatever is in it.
    #[test]
    fn errors() {
        let mut out = String::new();
        error(&mut out, Format::Table, &"no such thing").unwrap();
        assert_eq!(out, "error: no such thing\n");
        out.clear();
        error(&mut out, Format::Json, &"é\"".repeat(2000)).unwrap();
        assert_eq!(out.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        let text = value["error"].as_str().unwrap().to_string();
        assert!(text.starts_with("é\"") && text.ends_with("...") && text.len() <= 320);
    }
}
