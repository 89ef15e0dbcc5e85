//! Tab's completions: the name of a command, and then its operands, its flags and their values.
//!
//! ```text
//!  alloc 1M --node 1 --p|      text in front of the cursor: what may follow `alloc 1M --node 1` and begins with `--p`
//!                     inned    the rest that all candidates agree in
//! ```
//!
//! Invariants: nothing is proposed that the line could not take, such as a flag given before; no heap. Candidates are
//! collected before the editor shows them, since the kernel must not look at its memory while it holds the console.

use crate::command::{Command, Commands, Flag, FlagValue, Place, Words};
use arrayvec::{ArrayString, ArrayVec};

/// Bytes of the longest candidate; longer ones are not proposed.
const WORD_MAX: usize = 64;
/// Bytes of the candidates kept for the list of a second Tab.
const LIST_MAX: usize = 2048;

/// The words that may stand in front of the cursor.
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
    word: &'a str,
    count: usize,
    /// What all of them begin with.
    agreed: ArrayString<WORD_MAX>,
    /// Each with a newline behind it.
    list: ArrayString<LIST_MAX>,
}

impl<'a> Candidates<'a> {
    /// None yet for the word at the end of `text`, which is the line in front of the cursor.
    pub fn new(text: &'a str) -> Candidates<'a> {
        let (_, word) = split(text);
        Candidates { word, count: 0, agreed: ArrayString::new(), list: ArrayString::new() }
    }

    /// Those of these commands.
    pub fn of(commands: Commands, text: &'a str) -> Candidates<'a> {
        let mut candidates = Candidates::new(text);
        complete(commands, split(text).0, &mut |candidate| candidates.add(candidate));
        candidates
    }

    /// Adds a candidate if it begins as the word does.
    pub fn add(&mut self, candidate: &str) {
        if !candidate.starts_with(self.word) {
            return;
        }
        if self.count == 0 {
            let Ok(first) = ArrayString::from(candidate) else { return };
            self.agreed = first;
        } else {
            let same = self.agreed.bytes().zip(candidate.bytes()).take_while(|(a, b)| a == b).count();
            self.agreed.truncate(same);
        }
        self.count += 1;
        if self.list.len() + candidate.len() < LIST_MAX {
            self.list.push_str(candidate);
            self.list.push('\n');
        }
    }

    /// The word so far.
    pub fn word(&self) -> &str {
        self.word
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What all of them add to the word.
    pub fn rest(&self) -> &str {
        self.agreed.get(self.word.len()..).unwrap_or_default()
    }

    /// The candidates, as far as they fit.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.list.lines()
    }
}

/// The text in front of the word to complete, and that word.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.rfind([' ', '=', ',']).map_or(0, |at| at + 1))
}

/// Lists the words that may follow `before` on a line.
fn complete(commands: Commands, before: &str, candidate: Words<'_>) {
    let mut words = before.split_ascii_whitespace();
    let Some(name) = words.next() else {
        commands.all().for_each(|command| candidate(command.name));
        return;
    };
    let Some(command) = commands.find(name) else { return };
    let mut given = Given::default();
    words.for_each(|word| given.take(command, word));
    if let Some(flag) = given.value_of {
        return (command.words)(Place::Value(flag), candidate);
    }
    // Behind `=` or a comma of anything else nothing is known.
    if !before.ends_with(' ') {
        return;
    }
    if given.operands < command.operands.most {
        match command.name {
            "help" => commands.all().for_each(|command| candidate(command.name)),
            _ => (command.words)(Place::Operand(given.operands), candidate),
        }
    }
    if !given.only_operands {
        let free = command.flags.iter().filter(|flag| !given.flags.contains(flag));
        free.for_each(|flag| candidate(flag.spelling()));
    }
}

/// What the words of a line have given a command.
#[derive(Debug, Default)]
struct Given {
    flags: ArrayVec<Flag, 16>,
    operands: usize,
    /// The next word is this flag's value.
    value_of: Option<Flag>,
    /// `--` has come.
    only_operands: bool,
}

impl Given {
    fn take(&mut self, command: &'static Command, word: &str) {
        if let Some(flag) = self.value_of.take() {
            // A list goes on behind its comma.
            self.value_of = word.ends_with(',').then_some(flag);
            return;
        }
        match (word.strip_prefix("--"), word.strip_prefix('-')) {
            _ if self.only_operands => self.operands += 1,
            (Some(""), _) => self.only_operands = true,
            (Some(long), _) => {
                let (name, value) = long.split_once('=').map_or((long, None), |(name, v)| (name, Some(v)));
                let flag = command.flags.iter().find(|flag| flag.long.strip_prefix("--") == Some(name));
                self.flag(flag, value);
            }
            (None, Some(letters)) if !letters.is_empty() => {
                for (at, letter) in letters.char_indices() {
                    let flag = command.flags.iter().find(|flag| flag.short == Some(letter));
                    let value = letters.get(at + letter.len_utf8()..).filter(|value| !value.is_empty());
                    let takes_rest = flag.is_some_and(|flag| flag.value != FlagValue::None);
                    self.flag(flag, value.filter(|_| takes_rest));
                    if takes_rest {
                        break;
                    }
                }
            }
            _ => self.operands += 1,
        }
    }

    fn flag(&mut self, flag: Option<&Flag>, value: Option<&str>) {
        let Some(&flag) = flag else { return };
        // More flags than a command has are refused later.
        let _ = self.flags.try_push(flag);
        let is_open = match (flag.value, value) {
            (FlagValue::None, _) | (FlagValue::Optional(_), None) => false,
            (FlagValue::Needed(_), None) => true,
            (_, Some(value)) => value.is_empty() || value.ends_with(','),
        };
        self.value_of = is_open.then_some(flag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample::COMMANDS;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn all(text: &str) -> Vec<String> {
        Candidates::of(COMMANDS, text).iter().map(ToString::to_string).collect()
    }

    /// Proves that Tab proposes commands at the start, then the words of the next operand and the flags. Fails when a
    /// command's words are lost.
    #[test]
    fn commands_and_words() {
        let start = all("  ");
        assert!(start.iter().any(|word| word == "alloc") && start.iter().any(|word| word == "help"));
        assert_eq!(all("al"), ["alloc"]);
        assert_eq!(all("free "), ["all", "-J"]);
        assert!(all("help ").iter().any(|word| word == "alloc"));
        assert!(all("nonsense ").is_empty());
    }

    /// Proves that a word is proposed only where the line can take it: no flag twice, in whatever spelling, no operand
    /// too many, values behind a flag that needs one and nothing else there. Fails when Tab completes to a line that is
    /// refused.
    #[test]
    fn only_what_fits() {
        assert_eq!(all("free all "), ["-J"]);
        assert!(all("free all -J ").is_empty());
        assert!(all("free all --json ").is_empty());
        assert_eq!(all("alloc 1M --node "), ["0", "1", "10"]);
        assert_eq!(all("alloc 1M --node 1"), ["1", "10"]);
        assert_eq!(all("alloc 1M --node="), ["0", "1", "10"]);
        assert_eq!(all("alloc 1M --node=1 --p"), ["--pinned"]);
        assert!(all("alloc 1M --pinned=").is_empty());
        assert!(all("alloc 1M,").is_empty());
        let left = all("alloc --node 1 -aJ --pinned -");
        assert_eq!(left, ["--contiguous", "--no-fill"]);
        assert!(all("alloc -- -").is_empty());
        assert!(!all("lsmem -no NODE ").contains(&"--output".to_string()));
        assert_eq!(all("lsmem --summary ").len(), 4);
    }

    /// Proves that the common start counts every candidate, also those that are not kept for the list. Fails when a word
    /// is completed further than one of them.
    #[test]
    fn more_than_fit() {
        let mut candidates = Candidates::new("page 1");
        (1000..2000).for_each(|number| candidates.add(&number.to_string()));
        candidates.add("2");
        candidates.add("1x");
        candidates.add(&"1".repeat(100));
        assert_eq!((candidates.count(), candidates.rest()), (1002, ""));
        assert!(candidates.iter().count() < 500);
        let mut candidates = Candidates::new("a");
        ["alpha", "alps"].into_iter().for_each(|word| candidates.add(word));
        assert_eq!((candidates.word(), candidates.rest()), ("a", "lp"));
    }
}
