//! What a command's output goes through on its way to the terminal: `grep`, `head`, `tail`, `wc`.
//!
//! ```text
//!  text --> line being gathered --piece--> filter --> filter --> ... --> out
//!                LINE bytes                  '- tail: its lines wait in TAIL bytes for the end
//! ```
//!
//! Lines are streamed. One that is longer than the buffer goes on in pieces, which all but `grep` can use;
//! `grep` says so instead of answering for a part. Invariant: what comes out is whole lines. Neighbours:
//! [`crate::pipeline`] reads filters from a line, the kernel's console holds the one chain there is.

use crate::kept::Kept;
use crate::pattern::Pattern;
use crate::pipeline::FILTERS_MAX;
use arrayvec::{ArrayString, ArrayVec};
use core::fmt::{self, Write};

/// The longest line that `grep` can search, in bytes.
const LINE: usize = 4096;
/// Bytes that the lines of `tail` may have together.
const TAIL: usize = 16 * 1024;

/// Which lines `grep` is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those with a match.
    Matching,
    /// `-v`: the others.
    Others,
}

impl From<bool> for Wanted {
    fn from(inverted: bool) -> Wanted {
        if inverted { Wanted::Others } else { Wanted::Matching }
    }
}

/// What `grep` tells of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// Themselves.
    Lines,
    /// `-c`: their number.
    Number,
}

impl From<bool> for Tells {
    fn from(counted: bool) -> Tells {
        if counted { Tells::Number } else { Tells::Lines }
    }
}

/// One filter.
#[allow(clippy::large_enum_variant, reason = "a pattern's room: there may be no heap")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `grep PATTERN`.
    Grep {
        /// What is looked for.
        pattern: Pattern,
        /// Which lines are meant.
        wanted: Wanted,
        /// What is told of them.
        tells: Tells,
    },
    /// `head -n N`.
    Head(u64),
    /// `tail -n N`.
    Tail(u64),
    /// `wc -l`.
    Count,
}

/// Why a filter cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// A line is longer than `grep` can search.
    LongLine,
    /// The last lines do not fit where `tail` keeps them.
    LongTail {
        /// How many lines were asked for.
        lines: u64,
    },
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::LongLine => {
                write!(f, "grep: a line has more than {LINE} bytes, the most it can search")
            }
            FilterError::LongTail { lines } => {
                write!(f, "tail: the last {lines} lines have more than {TAIL} bytes, the most it can keep")
            }
        }
    }
}

/// A filter at work, and how many lines it has let through, or counted.
#[derive(Debug)]
struct Stage {
    filter: Filter,
    lines: u64,
}

/// A line, or a piece of one.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    /// Whether it is a line's beginning, and its end.
    starts: bool,
    ends: bool,
}

/// The filters of a line at work. See the module.
#[derive(Debug, Default)]
pub struct Chain {
    stages: ArrayVec<Stage, FILTERS_MAX>,
    line: ArrayString<LINE>,
    /// Pieces of the line being gathered have gone on already.
    torn: bool,
    tail: Tail,
    failed: Option<FilterError>,
}

impl Chain {
    /// A chain that lets everything through.
    pub const fn new() -> Chain {
        Chain {
            stages: ArrayVec::new_const(),
            line: ArrayString::new_const(),
            torn: false,
            tail: Tail { kept: Kept::new(), lost: 0, skips: Skips::No },
            failed: None,
        }
    }

    /// Starts anew with these filters.
    pub fn start(&mut self, filters: &[Filter]) {
        *self = Chain::new();
        self.stages.extend(
            filters.iter().take(FILTERS_MAX).map(|filter| Stage { filter: filter.clone(), lines: 0 }),
        );
    }

    /// Whether there is a filter.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Whether more input can still change what comes out.
    pub fn wants_more(&self) -> bool {
        let full = |stage: &Stage| matches!(stage.filter, Filter::Head(most) if stage.lines >= most);
        self.failed.is_none() && !self.stages.iter().any(full)
    }

    /// Takes in text, and lets out what is done with.
    pub fn write(&mut self, mut text: &str, out: &mut dyn Write) -> fmt::Result {
        while !text.is_empty() {
            let (line, rest) = text.split_once('\n').map_or((text, None), |(line, rest)| (line, Some(rest)));
            let mut fitting = line.len().min(self.line.remaining_capacity());
            while !line.is_char_boundary(fitting) {
                fitting -= 1;
            }
            let (now, later) = line.split_at(fitting);
            self.line.push_str(now);
            if !later.is_empty() {
                self.send(false, out)?;
                text = text.get(fitting..).unwrap_or_default();
                continue;
            }
            match rest {
                Some(rest) => {
                    self.send(true, out)?;
                    text = rest;
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Lets out what waited for the end. The filters are gone then.
    ///
    /// # Errors
    /// What a filter could not answer; of the output that is all that matters.
    pub fn finish(&mut self, out: &mut dyn Write) -> Result<(), FilterError> {
        // The console takes everything.
        if !self.line.is_empty() || self.torn {
            let _ = self.send(true, out);
        }
        let Chain { stages, tail, failed, .. } = self;
        for number in 0..stages.len() {
            let Some((stage, behind)) = stages.get_mut(number..).and_then(<[Stage]>::split_first_mut) else {
                break;
            };
            match stage.filter {
                Filter::Count | Filter::Grep { tells: Tells::Number, .. } => {
                    let mut count = ArrayString::<20>::new();
                    // As long as a number can be.
                    let _ = write!(count, "{}", stage.lines);
                    let _ = pass(
                        behind,
                        Some(tail),
                        failed,
                        Piece { text: &count, starts: true, ends: true },
                        out,
                    );
                }
                Filter::Tail(lines) => {
                    if tail.lost > 0 {
                        *failed = failed.or(Some(FilterError::LongTail { lines }));
                    }
                    for text in tail.kept.text().split_terminator('\n') {
                        // There is no second `tail`.
                        let _ = pass(behind, None, failed, Piece { text, starts: true, ends: true }, out);
                    }
                }
                Filter::Grep { .. } | Filter::Head(_) => {}
            }
        }
        let failed = self.failed;
        *self = Chain::new();
        failed.map_or(Ok(()), Err)
    }

    fn send(&mut self, ends: bool, out: &mut dyn Write) -> fmt::Result {
        let piece = Piece { text: &self.line, starts: !self.torn, ends };
        let result = pass(&mut self.stages, Some(&mut self.tail), &mut self.failed, piece, out);
        self.line.clear();
        self.torn = !ends;
        result
    }
}

/// What `tail` keeps.
#[derive(Debug)]
struct Tail {
    kept: Kept<TAIL>,
    /// How many of the last lines, the oldest of them, had to go since there was no room for them.
    lost: u64,
    skips: Skips,
}

/// Whether the rest of a line that does not fit is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skips {
    No,
    ToLinesEnd,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail { kept: Kept::new(), lost: 0, skips: Skips::No }
    }
}

impl Tail {
    /// Keeps a piece of a line, of which `most` are wanted.
    fn keep(&mut self, piece: Piece<'_>, most: u64) {
        if most == 0 {
            return;
        }
        // With the line that begins they would be more.
        if piece.starts && self.lost.saturating_add(self.kept.lines()) >= most {
            match self.lost {
                0 => drop(self.kept.take_line()),
                _ => self.lost -= 1,
            }
        }
        let end = if piece.ends { "\n" } else { "" };
        let needed = piece.text.len() + end.len();
        while self.skips == Skips::No && self.kept.room() < needed {
            if self.kept.take_line() {
                self.lost = self.lost.saturating_add(1);
            } else {
                // The line itself is too long: it goes, and with it all that was in front of it.
                self.kept.clear();
                (self.lost, self.skips) = (most, Skips::ToLinesEnd);
            }
        }
        if self.skips == Skips::No {
            self.kept.push(piece.text);
            self.kept.push(end);
        } else if piece.ends {
            self.skips = Skips::No;
        }
    }
}

/// Lets a piece through the stages, as far as it goes.
fn pass(
    stages: &mut [Stage],
    mut tail: Option<&mut Tail>,
    failed: &mut Option<FilterError>,
    piece: Piece<'_>,
    out: &mut dyn Write,
) -> fmt::Result {
    for Stage { filter, lines } in stages {
        match filter {
            Filter::Grep { pattern, wanted, tells } => {
                if !(piece.starts && piece.ends) {
                    *failed = failed.or(Some(FilterError::LongLine));
                    return Ok(());
                }
                if pattern.matches(piece.text) != (*wanted == Wanted::Matching) {
                    return Ok(());
                }
                *lines += 1;
                if *tells == Tells::Number {
                    return Ok(());
                }
            }
            Filter::Head(most) => {
                if *lines >= *most {
                    return Ok(());
                }
                *lines += u64::from(piece.ends);
            }
            Filter::Tail(most) => {
                if let Some(tail) = tail.as_mut() {
                    tail.keep(piece, *most);
                }
                return Ok(());
            }
            Filter::Count => {
                *lines += u64::from(piece.ends);
                return Ok(());
            }
        }
    }
    out.write_str(piece.text)?;
    if piece.ends { out.write_char('\n') } else { Ok(()) }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
