//! The commands `history` and `clear`.

use super::console::{self, Errors, Out};
use super::{Failure, Outcome, input};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON, Operands};
use carapace_cli::output::{Array, Format};
use carapace_cli::parse;
use carapace_cli::rows::HistoryRow;

/// `history`.
pub static HISTORY: Command = Command {
    name: "history",
    summary: "the lines typed before; !N and !! run one again",
    operands: Operands::optional("[N]"),
    operand_help: &[("N", "Only the last N lines.")],
    flags: &[JSON],
    example: "history 3",
    ..Command::NEW
};

/// `clear`.
pub static CLEAR: Command = Command {
    name: "clear",
    summary: "clears the screen, like Ctrl-L",
    example: "clear",
    effect: Effect::Terminal,
    ..Command::NEW
};

/// `history [N] [-J]`
pub async fn history(invocation: &Invocation<'_>) -> Outcome {
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
            Format::Json => list.item(&mut Out, &HistoryRow { number, line: &line })?,
            Format::Table => writeln!(Out, "{number:>5}  {line}")?,
        }
        input::step().await?;
    }
    if invocation.format() == Format::Json {
        Out.write_str("]\n")?;
    }
    Ok(())
}

/// `clear`
pub async fn clear(_invocation: &Invocation<'_>) -> Outcome {
    // As the editor's Ctrl-L does.
    Ok(Errors.write_str("\x1b[H\x1b[2J")?)
}
