//! Pages of the commands about the shell, and of what stands in front of a command and behind it.

use super::{EMPTY, Page};

pub const HELP: Page = Page {
    what: &[
        "Lists the commands by subject, or tells all about one, which COMMAND --help and man COMMAND do too: what it does, its operands and flags, its columns, fields and words, what it refuses, and examples that can be typed as they are.",
        "Keys: Tab completes, twice lists what there is; up and down (Ctrl-P, Ctrl-N) find earlier lines, Ctrl-R those with the typed text in them; Ctrl-A, E, B, F, K, U, W edit as in bash; Ctrl-L empties the screen; Ctrl-C gives up a line, and stops a command that runs.",
        "Log lines are printed above the prompt. Pipes, pager and watch are the host's: `cargo xtask sh lsmem | head`.",
    ],
    given: &[("COMMAND", "Its name.")],
    errors: &["There is no such command."],
    examples: &[("help page", "All about page."), ("lsmem --help", "All about lsmem.")],
    see: &["history", "clear"],
    ..EMPTY
};

pub const HISTORY: Page = Page {
    what: &[
        "Shows the lines typed before, with their numbers. The oldest go when 4 KiB are full; one that is typed twice in a row is kept once.",
        "!N runs the line of that number again, !! the last one, !-N the one N lines ago; what stands behind that is added, as in `!! -J`. The line that is run is shown behind ->.",
    ],
    given: &[("N", "Only the last N.")],
    fields: &[("number", "A line's number."), ("line", "What was typed.")],
    errors: &["A number that is none. For !N: there is no such line any more."],
    examples: &[
        ("history 3", "The last three lines, this one among them."),
        ("history -J", "All of them, for programs."),
    ],
    see: &["help"],
    ..EMPTY
};

pub const CLEAR: Page = Page {
    what: &[
        "Empties the terminal's screen; Ctrl-L does it without giving up the line that is being typed. The prompt comes in the second row: it always stands behind a line's end, for programs.",
    ],
    examples: &[("clear", "An empty screen.")],
    see: &["help", "history"],
    ..EMPTY
};
