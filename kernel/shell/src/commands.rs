//! The one table of commands: dispatch, `help` and completion read it, and the kernel matches on
//! [`Id`] exhaustively, so that a command without a handler does not compile.

use crate::args::Flag;

/// Which command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the command of that name in the table below")]
pub enum Id {
    Help,
    Resources,
    Sections,
    Meminfo,
    Buddyinfo,
    Zoneinfo,
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
    Acpi,
    Ptwalk,
    Ptdump,
    Stat,
    Dmesg,
    Uptime,
    Reboot,
    Poweroff,
    Panic,
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
    /// A line that can be typed as it is.
    pub example: &'static str,
    /// The flags it takes.
    pub flags: &'static [Flag],
    /// The fewest and the most operands it takes.
    pub operands: (usize, usize),
    /// What an operand can be, for completion.
    pub words: &'static [&'static str],
}

const JSON: &[Flag] = &[Flag::Json];
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
pub const FAULTS: &[&str] = &["stack", "null", "absent", "descriptor", "code", "data"];

#[allow(clippy::too_many_arguments, reason = "a row of the table below, where each stands under its like")]
const fn command(
    id: Id,
    name: &'static str,
    usage: &'static str,
    flags: &'static [Flag],
    operands: (usize, usize),
    words: &'static [&'static str],
    summary: &'static str,
    example: &'static str,
) -> Command {
    Command { id, name, usage, summary, example, flags, operands, words }
}

/// All commands, in the order in which `help` lists them.
#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    command(Id::Help, "help", "help [COMMAND]", &[], (0, 1), &[],
        "what commands there are, or how one is used", "help alloc"),
    command(Id::Resources, "resources", "resources [-J]", JSON, (0, 0), &[],
        "boot memory and each DIMM's ranges: memmap, usable and free memory", "resources -J"),
    command(Id::Sections, "sections", "sections [ID|FROM-TO] [-J]", JSON, (0, 1), &[],
        "the 128 MiB sections, of one resource or between two numbers", "sections 32-33"),
    command(Id::Meminfo, "meminfo", "meminfo [-J]", JSON, (0, 0), &[],
        "sums of present, usable and free memory, memmap and heap, by node", "meminfo"),
    command(Id::Buddyinfo, "buddyinfo", "buddyinfo [ID] [-J]", JSON, (0, 1), &[],
        "free blocks of each order by node and zone, with -J by resource", "buddyinfo -J"),
    command(Id::Zoneinfo, "zoneinfo", "zoneinfo [-J]", JSON, (0, 0), &[],
        "pages of each node's zones, as in Linux's file of that name", "zoneinfo"),
    command(Id::Lsmem, "lsmem",
        "lsmem [-a|-S LIST] [-b] [-n] [-o [+]LIST|--output-all] [--summary[=WHEN]] [-J|-P|-r]",
        &[Flag::All, Flag::Split, Flag::Bytes, Flag::NoHeadings, Flag::Output, Flag::OutputAll, Flag::Summary,
          Flag::Json, Flag::Pairs, Flag::Raw], (0, 0), LSMEM_COLUMNS,
        "ranges of memory as util-linux has it (-a: blocks, -b: bytes)", "lsmem -o +NODE,ZONES"),
    command(Id::Page, "page", "page PFN [-J]", JSON, (1, 1), &[],
        "what a frame is, where its descriptor is and who holds it", "page 0x100400"),
    command(Id::Map, "map", "map [-J]", JSON, (0, 0), &[],
        "a picture of physical memory: boot memory, memmap, used, free", "map"),
    command(Id::Alloc, "alloc", "alloc SIZE|--all [--node N] [--pinned] [--contiguous] [--no-fill] [-J]",
        &[Flag::All, Flag::Node, Flag::Pinned, Flag::Contiguous, Flag::NoFill, Flag::Json], (0, 1), &[],
        "takes memory, maps it, fills it with a pattern for `verify`", "alloc 200M --node 1"),
    command(Id::Free, "free", "free ID|all [-J]", JSON, (1, 1), &["all"],
        "gives back one allocation, or all of them", "free all"),
    command(Id::Verify, "verify", "verify [-J]", JSON, (0, 0), &[],
        "compares every filled allocation with its pattern", "verify"),
    command(Id::Check, "check", "check [-J]", JSON, (0, 0), &[],
        "walks every invariant of the memory core, tells what is broken", "check"),
    command(Id::Offline, "offline", "offline ID|FROM-TO [-J]", JSON, (1, 1), &[],
        "takes a resource or sections out of use; their content moves away", "offline 33-33"),
    command(Id::Online, "online", "online ID|FROM-TO [--movable|--kernel] [-J]",
        &[Flag::Movable, Flag::Kernel, Flag::Json], (1, 1), &[],
        "takes a resource or sections that are offline into use again", "online 33-33 --movable"),
    command(Id::Chmem, "chmem", "chmem -e|-d SIZE|RANGE|-b BLOCKRANGE [-z ZONE] [-v]",
        &[Flag::Enable, Flag::Disable, Flag::Blocks, Flag::Zone, Flag::Verbose], (1, 1), CHMEM_ZONES,
        "sets a size or range of memory online or offline, block by block", "chmem -d 128M"),
    command(Id::Policy, "policy", "policy [online|offline|movable|kernel] [-J]", JSON, (0, 1), POLICIES,
        "what memory becomes that is plugged from now on: shows or sets it", "policy movable"),
    command(Id::Stress, "stress", "stress heap|off [-J]", JSON, (1, 1), &["heap", "off"],
        "uses the kernel's heap up to its reserve; off gives it back", "stress heap"),
    command(Id::Fail, "fail", "fail [STEP [N]] [-J]", JSON, (0, 2), STEPS,
        "makes a step of the next N adds or removals fail; alone: the steps", "fail vmemmap 2"),
    command(Id::Acpi, "acpi", "acpi [-J]", JSON, (0, 0), &[],
        "the firmware's tables, events and memory devices", "acpi"),
    command(Id::Ptwalk, "ptwalk", "ptwalk VADDR [-J]", JSON, (1, 1), &[],
        "what a virtual address is mapped to", "ptwalk 0xffff800000100000"),
    command(Id::Ptdump, "ptdump", "ptdump [-J]", JSON, (0, 0), &[],
        "how many leaves each window has, and whether any is W and X", "ptdump"),
    command(Id::Stat, "stat", "stat [-J]", JSON, (0, 0), &[],
        "counters since boot", "stat"),
    command(Id::Dmesg, "dmesg", "dmesg [-J]", JSON, (0, 0), &[],
        "the kernel's log so far", "dmesg"),
    command(Id::Uptime, "uptime", "uptime [-J]", JSON, (0, 0), &[],
        "the time since boot", "uptime"),
    command(Id::Reboot, "reboot", "reboot", &[], (0, 0), &[],
        "starts the machine again", "reboot"),
    command(Id::Poweroff, "poweroff", "poweroff", &[], (0, 0), &[],
        "turns the machine off", "poweroff"),
    command(Id::Panic, "panic", "panic [stack|null|absent|descriptor|code|data]", &[], (0, 1), FAULTS,
        "stops the kernel by a panic or a fault, to see what is reported", "panic stack"),
];

/// The command of that name.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// What may follow `before` on a line: commands, then their flags and words. For `editor`'s Tab.
pub fn complete(before: &str, candidate: &mut dyn FnMut(&'static str)) {
    let Some(name) = before.split_ascii_whitespace().next() else {
        return COMMANDS.iter().for_each(|command| candidate(command.name));
    };
    let Some(command) = find(name) else { return };
    if command.id == Id::Help {
        COMMANDS.iter().for_each(|command| candidate(command.name));
    }
    command.words.iter().for_each(|word| candidate(word));
    command.flags.iter().for_each(|flag| candidate(flag.spelling()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;
    use std::vec::Vec;

    // Every command is found under its name, its example is taken by its own table row, its usage
    // names it and every flag, and `help` has 80 columns.
    #[test]
    fn table() {
        for command in COMMANDS {
            assert_eq!(find(command.name).map(|found| found.id), Some(command.id));
            let example = parse(command.example).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(example.command.id, command.id);
            assert_eq!(command.usage.split([' ', '[']).next(), Some(command.name));
            for flag in command.flags {
                let short = flag.short().map(|c| std::format!("-{c}")).unwrap_or_default();
                let usage = command.usage;
                assert!(usage.contains(flag.spelling()) || usage.contains(&short), "{usage}: {flag:?}");
            }
            assert!(command.summary.len() < 69 && !command.summary.ends_with('.'));
        }
    }

    // Tab knows commands at the start, and behind a command its flags and words.
    #[test]
    fn completion() {
        let all = |before| {
            let mut found = Vec::new();
            complete(before, &mut |name| found.push(name));
            found
        };
        assert_eq!(all("  ").len(), COMMANDS.len());
        assert_eq!(all("free "), ["all", "-J"]);
        assert!(all("alloc 1M ").contains(&"--contiguous"));
        assert!(all("help ").contains(&"alloc"));
        assert_eq!(all("stress "), ["heap", "off", "-J"]);
        assert_eq!(all("policy "), ["online", "offline", "movable", "kernel", "-J"]);
        assert!(all("fail ").contains(&"vmemmap"));
        assert!(all("nonsense ").is_empty());
    }
}
