//! A line's words against the table of commands: which command, which flags, which operands. Strict:
//! what a command does not know is an error, and so is a flag given twice.

use crate::commands::{Command, find};
use crate::meant::{self, Instead};
use crate::report::Format;
use arrayvec::ArrayVec;
use core::fmt;
use getargs::{Arg, Opt, Options};

/// Words a line may have.
pub const WORDS_MAX: usize = 32;
/// Operands any command takes at most.
const OPERANDS_MAX: usize = 4;
/// Flags any command takes at most.
const FLAGS: usize = 10;

/// A flag that some command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `-J`, `--json`: one line of JSON.
    Json,
    /// `--pairs`, `-P`.
    Pairs,
    /// `--raw`, `-r`.
    Raw,
    /// `--all`, `-a`.
    All,
    /// `--bytes`, `-b`.
    Bytes,
    /// `--noheadings`, `-n`.
    NoHeadings,
    /// `--output LIST`, `-o LIST`.
    Output,
    /// `--output-all`.
    OutputAll,
    /// `--split LIST`, `-S LIST`.
    Split,
    /// `--summary[=WHEN]`.
    Summary,
    /// `--node N`.
    Node,
    /// `--pinned`.
    Pinned,
    /// `--contiguous`.
    Contiguous,
    /// `--no-fill`.
    NoFill,
    /// `--movable`.
    Movable,
    /// `--kernel`.
    Kernel,
    /// `--enable`, `-e`.
    Enable,
    /// `--disable`, `-d`.
    Disable,
    /// `--blocks`, `-b`: as `chmem` has it.
    Blocks,
    /// `--zone ZONE`, `-z ZONE`.
    Zone,
    /// `--verbose`, `-v`.
    Verbose,
}

impl Flag {
    /// As it is shown and completed.
    pub const fn spelling(self) -> &'static str {
        match self {
            Flag::Json => "-J",
            Flag::Pairs => "--pairs",
            Flag::Raw => "--raw",
            Flag::All => "--all",
            Flag::Bytes => "--bytes",
            Flag::NoHeadings => "--noheadings",
            Flag::Output => "--output",
            Flag::OutputAll => "--output-all",
            Flag::Split => "--split",
            Flag::Summary => "--summary",
            Flag::Node => "--node",
            Flag::Pinned => "--pinned",
            Flag::Contiguous => "--contiguous",
            Flag::NoFill => "--no-fill",
            Flag::Movable => "--movable",
            Flag::Kernel => "--kernel",
            Flag::Enable => "--enable",
            Flag::Disable => "--disable",
            Flag::Blocks => "--blocks",
            Flag::Zone => "--zone",
            Flag::Verbose => "--verbose",
        }
    }

    /// Its one-letter form.
    pub const fn short(self) -> Option<char> {
        match self {
            Flag::Json => Some('J'),
            Flag::Pairs => Some('P'),
            Flag::Raw => Some('r'),
            Flag::All => Some('a'),
            // No command takes two of a letter.
            Flag::Bytes | Flag::Blocks => Some('b'),
            Flag::NoHeadings => Some('n'),
            Flag::Output => Some('o'),
            Flag::Enable => Some('e'),
            Flag::Disable => Some('d'),
            Flag::Zone => Some('z'),
            Flag::Verbose => Some('v'),
            Flag::Split => Some('S'),
            _ => None,
        }
    }

    /// Whether it takes a value.
    pub const fn value(self) -> FlagValue {
        match self {
            Flag::Node | Flag::Output | Flag::Split | Flag::Zone => FlagValue::Needed,
            Flag::Summary => FlagValue::Optional,
            _ => FlagValue::None,
        }
    }

    fn is(self, opt: Opt<&str>) -> bool {
        match opt {
            Opt::Short(letter) => self.short() == Some(letter),
            Opt::Long(name) if self == Flag::Json => name == LONG_JSON,
            Opt::Long(name) => self.spelling().strip_prefix("--") == Some(name),
        }
    }
}

/// The other spelling of `-J`, as util-linux has it.
const LONG_JSON: &str = "json";

/// Whether a flag takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagValue {
    /// It takes none.
    None,
    /// Behind '=' only.
    Optional,
    /// Behind '=', or the next word.
    Needed,
}

/// A line that fits a command.
#[derive(Clone, Debug)]
pub struct Invocation<'a> {
    /// The command.
    pub command: &'static Command,
    flags: ArrayVec<(Flag, &'a str), FLAGS>,
    operands: ArrayVec<&'a str, OPERANDS_MAX>,
}

impl<'a> Invocation<'a> {
    /// Whether a flag was given.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.iter().any(|(given, _)| *given == flag)
    }

    /// The value of a flag that takes one.
    pub fn value(&self, flag: Flag) -> Option<&'a str> {
        self.flags.iter().find(|(given, _)| *given == flag).map(|(_, value)| *value)
    }

    /// The operand of that number, from 0.
    pub fn operand(&self, number: usize) -> Option<&'a str> {
        self.operands.get(number).copied()
    }

    /// The same, with its output as JSON; `None` if the command has no such form.
    pub fn as_json(mut self) -> Option<Invocation<'a>> {
        if !self.has(Flag::Json) {
            self.command.flags.contains(&Flag::Json).then_some(())?;
            // No flag is there twice, so there is room.
            self.flags.try_push((Flag::Json, "")).ok()?;
        }
        Some(self)
    }

    /// The form in which the output is wanted.
    pub fn format(&self) -> Format {
        if self.has(Flag::Json) { Format::Json } else { Format::Table }
    }
}

/// Why a line fits no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgError<'a> {
    /// There is no word in it.
    Empty,
    /// A `|`.
    Pipe,
    /// More words than any command takes.
    TooManyWords,
    /// No command has that name.
    UnknownCommand(&'a str),
    /// The command has no such flag.
    UnknownFlag(&'static Command, Opt<&'a str>),
    /// A flag is given twice.
    FlagTwice(Flag),
    /// A flag's value is missing.
    NoValue(Flag),
    /// A value stands at a flag that takes none.
    Value(Opt<&'a str>),
    /// Not enough operands.
    TooFewOperands(&'static Command),
    /// One operand too many.
    TooManyOperands(&'static Command, &'a str),
}

impl fmt::Display for ArgError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgError::Empty => f.write_str("the line is empty (help lists the commands)"),
            ArgError::Pipe => {
                f.write_str("no '|' here: pipe the output on the host, as in cargo xtask sh lsmem | head")
            }
            ArgError::TooManyWords => write!(f, "more than {WORDS_MAX} words"),
            ArgError::UnknownCommand(name) => {
                write!(f, "unknown command '{name}'{}", Instead(name))
            }
            ArgError::UnknownFlag(command, flag) => {
                write!(f, "{} has no flag '{flag}'; ", command.name)?;
                let mut letter = [0; 4];
                let word = match *flag {
                    Opt::Short(short) => short.encode_utf8(&mut letter),
                    Opt::Long(name) => name,
                };
                if let Some(meant) = meant::flag(command, word) {
                    write!(f, "is --{meant} meant? ")?;
                }
                write!(f, "usage: {}", command.usage)
            }
            ArgError::FlagTwice(flag) => write!(f, "{} is given twice", flag.spelling()),
            ArgError::NoValue(flag) => write!(f, "{} needs a value", flag.spelling()),
            ArgError::Value(flag) => write!(f, "'{flag}' takes no value"),
            ArgError::TooFewOperands(command) => write!(f, "something is missing; usage: {}", command.usage),
            ArgError::TooManyOperands(command, word) => {
                write!(f, "'{word}' is one word too many; usage: {}", command.usage)
            }
        }
    }
}

/// The form in which a line asks for its output, whether or not the line fits a command: its error
/// comes in that form too.
pub fn format_of(line: &str) -> Format {
    let json = |word: &str| word == "-J" || word.strip_prefix("--") == Some(LONG_JSON);
    if line.split_ascii_whitespace().any(json) { Format::Json } else { Format::Table }
}

/// Reads a line: words between blanks, the first one names the command. `COMMAND --help` is `help COMMAND`.
///
/// # Errors
/// As [`ArgError`] says.
pub fn parse(line: &str) -> Result<Invocation<'_>, ArgError<'_>> {
    if line.contains('|') {
        return Err(ArgError::Pipe);
    }
    let mut words = ArrayVec::<&str, WORDS_MAX>::new();
    for word in line.split_ascii_whitespace() {
        words.try_push(word).map_err(|_| ArgError::TooManyWords)?;
    }
    let (name, rest) = words.split_first().ok_or(ArgError::Empty)?;
    let command = find(name).ok_or(ArgError::UnknownCommand(name))?;
    match (rest, find("help")) {
        (["-h" | "--help"], Some(help)) => parse_words(help, &[name]),
        _ => parse_words(command, rest),
    }
}

/// Reads the words behind a command's name.
///
/// # Errors
/// As [`ArgError`] says.
fn parse_words<'a>(command: &'static Command, rest: &[&'a str]) -> Result<Invocation<'a>, ArgError<'a>> {
    let mut invocation = Invocation { command, flags: ArrayVec::new(), operands: ArrayVec::new() };
    let mut options = Options::new(rest.iter().copied());
    loop {
        let arg = options.next_arg().map_err(|error| match error {
            // `value` is called for each flag that takes one, so this is the only error here.
            getargs::Error::DoesNotRequireValue(opt) | getargs::Error::RequiresValue(opt) => {
                ArgError::Value(opt)
            }
            _ => ArgError::TooFewOperands(command),
        })?;
        let opt = match arg {
            None => break,
            Some(Arg::Positional(word)) => {
                if invocation.operands.len() == command.operands.1 {
                    return Err(ArgError::TooManyOperands(command, word));
                }
                let pushed = invocation.operands.try_push(word);
                pushed.map_err(|_| ArgError::TooManyOperands(command, word))?;
                continue;
            }
            Some(Arg::Short(letter)) => Opt::Short(letter),
            Some(Arg::Long(name)) => Opt::Long(name),
        };
        let flag = command.flags.iter().copied().find(|flag| flag.is(opt));
        let flag = flag.ok_or(ArgError::UnknownFlag(command, opt))?;
        let value = match flag.value() {
            FlagValue::None => "",
            FlagValue::Optional => options.value_opt().unwrap_or_default(),
            FlagValue::Needed => options.value().map_err(|_| ArgError::NoValue(flag))?,
        };
        // Each flag at most once, so there is room for all.
        if invocation.has(flag) || invocation.flags.try_push((flag, value)).is_err() {
            return Err(ArgError::FlagTwice(flag));
        }
    }
    if invocation.operands.len() < command.operands.0 {
        return Err(ArgError::TooFewOperands(command));
    }
    Ok(invocation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Id;
    use proptest::prelude::*;
    use std::string::ToString;

    // Flags and operands in any order, a flag's value after it or behind '='.
    #[test]
    fn accepted() {
        for line in [
            "alloc 200M --node 1 --pinned -J",
            " alloc  --pinned -J --node=1 200M ",
            "alloc -J 200M --node 1 --pinned --",
        ] {
            let given = parse(line).unwrap();
            assert_eq!(given.command.id, Id::Alloc);
            assert_eq!((given.operand(0), given.operand(1)), (Some("200M"), None));
            assert_eq!(given.value(Flag::Node), Some("1"));
            assert!(given.has(Flag::Pinned) && !given.has(Flag::NoFill));
            assert_eq!(given.format(), Format::Json);
        }
        for line in ["lsmem --help", "lsmem -h", "help lsmem", "man lsmem"] {
            let given = parse(line).unwrap();
            assert_eq!((given.command.id, given.operand(0)), (Id::Help, Some("lsmem")), "{line}");
        }
        assert!(parse("lsmem -aJ").unwrap().has(Flag::All));
        assert_eq!(parse("meminfo --json").unwrap().format(), Format::Json);
        for (line, when) in [("lsmem --summary", ""), ("lsmem --summary=never -n", "never")] {
            assert_eq!(parse(line).unwrap().value(Flag::Summary), Some(when), "{line}");
        }
        for line in ["lsmem -n -o +NODE", "lsmem -no+NODE", "lsmem --noheadings --output=+NODE"] {
            let given = parse(line).unwrap();
            assert_eq!((given.has(Flag::NoHeadings), given.value(Flag::Output)), (true, Some("+NODE")));
        }
    }

    // Everything else is refused, and the message says what is wrong with which word.
    #[test]
    fn refused() {
        for (line, message) in [
            ("", "the line is empty"),
            ("   ", "the line is empty"),
            ("frob -J", "unknown command 'frob'"),
            ("HELP", "unknown command 'HELP'"),
            ("meminfo --node 1", "meminfo has no flag '--node'; usage: meminfo [-J]"),
            ("meminfo -x", "meminfo has no flag '-x'"),
            ("meminfo --j", "meminfo has no flag '--j'"),
            ("meminfo -J --json", "-J is given twice"),
            ("meminfo --json=x", "'--json' takes no value"),
            ("meminfo -J -J", "-J is given twice"),
            ("meminfo -JJ", "-J is given twice"),
            ("alloc 1M --node 1 --node 2", "--node is given twice"),
            ("alloc 1M --pinned --pinned", "--pinned is given twice"),
            ("alloc 1M --node", "--node needs a value"),
            ("alloc 1M --pinned=yes", "'--pinned' takes no value"),
            ("alloc 1M --all=x", "'--all' takes no value"),
            ("alloc 1M 2M", "'2M' is one word too many; usage: alloc SIZE"),
            ("page", "something is missing; usage: page PFN [-J]"),
            ("meminfo -1", "meminfo has no flag '-1'"),
            ("help a b", "'b' is one word too many"),
            ("sections | head", "no '|' here"),
            ("alloc 1M --help", "alloc has no flag '--help'"),
            ("nonsense --help", "unknown command 'nonsense'"),
        ] {
            let error = parse(line).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{line}: {error}");
        }
        assert_eq!(parse(&"help ".repeat(33)).unwrap_err(), ArgError::TooManyWords);
    }

    // An error takes the form that the line asks for.
    #[test]
    fn form_of_errors() {
        assert_eq!(format_of("frob -J"), Format::Json);
        assert_eq!(format_of("frob x --json"), Format::Json);
        assert_eq!(format_of("frob --J -j -Jx"), Format::Table);
    }

    proptest! {
        // No line makes the parser panic, and what is accepted was asked for by the table.
        #[test]
        fn total(words in prop::collection::vec("(alloc|help|free|page|--|-|-J|--node|--all|=|[ -~]{0,6})", 0..40)) {
            let line = words.join(" ");
            match parse(&line) {
                Ok(given) => prop_assert!(given.operands.len() <= given.command.operands.1),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
