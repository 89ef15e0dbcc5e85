//! Ctrl-R: searches the history for a text that may be typed before or after it.
//!
//! ```text
//!  carapace> search 'off': offline 33-33       a letter narrows, backspace widens, Ctrl-R goes to an older line,
//!                                              Return runs the line, Ctrl-G gives it up, another key edits it
//! ```
//!
//! Invariant: while a search is under way, the editor's `draft` is the text, and its line the one found.

use super::{BELL, COLUMNS, Editor, put, put_byte};
use crate::keys::{Key, Refused};
use core::fmt::Write;

/// Ctrl-G, which ends a search as in readline.
const CANCEL: Refused = Refused::Control(0x07);

/// The search through the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    Off,
    /// The line is one that contains the text.
    Found,
    /// No line contains it.
    Failed,
}

/// Where a search begins.
#[derive(Clone, Copy)]
enum From {
    /// At the newest line.
    Newest,
    /// At the line found last.
    Here,
    /// Behind it.
    Older,
}

/// Whether a key belonged to the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handled {
    Yes,
    No,
}

impl Editor {
    /// Handles the keys of a search under way; any other key ends it.
    pub(super) fn search_key(&mut self, key: Key, out: &mut dyn Write) -> Handled {
        match key {
            _ if self.search == Search::Off => return Handled::No,
            Key::Text(byte) => self.narrow(byte, out),
            Key::Backspace => self.widen(out),
            Key::Search => self.find(From::Older, out),
            Key::Refused(CANCEL) => self.cancel_search(out),
            _ => {
                self.end_search(out);
                return Handled::No;
            }
        }
        Handled::Yes
    }

    /// Begins to search for the typed text, to which what is typed next is added.
    pub(super) fn begin_search(&mut self, out: &mut dyn Write) {
        self.browsing = None;
        self.draft = self.line.clone();
        self.find(From::Newest, out);
    }

    /// Shows the next line that contains the text searched for.
    fn find(&mut self, from: From, out: &mut dyn Write) {
        let wanted = &self.draft;
        let has =
            |line: &[u8]| wanted.is_empty() || line.windows(wanted.len()).any(|part| part == &wanted[..]);
        let first = match (from, self.browsing) {
            (From::Newest, _) | (_, None) => 0,
            (From::Here, Some(back)) => back,
            (From::Older, Some(back)) => back + 1,
        };
        let mut lines = (first..).map_while(|back| self.history.get(back).map(|line| (back, line)));
        if let Some((back, line)) = lines.find(|(_, line)| has(line)) {
            self.search = Search::Found;
            self.browsing = Some(back);
            self.line.clear();
            // Cannot fail: the history's lines come from this editor.
            let _ = self.line.try_extend_from_slice(line);
        } else {
            self.search = Search::Failed;
            put(out, BELL);
        }
        self.go_to_end(out);
    }

    fn narrow(&mut self, byte: u8, out: &mut dyn Write) {
        if self.draft.try_push(byte).is_err() {
            return put(out, BELL);
        }
        self.find(From::Here, out);
    }

    fn widen(&mut self, out: &mut dyn Write) {
        if self.draft.pop().is_none() {
            return put(out, BELL);
        }
        self.find(From::Newest, out);
    }

    /// The line found stays, to be run or edited.
    pub(super) fn end_search(&mut self, out: &mut dyn Write) {
        if core::mem::replace(&mut self.search, Search::Off) != Search::Off {
            self.refresh(out);
        }
    }

    fn cancel_search(&mut self, out: &mut dyn Write) {
        self.search = Search::Off;
        self.browsing = None;
        self.line = self.draft.clone();
        self.go_to_end(out);
    }

    /// Shows `search 'TEXT': LINE` in place of the line.
    pub(super) fn show_search(&self, out: &mut dyn Write) {
        let words: [&[u8]; 4] = match self.search {
            Search::Failed => [b"nothing with '", &self.draft, b"': ", &self.line],
            _ => [b"search '", &self.draft, b"': ", &self.line],
        };
        words.into_iter().flatten().take(COLUMNS).for_each(|&byte| put_byte(out, byte));
    }
}
