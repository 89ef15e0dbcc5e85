//! The shell: reads lines on both serial lines and runs the commands.
//!
//! ```text
//!  COM1 ----input--> console (editor) --line--> commands::execute --> resources | alloc | map | ...
//!                       ^  ^                                  |  (rows)
//!   log lines ----------'  '---------------- Out <------------'
//! ```
//!
//! On COM2, if present, programs use the same commands (`rpc`). Invariants: each line runs one command at a time, and the
//! prompt follows when it is done. Neighbours: `terminal` has input and output, `commands` the commands, crate
//! `carapace-cli` the editor, arguments and output formats, tested on the host.

pub mod rpc;

use crate::bring_up;
use crate::commands::{COMMANDS, execute};
use crate::terminal::console::{self, Errors};
use crate::terminal::{host, input};
use arrayvec::ArrayString;
use carapace_cli::args::format_of;
use carapace_cli::complete::Candidates;
use carapace_cli::editor::{Event, LINE_MAX};
use carapace_cli::output::{self, Format};
use core::fmt::{Display, Write};

/// The shell: shows the prompt and runs lines, forever.
pub async fn run() -> ! {
    console::start();
    bring_up::finished().await;
    loop {
        let byte = input::byte().await;
        let Some(event) = console::feed(byte) else { continue };
        match event {
            Event::Line => {
                // A copy, since the console's lock must be free while a command runs.
                let line: ArrayString<LINE_MAX> = console::line();
                run_line(&line).await;
            }
            Event::TooLong { bytes } => {
                refuse(&format_args!("the line has {bytes} bytes, more than {LINE_MAX}"));
            }
            Event::Refused(what) => refuse(&format_args!("the line has {what}; it was not run")),
            Event::NotRecalled => refuse(&"no such line in the history, or the result is too long"),
            Event::Interrupted => {}
            Event::EndOfInput => advise(),
            Event::Complete => {
                complete();
                continue;
            }
        }
        console::prompt();
    }
}

/// Completes the word in front of the cursor. The candidates are collected before the console is locked, since the
/// commands look at memory for them. Not inlined: its buffers need not be in the task.
#[inline(never)]
fn complete() {
    let text = console::before_cursor();
    console::complete(&Candidates::of(COMMANDS, &text));
}

/// Says what a person wanted who typed Ctrl-D.
fn advise() {
    // The console takes all text.
    let _ = writeln!(Errors, "poweroff ends this machine; under cargo xtask run, Ctrl-a x ends QEMU");
}

/// Runs a line and prints its error, if any.
async fn run_line(text: &str) {
    // Enter alone gives a new prompt, as in every shell.
    if text.trim_ascii().is_empty() {
        return;
    }
    let format = format_of(text);
    let invocation = match COMMANDS.parse(text) {
        Err(error) => return fail(format, &error),
        Ok(invocation) => invocation,
    };
    if format == Format::Table {
        console::begin_command(invocation.command.name);
    }
    let outcome = execute(&invocation).await;
    console::end_line();
    if let Err(failure) = outcome {
        fail(format, &failure);
    }
}

fn fail(format: Format, reason: &dyn Display) {
    // A longer error text is truncated.
    let _ = match format {
        Format::Table if host::is_terminal() => output::wrapped_error(&mut Errors, reason),
        _ => output::error(&mut Errors, format, reason),
    };
}

/// Prints an error about the editor's line, in the line's output format.
fn refuse(reason: &dyn Display) {
    let format = format_of(&console::line());
    fail(format, reason);
}
