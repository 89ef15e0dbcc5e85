//! The shell on the serial line: binds crate `carapace-cli` (editor, arguments, forms of output; no kernel in
//! it, tested on the host) to the memory core, hotplug, the log and the CPU.
//!
//! ```text
//!  COM1 ----input--> console (editor) --line--> commands::execute --> resources | alloc | map | ...
//!                       ^  ^                                  |  (rows)
//!   log lines ----------'  '---------------- Out <------------'
//! ```
//!
//! On COM2, where there is one, programs use the same commands (`rpc`). Invariants: one command a line at a time,
//! and the prompt comes when it is done; long commands work in steps with [`input::step`] between them, so that a DIMM is answered meanwhile and Ctrl-C is heard; no heap,
//! so that the shell works when the heap is exhausted; no reference into the memory core is kept across
//! a step.

#![allow(
    clippy::result_large_err,
    reason = "an error's text is on the stack: there may be no heap, and a command fails once"
)]

pub mod console;
pub mod input;
pub mod rpc;
pub mod session;

use crate::commands::{COMMANDS, execute};
use arrayvec::ArrayString;
use carapace_cli::args::format_of;
use carapace_cli::editor::{Event, LINE_MAX};
use carapace_cli::output::{self, Format, Text};
use core::fmt::Display;

/// Why a command ended before it was done.
#[allow(clippy::large_enum_variant, reason = "an error's text is on the stack: there may be no heap")]
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// It did not do what was asked: the text of its `error:` line.
    Error(Text<320>),
    /// Ctrl-C.
    Stopped,
}

impl Failure {
    /// An error of that text.
    pub fn of(reason: impl Display) -> Failure {
        Failure::Error(Text::of(&reason))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Failure::Error(reason) => reason.fmt(f),
            Failure::Stopped => f.write_str("stopped by Ctrl-C"),
        }
    }
}

/// Output can only fail when a row is longer than its buffer, which `rows`' tests exclude.
impl From<core::fmt::Error> for Failure {
    fn from(_: core::fmt::Error) -> Failure {
        Failure::of("a row of the answer does not fit its buffer")
    }
}

/// How a command ended.
pub type Outcome = Result<(), Failure>;

/// The shell: shows the prompt, and runs line after line for ever.
pub async fn run() -> ! {
    console::start();
    loop {
        let byte = input::byte().await;
        let Some(event) = console::feed(byte) else { continue };
        match event {
            Event::Line => {
                // The editor belongs to the console, whose lock is free while a command runs.
                let line: ArrayString<LINE_MAX> = console::line();
                run_line(&line).await;
            }
            Event::TooLong { bytes } => {
                refuse(&format_args!("the line has {bytes} bytes, at most {LINE_MAX} are taken"));
            }
            Event::Refused(what) => refuse(&format_args!("the line has {what}; it was not run")),
            Event::NotRecalled => refuse(&"there is no such line (history lists them), or it gets too long"),
            Event::Interrupted => {}
        }
        console::prompt();
    }
}

/// Runs a line and prints its error, if it has one.
async fn run_line(text: &str) {
    let format = format_of(text);
    let invocation = match COMMANDS.parse(text) {
        Err(error) => return fail(format, &error),
        Ok(invocation) => invocation,
    };
    let outcome = execute(&invocation).await;
    console::end_line();
    if let Err(failure) = outcome {
        fail(format, &failure);
    }
}

fn fail(format: Format, reason: &dyn Display) {
    // An error's text is cut to what fits.
    let _ = output::error(&mut console::Errors, format, reason);
}

/// Refuses the line that the editor has, in the form that it asks for as far as it is known.
fn refuse(reason: &dyn Display) {
    let format = format_of(&console::line());
    fail(format, reason);
}
