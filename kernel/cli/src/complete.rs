//! What Tab can complete: the name of a command, of one behind a prefix, of a filter behind a `|`, and then its flags
//! and words.

use crate::args::WORDS_MAX;
use crate::commands::{Command, Id, Role, commands, find};
use crate::pipeline::own_words;
use arrayvec::ArrayVec;

/// Stands for the word that is to be completed.
const THIS: &str = "this";

/// What may follow `before` on a line. For `editor`'s Tab.
pub fn complete(before: &str, candidate: &mut dyn FnMut(&'static str)) {
    let (place, part) = match before.rsplit_once('|') {
        None => (Role::Command, before),
        Some((_, last)) => (Role::Filter, last),
    };
    let mut words: ArrayVec<&str, WORDS_MAX> = ArrayVec::new();
    for word in part.split_ascii_whitespace().chain([THIS]) {
        if words.try_push(word).is_err() {
            return;
        }
    }
    let mut rest = &words[..];
    let mut flags_of: Option<&Command> = None;
    while let Some((name, behind)) = rest.split_first() {
        if behind.is_empty() {
            names(candidate, |role| (role == Role::Filter) == (place == Role::Filter));
            // A prefix's flags may stand where its command may.
            flags_of.iter().for_each(|prefix| flags(prefix, candidate));
            return;
        }
        let Some(command) =
            find(name).filter(|command| (command.role == Role::Filter) == (place == Role::Filter))
        else {
            return;
        };
        if command.role != Role::Prefix {
            if command.id == Id::Help {
                names(candidate, |_| true);
            }
            command.words.iter().for_each(|word| candidate(word));
            return flags(command, candidate);
        }
        // Where all of them are its own, so is the one that is completed: a number.
        rest = behind.get(own_words(command, behind)..).unwrap_or_default();
        flags_of = Some(command);
    }
}

fn names(candidate: &mut dyn FnMut(&'static str), wanted: impl Fn(Role) -> bool) {
    commands().filter(|command| wanted(command.role)).for_each(|command| candidate(command.name));
}

fn flags(command: &Command, candidate: &mut dyn FnMut(&'static str)) {
    command.flags.iter().for_each(|flag| candidate(flag.spelling()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn all(before: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        complete(before, &mut |name| found.push(name));
        found
    }

    // Tab knows commands at the start, and behind a command its flags and words.
    #[test]
    fn commands_and_words() {
        let start = all("  ");
        assert!(start.contains(&"alloc") && start.contains(&"time") && !start.contains(&"grep"));
        assert_eq!(all("free "), ["all", "-J"]);
        assert!(all("alloc 1M ").contains(&"--contiguous"));
        assert!(all("help ").contains(&"alloc") && all("help ").contains(&"grep"));
        assert_eq!(all("stress "), ["heap", "off", "-J"]);
        assert_eq!(all("policy "), ["online", "offline", "movable", "kernel", "-J"]);
        assert!(all("fail ").contains(&"vmemmap"));
        assert!(all("nonsense ").is_empty() && all(&"page ".repeat(99)).is_empty());
    }

    // Behind prefixes stands a command, behind a '|' a filter; a number that comes next is not guessed.
    #[test]
    fn prefixes_and_filters() {
        for before in ["time ", "repeat 3 ", "watch -n 1 ", "time repeat 3 watch "] {
            let found = all(before);
            assert!(
                found.contains(&"alloc") && found.contains(&"watch") && !found.contains(&"grep"),
                "{before}"
            );
        }
        assert!(all("watch ").contains(&"--interval") && !all("time ").contains(&"--interval"));
        assert_eq!(all("time free "), ["all", "-J"]);
        assert!(all("repeat ").is_empty() && all("watch -n ").is_empty());
        assert_eq!(all("lsmem | "), ["grep", "head", "tail", "wc", "more"]);
        assert_eq!(all("time lsmem|"), all("lsmem | "));
        assert_eq!(all("lsmem | head -3 | grep "), ["--ignore-case", "--invert-match", "--count"]);
        assert!(all("lsmem | free ").is_empty() && all("grep ").is_empty());
    }
}
