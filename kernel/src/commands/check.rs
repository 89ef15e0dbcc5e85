//! The command `check`: verifies every invariant of the memory core, one resource per step, and memory protection, some
//! leaves per step.

use super::console::Out;
use super::{Failure, Outcome, input};
use crate::arch::machine_check;
use crate::memory::core;
use crate::memory::protection::{self, Unprotected};
use ::core::fmt::Write;
use arrayvec::ArrayVec;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON};
use carapace_cli::output::{self, Format};
use carapace_mm::addr::VirtAddr;
use carapace_mm::check::CheckError;
use carapace_schema::{CheckOf, Finding, Streamed};

/// `check`.
pub static COMMAND: Command = Command {
    name: "check",
    summary: "verifies every invariant of the memory core",
    flags: &[JSON],
    example: "check",
    ..Command::NEW
};

/// Freed frames compared in a step.
const POISON_STEP: u64 = 4096;
/// Leaves verified in a step.
const LEAVES_STEP: usize = 4096;
/// The most errors that are listed.
const NAMED: usize = 64;

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let mut named: ArrayVec<CheckError, NAMED> = ArrayVec::new();
    let (mut checked, mut broken) = (0, 0u64);
    let mut note = |error| {
        broken += 1;
        // An error that does not fit is only counted.
        let _ = named.try_push(error);
    };
    machine_check::poll();
    checked += core().check_sums(&mut note);
    let mut after = None;
    while let Some(info) = core().resource_after(after) {
        after = Some(info.range.start);
        checked += core().check_resource(info.id, &mut note);
        input::step().await?;
        let mut from = Some(info.range.start);
        while let Some(at) = from {
            let mut damaged = |finding| note(CheckError::Poison(finding));
            let (compared, next) = core().check_poison(info.id, at, POISON_STEP, &mut damaged);
            checked += compared;
            from = next;
            input::step().await?;
        }
    }
    let mut unprotected: ArrayVec<Unprotected, NAMED> = ArrayVec::new();
    let mut note = |missing| {
        broken += 1;
        let _ = unprotected.try_push(missing);
    };
    let mut from = Some(VirtAddr(0));
    while let Some(at) = from {
        let (leaves, next) = protection::verify_leaves(at, LEAVES_STEP, &mut note);
        checked += leaves;
        from = next;
        input::step().await?;
    }
    checked += protection::verify_rest(&mut note);
    let mut rows = |each: &mut dyn FnMut(&Finding)| {
        named.iter().for_each(|error| each(&Finding::of(error)));
        unprotected.iter().for_each(|missing| each(&Finding::of(missing)));
    };
    match invocation.format() {
        Format::Json => {
            let head = CheckOf { ok: broken == 0, checked, broken, errors: Streamed };
            output::object_with(&mut Out, "errors", &mut rows, &mut || head)?;
        }
        Format::Table => {
            for error in &named {
                writeln!(Out, "{error}")?;
            }
            for missing in &unprotected {
                writeln!(Out, "{missing}")?;
            }
            if broken > 0 {
                return Err(Failure::of(format_args!("{broken} of {checked} checks failed")));
            }
            writeln!(Out, "ok: {checked} checks passed")?;
        }
    }
    Ok(())
}
