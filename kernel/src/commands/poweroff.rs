//! `poweroff`: turns the machine off by ACPI S5.

use super::{Failure, Outcome};
use crate::acpi::sleep;
use carapace_cli::args::Invocation;
use carapace_cli::command::Command;

/// `poweroff`.
pub static COMMAND: Command =
    Command { name: "poweroff", summary: "powers the machine off", example: "poweroff", ..Command::NEW };

/// Runs the command.
pub async fn run(_invocation: &Invocation<'_>) -> Outcome {
    let Err(error) = sleep::power_off();
    Err(Failure::of(error))
}
