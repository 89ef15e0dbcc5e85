//! Parses a line by the table of commands into a command, flags and operands. The parser is strict: an unknown word is an
//! error, and so is a flag given twice.

use crate::command::{Command, Commands, Flag, FlagValue, JSON};
use crate::output::Format;
use crate::suggest::{self, Instead};
use arrayvec::ArrayVec;
use core::fmt;
use getargs::{Arg, Opt, Options};

/// Words a line may have.
pub const WORDS_MAX: usize = 32;
/// Operands any command takes at most.
const OPERANDS_MAX: usize = 4;
/// Flags any command takes at most.
const FLAGS: usize = 12;

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
    pub fn has(&self, flag: &Flag) -> bool {
        self.flags.iter().any(|(given, _)| *given == *flag)
    }

    /// The value of a flag that takes one.
    pub fn value(&self, flag: &Flag) -> Option<&'a str> {
        self.flags.iter().find(|(given, _)| *given == *flag).map(|(_, value)| *value)
    }

    /// The operand of that number, from 0.
    pub fn operand(&self, number: usize) -> Option<&'a str> {
        self.operands.get(number).copied()
    }

    /// The same, with its output as JSON; `None` if the command has no such form.
    pub fn as_json(mut self) -> Option<Invocation<'a>> {
        if !self.has(&JSON) {
            self.command.flags.contains(&JSON).then_some(())?;
            // Cannot fail: each flag occurs at most once.
            self.flags.try_push((JSON, "")).ok()?;
        }
        Some(self)
    }

    /// The requested form of the output.
    pub fn format(&self) -> Format {
        if self.has(&JSON) { Format::Json } else { Format::Table }
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
    UnknownCommand(Commands, &'a str),
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
            ArgError::UnknownCommand(commands, name) => {
                write!(f, "unknown command '{name}'{}", Instead(*commands, name))
            }
            ArgError::UnknownFlag(command, flag) => {
                write!(f, "{} has no flag '{flag}'; ", command.name)?;
                let mut letter = [0; 4];
                let word = match *flag {
                    Opt::Short(short) => short.encode_utf8(&mut letter),
                    Opt::Long(name) => name,
                };
                if let Some(instead) = suggest::elsewhere(command.name, word) {
                    return f.write_str(instead);
                }
                if let Some(meant) = suggest::flag(command, word) {
                    write!(f, "is --{meant} meant? ")?;
                }
                write!(f, "usage: {}", command.usage())
            }
            ArgError::FlagTwice(flag) => write!(f, "{} is given twice", flag.spelling()),
            ArgError::NoValue(flag) => write!(f, "{} needs a value", flag.spelling()),
            ArgError::Value(flag) => write!(f, "'{flag}' takes no value"),
            ArgError::TooFewOperands(command) => {
                write!(f, "something is missing; usage: {}", command.usage())
            }
            ArgError::TooManyOperands(command, word) => {
                write!(f, "'{word}' is one word too many; usage: {}", command.usage())
            }
        }
    }
}

/// The form in which a line asks for its output, whether or not the line fits a command: its error
/// comes in that form too.
pub fn format_of(line: &str) -> Format {
    let json = |word: &str| word == "-J" || word == JSON.long;
    if line.split_ascii_whitespace().any(json) { Format::Json } else { Format::Table }
}

impl Commands {
    /// Reads a line: words between blanks, the first one names the command. `COMMAND --help` is `help COMMAND`.
    ///
    /// # Errors
    /// As [`ArgError`] says.
    pub fn parse(self, line: &str) -> Result<Invocation<'_>, ArgError<'_>> {
        if line.contains('|') {
            return Err(ArgError::Pipe);
        }
        let mut words = ArrayVec::<&str, WORDS_MAX>::new();
        for word in line.split_ascii_whitespace() {
            words.try_push(word).map_err(|_| ArgError::TooManyWords)?;
        }
        let (name, rest) = words.split_first().ok_or(ArgError::Empty)?;
        let command = self.find(name).ok_or(ArgError::UnknownCommand(self, name))?;
        if let ["-h"] = rest
            && suggest::elsewhere(name, "h").is_some()
        {
            return Err(ArgError::UnknownFlag(command, Opt::Short('h')));
        }
        match (rest, self.find("help")) {
            (["-h" | "--help"], Some(help)) => parse_words(help, &[name]),
            _ => parse_words(command, rest),
        }
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
                if invocation.operands.len() == command.operands.most {
                    return Err(ArgError::TooManyOperands(command, word));
                }
                let pushed = invocation.operands.try_push(word);
                pushed.map_err(|_| ArgError::TooManyOperands(command, word))?;
                continue;
            }
            Some(Arg::Short(letter)) => Opt::Short(letter),
            Some(Arg::Long(name)) => Opt::Long(name),
        };
        let flag = command.flags.iter().copied().find(|flag| is(flag, opt));
        let flag = flag.ok_or(ArgError::UnknownFlag(command, opt))?;
        let value = match flag.value {
            FlagValue::None => "",
            FlagValue::Optional(_) => options.value_opt().unwrap_or_default(),
            FlagValue::Needed(_) => options.value().map_err(|_| ArgError::NoValue(flag))?,
        };
        // Each flag at most once, so there is room for all.
        if invocation.has(&flag) || invocation.flags.try_push((flag, value)).is_err() {
            return Err(ArgError::FlagTwice(flag));
        }
    }
    if invocation.operands.len() < command.operands.least {
        return Err(ArgError::TooFewOperands(command));
    }
    Ok(invocation)
}

fn is(flag: &Flag, opt: Opt<&str>) -> bool {
    match opt {
        Opt::Short(letter) => flag.short == Some(letter),
        Opt::Long(name) => flag.long.strip_prefix("--") == Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample::{self, COMMANDS};
    use proptest::prelude::*;
    use std::string::ToString;

    fn parse(line: &str) -> Result<Invocation<'_>, ArgError<'_>> {
        COMMANDS.parse(line)
    }

    /// The flag of that name.
    fn flag(command: &'static Command, long: &str) -> &'static Flag {
        command.flags.iter().find(|flag| flag.long == long).unwrap()
    }

    // Flags and operands in any order, a flag's value after it or behind '='.
    #[test]
    fn accepted() {
        for line in [
            "alloc 200M --node 1 --pinned -J",
            " alloc  --pinned -J --node=1 200M ",
            "alloc -J 200M --node 1 --pinned --",
        ] {
            let given = parse(line).unwrap();
            assert_eq!(given.command, &sample::ALLOC);
            assert_eq!((given.operand(0), given.operand(1)), (Some("200M"), None));
            assert_eq!(given.value(flag(&sample::ALLOC, "--node")), Some("1"));
            assert!(
                given.has(flag(&sample::ALLOC, "--pinned")) && !given.has(flag(&sample::ALLOC, "--no-fill"))
            );
            assert_eq!(given.format(), Format::Json);
        }
        for line in ["lsmem --help", "lsmem -h", "help lsmem", "man lsmem"] {
            let given = parse(line).unwrap();
            assert_eq!((given.command, given.operand(0)), (&sample::HELP, Some("lsmem")), "{line}");
        }
        assert!(parse("lsmem -aJ").unwrap().has(flag(&sample::LSMEM, "--all")));
        assert_eq!(parse("meminfo --json").unwrap().format(), Format::Json);
        for (line, when) in [("lsmem --summary", ""), ("lsmem --summary=never -n", "never")] {
            assert_eq!(parse(line).unwrap().value(flag(&sample::LSMEM, "--summary")), Some(when), "{line}");
        }
        for line in ["lsmem -n -o +NODE", "lsmem -no+NODE", "lsmem --noheadings --output=+NODE"] {
            let given = parse(line).unwrap();
            assert_eq!(
                (
                    given.has(flag(&sample::LSMEM, "--noheadings")),
                    given.value(flag(&sample::LSMEM, "--output"))
                ),
                (true, Some("+NODE"))
            );
        }
    }

    // All other lines are refused, and the message names the word and its error.
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
            ("alloc 1M 2M", "'2M' is one word too many; usage: alloc [SIZE]"),
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
        // No line makes the parser panic, and each accepted line matches the table.
        #[test]
        fn total(words in prop::collection::vec("(alloc|help|free|page|--|-|-J|--node|--all|=|[ -~]{0,6})", 0..40)) {
            let line = words.join(" ");
            match parse(&line) {
                Ok(given) => prop_assert!(given.operands.len() <= given.command.operands.most),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
