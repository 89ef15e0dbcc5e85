//! The language of the second serial line, on which programs talk: a line in, a line of JSON out.
//!
//! ```text
//!  resources               {"answer":[{"id":0,...},...]}        what `resources -J` prints
//!  @7 alloc 200M --node 1  {"id":7,"answer":{"id":1,...}}       with a number to know the answer by
//!  free 99                 {"error":"there is no allocation 99"}
//!  @8 sh sections          {"id":8,"text":"SECTION ..."}        what the shell prints, in pieces,
//!                          {"id":8,"answer":null}               and its end, or its error
//!  events on               {"answer":{"events":"on","seconds":10}}
//!                          {"event":"notify","uptime_us":...}   unasked, until nobody has said anything
//!                                                               for that many seconds
//! ```
//!
//! The commands are the shell's, those that have an answer in JSON; `-J` may be left out. Behind `sh` every command
//! is taken that needs no terminal, and prints what it prints on the first line. A line is not edited: Ctrl-C
//! forgets what was typed of one, and stops a command that runs; an empty line is nothing. An answer that
//! cannot be told to its end is broken off by the line's end, and its `error` follows: what is no JSON is not to be
//! read.

use crate::args::{ArgError, Invocation};
use crate::command::{Commands, Effect};
use crate::editor::LINE_MAX;
use crate::output::object;
use arrayvec::{ArrayString, ArrayVec};
use core::fmt;
use serde::Serialize;

/// Bytes of the longest line that is sent unasked.
pub const FRAME_MAX: usize = 1024;
/// Ctrl-C.
pub const STOP: u8 = 0x03;
/// Bytes of text in a piece of what a command prints: escaped, they fit in [`FRAME_MAX`].
pub const TEXT_MAX: usize = 128;

/// What a byte has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A line that can be read ([`Lines::line`]).
    Line,
    /// A line of more bytes than are kept.
    TooLong,
    /// A line with bytes that are no text.
    NoText,
}

/// Puts lines together out of bytes.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    bytes: ArrayVec<u8, LINE_MAX>,
    flaw: Option<Ended>,
    /// The line in `bytes` has ended: the next byte begins another.
    over: bool,
}

impl Lines {
    /// No line yet.
    pub const fn new() -> Lines {
        Lines { bytes: ArrayVec::new_const(), flaw: None, over: false }
    }

    /// Takes a byte; says when a line ends that is not empty.
    pub fn feed(&mut self, byte: u8) -> Option<Ended> {
        if core::mem::take(&mut self.over) {
            self.forget();
        }
        match byte {
            b'\r' | b'\n' => {
                self.over = true;
                let ended = self.flaw.unwrap_or(match str::from_utf8(&self.bytes) {
                    Ok(line) if line.trim().is_empty() => return None,
                    Ok(_) => Ended::Line,
                    Err(_) => Ended::NoText,
                });
                return Some(ended);
            }
            STOP => self.forget(),
            b'\t' | b' '..=b'~' | 0x80.. => {
                if self.bytes.try_push(byte).is_err() {
                    self.flaw = Some(Ended::TooLong);
                }
            }
            _ => self.flaw = self.flaw.or(Some(Ended::NoText)),
        }
        None
    }

    /// The line that has ended.
    pub fn line(&self) -> &str {
        str::from_utf8(&self.bytes).unwrap_or_default()
    }

    fn forget(&mut self) {
        self.bytes.clear();
        self.flaw = None;
    }
}

/// A row as a line of JSON that is sent unasked; `None` if it is longer than [`FRAME_MAX`], which no row is.
pub fn frame(row: &impl Serialize) -> Option<ArrayString<FRAME_MAX>> {
    let mut text = ArrayString::new();
    object(&mut text, row).ok().map(|()| text)
}

/// Whether events are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// From now on.
    On,
    /// No more.
    Off,
}

/// What a line asks for.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there may be no heap to put the larger one on")]
pub enum Wish<'a> {
    /// A command of the shell, its answer in JSON.
    Command(Invocation<'a>),
    /// A command of the shell, with what it prints.
    Shell(Invocation<'a>),
    /// `events on|off`.
    Events(Events),
}

/// Why a line asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WishError<'a> {
    /// What stands behind `@` is no number.
    Number(&'a str),
    /// `events` without `on` or `off`.
    Events,
    /// It is no line for the shell.
    Command(ArgError<'a>),
    /// A command whose answer is for people only.
    NoJson(&'static str),
    /// A command about the terminal of the first line.
    NeedsTerminal(&'static str),
}

impl fmt::Display for WishError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WishError::Number(word) => {
                write!(f, "'{word}' is not '@' and a number of at most 32 bits, by which the answer is known")
            }
            WishError::Events => f.write_str("events takes one word, on or off"),
            WishError::Command(error) => error.fmt(f),
            WishError::NoJson(name) => {
                write!(f, "{name} has no answer in JSON; use it on the first serial line")
            }
            WishError::NeedsTerminal(name) => {
                write!(f, "{name} needs a terminal; use it on the first serial line")
            }
        }
    }
}

/// Reads a line: the number that its answer is to have, and what it asks for.
pub fn read(commands: Commands, line: &str) -> (Option<u32>, Result<Wish<'_>, WishError<'_>>) {
    let line = line.trim();
    let Some(rest) = line.strip_prefix('@') else { return (None, wish(commands, line)) };
    let (word, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    match word.parse().ok().filter(|_| digits) {
        Some(id) => (Some(id), wish(commands, rest)),
        None => (None, Err(WishError::Number(word))),
    }
}

fn wish(commands: Commands, line: &str) -> Result<Wish<'_>, WishError<'_>> {
    let mut words = line.split_ascii_whitespace();
    if words.next() == Some("events") {
        return match (words.next(), words.next()) {
            (Some("on"), None) => Ok(Wish::Events(Events::On)),
            (Some("off"), None) => Ok(Wish::Events(Events::Off)),
            _ => Err(WishError::Events),
        };
    }
    if let Some(rest) = line.trim_start().strip_prefix("sh")
        && (rest.is_empty() || rest.starts_with([' ', '\t']))
    {
        let invocation = commands.parse(rest).map_err(WishError::Command)?;
        let command = invocation.command;
        return match command.effect {
            Effect::Terminal => Err(WishError::NeedsTerminal(command.name)),
            Effect::Reads | Effect::Works => Ok(Wish::Shell(invocation)),
        };
    }
    let invocation = commands.parse(line).map_err(WishError::Command)?;
    let name = invocation.command.name;
    invocation.as_json().map(Wish::Command).ok_or(WishError::NoJson(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::JSON;
    use crate::command::sample::{self, COMMANDS};
    use carapace_schema::{Device, Event, Printed};
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn read(line: &str) -> (Option<u32>, Result<Wish<'_>, WishError<'_>>) {
        super::read(COMMANDS, line)
    }

    fn lines(bytes: &[u8]) -> Vec<(Ended, String)> {
        let mut lines = Lines::new();
        let mut all = Vec::new();
        for &byte in bytes {
            if let Some(ended) = lines.feed(byte) {
                all.push((ended, lines.line().to_string()));
            }
        }
        all
    }

    // Either line end ends a line, empty ones are nothing, Ctrl-C forgets, and a bad line spoils only itself.
    #[test]
    fn lines_from_bytes() {
        let all = lines(b"stat\r\n\n  \nhalf\x03uptime\nbad\x1b[A\nbad\xff\nstat\n");
        let ended: Vec<_> = all.iter().map(|(ended, _)| *ended).collect();
        assert_eq!(ended, [Ended::Line, Ended::Line, Ended::NoText, Ended::NoText, Ended::Line]);
        assert_eq!([&all[0].1, &all[1].1, &all[4].1], ["stat", "uptime", "stat"]);
        let long = [&[b'x'; LINE_MAX + 1][..], b"\n", &[b'y'; LINE_MAX], b"\n"].concat();
        let ended: Vec<_> = lines(&long).into_iter().map(|(ended, _)| ended).collect();
        assert_eq!(ended, [Ended::TooLong, Ended::Line]);
    }

    // Behind `sh` a command is as it was typed, and one about the terminal is refused.
    #[test]
    fn shell_lines() {
        let (Some(3), Ok(Wish::Shell(command))) = read("@3 sh  help page") else {
            panic!("a line of the shell")
        };
        assert_eq!((command.command, command.has(&JSON)), (&sample::HELP, false));
        assert!(matches!(read("sh resources -J").1, Ok(Wish::Shell(command)) if command.has(&JSON)));
        for line in ["sh", "sh ", "shell", "sh clear", "sh sh page"] {
            assert!(read(line).1.is_err(), "{line}");
        }
    }

    // The worst piece of text is told whole: every byte of it escaped.
    #[test]
    fn longest_text() {
        let text = "\u{1}".repeat(TEXT_MAX);
        assert!(frame(&Printed { id: Some(u32::MAX), text: &text }).is_some());
    }

    // Proves that each event is one line of JSON that says what it is, and that the longest fits its buffer.
    #[test]
    fn longest_events() {
        let device = Device::of(&"\\_SB.".repeat(40));
        let (uptime_us, n, line) = (u64::MAX, u64::MAX, &*"\\".repeat(400));
        let added = Event::Added { uptime_us, device, resource: 1, base: n, size: n, node: u32::MAX };
        for (event, word) in [
            (Event::Notify { uptime_us, device, value: n }, "notify"),
            (Event::Ost { uptime_us, device, source: n, status: n }, "ost"),
            (added, "added"),
            (Event::Removed { uptime_us, device, size: n }, "removed"),
            (Event::Lost { pieces: n }, "lost"),
            (Event::Log { line }, "log"),
        ] {
            let out = frame(&event).unwrap();
            assert_eq!(out.matches('\n').count(), 1);
            let read: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(read["event"], word);
            if word == "log" {
                assert_eq!(read["line"], line);
            }
        }
    }

    // A command comes out with -J whether or not it was typed, the number apart from it.
    #[test]
    fn wishes() {
        for line in ["resources", "resources -J", "@4294967295  resources --json "] {
            let (id, Ok(Wish::Command(command))) = read(line) else { panic!("{line}") };
            assert_eq!((command.command, command.has(&JSON)), (&sample::RESOURCES, true));
            assert_eq!(id.is_some(), line.starts_with('@'));
        }
        assert!(matches!(read("@0 events on"), (Some(0), Ok(Wish::Events(Events::On)))));
        assert!(matches!(read("events off"), (None, Ok(Wish::Events(Events::Off)))));
        for line in [
            "events",
            "events on off",
            "@x stat",
            "@4294967296 stat",
            "@+1 stat",
            "@",
            "@1",
            "help",
            "poweroff",
            "page",
        ] {
            let (_, Err(error)) = read(line) else { panic!("{line}") };
            assert!(!error.to_string().is_empty());
        }
        assert_eq!(read("@5 nonsense").0, Some(5));
    }

    proptest! {
        // Nothing that comes in makes it panic, and a line is never longer than it may be.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            for (ended, line) in lines(&bytes) {
                prop_assert!(line.len() <= LINE_MAX);
                if ended == Ended::Line {
                    let _ = read(&line);
                }
            }
        }
    }
}
