//! `unplug`: asks the host to take a DIMM out.

use super::super::words;
use super::{Out, Outcome, Wanted, ask};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_schema::{Text, Unplug};

/// `unplug`.
pub static COMMAND: Command = Command {
    name: "unplug",
    summary: "migrates a DIMM's content, and has the host take it out",
    operands: Operands::one("ID"),
    operand_help: &[("ID", "Its name in QEMU, as dimms shows it.")],
    words: words::dimms,
    flags: &[JSON],
    example: "unplug d0",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let id = invocation.operand(0).unwrap_or_default();
    let wanted = Wanted::Unplug { id: Text::of(&id) };
    // As the host names memory, and as the lines of `plug` do.
    let (before, number, behind) = match id.strip_prefix("dimm") {
        Some(number) if !number.is_empty() => ("ram", number, ""),
        _ => ("", id, "-ram"),
    };
    let lines = format_args!(
        "    device_del {id}\n\nand, when the log says that it is gone,\n\n    object_del {before}{number}{behind}"
    );
    ask(wanted, "unplug", invocation.format(), lines).await?;
    match invocation.format() {
        Format::Json => output::object(&mut Out, &Unplug { id: Text::of(&id) })?,
        Format::Table => writeln!(Out, "{id}: unplugged")?,
    }
    Ok(())
}
