//! `reboot`: restarts the machine.

use super::{Failure, Outcome};
use crate::acpi::sleep;
use carapace_cli::args::Invocation;
use carapace_cli::command::Command;

/// `reboot`.
pub static COMMAND: Command =
    Command { name: "reboot", summary: "restarts the machine", example: "reboot", ..Command::NEW };

/// Runs the command.
pub async fn run(_invocation: &Invocation<'_>) -> Outcome {
    let Err(error) = sleep::restart();
    Err(Failure::of(error))
}
