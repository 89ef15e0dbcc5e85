//! Tab's completions: the name of a command, and then its flags and words.

use crate::command::Commands;

/// Lists the words that may follow `before` on a line, for `editor`'s Tab.
pub fn complete(commands: Commands, before: &str, candidate: &mut dyn FnMut(&'static str)) {
    let name = before.split_ascii_whitespace().next();
    let Some(name) = name else {
        commands.all().for_each(|command| candidate(command.name));
        return;
    };
    let Some(command) = commands.find(name) else { return };
    if command.name == "help" {
        commands.all().for_each(|command| candidate(command.name));
    }
    (command.words)(candidate);
    command.flags.iter().for_each(|flag| candidate(flag.spelling()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample::COMMANDS;
    use std::vec::Vec;

    fn all(before: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        complete(COMMANDS, before, &mut |name| found.push(name));
        found
    }

    // Tab completes commands at the start, and flags and words after a command.
    #[test]
    fn commands_and_words() {
        let start = all("  ");
        assert!(start.contains(&"alloc") && start.contains(&"help"));
        assert_eq!(all("free "), ["all", "-J"]);
        assert!(all("alloc 1M ").contains(&"--contiguous"));
        assert!(all("help ").contains(&"alloc"));
        assert!(all("nonsense ").is_empty());
    }
}
