//! `fail`: makes a step of the next additions or removals of memory fail.

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{self, Columns, Format, left, right};
use carapace_cli::parse;
use carapace_mm::fault_injection::Step;
use carapace_schema::{Fail, Text, Word};

/// `fail`.
pub static COMMAND: Command = Command {
    name: "fail",
    summary: "makes a step of the next N adds or removals fail",
    operands: Operands { usage: "[STEP [N]]", least: 0, most: 2 },
    operand_help: &[
        (
            "STEP",
            "Of an add: check, direct-map, vmemmap, region, online. Of a removal: isolate, migrate, copy, hand-over, unmap-vmemmap, unmap-direct-map, remove.",
        ),
        ("N", "The number of failures, 1 by default. 0 cancels."),
    ],
    words: |_, word| Step::ALL.iter().for_each(|step| word(step.name())),
    flags: &[JSON],
    example: "fail vmemmap 0",
    ..Command::NEW
};

static STEPS: Columns<Fail> = Columns::new(&[
    left("OF", |row, cell| cell(&row.of)),
    left("STEP", |row, cell| cell(&row.step)),
    right("FAILS", |row, cell| cell(&row.times)),
]);

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let mut only = None;
    if let Some(name) = invocation.operand(0) {
        let unknown =
            || Failure::of(format_args!("there is no step '{name}' (fail without operands lists them)"));
        let step = Step::named(name).ok_or_else(unknown)?;
        let times = parse::integer(invocation.operand(1).unwrap_or("1"), "a number of times");
        let times = u32::try_from(times.map_err(Failure::of)?);
        core().inject(step, times.map_err(|_| Failure::of("at most 4294967295 times"))?);
        only = Some(step);
    }
    let row = |step: Step| {
        let (of, times) = (Word::of(&step.operation()), core().injections_left(step));
        Fail { of, step: Text::of(&step.name()), times }
    };
    match (only, invocation.format()) {
        (Some(step), Format::Json) => output::object(&mut Out, &row(step))?,
        (Some(step), Format::Table) => {
            let Fail { of, step, times } = row(step);
            match times {
                0 => writeln!(Out, "no {of} will fail at {step}")?,
                1 => writeln!(Out, "the next {of} will fail at {step}")?,
                _ => writeln!(Out, "the next {times} operations of kind {of} will fail at {step}")?,
            }
        }
        (None, format) => {
            let mut rows = |each: &mut dyn FnMut(&Fail)| Step::ALL.iter().for_each(|&step| each(&row(step)));
            output::list(&mut Out, format, &STEPS, &mut rows)?;
        }
    }
    Ok(())
}
