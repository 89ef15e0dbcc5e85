//! `history`: the lines typed before.

use super::console::{self, Out};
use super::{Failure, Outcome, input};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{Array, Format};
use carapace_cli::parse;
use carapace_schema::History;

/// `history`.
pub static COMMAND: Command = Command {
    name: "history",
    summary: "the lines typed before; !N and !! run one again",
    operands: Operands::optional("[N]"),
    operand_help: &[("N", "Only the last N lines.")],
    flags: &[JSON],
    example: "history 3",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let newest = console::newest_line();
    let most = match invocation.operand(0) {
        Some(text) => parse::integer(text, "a number of lines").map_err(Failure::of)?,
        None => newest,
    };
    let mut list = Array::new();
    if invocation.format() == Format::Json {
        Array::begin(&mut Out)?;
    }
    for number in newest.saturating_sub(most) + 1..=newest {
        // The oldest lines are dropped.
        let Some(line) = console::earlier_line(number) else { continue };
        match invocation.format() {
            Format::Json => list.item(&mut Out, &History { number, line: &*line })?,
            Format::Table => writeln!(Out, "{number:>5}  {line}")?,
        }
        input::step().await?;
    }
    if invocation.format() == Format::Json {
        Out.write_str("]\n")?;
    }
    Ok(())
}
