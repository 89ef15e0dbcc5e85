//! The command `poison`: fills freed memory with a pattern and reports writes to it.

use super::console::Out;
use super::words::fixed;
use super::{Failure, Outcome};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_mm::poison::Mode;
use carapace_schema::Poison;

/// `poison`.
pub static COMMAND: Command = Command {
    name: "poison",
    summary: "fills freed memory with a pattern, and reports writes to it",
    operands: Operands::optional("[on|off]"),
    operand_help: &[
        ("on", "Poisons memory that is freed from now on."),
        ("off", "Ends poisoning. Without an operand: shows the state."),
    ],
    words: |_, word| fixed(&["on", "off"], word),
    flags: &[JSON],
    example: "poison",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    match invocation.operand(0) {
        None => {}
        Some("on") => core().set_poison(Mode::On),
        Some("off") => core().set_poison(Mode::Off),
        Some(other) => return Err(Failure::of(format_args!("'{other}' is neither on nor off"))),
    }
    let info = core().poison_info();
    let row = Poison {
        on: info.mode == Mode::On,
        watched_pages: info.watched_pages,
        damaged_pages: info.damaged_pages,
    };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            let on = if row.on { "on" } else { "off" };
            let (watched, damaged) = (row.watched_pages, row.damaged_pages);
            writeln!(Out, "{on}; {watched} poisoned pages, {damaged} corrupted pages found")?;
        }
    }
    Ok(())
}
