//! Provoked faults, like Linux's `lkdtm`: `fail` (a step of an add or a removal), `stress` (a full heap), `misuse`
//! (invalid frees and writes), `panic` (CPU faults, panics under a lock).
//!
//! Each tests that the kernel detects and reports the fault without side effects. Neighbours: `misuse` and
//! [`heap_pressure`] provoke memory errors, [`cpu_faults`] CPU faults; `poison` detects writes to freed memory.

mod cpu_faults;
mod heap_pressure;
mod misuse;

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::{core, heap};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_cli::rows::{FailRow, MisuseRow, StressRow, Word};
use carapace_mm::fault_injection::Step;
use cpu_faults::{Fault, provoke};
use misuse::Misuse;

/// `fail`.
pub static FAIL: Command = Command {
    name: "fail",
    summary: "makes a step of the next N adds or removals fail",
    operands: Operands { usage: "[STEP [N]]", least: 0, most: 2 },
    operand_help: &[
        (
            "STEP",
            "Of an add: check, direct-map, vmemmap, region, online. Of a removal: isolate, migrate, hand-over, unmap-vmemmap, unmap-direct-map, remove.",
        ),
        ("N", "The number of failures, 1 by default. 0 cancels."),
    ],
    words: |word| Step::ALL.iter().for_each(|step| word(step.name())),
    flags: &[JSON],
    example: "fail vmemmap 0",
    ..Command::NEW
};

/// `stress`.
pub static STRESS: Command = Command {
    name: "stress",
    summary: "fills the kernel heap up to its reserve; off frees it again",
    operands: Operands::one("heap|off"),
    operand_help: &[("heap", "Allocates all but the reserve."), ("off", "Frees it again.")],
    words: |word| ["heap", "off"].into_iter().for_each(word),
    flags: &[JSON],
    example: "stress off",
    ..Command::NEW
};

/// `misuse`.
pub static MISUSE: Command = Command {
    name: "misuse",
    summary: "makes a memory error, to test that it is detected",
    operands: Operands::one("WHAT"),
    operand_help: &[
        ("double-free", "Frees a block twice."),
        ("middle-free", "Frees a frame inside an allocated block."),
        ("foreign-free", "Frees a frame of boot memory's memmap."),
        ("absent-free", "Frees an absent frame."),
        (
            "write-freed",
            "Writes to a free frame while poison is on: check reports it, and the log when the frame is allocated.",
        ),
    ],
    words: |word| Misuse::ALL.iter().for_each(|misuse| word(misuse.name())),
    flags: &[JSON],
    example: "misuse write-freed",
    ..Command::NEW
};

/// `panic`.
pub static PANIC: Command = Command {
    name: "panic",
    summary: "stops the kernel with a panic or a fault, to test the report",
    operands: Operands::optional("[FAULT|LOCK]"),
    operand_help: &[
        ("stack", "Overflows the stack into its guard page."),
        ("null", "Reads address 0."),
        ("absent", "Reads absent memory."),
        ("descriptor", "Reads the page descriptor of an absent frame: the report names its section."),
        ("code", "Writes to the kernel's own code."),
        ("data", "Executes data."),
        ("code-alias", "Writes to the kernel's code through the direct map."),
        ("run-alias", "Executes the kernel's code through the direct map."),
        ("heap-end", "Writes behind the heap's end."),
        (
            "page-tables, region, heap, log, serial",
            "Panics while that lock is held: the report must not wait for it.",
        ),
        ("handler", "Makes an interrupt handler find a lock held."),
    ],
    words: |word| Fault::ALL.iter().for_each(|fault| word(fault.name())),
    example: "panic descriptor",
    ..Command::NEW
};

/// `fail [STEP [N]] [-J]`
pub async fn fail(invocation: &Invocation<'_>) -> Outcome {
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
        FailRow { of, step: step.name(), times }
    };
    match (only, invocation.format()) {
        (Some(step), Format::Json) => output::object(&mut Out, &row(step))?,
        (Some(step), Format::Table) => {
            let FailRow { of, step, times } = row(step);
            match times {
                0 => writeln!(Out, "no {of} will fail at {step}")?,
                1 => writeln!(Out, "the next {of} will fail at {step}")?,
                _ => writeln!(Out, "the next {times} operations of kind {of} will fail at {step}")?,
            }
        }
        (None, format) => {
            let mut rows =
                |tell: &mut dyn FnMut(&FailRow)| Step::ALL.iter().for_each(|&step| tell(&row(step)));
            output::list(&mut Out, format, &mut rows)?;
        }
    }
    Ok(())
}

/// `stress heap|off [-J]`
pub async fn stress(invocation: &Invocation<'_>) -> Outcome {
    let (held, freed) = match invocation.operand(0) {
        Some("heap") => (heap_pressure::fill(), 0),
        Some("off") => (0, heap_pressure::drop_all()),
        other => {
            let other = other.unwrap_or_default();
            return Err(Failure::of(format_args!("'{other}' is neither heap nor off")));
        }
    };
    let heap::HeapStats { left, reserve_bytes, .. } = heap::stats();
    match invocation.format() {
        Format::Json => {
            output::object(&mut Out, &StressRow { held_bytes: held, left_bytes: left, reserve_bytes })?;
        }
        Format::Table => {
            match held {
                0 => write!(Out, "{} freed", Size(freed))?,
                held => write!(Out, "{} held until 'stress off'", Size(held))?,
            }
            writeln!(Out, "; {} left, and a reserve of {} for hotplug", Size(left), Size(reserve_bytes))?;
        }
    }
    Ok(())
}

/// `misuse WHAT [-J]`
pub async fn misuse(invocation: &Invocation<'_>) -> Outcome {
    let name = invocation.operand(0).unwrap_or_default();
    let misuse = Misuse::named(name).ok_or_else(|| {
        let usage = invocation.command.usage();
        Failure::of(format_args!("there is no misuse '{name}'; usage: {usage}"))
    })?;
    let pfn = misuse.commit().map_err(Failure::of)?.0;
    match invocation.format() {
        Format::Json => output::object(&mut Out, &MisuseRow { pfn })?,
        Format::Table => writeln!(Out, "wrote to frame {pfn:#x}, which is free")?,
    }
    Ok(())
}

/// `panic [FAULT]`
pub async fn panic(invocation: &Invocation<'_>) -> Outcome {
    let Some(name) = invocation.operand(0) else { panic!("asked for by the shell") };
    let unknown = || {
        let usage = invocation.command.usage();
        Failure::of(format_args!("there is no fault '{name}' to provoke; usage: {usage}"))
    };
    provoke(Fault::named(name).ok_or_else(unknown)?)
}
