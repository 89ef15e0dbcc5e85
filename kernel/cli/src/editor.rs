//! The line editor: reads bytes from a serial line, writes the echo, and returns finished lines.
//!
//! ```text
//!  "carapace> " [ 67 columns of the line            ] three columns free, so that nothing wraps
//!               ^view         ^cursor
//! ```
//!
//! Why not a crate: the prompt must be exactly its bytes after a newline; log lines can be put above it; no byte is
//! dropped; commands run asynchronously between a line and the next prompt; and the editor never queries the terminal.
//! `embedded-cli` 0.2.1 runs a command inside `process_byte` and prints the prompt when that returns, and it silently
//! drops bytes that do not fit its buffer; `noline` 0.5.1 queries the cursor's position and waits for an answer, so that
//! a pipe never sees a prompt. Crate `vte` parses escape sequences ([`crate::keys`]).
//!
//! Invariants: a line holds printable ASCII only; the cursor is at most the line's length; a carriage return, a newline
//! or both together always end a line (an escape sequence cannot swallow them); the terminal's width is assumed to be 80
//! and never queried. Plain text typed at the end of the line is echoed unchanged, so that a pipe sees its own input.

mod search;

use crate::TERMINAL_COLUMNS;
use crate::complete::Candidates;
use crate::history::{History, Which, recall};
use crate::keys::{Key, Keys, Refused};
use arrayvec::ArrayVec;
use core::fmt::Write;
use search::{Handled, Search};

/// The prompt, always directly after a newline.
pub const PROMPT: &str = "carapace> ";
/// The most bytes of a line; a longer one gives an error after its end.
pub const LINE_MAX: usize = 1024;
/// Columns for the line's text after the prompt: three stay free, for the cursor and `^C`.
const COLUMNS: usize = TERMINAL_COLUMNS - PROMPT.len() - 3;
/// Columns in front of the cursor that stay in sight where text is hidden there.
const MARGIN: usize = 8;

const INTERRUPT: u8 = 0x03;
const BELL: &str = "\x07";

/// The effect of a byte. After each of these but [`Event::Complete`] the cursor is at the start of a line, and the caller
/// calls [`Editor::begin`] when it is ready for the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line is finished: [`Editor::line`].
    Line,
    /// A line has ended that was longer than [`LINE_MAX`].
    TooLong {
        /// How many bytes of text it had.
        bytes: u64,
    },
    /// A line has ended with a byte that is neither text nor an editing key. It is not run: its meaning could differ from
    /// the intended one.
    Refused(Refused),
    /// A line has ended that recalls a line of the history, which does not exist or makes the line too long.
    NotRecalled,
    /// Ctrl-C: the line is discarded.
    Interrupted,
    /// Ctrl-D on an empty line.
    EndOfInput,
    /// Tab: the caller collects what may stand at the end of [`Editor::before_cursor`], and calls [`Editor::complete`].
    Complete,
}

/// See the module.
#[derive(Debug)]
pub struct Editor {
    line: ArrayVec<u8, LINE_MAX>,
    cursor: usize,
    /// The first visible byte of the line.
    view: usize,
    /// Bytes that did not fit; if not zero, the line is refused at its end.
    beyond: u64,
    refused: Option<Refused>,
    keys: Keys,
    /// The last byte was a carriage return: a newline now belongs to it.
    after_return: bool,
    /// The last key was a Tab that found several candidates.
    after_tab: bool,
    history: History,
    /// How many lines back the shown line is, while the user browses the history.
    browsing: Option<usize>,
    /// A search by Ctrl-R is under way.
    search: Search,
    /// The line as it was before browsing; while searching, the text searched for.
    draft: ArrayVec<u8, LINE_MAX>,
    /// What a key of this byte has brought about.
    event: Option<Event>,
}

impl Default for Editor {
    fn default() -> Editor {
        Editor::new()
    }
}

impl Editor {
    /// An editor with an empty line and no history; nothing is shown yet.
    pub fn new() -> Editor {
        Editor {
            line: ArrayVec::new(),
            cursor: 0,
            view: 0,
            beyond: 0,
            refused: None,
            keys: Keys::new(),
            after_return: false,
            after_tab: false,
            history: History::new(),
            browsing: None,
            search: Search::Off,
            draft: ArrayVec::new(),
            event: None,
        }
    }

    /// The line's text: printable ASCII.
    pub fn line(&self) -> &str {
        core::str::from_utf8(&self.line).unwrap_or_default()
    }

    /// Starts an empty line and shows the prompt; the terminal's cursor is at the start of a line.
    pub fn begin(&mut self, out: &mut dyn Write) {
        self.clear();
        self.show(out);
    }

    /// Writes the prompt and the typed text, and puts the cursor at its place; the terminal's cursor was at the start of a
    /// line.
    pub fn show(&self, out: &mut dyn Write) {
        put(out, PROMPT);
        self.show_text(out);
    }

    /// Erases prompt and text from the terminal, whose cursor is at the start of that line then.
    pub fn hide(&self, out: &mut dyn Write) {
        put(out, "\r\x1b[K");
    }

    /// Processes the next byte of input. The echo goes to `out`.
    pub fn feed(&mut self, byte: u8, out: &mut dyn Write) -> Option<Event> {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        match byte {
            b'\n' if after_return => return None,
            b'\r' | b'\n' => return Some(self.finish(out)),
            INTERRUPT => {
                self.keys = Keys::new();
                put(out, "^C\r\n");
                self.clear();
                return Some(Event::Interrupted);
            }
            _ => {}
        }
        for key in self.keys.advance(byte) {
            self.key(key, out);
        }
        self.event.take()
    }

    fn finish(&mut self, out: &mut dyn Write) -> Event {
        self.end_search(out);
        put(out, "\r\n");
        let refused = self.refused.or(self.keys.unfinished());
        self.keys = Keys::new();
        if self.beyond > 0 {
            return Event::TooLong { bytes: self.line.len() as u64 + self.beyond };
        }
        if let Some(refused) = refused {
            return Event::Refused(refused);
        }
        if self.line().trim_ascii_start().starts_with('!') {
            if !self.recall() {
                return Event::NotRecalled;
            }
            // Show the line that runs, in a form that differs from a prompt.
            put(out, "-> ");
            put(out, self.line());
            put(out, "\r\n");
        }
        self.history.push(&self.line);
        Event::Line
    }

    /// Replaces this line by the one that it recalls.
    fn recall(&mut self) -> bool {
        // The line from before browsing is no longer needed.
        self.draft.clear();
        let Some(asked) = recall(core::str::from_utf8(&self.line).unwrap_or_default()) else { return false };
        let Some(line) = self.history.find(asked.which) else { return false };
        let parts = [line, asked.behind.as_bytes()];
        if parts.iter().any(|part| self.draft.try_extend_from_slice(part).is_err()) {
            return false;
        }
        core::mem::swap(&mut self.line, &mut self.draft);
        true
    }

    /// The earlier line of that number, if the history still has it.
    pub fn earlier(&self, number: u64) -> Option<&str> {
        let line = self.history.find(Which::Number(number))?;
        core::str::from_utf8(line).ok()
    }

    /// The number of the newest line.
    pub fn newest(&self) -> u64 {
        self.history.newest()
    }

    fn clear(&mut self) {
        self.line.clear();
        self.cursor = 0;
        self.view = 0;
        self.beyond = 0;
        self.refused = None;
        self.after_tab = false;
        self.search = Search::Off;
        self.browsing = None;
    }

    fn key(&mut self, key: Key, out: &mut dyn Write) {
        // The bytes of a line that is too long are only counted, until its end or until it is discarded.
        if self.beyond > 0 {
            match key {
                Key::Text(_) => self.beyond = self.beyond.saturating_add(1),
                Key::KillToStart => {
                    self.clear();
                    self.refresh(out);
                }
                _ => {}
            }
            return;
        }
        let after_tab = core::mem::replace(&mut self.after_tab, false);
        if self.search_key(key, out) == Handled::Yes {
            return;
        }
        match key {
            Key::Text(byte) => self.insert(byte, out),
            Key::Refused(what) => self.refuse(what, out),
            Key::Left => self.go(self.cursor.saturating_sub(1), out),
            Key::Right => self.go((self.cursor + 1).min(self.line.len()), out),
            Key::Home => self.go(0, out),
            Key::End => self.go(self.line.len(), out),
            Key::WordLeft => self.go(self.word_start(), out),
            Key::WordRight => self.go(self.word_end(), out),
            Key::Backspace => self.backspace(out),
            Key::Delete => self.remove(self.cursor, (self.cursor + 1).min(self.line.len()), out),
            Key::KillToEnd => self.remove(self.cursor, self.line.len(), out),
            Key::KillToStart => {
                // Remove all text before the cursor; an empty line has no refused byte.
                self.remove(0, self.cursor, out);
                if self.line.is_empty() {
                    self.refused = None;
                }
            }
            Key::KillWord => self.remove(self.word_start(), self.cursor, out),
            Key::Older => self.browse(self.browsing.map_or(0, |back| back + 1), out),
            Key::Newer => match self.browsing {
                Some(0) => {
                    self.browsing = None;
                    self.line = self.draft.clone();
                    self.go_to_end(out);
                }
                Some(back) => self.browse(back - 1, out),
                None => put(out, BELL),
            },
            Key::DeleteOrEnd if self.line.is_empty() => {
                put(out, "^D\r\n");
                self.event = Some(Event::EndOfInput);
            }
            Key::DeleteOrEnd => self.remove(self.cursor, (self.cursor + 1).min(self.line.len()), out),
            Key::Search => self.begin_search(out),
            Key::Complete => {
                self.after_tab = after_tab;
                self.event = Some(Event::Complete);
            }
            Key::ClearScreen => {
                put(out, "\x1b[H\x1b[2J");
                self.show(out);
            }
        }
    }

    fn refuse(&mut self, what: Refused, out: &mut dyn Write) {
        if self.refused.is_none() {
            self.refused = Some(what);
            put(out, BELL);
        }
    }

    fn insert(&mut self, byte: u8, out: &mut dyn Write) {
        if self.line.try_insert(self.cursor, byte).is_err() {
            self.beyond = 1;
            put(out, BELL);
            return;
        }
        self.cursor += 1;
        if self.cursor == self.line.len() && self.cursor - self.view <= COLUMNS {
            put_byte(out, byte);
        } else {
            self.refresh(out);
        }
    }

    fn backspace(&mut self, out: &mut dyn Write) {
        if self.cursor > 0 && self.cursor == self.line.len() && self.view == 0 {
            self.line.pop();
            self.cursor -= 1;
            put(out, "\x08 \x08");
        } else {
            self.remove(self.cursor.saturating_sub(1), self.cursor, out);
        }
    }

    /// Removes the bytes from `from` up to `to`; the cursor goes to `from`.
    fn remove(&mut self, from: usize, to: usize, out: &mut dyn Write) {
        if from >= to {
            put(out, BELL);
            return;
        }
        self.line.drain(from..to);
        self.cursor = from;
        self.refresh(out);
    }

    fn go(&mut self, to: usize, out: &mut dyn Write) {
        let from = core::mem::replace(&mut self.cursor, to);
        if from == to {
            put(out, BELL);
        } else if self.fitting_view() != self.view {
            self.refresh(out);
        } else {
            step(out, from, to);
        }
    }

    fn browse(&mut self, back: usize, out: &mut dyn Write) {
        let Some(line) = self.history.get(back) else { return put(out, BELL) };
        if self.browsing.is_none() {
            self.draft = self.line.clone();
        }
        self.browsing = Some(back);
        self.line.clear();
        // Cannot fail: the history's lines come from this editor.
        let _ = self.line.try_extend_from_slice(line);
        self.go_to_end(out);
    }

    fn go_to_end(&mut self, out: &mut dyn Write) {
        self.cursor = self.line.len();
        self.refresh(out);
    }

    fn word_start(&self) -> usize {
        let front = self.line[..self.cursor].trim_ascii_end();
        front.iter().rposition(|&byte| byte == b' ').map_or(0, |at| at + 1)
    }

    fn word_end(&self) -> usize {
        let rest = &self.line[self.cursor..];
        let blanks = rest.len() - rest.trim_ascii_start().len();
        let word = rest[blanks..].iter().position(|&byte| byte == b' ').unwrap_or(rest.len() - blanks);
        self.cursor + blanks + word
    }

    /// The text in front of the cursor, whose end Tab completes.
    pub fn before_cursor(&self) -> &str {
        core::str::from_utf8(&self.line[..self.cursor]).unwrap_or_default()
    }

    /// Completes the word in front of the cursor as far as the candidates agree; after a second Tab lists them. Where
    /// there is nothing to complete behind a word, Tab counts as a blank.
    pub fn complete(&mut self, candidates: &Candidates<'_>, out: &mut dyn Write) {
        let again = core::mem::replace(&mut self.after_tab, false);
        match (candidates.count(), candidates.rest()) {
            (0, _) if candidates.word().is_empty() => put(out, BELL),
            (0, _) => self.insert(b' ', out),
            (1, rest) => rest.bytes().chain([b' ']).for_each(|byte| self.insert(byte, out)),
            (_, "") if again => {
                put(out, "\r\n");
                list(candidates, out);
                self.show(out);
            }
            (_, "") => {
                put(out, BELL);
                self.after_tab = true;
            }
            (_, rest) => {
                rest.bytes().for_each(|byte| self.insert(byte, out));
                self.after_tab = true;
            }
        }
    }

    /// The first byte to show so that the cursor is in sight; moved by half a width, so that a long
    /// line that is typed or sent costs few redraws.
    fn fitting_view(&self) -> usize {
        if self.line.len() <= COLUMNS {
            0
        } else if self.view > 0 && self.cursor < self.view + MARGIN || self.cursor > self.view + COLUMNS {
            self.cursor.saturating_sub(COLUMNS / 2)
        } else {
            self.view
        }
    }

    /// Shows the text anew behind the prompt that stands there (whose bytes are not written again).
    fn refresh(&mut self, out: &mut dyn Write) {
        self.view = self.fitting_view();
        let _ = write!(out, "\r\x1b[{}C\x1b[K", PROMPT.len());
        self.show_text(out);
    }

    fn show_text(&self, out: &mut dyn Write) {
        if self.search != Search::Off {
            return self.show_search(out);
        }
        let end = self.line.len().min(self.view + COLUMNS);
        for at in self.view..end {
            if at == self.view && self.view > 0 {
                put_byte(out, b'<');
            } else if at + 1 == end && end < self.line.len() {
                put_byte(out, b'>');
            } else {
                put_byte(out, self.line[at]);
            }
        }
        step(out, end, self.cursor);
    }
}

/// Lists the candidates in rows.
fn list(candidates: &Candidates<'_>, out: &mut dyn Write) {
    let mut column = 0;
    for candidate in candidates.iter() {
        if column + candidate.len() + 2 >= TERMINAL_COLUMNS {
            put(out, "\r\n");
            column = 0;
        }
        put(out, candidate);
        put(out, "  ");
        column += candidate.len() + 2;
    }
    put(out, "\r\n");
}

/// Moves the terminal's cursor inside a row.
fn step(out: &mut dyn Write, from: usize, to: usize) {
    if from + 1 == to {
        put(out, "\x1b[C");
    } else if to + 1 == from {
        put(out, "\x08");
    } else if from < to {
        let _ = write!(out, "\x1b[{}C", to - from);
    } else if to < from {
        let _ = write!(out, "\x1b[{}D", from - to);
    }
}

// The terminal takes everything; a writer that does not is its own loss, never the line's.
fn put(out: &mut dyn Write, text: &str) {
    let _ = out.write_str(text);
}

fn put_byte(out: &mut dyn Write, byte: u8) {
    let _ = out.write_char(char::from(byte));
}

#[cfg(test)]
#[path = "editor_tests.rs"]
mod tests;
