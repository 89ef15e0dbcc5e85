//! `fail-virtio`: makes the answer to a coming request of a virtio device wrong.

use super::console::Out;
use super::{Failure, Outcome};
use crate::virtio::inject::{self, Wrong};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{self, Columns, Format, left, right};
use carapace_cli::parse;
use carapace_schema::{Fail, Text, Word};

/// `fail-virtio`.
pub static COMMAND: Command = Command {
    name: "fail-virtio",
    summary: "makes the answer to the N-th next virtio request wrong",
    operands: Operands { usage: "[ANSWER [N]]", least: 0, most: 2 },
    operand_help: &[
        (
            "ANSWER",
            "nack, busy, error, garbage: made up, the device does nothing. garbage-done: the device does it. silence: none. report-silence: none to a report of free pages.",
        ),
        ("N", "The request, 1 by default: the next one. 0 cancels, and ends a silence."),
    ],
    words: |_, word| Wrong::ALL.iter().for_each(|wrong| word(wrong.name())),
    flags: &[JSON],
    example: "fail-virtio silence 0",
    ..Command::NEW
};

static ANSWERS: Columns<Fail> = Columns::new(&[
    left("OF", |row, cell| cell(&row.of)),
    left("ANSWER", |row, cell| cell(&row.step)),
    right("REQUEST", |row, cell| cell(&row.times)),
]);

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let row = |wrong: Wrong| Fail {
        of: Word::of(&"virtio"),
        step: Text::of(&wrong.name()),
        times: inject::away(wrong),
    };
    let Some(name) = invocation.operand(0) else {
        let mut rows = |each: &mut dyn FnMut(&Fail)| Wrong::ALL.iter().for_each(|&wrong| each(&row(wrong)));
        output::list(&mut Out, invocation.format(), &ANSWERS, &mut rows)?;
        return Ok(());
    };
    let unknown =
        || Failure::of(format_args!("there is no answer '{name}' (fail-virtio without operands lists them)"));
    let wrong = Wrong::named(name).ok_or_else(unknown)?;
    let nth = parse::integer(invocation.operand(1).unwrap_or("1"), "the number of a request");
    let nth = u32::try_from(nth.map_err(Failure::of)?);
    inject::set(wrong, nth.map_err(|_| Failure::of("at most 4294967295"))?);
    match (invocation.format(), inject::away(wrong)) {
        (Format::Json, _) => output::object(&mut Out, &row(wrong))?,
        (Format::Table, 0) => writeln!(Out, "no request gets {name}")?,
        (Format::Table, nth) => writeln!(Out, "request {nth} from now gets {name}")?,
    }
    Ok(())
}
