//! The description of a command: its name, operands, flags, and help texts.
//!
//! The kernel has one static [`Command`] for each command, in the file that also runs it, and one table of them all
//! ([`Commands`]). Parsing, completion, suggestions and help read that table, which is the only list of flags.

use core::fmt::{self, Display, Write};

/// A flag, as its command declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its long form, with `--`.
    pub long: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// Whether it takes a value.
    pub value: FlagValue,
    /// The description in `help`.
    pub help: &'static str,
}

/// Whether a flag takes a value, and the value's name in `help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagValue {
    /// It takes none.
    None,
    /// After `=` only.
    Optional(&'static str),
    /// After `=`, or the next word.
    Needed(&'static str),
}

/// `-J`, of every command that shows something.
pub const JSON: Flag = Flag::new("--json", "one line of JSON and nothing else").short('J');

impl Flag {
    /// A flag without a letter or a value.
    pub const fn new(long: &'static str, help: &'static str) -> Flag {
        Flag { long, short: None, value: FlagValue::None, help }
    }

    /// With a letter.
    pub const fn short(self, letter: char) -> Flag {
        Flag { short: Some(letter), ..self }
    }

    /// With a value that must be given.
    pub const fn value(self, name: &'static str) -> Flag {
        Flag { value: FlagValue::Needed(name), ..self }
    }

    /// With a value that may be left out.
    pub const fn optional(self, name: &'static str) -> Flag {
        Flag { value: FlagValue::Optional(name), ..self }
    }

    /// The spelling in completion and errors.
    pub fn spelling(&self) -> &'static str {
        if *self == JSON { "-J" } else { self.long }
    }

    fn write_value(&self, out: &mut dyn Write) -> fmt::Result {
        match self.value {
            FlagValue::None => Ok(()),
            FlagValue::Optional(name) => write!(out, "[={name}]"),
            FlagValue::Needed(name) => write!(out, " {name}"),
        }
    }
}

/// The place of a word on a line, for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The operand of that number, from 0.
    Operand(usize),
    /// The value of this flag.
    Value(Flag),
}

/// Receives words that Tab may complete to, one by one.
pub type Words<'a> = &'a mut dyn FnMut(&str);

/// The operands a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operands {
    /// Their names in the usage; empty for none.
    pub usage: &'static str,
    /// The fewest.
    pub least: usize,
    /// The most.
    pub most: usize,
}

impl Operands {
    /// None.
    pub const NONE: Operands = Operands { usage: "", least: 0, most: 0 };

    /// An optional one; `usage` with its brackets.
    pub const fn optional(usage: &'static str) -> Operands {
        Operands { usage, least: 0, most: 1 }
    }

    /// A mandatory one.
    pub const fn one(usage: &'static str) -> Operands {
        Operands { usage, least: 1, most: 1 }
    }
}

/// When a command may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing and ends soon: the second serial line also answers it while a longer command runs.
    Reads,
    /// It changes something, or takes long: it runs after the previous command.
    Works,
    /// It needs a terminal: on the first serial line only.
    Terminal,
}

/// A command. Its `run` function stands beside it, in the kernel.
#[derive(Clone, Copy)]
pub struct Command {
    /// The name on a line.
    pub name: &'static str,
    /// The purpose, in one line.
    pub summary: &'static str,
    /// The operands it takes.
    pub operands: Operands,
    /// The meaning of each operand, for `help`.
    pub operand_help: &'static [(&'static str, &'static str)],
    /// Lists the words that Tab completes there.
    pub words: fn(Place, Words<'_>),
    /// The flags it takes.
    pub flags: &'static [Flag],
    /// An example, ready to type.
    pub example: &'static str,
    /// When it may run.
    pub effect: Effect,
}

impl Command {
    /// A command without operands, words and flags, to start from.
    pub const NEW: Command = Command {
        name: "",
        summary: "",
        operands: Operands::NONE,
        operand_help: &[],
        words: |_, _| (),
        flags: &[],
        example: "",
        effect: Effect::Works,
    };

    /// `NAME OPERANDS [FLAGS]`.
    pub fn usage(&'static self) -> Usage {
        Usage(self)
    }

    /// Writes the text of `help NAME`: usage, a line for each operand and flag, an example.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_help(&'static self, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "{}: {}\n\nusage: {}", self.name, self.summary, self.usage())?;
        for (operand, help) in self.operand_help {
            writeln!(out, "  {operand:<22} {help}")?;
        }
        for flag in self.flags {
            let mut term = arrayvec::ArrayString::<48>::new();
            // No flag is longer.
            let _ = flag.short.iter().try_for_each(|letter| write!(term, "-{letter}, "));
            let _ = write!(term, "{}", flag.long).and_then(|()| flag.write_value(&mut term));
            writeln!(out, "  {term:<22} {}", flag.help)?;
        }
        writeln!(out, "\nexample: {}\nIts columns and fields: docs/shell.md", self.example)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Command {
    fn eq(&self, other: &Command) -> bool {
        self.name == other.name
    }
}

impl Eq for Command {}

/// A command's usage, as text.
#[derive(Clone, Copy, Debug)]
pub struct Usage(&'static Command);

impl Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Command { name, operands, flags, .. } = self.0;
        let gap = if operands.usage.is_empty() { "" } else { " " };
        write!(f, "{name}{gap}{}", operands.usage)?;
        flags.iter().try_for_each(|flag| {
            match flag.short {
                Some(letter) => write!(f, " [-{letter}")?,
                None => write!(f, " [{}", flag.long)?,
            }
            flag.write_value(f)?;
            f.write_char(']')
        })
    }
}

/// Commands of one subject, as `help` lists them.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// The subject.
    pub title: &'static str,
    /// Its commands.
    pub commands: &'static [&'static Command],
}

/// The table of all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commands(pub &'static [Group]);

/// Familiar names of commands.
const ALIASES: &[(&str, &str)] = &[("man", "help"), ("?", "help")];

impl Commands {
    /// All commands, in the table's order.
    pub fn all(self) -> impl Iterator<Item = &'static Command> + Clone {
        self.0.iter().flat_map(|group| group.commands).copied()
    }

    /// The command of that name.
    pub fn find(self, name: &str) -> Option<&'static Command> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        self.all().find(|command| command.name == name)
    }

    /// Writes the text of `help`: every command with its summary, by subject.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_help(self, out: &mut dyn Write) -> fmt::Result {
        let width = self.all().map(|command| command.name.len()).max().unwrap_or(0);
        for group in self.0 {
            writeln!(out, "{}:", group.title)?;
            for command in group.commands {
                writeln!(out, "  {:width$}  {}", command.name, command.summary)?;
            }
        }
        writeln!(out, "\nhelp COMMAND, or COMMAND --help, shows its flags. -J makes a command that shows")?;
        writeln!(out, "something print one line of JSON. Sizes take K, M, G, T. Tab completes, up and")?;
        writeln!(out, "down find earlier lines, Ctrl-R searches them, Ctrl-C stops a command. Pipes and")?;
        writeln!(out, "pagers are the host's: cargo xtask sh COMMAND.")
    }
}

/// Commands like the kernel's, for tests and fuzzing on the host.
pub mod sample {
    use super::*;

    const NODE: Flag = Flag::new("--node", "from this node").value("N");
    /// `alloc`.
    pub static ALLOC: Command = Command {
        name: "alloc",
        summary: "takes memory",
        operands: Operands::optional("[SIZE]"),
        flags: &[
            Flag::new("--all", "every free frame").short('a'),
            NODE,
            Flag::new("--pinned", "cannot be moved"),
            Flag::new("--contiguous", "one run"),
            Flag::new("--no-fill", "untouched"),
            JSON,
        ],
        words: |place, word| {
            if place == Place::Value(NODE) {
                ["0", "1", "10"].into_iter().for_each(word);
            }
        },
        example: "alloc 1M",
        ..Command::NEW
    };
    /// `lsmem`.
    pub static LSMEM: Command = Command {
        name: "lsmem",
        flags: &[
            Flag::new("--all", "each block").short('a'),
            Flag::new("--noheadings", "no titles").short('n'),
            Flag::new("--output", "columns").short('o').value("LIST"),
            Flag::new("--summary", "sums").optional("WHEN"),
            JSON,
        ],
        effect: Effect::Reads,
        ..Command::NEW
    };
    /// `free`.
    pub static FREE: Command = Command {
        name: "free",
        operands: Operands::one("ID|all"),
        words: |_, word| word("all"),
        flags: &[JSON],
        ..Command::NEW
    };
    /// `help`.
    pub static HELP: Command =
        Command { name: "help", operands: Operands::optional("[COMMAND]"), ..Command::NEW };
    /// `clear`.
    pub static CLEAR: Command = Command { name: "clear", effect: Effect::Terminal, ..Command::NEW };

    macro_rules! reads {
        ($($(#[$doc:meta])* $item:ident = $name:literal $operands:expr;)*) => {
            $($(#[$doc])* pub static $item: Command = Command {
                name: $name, operands: $operands, flags: &[JSON], effect: Effect::Reads, ..Command::NEW
            };)*
        };
    }
    reads! {
        /// `meminfo`.
        MEMINFO = "meminfo" Operands::NONE;
        /// `resources`.
        RESOURCES = "resources" Operands::NONE;
        /// `sections`.
        SECTIONS = "sections" Operands::optional("[ID|FROM-TO]");
        /// `buddyinfo`.
        BUDDYINFO = "buddyinfo" Operands::optional("[ID]");
        /// `page`.
        PAGE = "page" Operands::one("PFN");
        /// `stat`.
        STAT = "stat" Operands::NONE;
        /// `policy`.
        POLICY = "policy" Operands::optional("[WORD]");
    }

    /// All of them.
    pub static COMMANDS: Commands = Commands(&[Group {
        title: "all",
        commands: &[
            &ALLOC, &LSMEM, &FREE, &HELP, &CLEAR, &MEMINFO, &RESOURCES, &SECTIONS, &BUDDYINFO, &PAGE, &STAT,
            &POLICY,
        ],
    }]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    // Usage and help come from the declarations: each flag once, with its letter and its value.
    #[test]
    fn help() {
        let usage = sample::LSMEM.usage().to_string();
        assert_eq!(usage, "lsmem [-a] [-n] [-o LIST] [--summary[=WHEN]] [-J]");
        assert_eq!(sample::PAGE.usage().to_string(), "page PFN [-J]");
        let mut out = String::new();
        sample::ALLOC.write_help(&mut out).unwrap();
        assert!(out.contains("\n  --node N               from this node\n"), "{out}");
        assert!(out.contains("\n  -a, --all              every free frame\n"), "{out}");
        assert!(out.contains("\nexample: alloc 1M\n"), "{out}");
    }

    // Aliases lead to a command, names to themselves.
    #[test]
    fn names() {
        for command in sample::COMMANDS.all() {
            assert_eq!(sample::COMMANDS.find(command.name), Some(command));
        }
        assert_eq!(sample::COMMANDS.find("man"), Some(&sample::HELP));
    }
}
