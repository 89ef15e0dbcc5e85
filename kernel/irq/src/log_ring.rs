//! The log ring: lines of text that the kernel logs, in a fixed buffer where the newest overwrite the oldest.
//!
//! ```text
//!  push ──> | oldest line | ... | printed up to here | ... | newest |
//!                '- overwritten: counted as dropped, and as unseen if it was never printed (a line reports how many)
//! ```
//!
//! Invariants: the ring holds whole lines; a line contains no line break and no control character, so logged text
//! cannot move a terminal's cursor. Neighbour: the kernel's `log` protects the ring by an `IrqMutex`, so interrupt
//! handlers may log, and prints it on the serial line.

use core::fmt::{self, Write};

/// The longest line in bytes, without its newline; a longer one is truncated and ends in "...".
pub const LINE: usize = 400;
/// The end of a truncated line.
const ELLIPSIS: &str = "...";
/// The most bytes of text in a line: the ellipsis must fit behind them.
const TEXT: usize = LINE - ELLIPSIS.len();

/// A line of text of at most [`LINE`] bytes, written piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; LINE],
    length: usize,
    truncated: bool,
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

impl Line {
    /// An empty line.
    pub const fn new() -> Line {
        Line { bytes: [0; LINE], length: 0, truncated: false }
    }

    /// The text, without a line's end.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or("(a line that is not UTF-8)")
    }

    /// Appends the ellipsis if text was truncated. Call it after the last write.
    pub fn finish(&mut self) {
        if self.truncated && self.length <= TEXT {
            self.bytes[self.length..self.length + ELLIPSIS.len()].copy_from_slice(ELLIPSIS.as_bytes());
            self.length += ELLIPSIS.len();
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            // No line breaks, no terminal control sequences.
            let character = if character.is_control() { ' ' } else { character };
            if self.truncated || self.length + character.len_utf8() > TEXT {
                self.truncated = true;
                break;
            }
            self.length += character.encode_utf8(&mut self.bytes[self.length..]).len();
        }
        Ok(())
    }
}

/// A reader's position in the log; the default is its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u64);

impl Cursor {
    /// Whether lines between this position and `line`, which ends at `next`, were dropped before they were read.
    pub fn misses(self, next: Cursor, line: &Line) -> bool {
        next.0.saturating_sub(line.length as u64 + 1) > self.0
    }
}

/// The most recent lines, in `N` bytes. A new ring is all zeros, so a static one lies in `.bss`.
#[derive(Debug)]
pub struct LogRing<const N: usize> {
    bytes: [u8; N],
    /// Bytes ever written, and the position of the oldest line still held. A position modulo `N` is an index.
    end: u64,
    oldest: u64,
    /// Lines overwritten, and how many of them were neither printed nor reported.
    dropped: u64,
    unseen: u64,
    /// Lines before this position have been printed.
    printed: u64,
}

impl<const N: usize> Default for LogRing<N> {
    fn default() -> LogRing<N> {
        LogRing::new()
    }
}

impl<const N: usize> LogRing<N> {
    const LINE_FITS: () = assert!(N > LINE, "every line fits");

    /// An empty ring.
    pub const fn new() -> LogRing<N> {
        let () = Self::LINE_FITS;
        LogRing { bytes: [0; N], end: 0, oldest: 0, dropped: 0, unseen: 0, printed: 0 }
    }

    fn at(&self, position: u64) -> u8 {
        self.bytes[(position % N as u64) as usize]
    }

    /// Appends a line; overwrites the oldest lines if it does not fit otherwise.
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

    /// The line at `cursor` (the oldest line held, if that one was overwritten) and the position of the next one;
    /// `None` at the end.
    pub fn read(&self, cursor: Cursor) -> Option<(Cursor, Line)> {
        let mut position = cursor.0.max(self.oldest);
        if position >= self.end {
            return None;
        }
        let mut line = Line::new();
        loop {
            let byte = self.at(position);
            position += 1;
            if byte == b'\n' || line.length == LINE {
                return Some((Cursor(position), line));
            }
            line.bytes[line.length] = byte;
            line.length += 1;
        }
    }

    /// The position after the last line, where the next one will start.
    pub fn end(&self) -> Cursor {
        Cursor(self.end)
    }

    /// How many lines have been overwritten.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether any line is still to be printed.
    pub fn has_unprinted(&self) -> bool {
        self.unseen > 0 || self.printed.max(self.oldest) < self.end
    }

    /// Takes the oldest unprinted line. If unprinted lines were overwritten, a line that reports their number comes
    /// first.
    pub fn next_to_print(&mut self) -> Option<Line> {
        let unseen = core::mem::take(&mut self.unseen);
        if unseen > 0 {
            let mut line = Line::new();
            // Writing to a `Line` cannot fail.
            let _ = write!(line, "({unseen} log lines dropped: the serial line was not read)");
            return Some(line);
        }
        let (next, line) = self.read(Cursor(self.printed))?;
        self.printed = next.0;
        Some(line)
    }

    /// The position of the last `count` lines, or of all lines if there are fewer.
    pub fn tail(&self, count: u64) -> Cursor {
        let lines = (self.oldest..self.end).filter(|&position| self.at(position) == b'\n').count() as u64;
        let mut cursor = Cursor(self.oldest);
        for _ in count..lines {
            let Some((next, _)) = self.read(cursor) else { break };
            cursor = next;
        }
        cursor
    }
}
