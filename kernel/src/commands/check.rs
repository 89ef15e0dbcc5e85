//! `check`: walks every invariant of the memory core, a resource in a step, and looks at the protections of memory, some
//! leaves in a step.

use super::console::Out;
use super::{Failure, Outcome, input};
use crate::arch::machine_check;
use crate::memory::core;
use crate::memory::protection::{self, Unprotected};
use ::core::fmt::Write;
use arrayvec::ArrayVec;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON};
use carapace_cli::output::{self, Format, Text};
use carapace_cli::rows::CheckHead;
use carapace_mm::addr::VirtAddr;
use carapace_mm::check::CheckError;

/// `check`.
pub static CHECK: Command = Command {
    name: "check",
    summary: "walks every invariant of the memory core",
    flags: &[JSON],
    example: "check",
    ..Command::NEW
};

/// Freed frames compared in a step.
const POISON_STEP: u64 = 4096;
/// Leaves looked at in a step.
const LEAVES_STEP: usize = 4096;
/// Broken things that are named one by one.
const NAMED: usize = 64;

/// `check [-J]`
pub async fn check(invocation: &Invocation<'_>) -> Outcome {
    let mut named: ArrayVec<CheckError, NAMED> = ArrayVec::new();
    let (mut checked, mut broken) = (0, 0u64);
    let mut note = |error| {
        broken += 1;
        // Those that do not fit are counted.
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
            let (looked, next) = core().check_poison(info.id, at, POISON_STEP, &mut damaged);
            checked += looked;
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
        let (looked, next) = protection::verify_leaves(at, LEAVES_STEP, &mut note);
        checked += looked;
        from = next;
        input::step().await?;
    }
    checked += protection::verify_rest(&mut note);
    let mut rows = |tell: &mut dyn FnMut(&Text<200>)| {
        named.iter().for_each(|error| tell(&Text::of(error)));
        unprotected.iter().for_each(|missing| tell(&Text::of(missing)));
    };
    match invocation.format() {
        Format::Json => {
            let head = CheckHead { ok: broken == 0, checked, broken };
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
                return Err(Failure::of(format_args!("{broken} of {checked} things are broken")));
            }
            writeln!(Out, "ok: {checked} things checked, all as they should be")?;
        }
    }
    Ok(())
}
