//! What `help COMMAND` says: a page for each command, in the manner of a manual.
//!
//! ```text
//!  NAME  SYNOPSIS  DESCRIPTION  OPERANDS AND FLAGS  COLUMNS AND FIELDS  WORDS  ERRORS  EXAMPLES  SEE ALSO
//! ```
//!
//! Invariants: 80 columns; each flag of the table has its text, and each flag that has a text is taken; the examples
//! run as they are in a guest with a 256 MiB DIMM on node 1 (`tests/e2e/help.rs` types every one). Neighbour:
//! [`crate::commands`] has names, synopses and summaries.

use crate::args::Flag;
use crate::commands::{Command, Id};
use core::fmt::{self, Write};

mod line;
mod look;
mod machine;
mod turn;
mod using;

/// Something that is typed or shown, and what it means.
pub type Meaning = (&'static str, &'static str);

/// The page of a command.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Paragraphs on what it does.
    pub what: &'static [&'static str],
    /// Operands and flags. `-J` is not among them.
    pub given: &'static [Meaning],
    /// Columns of its table, fields of its JSON.
    pub fields: &'static [Meaning],
    /// Words that stand there.
    pub words: &'static [Meaning],
    /// What can be refused, and why.
    pub errors: &'static [&'static str],
    /// Lines that can be typed as they are, and what they show.
    pub examples: &'static [Meaning],
    /// Commands nearby.
    pub see: &'static [&'static str],
}

/// A page with nothing on it yet.
const EMPTY: Page =
    Page { what: &[], given: &[], fields: &[], words: &[], errors: &[], examples: &[], see: &[] };

/// The page of a command.
pub fn page(id: Id) -> &'static Page {
    match id {
        Id::Resources => &look::RESOURCES,
        Id::Sections => &look::SECTIONS,
        Id::Meminfo => &look::MEMINFO,
        Id::Numa => &look::NUMA,
        Id::Buddyinfo => &look::BUDDYINFO,
        Id::Lsmem => &look::LSMEM,
        Id::Map => &look::MAP,
        Id::Page => &look::PAGE,
        Id::Ptwalk => &look::PTWALK,
        Id::Ptdump => &look::PTDUMP,
        Id::Alloc => &using::ALLOC,
        Id::Free => &using::FREE,
        Id::Verify => &using::VERIFY,
        Id::Offline => &turn::OFFLINE,
        Id::Online => &turn::ONLINE,
        Id::Chmem => &turn::CHMEM,
        Id::Policy => &turn::POLICY,
        Id::Check => &using::CHECK,
        Id::Fail => &turn::FAIL,
        Id::Stress => &using::STRESS,
        Id::Poison => &using::POISON,
        Id::Misuse => &using::MISUSE,
        Id::Panic => &machine::PANIC,
        Id::Acpi => &machine::ACPI,
        Id::Stat => &machine::STAT,
        Id::Dmesg => &machine::DMESG,
        Id::Uptime => &machine::UPTIME,
        Id::Reboot => &machine::REBOOT,
        Id::Poweroff => &machine::POWEROFF,
        Id::Help => &line::HELP,
        Id::History => &line::HISTORY,
        Id::Clear => &line::CLEAR,
    }
}

/// Writes what the words mean that stand in a command's table: below that, where it was asked for.
pub fn legend(out: &mut dyn Write, id: Id) -> fmt::Result {
    let words = page(id).words;
    let width = words.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
    words.iter().try_for_each(|(word, means)| writeln!(out, "{word:width$}  {means}"))
}

const WIDTH: usize = 80;
/// Columns in front of text, and of what a term means.
const INDENT: usize = 7;
const DEEPER: usize = 14;
const JSON: Meaning = (
    "-J, --json",
    "One line of JSON and nothing else: integers, sizes and addresses in bytes, frames as pfn.",
);

/// Writes the page of a command.
pub fn write(out: &mut dyn Write, command: &Command) -> fmt::Result {
    let page = page(command.id);
    writeln!(out, "NAME")?;
    wrap(out, INDENT, &[command.name, " - ", command.summary])?;
    writeln!(out, "\nSYNOPSIS")?;
    wrap(out, INDENT, &[command.usage])?;
    writeln!(out, "\nDESCRIPTION")?;
    for (number, paragraph) in page.what.iter().enumerate() {
        if number > 0 {
            out.write_char('\n')?;
        }
        wrap(out, INDENT, &[paragraph])?;
    }
    let json = command.flags.contains(&Flag::Json).then_some(&JSON);
    meanings(out, "OPERANDS AND FLAGS", page.given.iter().chain(json))?;
    meanings(out, "COLUMNS AND FIELDS", page.fields.iter())?;
    meanings(out, "WORDS", page.words.iter())?;
    if !page.errors.is_empty() {
        writeln!(out, "\nERRORS")?;
        page.errors.iter().try_for_each(|error| wrap(out, INDENT, &[error]))?;
    }
    meanings(out, "EXAMPLES", page.examples.iter())?;
    writeln!(out, "\nSEE ALSO")?;
    write!(out, "{:INDENT$}", "")?;
    for (number, name) in page.see.iter().enumerate() {
        write!(out, "{}{name}", if number == 0 { "" } else { ", " })?;
    }
    out.write_char('\n')
}

fn meanings<'a>(out: &mut dyn Write, title: &str, all: impl Iterator<Item = &'a Meaning>) -> fmt::Result {
    for (number, (term, means)) in all.enumerate() {
        if number == 0 {
            writeln!(out, "\n{title}")?;
        }
        writeln!(out, "{:INDENT$}{term}", "")?;
        wrap(out, DEEPER, &[means])?;
    }
    Ok(())
}

/// Writes text in lines that fit, each behind blanks.
fn wrap(out: &mut dyn Write, indent: usize, parts: &[&str]) -> fmt::Result {
    let mut column = 0;
    for word in parts.iter().flat_map(|part| part.split_ascii_whitespace()) {
        let width = word.chars().count();
        if column == 0 {
            write!(out, "{:indent$}{word}", "")?;
            column = indent + width;
        } else if column + 1 + width > WIDTH {
            write!(out, "\n{:indent$}{word}", "")?;
            column = indent + width;
        } else {
            write!(out, " {word}")?;
            column += 1 + width;
        }
    }
    out.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;
    use crate::commands::{commands, find};
    use std::string::String;
    use std::vec::Vec;

    fn text(command: &Command) -> String {
        let mut out = String::new();
        write(&mut out, command).unwrap();
        out
    }

    // Every page says what its command does, has 80 columns, an example that is taken by the command itself, and
    // leads to others that are there.
    #[test]
    fn pages() {
        for command in commands() {
            let (page, text) = (page(command.id), text(command));
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH && !line.ends_with(' '), "{}: {line}", command.name);
            }
            assert!(
                !page.what.is_empty() && !page.examples.is_empty() && !page.see.is_empty(),
                "{}",
                command.name
            );
            for (example, _) in page.examples {
                let parsed = parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
                assert_eq!(parsed.command.id, command.id, "{example}");
            }
            for name in page.see {
                assert!(find(name).is_some() && *name != command.name, "{}: {name}", command.name);
            }
        }
    }

    // Each flag of the table has its text, in each of its spellings, and each that has a text is taken.
    #[test]
    fn flags() {
        for command in commands() {
            let page = page(command.id);
            let json = [JSON];
            let given = page.given.iter().chain(json.iter().filter(|_| command.flags.contains(&Flag::Json)));
            let mut told = Vec::new();
            for spelling in given.flat_map(|(term, _)| term.split(", ")).filter(|term| term.starts_with('-'))
            {
                // A value in brackets may be left out.
                let spelling = spelling.split('[').next().unwrap();
                let (flag, value) = match spelling.split_once([' ', '=']) {
                    Some((flag, value)) => (flag, Some(value)),
                    None => (spelling, None),
                };
                let operands = ["1", "1"].into_iter().take(command.operands.0);
                let words: Vec<&str> =
                    [command.name, flag].into_iter().chain(value).chain(operands).collect();
                if let Err(error) = parse(&words.join(" ")) {
                    panic!("{}: {spelling}: {error}", command.name);
                }
                told.push(flag);
            }
            for flag in command.flags {
                let short = flag.short().map(|letter| std::format!("-{letter}"));
                let long = if *flag == Flag::Json { "--json" } else { flag.spelling() };
                assert!(told.contains(&long), "{}: {long}", command.name);
                assert!(
                    short.is_none_or(|short| told.contains(&short.as_str())),
                    "{}: {flag:?}",
                    command.name
                );
            }
        }
    }

    // Legends stand below tables of 80 columns.
    #[test]
    fn legends() {
        for id in [Id::Resources, Id::Sections] {
            let mut out = String::new();
            legend(&mut out, id).unwrap();
            assert!(out.lines().count() > 2 && out.lines().all(|line| line.len() <= WIDTH), "{out}");
        }
    }

    // The words that completion offers as operands are explained.
    #[test]
    fn operands() {
        for command in commands() {
            let text = text(command);
            for word in command.words {
                assert!(text.contains(word), "{}: {word}", command.name);
            }
        }
    }
}
