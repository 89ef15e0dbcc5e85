//! The log's lines: text that an interrupt handler may leave at any time, in a ring whose oldest lines give way.
//!
//! ```text
//!  push ──> | oldest line | ... | printed up to here | ... | newest |
//!                '- gives way: counted, and once more if nobody has printed it (a line in its place tells how many)
//! ```
//!
//! Invariants: lines are whole, one line is one line, and none has a character that could steer a terminal.
//! Neighbour: the kernel's `log` puts them behind a lock and on the serial line.

use core::fmt::{self, Write};

/// The longest line in bytes, its end not counted; what is longer is cut and ends in "...".
pub const LINE: usize = 400;
/// The end of a line that was cut.
const CUT: &str = "...";
/// What a line has room for before that.
const TEXT: usize = LINE - CUT.len();

/// A line of text of at most [`LINE`] bytes, written piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; LINE],
    length: usize,
    cut: bool,
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

impl Line {
    /// An empty one.
    pub const fn new() -> Line {
        Line { bytes: [0; LINE], length: 0, cut: false }
    }

    /// The text, without a line's end.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or("(a line that is not UTF-8)")
    }

    /// All has been written: shows whether something did not fit.
    pub fn finish(&mut self) {
        if self.cut && self.length <= TEXT {
            self.bytes[self.length..self.length + CUT.len()].copy_from_slice(CUT.as_bytes());
            self.length += CUT.len();
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            // A line is one line, and none can steer the terminal.
            let character = if character.is_control() { ' ' } else { character };
            if self.cut || self.length + character.len_utf8() > TEXT {
                self.cut = true;
                break;
            }
            self.length += character.encode_utf8(&mut self.bytes[self.length..]).len();
        }
        Ok(())
    }
}

/// A place among the lines, for reading on; the default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u64);

impl Cursor {
    /// Whether lines between this place and `line`, which ends at `next`, were dropped before they were read.
    pub fn misses(self, next: Cursor, line: &Line) -> bool {
        next.0.saturating_sub(line.length as u64 + 1) > self.0
    }
}

/// The last lines, as many as fit into `N` bytes; all zeros while there is none.
#[derive(Debug)]
pub struct Lines<const N: usize> {
    bytes: [u8; N],
    /// Bytes ever written, and the place of the oldest line that is still there.
    end: u64,
    oldest: u64,
    /// Lines no longer there, and how many of them nobody has seen.
    dropped: u64,
    unseen: u64,
    /// Up to where lines have been printed.
    printed: u64,
}

impl<const N: usize> Default for Lines<N> {
    fn default() -> Lines<N> {
        Lines::new()
    }
}

impl<const N: usize> Lines<N> {
    const HAS_ROOM: () = assert!(N > LINE, "every line fits");

    /// None yet.
    pub const fn new() -> Lines<N> {
        let () = Self::HAS_ROOM;
        Lines { bytes: [0; N], end: 0, oldest: 0, dropped: 0, unseen: 0, printed: 0 }
    }

    fn at(&self, place: u64) -> u8 {
        self.bytes[(place % N as u64) as usize]
    }

    /// The newest line; the oldest give way.
    pub fn push(&mut self, line: &Line) {
        let line = &line.bytes[..line.length];
        let needed = line.len() as u64 + 1;
        while self.end + needed - self.oldest > N as u64 {
            if self.oldest >= self.printed {
                self.unseen += 1;
            }
            while self.at(self.oldest) != b'\n' {
                self.oldest += 1;
            }
            self.oldest += 1;
            self.dropped += 1;
        }
        for &byte in line.iter().chain(b"\n") {
            self.bytes[(self.end % N as u64) as usize] = byte;
            self.end += 1;
        }
    }

    /// The line at `cursor` (or the oldest there is, when that is gone) and where the next one starts; `None` at the
    /// end.
    pub fn read(&self, cursor: Cursor) -> Option<(Cursor, Line)> {
        let mut place = cursor.0.max(self.oldest);
        if place >= self.end {
            return None;
        }
        let mut line = Line::new();
        loop {
            let byte = self.at(place);
            place += 1;
            if byte == b'\n' || line.length == LINE {
                return Some((Cursor(place), line));
            }
            line.bytes[line.length] = byte;
            line.length += 1;
        }
    }

    /// The place behind the last line: where the next one will be.
    pub fn end(&self) -> Cursor {
        Cursor(self.end)
    }

    /// How many lines have given way.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether there is something that has not been printed.
    pub fn has_unprinted(&self) -> bool {
        self.unseen > 0 || self.printed.max(self.oldest) < self.end
    }

    /// The oldest line that has not been printed, which counts as printed from now on; one that says how many gave way
    /// unprinted, if any did, comes in their place.
    pub fn next_to_print(&mut self) -> Option<Line> {
        let unseen = core::mem::take(&mut self.unseen);
        if unseen > 0 {
            let mut line = Line::new();
            // `Line` takes everything.
            let _ = write!(
                line,
                "(lines of the log that are missing here, since the serial line was not read: {unseen})"
            );
            return Some(line);
        }
        let (next, line) = self.read(Cursor(self.printed))?;
        self.printed = next.0;
        Some(line)
    }

    /// Where the last `most` lines begin, or all there are.
    pub fn last(&self, most: u64) -> Cursor {
        let lines = (self.oldest..self.end).filter(|&place| self.at(place) == b'\n').count() as u64;
        let mut place = Cursor(self.oldest);
        for _ in most..lines {
            let Some((next, _)) = self.read(place) else { break };
            place = next;
        }
        place
    }
}
