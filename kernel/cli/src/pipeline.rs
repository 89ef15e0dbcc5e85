//! A whole line: a command, what stands in front of it, and what its output goes through.
//!
//! ```text
//!  watch -n 1 time  sections 32-33  |  grep online | head -n 3
//!  '-- prefixes --' '-- command --'    '------ filters ------'
//! ```
//!
//! A prefix is about all that stands behind it, filters too: `watch` shows what comes out of the last filter. Words
//! are separated by blanks; one that starts with `"` or `'` goes to the next such sign, so that it may hold
//! blanks and `|`. Total: any line is a pipeline or one error. Neighbours: [`crate::args`] reads each part's words,
//! [`crate::filter`] is what filters do, the kernel's `shell` runs it.

use crate::args::{ArgError, Flag, FlagValue, Invocation, WORDS_MAX, parse_words};
use crate::commands::{Command, Id, Role, find};
use crate::filter::Filter;
use crate::number::{self, NumberError};
use crate::pattern::{Case, Pattern, PatternError};
use arrayvec::ArrayVec;
use core::fmt;
use core::time::Duration;

/// Prefixes there are: each at most once on a line.
pub const PREFIXES_MAX: usize = 3;
/// Filters a line may have.
pub const FILTERS_MAX: usize = 4;
/// Between two runs of `watch` where nothing else is asked for.
const INTERVAL: Duration = Duration::from_secs(2);
/// The shortest time between two runs, and the longest.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(86400));
/// Lines that `head` and `tail` let through where no number is given.
const LINES: u64 = 10;

/// See the module.
#[derive(Debug)]
pub struct Pipeline<'a> {
    /// What stands in front, the outermost first.
    pub prefixes: ArrayVec<Prefix, PREFIXES_MAX>,
    /// The command.
    pub command: Invocation<'a>,
    /// What its output goes through, in this order.
    pub filters: ArrayVec<Filter, FILTERS_MAX>,
    /// Whether its output stops at each screen.
    pub paging: Paging,
}

/// Whether output stops at each screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// As `pager` has it.
    AsSet,
    /// It does: the last filter is `more`.
    Asked,
}

/// What stands in front of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// `time`.
    Time,
    /// `repeat N`.
    Repeat {
        /// How often the command runs.
        times: u64,
    },
    /// `watch`.
    Watch {
        /// From the end of a run to the next.
        interval: Duration,
        /// How often the command runs; `None`: until somebody ends it.
        times: Option<u64>,
    },
}

impl Prefix {
    fn id(self) -> Id {
        match self {
            Prefix::Time => Id::Time,
            Prefix::Repeat { .. } => Id::Repeat,
            Prefix::Watch { .. } => Id::Watch,
        }
    }
}

/// Why a line is no pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError<'a> {
    /// A part that fits no command.
    Arg(ArgError<'a>),
    /// A quote that does not end, or that ends within a word.
    Quote(char),
    /// Nothing stands in front of a `|`, or behind it.
    Nothing,
    /// No command stands behind a prefix.
    NoCommand(&'static Command),
    /// A prefix stands there twice.
    PrefixTwice(&'static Command),
    /// What stands behind a `|` is no filter.
    NotAFilter(&'a str),
    /// A filter stands where a command should.
    Filter(&'static Command),
    /// More filters than a line may have.
    TooManyFilters,
    /// `tail` stands there twice.
    TailTwice,
    /// Something stands behind `more`.
    BehindMore,
    /// `wc` without its `-l`.
    WhatToCount,
    /// What `grep` is to look for is no pattern.
    Pattern(PatternError),
    /// What should be a number is none.
    Number(NumberError<'a>),
    /// 0 times.
    NoTimes,
    /// No number of seconds.
    Seconds(&'a str),
}

impl<'a> From<ArgError<'a>> for LineError<'a> {
    fn from(error: ArgError<'a>) -> LineError<'a> {
        LineError::Arg(error)
    }
}

impl fmt::Display for LineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Arg(error) => error.fmt(f),
            LineError::Quote(sign) => write!(f, "a word that starts with {sign} must end with {sign}"),
            LineError::Nothing => f.write_str("nothing stands in front of a '|', or behind it"),
            LineError::NoCommand(prefix) => {
                write!(f, "{} needs a command; usage: {}", prefix.name, prefix.usage)
            }
            LineError::PrefixTwice(prefix) => write!(f, "{} stands there twice", prefix.name),
            LineError::NotAFilter(name) => {
                write!(f, "'{name}' cannot stand behind a '|': grep, head, tail, wc and more can")
            }
            LineError::Filter(filter) => {
                write!(f, "{} stands behind a command: COMMAND | {}", filter.name, filter.usage)
            }
            LineError::TooManyFilters => write!(f, "more than {FILTERS_MAX} filters"),
            LineError::TailTwice => f.write_str("tail stands there twice"),
            LineError::BehindMore => f.write_str("more stands at the end of a line"),
            LineError::WhatToCount => f.write_str("wc counts lines only: wc -l"),
            LineError::Pattern(error) => error.fmt(f),
            LineError::Number(error) => error.fmt(f),
            LineError::NoTimes => f.write_str("0 times is not at all"),
            LineError::Seconds(text) => {
                let (least, most) = INTERVALS;
                let (least, most) = (least.as_secs_f32(), most.as_secs());
                write!(f, "'{text}' is no number of seconds from {least} to {most}")
            }
        }
    }
}

/// Words of one part.
type Words<'a> = ArrayVec<&'a str, WORDS_MAX>;

/// Reads a line.
///
/// # Errors
/// As [`LineError`] says.
pub fn parse(line: &str) -> Result<Pipeline<'_>, LineError<'_>> {
    let mut rest = line;
    let mut words = Words::new();
    let mut ends = part(&mut rest, &mut words)?;
    if ends == Ends::Pipe && words.is_empty() {
        return Err(LineError::Nothing);
    }
    let mut prefixes = ArrayVec::new();
    let mut start = 0;
    let command = loop {
        let words = words.get(start..).unwrap_or_default();
        let missing =
            || prefixes.last().map_or(ArgError::Empty.into(), |last: &Prefix| no_command(last.id()));
        let (name, behind) = words.split_first().ok_or_else(missing)?;
        let command = find(name).ok_or(ArgError::UnknownCommand(name))?;
        if let (["-h" | "--help"], Some(help)) = (behind, find("help")) {
            break parse_words(help, &[name])?;
        }
        match command.role {
            Role::Command => break parse_words(command, behind)?,
            Role::Filter => return Err(LineError::Filter(command)),
            Role::Prefix => {
                let own = own_words(command, behind);
                let prefix = prefix(&parse_words(command, behind.get(..own).unwrap_or_default())?)?;
                let twice = prefixes.iter().any(|other: &Prefix| other.id() == command.id);
                if twice || prefixes.try_push(prefix).is_err() {
                    return Err(LineError::PrefixTwice(command));
                }
                start += 1 + own;
            }
        }
    };
    let (mut filters, mut paging) = (ArrayVec::<Filter, FILTERS_MAX>::new(), Paging::AsSet);
    while ends == Ends::Pipe {
        words.clear();
        ends = part(&mut rest, &mut words)?;
        let (name, behind) = words.split_first().ok_or(LineError::Nothing)?;
        let command = find(name).filter(|command| command.role == Role::Filter);
        let command = command.ok_or(LineError::NotAFilter(name))?;
        if paging == Paging::Asked {
            return Err(LineError::BehindMore);
        }
        match filter(command, behind)? {
            None => paging = Paging::Asked,
            Some(Filter::Tail(_)) if filters.iter().any(|filter| matches!(filter, Filter::Tail(_))) => {
                return Err(LineError::TailTwice);
            }
            Some(filter) => filters.try_push(filter).map_err(|_| LineError::TooManyFilters)?,
        }
    }
    Ok(Pipeline { prefixes, command, filters, paging })
}

fn no_command<'a>(id: Id) -> LineError<'a> {
    let prefix = crate::commands::commands().find(|command| command.id == id);
    prefix.map_or(LineError::Nothing, LineError::NoCommand)
}

/// Where a part of a line ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Line,
    Pipe,
}

/// Takes the words up to the next `|` off the line.
fn part<'a>(rest: &mut &'a str, words: &mut Words<'a>) -> Result<Ends, LineError<'a>> {
    loop {
        *rest = rest.trim_ascii_start();
        let Some(first) = rest.chars().next() else { return Ok(Ends::Line) };
        let word = match first {
            '|' => {
                *rest = rest.get(1..).unwrap_or_default();
                return Ok(Ends::Pipe);
            }
            '"' | '\'' => {
                let open = rest.get(1..).unwrap_or_default();
                let (word, behind) = open.split_once(first).ok_or(LineError::Quote(first))?;
                if behind.starts_with(|c: char| !c.is_ascii_whitespace() && c != '|') {
                    return Err(LineError::Quote(first));
                }
                *rest = behind;
                word
            }
            _ => {
                let ends = |c: char| c.is_ascii_whitespace() || c == '|';
                let (word, behind) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
                *rest = behind;
                word
            }
        };
        words.try_push(word).map_err(|_| ArgError::TooManyWords)?;
    }
}

/// How many of the words behind a prefix's name are its own: its flags with their values, its operands.
pub fn own_words(prefix: &Command, behind: &[&str]) -> usize {
    let mut own = 0;
    while let Some(&word) = behind.get(own).filter(|word| word.len() > 1 && word.starts_with('-')) {
        let letter = word.chars().nth(1).filter(|_| word.len() == 2);
        let named = |flag: &&Flag| word == flag.spelling() || letter.is_some() && letter == flag.short();
        let takes = prefix.flags.iter().find(named).is_some_and(|flag| flag.value() == FlagValue::Needed);
        own += if takes { 2 } else { 1 };
    }
    (own + prefix.operands.1).min(behind.len())
}

fn prefix<'a>(given: &Invocation<'a>) -> Result<Prefix, LineError<'a>> {
    let count = |text| match number::integer(text, "a number of times") {
        Ok(0) => Err(LineError::NoTimes),
        times => times.map_err(LineError::Number),
    };
    Ok(match given.command.id {
        Id::Repeat => Prefix::Repeat { times: count(given.operand(0).unwrap_or_default())? },
        Id::Watch => Prefix::Watch {
            interval: given.value(Flag::Interval).map_or(Ok(INTERVAL), seconds)?,
            times: given.value(Flag::Times).map(count).transpose()?,
        },
        _ => Prefix::Time,
    })
}

/// Seconds with up to three decimals.
fn seconds(text: &str) -> Result<Duration, LineError<'_>> {
    let bad = LineError::Seconds(text);
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if decimals.len() > 3 || !digits(decimals) || !digits(whole) || whole.is_empty() && decimals.is_empty() {
        return Err(bad);
    }
    let number = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u64>().map_err(|_| bad) };
    let scale = [1000, 100, 10, 1].get(decimals.len()).copied().unwrap_or(1);
    let millis =
        number(whole)?.checked_mul(1000).and_then(|whole| whole.checked_add(number(decimals).ok()? * scale));
    let interval = Duration::from_millis(millis.ok_or(bad)?);
    let (least, most) = INTERVALS;
    if (least..=most).contains(&interval) { Ok(interval) } else { Err(bad) }
}

/// Reads a filter; `None` is `more`.
fn filter<'a>(command: &'static Command, behind: &[&'a str]) -> Result<Option<Filter>, LineError<'a>> {
    // `head -3` is `head -n 3`.
    let mut words = Words::new();
    for &word in behind {
        let digits = word.strip_prefix('-').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.filter(|digits| !digits.is_empty() && command.flags.contains(&Flag::Lines));
        let flag = number.map(|_| "-n");
        for word in flag.into_iter().chain([number.unwrap_or(word)]) {
            words.try_push(word).map_err(|_| ArgError::TooManyWords)?;
        }
    }
    let given = parse_words(command, &words)?;
    let lines = || {
        let lines = |text| number::integer(text, "a number of lines").map_err(LineError::Number);
        given.value(Flag::Lines).map_or(Ok(LINES), lines)
    };
    Ok(Some(match command.id {
        Id::Head => Filter::Head(lines()?),
        Id::Tail => Filter::Tail(lines()?),
        Id::Wc if given.has(Flag::LineCount) => Filter::Count,
        Id::Wc => return Err(LineError::WhatToCount),
        Id::Grep => {
            let case = if given.has(Flag::IgnoreCase) { Case::Ignored } else { Case::Matters };
            let pattern = Pattern::new(given.operand(0).unwrap_or_default(), case);
            Filter::Grep {
                pattern: pattern.map_err(LineError::Pattern)?,
                wanted: given.has(Flag::Invert).into(),
                tells: given.has(Flag::Count).into(),
            }
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
