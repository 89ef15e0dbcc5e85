//! Pages of the commands about the shell, and of what stands in front of a command and behind it.

use super::{EMPTY, Page};

pub const HELP: Page = Page {
    what: &[
        "Lists the commands by subject, or tells all about one, which COMMAND --help and man COMMAND do too: what it does, its operands and flags, its columns, fields and words, what it refuses, and examples that can be typed as they are.",
        "Keys: Tab completes, twice lists what there is; up and down (Ctrl-P, Ctrl-N) find earlier lines, Ctrl-R those with the typed text in them; Ctrl-A, E, B, F, K, U, W edit as in bash; Ctrl-L empties the screen; Ctrl-C gives up a line, and stops a command that runs.",
        "A line: [time] [repeat N] [watch] COMMAND [| FILTER]... A word that starts with a quote (\" or ') goes to the next one, so that it may hold blanks and |. Log lines come above the prompt whenever they come.",
    ],
    given: &[("COMMAND", "Its name.")],
    errors: &["There is no such command."],
    examples: &[
        ("help page", "All about page."),
        ("lsmem --help | head -5", "What lsmem is, and how it is typed."),
        ("help | grep memory", "Commands about memory."),
    ],
    see: &["history", "pager", "clear", "grep", "watch"],
    ..EMPTY
};

pub const HISTORY: Page = Page {
    what: &[
        "Shows the lines typed before, with their numbers. The oldest go when 4 KiB are full; one that is typed twice in a row is kept once.",
        "!N runs the line of that number again, !! the last one, !-N the one N lines ago; what stands behind that is added, as in `!! | head`. The line that is run is shown behind ->.",
    ],
    given: &[("N", "Only the last N.")],
    fields: &[("number", "A line's number."), ("line", "What was typed.")],
    errors: &["A number that is none. For !N: there is no such line any more."],
    examples: &[
        ("history 3", "The last three lines, this one among them."),
        ("history -J", "All of them, for programs."),
    ],
    see: &["help", "repeat"],
    ..EMPTY
};

pub const PAGER: Page = Page {
    what: &[
        "Says whether output stops where the screen is full, and for how many lines that is. While it stops: space shows the next page, Enter the next line, q ends the command, Ctrl-C too; any other text shows all the rest and is the beginning of the next line.",
        "It is off until somebody says that there is a terminal, since the kernel cannot know, and a program that reads the serial line must not be kept waiting. `cargo xtask run` says so where it has one itself (QEMU's -fw_cfg name=opt/carapace/pager,string=LINES). Output with -J never stops. What a command writes at once beyond 32 KiB goes by.",
        "With the pager on, watch draws in place.",
    ],
    given: &[
        ("on", "The screen has as many lines as were said last, or 24."),
        ("off", "Output never stops."),
        ("LINES", "On, for a screen of so many lines: 4 to 1000."),
    ],
    fields: &[("rows", "Lines of the screen; null where output never stops.")],
    errors: &["Something else."],
    examples: &[("pager", "on or off."), ("pager off", "As for programs.")],
    see: &["more", "watch", "head"],
    ..EMPTY
};

pub const CLEAR: Page = Page {
    what: &[
        "Empties the terminal's screen; Ctrl-L does it without giving up the line that is being typed. The prompt comes in the second row: it always stands behind a line's end, for programs.",
    ],
    examples: &[("clear", "An empty screen.")],
    see: &["pager", "help"],
    ..EMPTY
};

pub const TIME: Page = Page {
    what: &[
        "Says how long all that stands behind it takes, filters and repeat too: nanoseconds of the guest's clock, and ticks of the CPU's time stamp counter, in a line below the output; with -J in a line of JSON.",
        "Under QEMU's -icount shift=0 a nanosecond of that clock is one instruction of the guest, so it counts instructions then.",
    ],
    given: &[("COMMAND", "Any line without time.")],
    fields: &[("took, time_ns", "The time."), ("ticks of the TSC, tsc_ticks", "The counter's ticks.")],
    examples: &[
        ("time check", "How long it takes to check all invariants."),
        ("time repeat 100 page 1049600 | wc -l", "A hundred times, without its output."),
    ],
    see: &["repeat", "watch", "uptime"],
    ..EMPTY
};

pub const REPEAT: Page = Page {
    what: &[
        "Runs what stands behind it N times, each time through its filters, until one of them fails. Ctrl-C ends it.",
    ],
    given: &[("N", "How often, at least 1."), ("COMMAND", "Any line without repeat.")],
    errors: &["A number that is none, or 0; and whatever the command refuses, once."],
    examples: &[
        ("repeat 3 alloc 1M", "Three allocations of 1 MiB."),
        ("repeat 2 uptime -J", "Two lines of JSON."),
    ],
    see: &["watch", "time"],
    ..EMPTY
};

pub const WATCH: Page = Page {
    what: &[
        "Runs what stands behind it again and again, each time through its filters, until Ctrl-C or any key: space, Enter and q are taken, any other key is the beginning of the next line. An error does not end it.",
        "With the pager on it draws in place, and what does not fit the screen is left out; else each run stands below the one before. With -J there is no heading, so that each line is JSON.",
    ],
    given: &[
        ("-n SECONDS, --interval SECONDS", "From one run to the next: 0.1 to 86400, 2 without it."),
        ("--count N", "Ends after N runs, for programs."),
        ("COMMAND", "Any line without watch."),
    ],
    errors: &["An interval or a number that is none."],
    examples: &[
        (
            "watch --count 2 buddyinfo",
            "Free blocks, twice in two seconds. Without --count: until a key is pressed. Plug a DIMM meanwhile.",
        ),
        ("watch -n 0.5 --count 2 meminfo -J", "Two lines of JSON."),
    ],
    see: &["repeat", "time", "pager"],
    ..EMPTY
};

pub const GREP: Page = Page {
    what: &[
        "Lets those lines of a command's output through that match a pattern: a basic regular expression. c is itself, . any character, [a-z] and [^a-z] one of a set and none of it, * any number of what stands in front of it, ^ and $ the line's ends, \\ takes a sign's meaning away.",
        "There may be four filters behind a command; each gets what the one before lets through. Errors do not go through them.",
    ],
    given: &[
        ("PATTERN", "What to look for; in quotes where it has blanks or |."),
        ("-i, --ignore-case", "Upper and lower case are the same."),
        ("-v, --invert-match", "The other lines."),
        ("-c, --count", "How many they are."),
    ],
    errors: &[
        "A pattern that is none, or longer than 64 characters; a line longer than 4096 bytes, as JSON may be: it is not answered for a part.",
    ],
    examples: &[
        ("sections | grep online", "Sections that are online."),
        ("lsmem -r | grep -c '^0x'", "How many ranges there are."),
        ("dmesg | grep -i -v info", "What the log has beside information."),
    ],
    see: &["head", "tail", "wc"],
    ..EMPTY
};

pub const HEAD: Page = Page {
    what: &["Lets the first lines of a command's output through; a command that only tells ends then."],
    given: &[("-n N, --lines N", "How many: 10 without it. -N is the same.")],
    errors: &["A number that is none."],
    examples: &[
        ("sections | head -n 3", "Titles and two sections."),
        ("acpi | grep MP | head -2", "Two devices."),
    ],
    see: &["tail", "grep", "more"],
    ..EMPTY
};

pub const TAIL: Page = Page {
    what: &["Lets the last lines of a command's output through."],
    given: &[("-n N, --lines N", "How many: 10 without it. -N is the same.")],
    errors: &["A number that is none; lines that have more than 16 KiB together."],
    examples: &[("dmesg | tail -n 3", "The last three lines of the log.")],
    see: &["head", "grep"],
    ..EMPTY
};

pub const WC: Page = Page {
    what: &["Counts the lines of a command's output."],
    given: &[("-l, --lines", "Lines: nothing else is counted.")],
    errors: &["Without -l."],
    examples: &[("sections | wc -l", "Sections, and the line of titles.")],
    see: &["grep", "head"],
    ..EMPTY
};

pub const MORE: Page = Page {
    what: &[
        "Stops the output of this one command at each screen, whatever pager is set to; less is the same. It is the last filter. The screen has as many lines as pager says, or 24; the keys are pager's.",
    ],
    errors: &["Something behind it."],
    examples: &[("uptime | more", "What fits a screen does not stop.")],
    see: &["pager", "head"],
    ..EMPTY
};
