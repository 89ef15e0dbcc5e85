//! `clear`: clears the screen.

use super::Outcome;
use super::console::Errors;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect};

/// `clear`.
pub static COMMAND: Command = Command {
    name: "clear",
    summary: "clears the screen, like Ctrl-L",
    example: "clear",
    effect: Effect::Terminal,
    ..Command::NEW
};

/// Runs the command.
pub async fn run(_invocation: &Invocation<'_>) -> Outcome {
    // As the editor's Ctrl-L.
    Ok(Errors.write_str("\x1b[H\x1b[2J")?)
}
