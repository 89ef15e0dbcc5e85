//! `help`: all commands, or the usage, flags and example of one.

use super::console::Out;
use super::{COMMANDS, Failure, Outcome};
use carapace_cli::args::{ArgError, Invocation};
use carapace_cli::command::{Command, Operands};

/// `help`.
pub static COMMAND: Command = Command {
    name: "help",
    summary: "lists the commands, or one command's flags",
    operands: Operands::optional("[COMMAND]"),
    operand_help: &[("COMMAND", "Its name.")],
    example: "help page",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let Some(name) = invocation.operand(0) else {
        return Ok(COMMANDS.write_help(&mut Out)?);
    };
    let command = COMMANDS.find(name);
    command.ok_or_else(|| Failure::of(ArgError::UnknownCommand(COMMANDS, name)))?.write_help(&mut Out)?;
    Ok(())
}
