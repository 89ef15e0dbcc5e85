//! The one table of commands: dispatch, `help` and completion read it, and the kernel matches on
//! [`Id`] exhaustively, so that a command without a handler does not compile. What `help COMMAND` says of
//! each stands in [`crate::manual`].

use crate::args::Flag;

/// Which command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the command of that name in the table below")]
pub enum Id {
    Help,
    Resources,
    Sections,
    Meminfo,
    Numa,
    Buddyinfo,
    Lsmem,
    Page,
    Map,
    Alloc,
    Free,
    Verify,
    Check,
    Offline,
    Online,
    Chmem,
    Policy,
    Stress,
    Fail,
    Poison,
    Misuse,
    Acpi,
    Ptwalk,
    Ptdump,
    Stat,
    Dmesg,
    Uptime,
    History,
    Clear,
    Reboot,
    Poweroff,
    Panic,
}

impl Id {
    /// Whether it is about a person's terminal.
    pub const fn needs_terminal(self) -> bool {
        matches!(self, Id::Clear)
    }

    /// Whether it changes nothing, and is done soon whatever else runs.
    pub const fn only_looks(self) -> bool {
        matches!(
            self,
            Id::Resources
                | Id::Sections
                | Id::Meminfo
                | Id::Numa
                | Id::Lsmem
                | Id::Map
                | Id::Buddyinfo
                | Id::Page
                | Id::Ptwalk
                | Id::Stat
                | Id::Uptime
        )
    }
}

/// A command as the table has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Which.
    pub id: Id,
    /// As it is typed.
    pub name: &'static str,
    /// Name, operands and flags, as `help` shows them.
    pub usage: &'static str,
    /// What it is for, one line.
    pub summary: &'static str,
    /// The flags it takes.
    pub flags: &'static [Flag],
    /// The fewest and the most operands it takes.
    pub operands: (usize, usize),
    /// What an operand can be, for completion.
    pub words: &'static [&'static str],
}

/// Commands of one subject, as `help` lists them.
#[derive(Debug)]
pub struct Group {
    /// The subject.
    pub title: &'static str,
    /// Its commands.
    pub commands: &'static [Command],
}

const JSON: &[Flag] = &[Flag::Json];
const LOOK: &[Flag] = &[Flag::Verbose, Flag::Json];
/// What `lsmem -o` takes, in the order of [`crate::rows::LsmemRow`]'s columns.
pub const LSMEM_COLUMNS: &[&str] = &["RANGE", "SIZE", "STATE", "REMOVABLE", "BLOCK", "NODE", "ZONES"];
/// What `chmem -z` takes: util-linux's zones that there are here, and this kernel's own.
pub const CHMEM_ZONES: &[&str] = &["Movable", "Normal", "any"];
/// What `policy` takes; the kernel proves at compile time that these are the memory core's words.
pub const POLICIES: &[&str] = &["online", "offline", "movable", "kernel"];
/// What `fail` takes; proven likewise.
pub const STEPS: &[&str] = &[
    "check",
    "direct-map",
    "vmemmap",
    "region",
    "online",
    "isolate",
    "migrate",
    "hand-over",
    "unmap-vmemmap",
    "unmap-direct-map",
    "remove",
];
/// What `panic` takes; proven likewise.
pub const FAULTS: &[&str] = &[
    "stack",
    "null",
    "absent",
    "descriptor",
    "code",
    "data",
    "code-alias",
    "run-alias",
    "heap-end",
    "page-tables",
    "region",
    "heap",
    "log",
    "serial",
    "handler",
];

/// What `misuse` takes; proven likewise.
pub const MISUSES: &[&str] = &["double-free", "middle-free", "foreign-free", "absent-free", "write-freed"];

#[allow(clippy::too_many_arguments, reason = "a row of the table below, where each stands under its like")]
const fn command(
    id: Id,
    name: &'static str,
    usage: &'static str,
    flags: &'static [Flag],
    operands: (usize, usize),
    words: &'static [&'static str],
    summary: &'static str,
) -> Command {
    Command { id, name, usage, summary, flags, operands, words }
}

/// All commands, in the order in which `help` lists them.
#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    Group { title: "what memory there is", commands: &[
        command(Id::Resources, "resources", "resources [-v] [-J]", LOOK, (0, 0), &[],
            "boot memory and each DIMM's ranges: memmap, usable, free memory"),
        command(Id::Sections, "sections", "sections [ID|FROM-TO] [-v] [-J]", LOOK, (0, 1), &[],
            "the 128 MiB sections, of one resource or between two numbers"),
        command(Id::Meminfo, "meminfo", "meminfo [-J]", JSON, (0, 0), &[],
            "sums of present, usable and free memory, memmap, heap; by node"),
        command(Id::Numa, "numa", "numa [-J]", JSON, (0, 0), &[],
            "nodes, their sizes and distances, as numactl -H shows them"),
        command(Id::Buddyinfo, "buddyinfo", "buddyinfo [ID] [-J]", JSON, (0, 1), &[],
            "free blocks of each order by node and zone, -J: by resource"),
        command(Id::Lsmem, "lsmem",
            "lsmem [-a|-S LIST] [-b] [-n] [-o [+]LIST|--output-all] [--summary[=WHEN]] [-J|-P|-r]",
            &[Flag::All, Flag::Split, Flag::Bytes, Flag::NoHeadings, Flag::Output, Flag::OutputAll, Flag::Summary,
              Flag::Json, Flag::Pairs, Flag::Raw], (0, 0), LSMEM_COLUMNS,
            "ranges of memory as util-linux has it (-a: blocks, -b: bytes)"),
        command(Id::Map, "map", "map [-J]", JSON, (0, 0), &[],
            "a picture of physical memory: boot memory, memmap, used, free"),
    ] },
    Group { title: "one frame, one address", commands: &[
        command(Id::Page, "page", "page PFN [-J]", JSON, (1, 1), &[],
            "what a frame is, where its descriptor is and who holds it"),
        command(Id::Ptwalk, "ptwalk", "ptwalk VADDR [-J]", JSON, (1, 1), &[],
            "what a virtual address is mapped to, level by level"),
        command(Id::Ptdump, "ptdump", "ptdump [-J]", JSON, (0, 0), &[],
            "how many leaves each window has, and whether any is W and X"),
    ] },
    Group { title: "using memory", commands: &[
        command(Id::Alloc, "alloc", "alloc SIZE|--all [--node N] [--pinned] [--contiguous] [--no-fill] [-J]",
            &[Flag::All, Flag::Node, Flag::Pinned, Flag::Contiguous, Flag::NoFill, Flag::Json], (0, 1), &[],
            "takes memory, maps it, fills it with a pattern for `verify`"),
        command(Id::Free, "free", "free ID|all [-J]", JSON, (1, 1), &["all"],
            "gives back one allocation, or all (meminfo: how much is free)"),
        command(Id::Verify, "verify", "verify [-J]", JSON, (0, 0), &[],
            "compares each filled allocation with its pattern"),
    ] },
    Group { title: "in and out of use", commands: &[
        command(Id::Offline, "offline", "offline ID|FROM-TO [-J]", JSON, (1, 1), &[],
            "takes a resource or sections out of use; content moves away"),
        command(Id::Online, "online", "online ID|FROM-TO [--movable|--kernel] [-J]",
            &[Flag::Movable, Flag::Kernel, Flag::Json], (1, 1), &[],
            "takes a resource or sections that are offline into use again"),
        command(Id::Chmem, "chmem", "chmem -e|-d SIZE|RANGE|-b BLOCKRANGE [-z ZONE] [-v]",
            &[Flag::Enable, Flag::Disable, Flag::Blocks, Flag::Zone, Flag::Verbose], (1, 1), CHMEM_ZONES,
            "sets a size or range online or offline, block by block"),
        command(Id::Policy, "policy", "policy [online|offline|movable|kernel] [-J]", JSON, (0, 1), POLICIES,
            "what memory becomes that is plugged from now on"),
    ] },
    Group { title: "looking for faults", commands: &[
        command(Id::Check, "check", "check [-J]", JSON, (0, 0), &[],
            "walks every invariant of the memory core"),
        command(Id::Fail, "fail", "fail [STEP [N]] [-J]", JSON, (0, 2), STEPS,
            "makes a step of the next N adds or removals fail"),
        command(Id::Stress, "stress", "stress heap|off [-J]", JSON, (1, 1), &["heap", "off"],
            "uses the kernel's heap up to its reserve; off gives it back"),
        command(Id::Poison, "poison", "poison [on|off] [-J]", JSON, (0, 1), &["on", "off"],
            "fills what is freed, and tells of what writes to it"),
        command(Id::Misuse, "misuse", "misuse double-free|middle-free|foreign-free|absent-free|write-freed [-J]",
            JSON, (1, 1), MISUSES,
            "uses memory wrongly, to see that it is noticed"),
        command(Id::Panic, "panic", "panic [FAULT|LOCK]", &[], (0, 1), FAULTS,
            "stops the kernel by a panic or a fault, to see the report"),
    ] },
    Group { title: "the machine", commands: &[
        command(Id::Acpi, "acpi", "acpi [-J]", JSON, (0, 0), &[],
            "the firmware's tables, events and memory devices"),
        command(Id::Stat, "stat", "stat [-J]", JSON, (0, 0), &[],
            "counters since boot"),
        command(Id::Dmesg, "dmesg", "dmesg [-J]", JSON, (0, 0), &[],
            "the kernel's log so far"),
        command(Id::Uptime, "uptime", "uptime [-J]", JSON, (0, 0), &[],
            "the time since boot"),
        command(Id::Reboot, "reboot", "reboot", &[], (0, 0), &[],
            "starts the machine again"),
        command(Id::Poweroff, "poweroff", "poweroff", &[], (0, 0), &[],
            "turns the machine off"),
    ] },
    Group { title: "the shell", commands: &[
        command(Id::Help, "help", "help [COMMAND]", &[], (0, 1), &[],
            "what commands there are, or all about one of them"),
        command(Id::History, "history", "history [N] [-J]", JSON, (0, 1), &[],
            "the lines typed before; !N and !! run one again"),
        command(Id::Clear, "clear", "clear", &[], (0, 0), &[],
            "empties the screen, as Ctrl-L does"),
    ] },
];

/// All commands.
pub fn commands() -> impl Iterator<Item = &'static Command> + Clone {
    GROUPS.iter().flat_map(|group| group.commands)
}

/// Other names by which people know commands.
const ALIASES: &[(&str, &str)] = &[("man", "help"), ("?", "help")];

/// The command of that name.
pub fn find(name: &str) -> Option<&'static Command> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    commands().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    // Every command is found under its name and stands there once, its usage names it and every flag, and `help`
    // has 80 columns.
    #[test]
    fn table() {
        let names: Vec<&str> = commands().map(|command| command.name).collect();
        let width = names.iter().map(|name| name.len()).max().unwrap();
        for command in commands() {
            assert_eq!(find(command.name).map(|found| found.id), Some(command.id));
            assert_eq!(names.iter().filter(|name| **name == command.name).count(), 1);
            assert_eq!(command.usage.split([' ', '[']).next(), Some(command.name));
            for flag in command.flags {
                let short = flag.short().map(|c| std::format!("-{c}")).unwrap_or_default();
                let usage = command.usage;
                assert!(
                    usage.contains(flag.spelling()) || !short.is_empty() && usage.contains(&short),
                    "{usage}: {flag:?}"
                );
            }
            assert!(
                command.summary.len() + width + 4 <= 80 && !command.summary.ends_with('.'),
                "{}",
                command.name
            );
        }
        for (alias, name) in ALIASES {
            assert!(!names.contains(alias) && find(alias).is_some_and(|command| command.name == *name));
        }
    }
}
