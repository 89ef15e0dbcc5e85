//! Commands about the prompt and its screen: `history`, `pager`, `clear`.

use super::console::{self, Errors, Out};
use super::{Failure, Outcome, input, pager as paging};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::number;
use carapace_cli::pages::{ROWS, ROWS_DEFAULT};
use carapace_cli::report::{self, Array, Format};
use carapace_cli::rows::{HistoryRow, PagerRow};

/// `history [N] [-J]`
pub async fn history(invocation: &Invocation<'_>) -> Outcome {
    let newest = console::newest_line();
    let most = match invocation.operand(0) {
        Some(text) => number::integer(text, "a number of lines").map_err(Failure::of)?,
        None => newest,
    };
    let mut list = Array::new();
    if invocation.format() == Format::Json {
        Array::begin(&mut Out)?;
    }
    for number in newest.saturating_sub(most) + 1..=newest {
        // The oldest ones are gone.
        let Some(line) = console::earlier_line(number) else { continue };
        match invocation.format() {
            Format::Json => list.item(&mut Out, &HistoryRow { number, line: &line })?,
            Format::Table => writeln!(Out, "{number:>5}  {line}")?,
        }
        input::telling_step().await?;
    }
    if invocation.format() == Format::Json {
        Out.write_str("]\n")?;
    }
    Ok(())
}

/// `pager [on|off|LINES] [-J]`
pub fn pager(invocation: &Invocation<'_>) -> Outcome {
    match invocation.operand(0) {
        None => {}
        Some("off") => paging::set_rows(None),
        Some("on") => paging::set_rows(Some(paging::rows().unwrap_or(ROWS_DEFAULT))),
        Some(text) => {
            let (least, most) = (ROWS.start(), ROWS.end());
            let wrong = || {
                Failure::of(format_args!(
                    "'{text}' is not on, off or a number of lines from {least} to {most}"
                ))
            };
            let rows = number::integer(text, "a number of lines").ok().and_then(|rows| rows.try_into().ok());
            paging::set_rows(Some(rows.filter(|rows| ROWS.contains(rows)).ok_or_else(wrong)?));
        }
    }
    let rows = paging::rows();
    match (invocation.format(), rows) {
        (Format::Json, _) => report::object(&mut Out, &PagerRow { rows })?,
        (Format::Table, Some(rows)) => writeln!(Out, "on: output stops where {rows} lines are full")?,
        (Format::Table, None) => writeln!(Out, "off: output never stops; COMMAND | more does")?,
    }
    Ok(())
}

/// `clear`
pub fn clear() -> Outcome {
    // As the editor's Ctrl-L, and past filters, which are for lines.
    Ok(Errors.write_str("\x1b[H\x1b[2J")?)
}
