//! What Tab can complete: the name of a command, and then its flags and words.

use crate::commands::{Id, commands, find};

/// What may follow `before` on a line. For `editor`'s Tab.
pub fn complete(before: &str, candidate: &mut dyn FnMut(&'static str)) {
    let name = before.split_ascii_whitespace().next();
    let Some(name) = name else {
        commands().for_each(|command| candidate(command.name));
        return;
    };
    let Some(command) = find(name) else { return };
    if command.id == Id::Help {
        commands().for_each(|command| candidate(command.name));
    }
    command.words.iter().for_each(|word| candidate(word));
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
        assert!(start.contains(&"alloc") && start.contains(&"help"));
        assert_eq!(all("free "), ["all", "-J"]);
        assert!(all("alloc 1M ").contains(&"--contiguous"));
        assert!(all("help ").contains(&"alloc"));
        assert_eq!(all("stress "), ["heap", "off", "-J"]);
        assert_eq!(all("policy "), ["online", "offline", "movable", "kernel", "-J"]);
        assert!(all("fail ").contains(&"vmemmap"));
        assert!(all("nonsense ").is_empty());
    }
}
