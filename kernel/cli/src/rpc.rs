//! The protocol of the second serial line, which is for programs: a request is a line, an answer is a line of JSON.
//!
//! ```text
//!  resources               {"answer":[{"id":0,...},...]}        the output of `resources -J`
//!  @7 alloc 200M --node 1  {"id":7,"answer":{"id":1,...}}       the answer repeats the number
//!  free 99                 {"error":"there is no allocation 99"}
//!  @8 sh sections          {"id":8,"text":"SECTION ..."}        the shell's output, in pieces,
//!                          {"id":8,"answer":null}               and its end, or its error
//!  events on               {"answer":{"events":"on","seconds":10}}
//!                          {"event":"notify","uptime_us":...}   without further requests, until the line
//!                                                               has had no input for that many seconds
//!                          {"event":"plug","request":3,...}     the kernel asks the host: `plug` was typed in the guest
//!  @9 host 3 taken         {"id":9,"answer":null}               and the host answers
//!  @10 host 3 done d0 online
//! ```
//!
//! The commands are those of the shell that have an answer in JSON; `-J` is optional. `sh` takes each command that needs
//! no terminal, and its output is that on the first line. There is no line editing: Ctrl-C discards an unfinished line
//! and stops a running command; an empty line is ignored. If the kernel cannot complete an answer, it ends the line early
//! and sends an `error`: a reader skips lines that are not valid JSON.

use crate::args::{ArgError, Invocation};
use crate::command::{Commands, Effect};
use crate::editor::LINE_MAX;
use crate::output::object;
use arrayvec::{ArrayString, ArrayVec};
use core::fmt;
use serde::Serialize;

/// Bytes of the longest event.
pub const FRAME_MAX: usize = 1024;
/// Ctrl-C.
pub const STOP: u8 = 0x03;
/// Bytes of text in a piece of a command's output: escaped, they fit in [`FRAME_MAX`].
pub const TEXT_MAX: usize = 128;

/// The end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A complete line ([`Lines::line`]).
    Line,
    /// A line of more than [`LINE_MAX`] bytes.
    TooLong,
    /// A line with bytes that are not text.
    NoText,
}

/// Collects bytes into lines.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    bytes: ArrayVec<u8, LINE_MAX>,
    flaw: Option<Ended>,
    /// The line in `bytes` has ended: the next byte begins another.
    over: bool,
}

impl Lines {
    /// Without any byte yet.
    pub const fn new() -> Lines {
        Lines { bytes: ArrayVec::new_const(), flaw: None, over: false }
    }

    /// Adds a byte; returns the end of a line that is not empty.
    pub fn feed(&mut self, byte: u8) -> Option<Ended> {
        if core::mem::take(&mut self.over) {
            self.reset();
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
            STOP => self.reset(),
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

    fn reset(&mut self) {
        self.bytes.clear();
        self.flaw = None;
    }
}

/// An event or a piece of output as a line of JSON; `None` if it is longer than [`FRAME_MAX`], which never occurs.
pub fn frame(row: &impl Serialize) -> Option<ArrayString<FRAME_MAX>> {
    let mut text = ArrayString::new();
    object(&mut text, row).ok().map(|()| text)
}

/// Whether events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// From now on.
    On,
    /// No more.
    Off,
}

/// The request of a line.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there may be no heap to put the larger one on")]
pub enum Request<'a> {
    /// A command of the shell, its answer in JSON.
    Command(Invocation<'a>),
    /// A command of the shell, its answer as text.
    Shell(Invocation<'a>),
    /// `events on|off`.
    Events(Events),
    /// `host NUMBER taken|slots|done|refused ...`: the host's answer to a request of the kernel's.
    Host(FromHost<'a>),
}

/// An answer of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromHost<'a> {
    /// The number of the kernel's request.
    pub request: u32,
    /// The answer.
    pub said: Said<'a>,
}

/// What the host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// It has begun.
    Taken,
    /// Names of DIMMs, as `SLOT=NAME`, between blanks. The first such line of a request says `slots`, others `more`.
    Slots(&'a str),
    /// More names.
    More(&'a str),
    /// It is done: `NAME STATE` for a DIMM that was plugged, nothing else.
    Done(&'a str),
    /// It is refused, for this reason.
    Refused(&'a str),
}

/// Splits `SLOT=NAME` pairs; what is none is skipped.
pub fn slots(pairs: &str) -> impl Iterator<Item = (usize, &str)> {
    pairs.split_ascii_whitespace().filter_map(|pair| {
        let (slot, name) = pair.split_once('=')?;
        Some((slot.parse().ok()?, name))
    })
}

/// Why a line is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError<'a> {
    /// The word after `@` is no number.
    Number(&'a str),
    /// `events` without `on` or `off`.
    Events,
    /// `host` without a number and an answer.
    Host,
    /// The shell does not accept the line.
    Command(ArgError<'a>),
    /// A command whose answer is for people only.
    NoJson(&'static str),
    /// A command that needs the terminal of the first line.
    NeedsTerminal(&'static str),
}

impl fmt::Display for RequestError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Number(word) => {
                write!(f, "'{word}' is not '@' and a number of at most 32 bits, which the answer repeats")
            }
            RequestError::Events => f.write_str("events takes one word, on or off"),
            RequestError::Host => {
                f.write_str("host takes the number of a request, and taken, slots, more, done or refused")
            }
            RequestError::Command(error) => error.fmt(f),
            RequestError::NoJson(name) => {
                write!(f, "{name} has no answer in JSON; use it on the first serial line")
            }
            RequestError::NeedsTerminal(name) => {
                write!(f, "{name} needs a terminal; use it on the first serial line")
            }
        }
    }
}

/// Parses a line into the number of its answer and the request.
pub fn read(commands: Commands, line: &str) -> (Option<u32>, Result<Request<'_>, RequestError<'_>>) {
    let line = line.trim();
    let Some(rest) = line.strip_prefix('@') else { return (None, request(commands, line)) };
    let (word, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    match word.parse().ok().filter(|_| digits) {
        Some(id) => (Some(id), request(commands, rest)),
        None => (None, Err(RequestError::Number(word))),
    }
}

fn request(commands: Commands, line: &str) -> Result<Request<'_>, RequestError<'_>> {
    let mut words = line.split_ascii_whitespace();
    if words.next() == Some("events") {
        return match (words.next(), words.next()) {
            (Some("on"), None) => Ok(Request::Events(Events::On)),
            (Some("off"), None) => Ok(Request::Events(Events::Off)),
            _ => Err(RequestError::Events),
        };
    }
    if let Some(rest) = line.trim_start().strip_prefix("host ") {
        return from_host(rest).map(Request::Host).ok_or(RequestError::Host);
    }
    if let Some(rest) = line.trim_start().strip_prefix("sh")
        && (rest.is_empty() || rest.starts_with([' ', '\t']))
    {
        let invocation = commands.parse(rest).map_err(RequestError::Command)?;
        let command = invocation.command;
        return match command.effect {
            Effect::Terminal => Err(RequestError::NeedsTerminal(command.name)),
            Effect::Reads | Effect::Works => Ok(Request::Shell(invocation)),
        };
    }
    let invocation = commands.parse(line).map_err(RequestError::Command)?;
    let name = invocation.command.name;
    invocation.as_json().map(Request::Command).ok_or(RequestError::NoJson(name))
}

fn from_host(line: &str) -> Option<FromHost<'_>> {
    let (number, rest) = line.trim_start().split_once(' ')?;
    let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let rest = rest.trim();
    let said = match word {
        "taken" => Said::Taken,
        "slots" => Said::Slots(rest),
        "more" => Said::More(rest),
        "done" => Said::Done(rest),
        "refused" => Said::Refused(rest),
        _ => return None,
    };
    Some(FromHost { request: number.parse().ok()?, said })
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

    fn read(line: &str) -> (Option<u32>, Result<Request<'_>, RequestError<'_>>) {
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

    // Both line ends work, empty lines are ignored, Ctrl-C discards a line, and a bad line affects no other line.
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

    // After `sh` a command stays as typed, and one that needs a terminal is refused.
    #[test]
    fn shell_lines() {
        let (Some(3), Ok(Request::Shell(command))) = read("@3 sh  help page") else {
            panic!("a line of the shell")
        };
        assert_eq!((command.command, command.has(&JSON)), (&sample::HELP, false));
        assert!(matches!(read("sh resources -J").1, Ok(Request::Shell(command)) if command.has(&JSON)));
        for line in ["sh", "sh ", "shell", "sh clear", "sh sh page"] {
            assert!(read(line).1.is_err(), "{line}");
        }
    }

    // The longest piece of text fits: each of its bytes is escaped.
    #[test]
    fn longest_text() {
        let text = "\u{1}".repeat(TEXT_MAX);
        assert!(frame(&Printed { id: Some(u32::MAX), text: &text }).is_some());
    }

    // Proves that each event is one line of JSON with its name, and that the longest fits its buffer.
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

    // A command gets -J with or without a typed one, and the number is separate.
    #[test]
    fn requests() {
        for line in ["resources", "resources -J", "@4294967295  resources --json "] {
            let (id, Ok(Request::Command(command))) = read(line) else { panic!("{line}") };
            assert_eq!((command.command, command.has(&JSON)), (&sample::RESOURCES, true));
            assert_eq!(id.is_some(), line.starts_with('@'));
        }
        assert!(matches!(read("@0 events on"), (Some(0), Ok(Request::Events(Events::On)))));
        assert!(matches!(read("events off"), (None, Ok(Request::Events(Events::Off)))));
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

    // Proves that the host's answers are read, that names with their slots are found among nonsense, and that an answer
    // without a number or an unknown one is refused.
    #[test]
    fn answers_of_the_host() {
        let host = |line| match read(line).1 {
            Ok(Request::Host(answer)) => Some((answer.request, answer.said)),
            Err(RequestError::Host) => None,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(host("@5 host 3 taken"), Some((3, Said::Taken)));
        assert_eq!(host("host 3 done d0 online"), Some((3, Said::Done("d0 online"))));
        assert_eq!(host("host 4 done"), Some((4, Said::Done(""))));
        assert_eq!(host("host 3 refused no slot is free"), Some((3, Said::Refused("no slot is free"))));
        assert_eq!(host("host 3 slots 0=d0 2=x"), Some((3, Said::Slots("0=d0 2=x"))));
        for wrong in ["host x taken", "host 3", "host 3 perhaps", "host taken"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
        let found: Vec<_> = slots("0=d0 nonsense x=y 31=dimm0 7=").collect();
        assert_eq!(found, [(0, "d0"), (31, "dimm0"), (7, "")]);
    }

    proptest! {
        // No input makes it panic, and no line is longer than the limit.
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
