//! Suggestions for unknown commands and flags: foreign names, typos, unique prefixes. Suggested, never executed.

use crate::command::{Command, Commands};
use core::fmt;

/// Commands of other shells, and their replacements here.
const HABITS: &[(&[&str], &str)] = &[
    (&["cat", "ls", "cd", "pwd", "vi"], "there are no files; buddyinfo and meminfo are commands"),
    (
        &["echo"],
        "there are no files; offline ID and online ID change a resource's state, policy that of the next",
    ),
    (&["numactl", "nodes"], "numa shows what numactl -H does"),
    (&["zones", "zoneinfo", "pagetypeinfo"], "buddyinfo, resources and meminfo show zones and nodes"),
    (&["memmap", "vmemmap"], "resources shows each memmap, page PFN a frame's descriptor, map a picture"),
    (&["add", "hotplug", "insert"], "plug 256M --node 1 plugs a DIMM"),
    (&["eject", "remove", "rm", "pull", "hotunplug"], "unplug ID takes a DIMM out; dimms lists them"),
    (&["exit", "quit", "logout", "halt", "shutdown"], "poweroff turns the machine off"),
    (&["reset"], "clear clears the screen, reboot restarts the machine"),
    (
        &["top", "htop", "ps", "vmstat"],
        "there are no processes; on the host: watch -n1 cargo xtask sh meminfo",
    ),
    (&["uname", "version"], "the first line of dmesg"),
    (&["sudo", "su", "bash", "sh"], "there are no users and no programs; help lists the commands"),
    (
        &["device_add", "device_del", "object_add", "object_del", "info"],
        "plug and unplug do that; or type it in QEMU's monitor, in `cargo xtask run` by Ctrl-a c",
    ),
    (
        &["grep", "head", "tail", "wc", "more", "less", "jq", "watch", "time", "repeat"],
        "use the host's: cargo xtask sh lsmem | grep online, watch -n1 cargo xtask sh buddyinfo",
    ),
    (&["tour", "demo"], "that is for the host: cargo xtask tour"),
    (&["cargo", "dimm"], "that is for another terminal; here it is plug 256M, dimms, unplug ID"),
];

/// What is meant by a command of the same name elsewhere, by its first flag.
const ELSEWHERE: &[(&str, &[&str], &str)] = &[
    (
        "free",
        &["h", "b", "k", "m", "g", "t", "w"],
        "meminfo and numa show free memory; free frees an allocation",
    ),
    ("page", &["a", "s"], "map shows what all frames are, page PFN one of them"),
];

/// The command to use instead for a flag that `name` has elsewhere and not here.
pub fn elsewhere(name: &str, flag: &str) -> Option<&'static str> {
    let found = ELSEWHERE.iter().find(|(command, flags, _)| *command == name && flags.contains(&flag));
    found.map(|(_, _, instead)| *instead)
}

/// The hint after the name of an unknown command.
#[derive(Clone, Copy, Debug)]
pub struct Instead<'a>(pub Commands, pub &'a str);

impl fmt::Display for Instead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, instead)) = HABITS.iter().find(|(words, _)| words.contains(&self.1)) {
            return write!(f, ": {instead}");
        }
        match meant(self.1, self.0.all().map(|command| command.name)) {
            Some(name) => write!(f, "; is {name} meant? (help lists the commands)"),
            None => f.write_str(" (help lists the commands)"),
        }
    }
}

/// The long flag of `command` that is meant by `word`, the name of a flag that it does not have.
pub fn flag(command: &Command, word: &str) -> Option<&'static str> {
    meant(word, command.flags.iter().filter_map(|flag| flag.long.strip_prefix("--")))
}

/// The one of `names` that is one slip away from `word`, or else the only one that begins with it.
fn meant(word: &str, names: impl Iterator<Item = &'static str> + Clone) -> Option<&'static str> {
    let mut longer = names.clone().filter(|name| name.starts_with(word));
    let only = longer.next().filter(|_| longer.next().is_none());
    names.clone().filter(|_| word.len() > 1).find(|name| one_slip(word, name)).or(only)
}

/// Whether two words differ by at most one letter added, missing or changed, or by two swapped letters. Case is ignored.
fn one_slip(a: &str, b: &str) -> bool {
    let same = |(a, b): &(&u8, &u8)| a.eq_ignore_ascii_case(b);
    let front = a.bytes().zip(b.bytes()).take_while(|(a, b)| same(&(a, b))).count();
    let (a, b) = (&a.as_bytes()[front..], &b.as_bytes()[front..]);
    let back = a.iter().rev().zip(b.iter().rev()).take_while(same).count();
    match (&a[..a.len() - back], &b[..b.len() - back]) {
        ([] | [_], [] | [_]) => true,
        ([a, b], [c, d]) => same(&(a, d)) && same(&(b, c)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::sample::COMMANDS;
    use std::string::ToString;

    // A typo, a capital and an abbreviation give the command; an ambiguous or unknown word gives none.
    #[test]
    fn slips() {
        for (word, name) in [
            ("HELP", "help"),
            ("lsmemm", "lsmem"),
            ("lmsem", "lsmem"),
            ("pag", "page"),
            ("buddy", "buddyinfo"),
            ("resoruces", "resources"),
            ("mem", "meminfo"),
        ] {
            assert!(
                Instead(COMMANDS, word).to_string().starts_with(&std::format!("; is {name} meant?")),
                "{word}"
            );
        }
        for word in ["p", "frob", "off-line-it", "", "é", "x"] {
            assert_eq!(Instead(COMMANDS, word).to_string(), " (help lists the commands)", "{word}");
        }
    }

    // Commands of other shells give a hint; none of them is a command here.
    #[test]
    fn habits() {
        assert_eq!(Instead(COMMANDS, "numactl").to_string(), ": numa shows what numactl -H does");
        for word in HABITS.iter().flat_map(|(words, _)| *words) {
            assert!(COMMANDS.find(word).is_none(), "{word}");
        }
    }

    // A flag of another system's command of the same name gives the command to use here.
    #[test]
    fn flags_from_elsewhere() {
        assert!(elsewhere("free", "h").is_some_and(|text| text.starts_with("meminfo")));
        assert_eq!((elsewhere("free", "J"), elsewhere("alloc", "h")), (None, None));
        assert!(COMMANDS.parse("free -m").is_err_and(|error| error.to_string().contains("meminfo")));
        assert!(COMMANDS.parse("free -h").is_err_and(|error| error.to_string().contains("meminfo")));
    }

    // One letter gives the only flag that begins with it; a longer word, the flag one typo away.
    #[test]
    fn flags() {
        let flag = |command: &str, word| flag(COMMANDS.find(command).unwrap(), word);
        assert_eq!(flag("alloc", "c"), Some("contiguous"));
        assert_eq!(flag("alloc", "contigous"), Some("contiguous"));
        assert_eq!(flag("alloc", "pin"), Some("pinned"));
        assert_eq!((flag("alloc", "n"), flag("alloc", "color"), flag("page", "x")), (None, None, None));
    }
}
