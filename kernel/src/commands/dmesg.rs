//! `dmesg`: the kernel's log, in steps.

use super::console::Out;
use super::{Outcome, input};
use crate::log::{self, Cursor};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON};
use carapace_cli::output::{Array, Format};

/// `dmesg`.
pub static COMMAND: Command =
    Command { name: "dmesg", summary: "the kernel log", flags: &[JSON], example: "dmesg", ..Command::NEW };

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let dropped = log::dropped();
    if invocation.format() == Format::Json {
        return dmesg_json(dropped).await;
    }
    if dropped > 0 {
        writeln!(Out, "({dropped} older lines were dropped)")?;
    }
    let mut cursor = Cursor::default();
    while let Some((next, line)) = log::read(cursor) {
        writeln!(Out, "{}", line.as_str())?;
        cursor = next;
        input::step().await?;
    }
    Ok(())
}

async fn dmesg_json(dropped: u64) -> Outcome {
    write!(Out, "{{\"dropped\":{dropped},\"lines\":")?;
    let mut lines = Array::new();
    Array::begin(&mut Out)?;
    let mut cursor = Cursor::default();
    let mut walked = Ok(());
    while walked.is_ok()
        && let Some((next, line)) = log::read(cursor)
    {
        lines.item(&mut Out, &line.as_str())?;
        cursor = next;
        walked = input::step().await;
    }
    Out.write_str("]}\n")?;
    walked
}
