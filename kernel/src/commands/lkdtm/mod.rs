//! Faults provoked on purpose, as Linux's `lkdtm` does: `fail` (a step of an add or a removal), `stress` (a full heap),
//! `misuse` (wrong frees and writes), `panic` (faults of the CPU, panics under a lock).
//!
//! Each shows that the kernel detects the fault, names it, and leaves no trace but the report. Neighbours: `misuse`
//! and [`heap_pressure`] do it to memory, [`cpu_faults`] to the CPU; `poison` watches freed memory.

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
            "Of an addition: check, direct-map, vmemmap, region, online. Of a removal: isolate, migrate, hand-over, unmap-vmemmap, unmap-direct-map, remove.",
        ),
        ("N", "How many times; 1 without it, 0 for no longer."),
    ],
    words: |word| Step::ALL.iter().for_each(|step| word(step.name())),
    flags: &[JSON],
    example: "fail vmemmap 0",
    ..Command::NEW
};

/// `stress`.
pub static STRESS: Command = Command {
    name: "stress",
    summary: "uses the kernel's heap up to its reserve; off gives it back",
    operands: Operands::one("heap|off"),
    operand_help: &[("heap", "Takes all that may be taken."), ("off", "Gives it back.")],
    words: |word| ["heap", "off"].into_iter().for_each(word),
    flags: &[JSON],
    example: "stress off",
    ..Command::NEW
};

/// `misuse`.
pub static MISUSE: Command = Command {
    name: "misuse",
    summary: "makes a memory error, to see that it is detected",
    operands: Operands::one("WHAT"),
    operand_help: &[
        ("double-free", "Frees a block twice."),
        ("middle-free", "Frees a frame inside of an allocated block."),
        ("foreign-free", "Frees a frame of boot memory's memmap."),
        ("absent-free", "Frees a frame that is not there."),
        (
            "write-freed",
            "Writes to a frame that is free, while poison is on: check tells, and so does the log when it is allocated.",
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
    summary: "stops the kernel by a panic or a fault, to see the report",
    operands: Operands::optional("[FAULT|LOCK]"),
    operand_help: &[
        ("stack", "Uses up the stack, and touches the guard page below it."),
        ("null", "Reads address 0."),
        ("absent", "Reads memory that is not there."),
        (
            "descriptor",
            "Reads the page descriptor of a frame that is not there: the report names its section.",
        ),
        ("code", "Writes to the kernel's own code."),
        ("data", "Runs data as code."),
        ("code-alias", "Writes to the kernel's code where the direct map has it."),
        ("run-alias", "Runs the kernel's code where the direct map has it."),
        ("heap-end", "Writes behind the heap's end."),
        (
            "page-tables, region, heap, log, serial",
            "Panics while that lock is held: the report waits for none.",
        ),
        ("handler", "Lets an interrupt handler find a lock taken."),
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
            || Failure::of(format_args!("there is no step '{name}' that can fail (fail alone lists them)"));
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
                0 => writeln!(Out, "no {of} is made to fail at {step}")?,
                1 => writeln!(Out, "the next {of} fails at {step}")?,
                _ => writeln!(Out, "the next {times} of {of} fail at {step}")?,
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
            return Err(Failure::of(format_args!("'{other}' is nothing to stress: heap, or off to end it")));
        }
    };
    let heap::HeapStats { left, reserve_bytes, .. } = heap::stats();
    match invocation.format() {
        Format::Json => {
            output::object(&mut Out, &StressRow { held_bytes: held, left_bytes: left, reserve_bytes })?;
        }
        Format::Table => {
            match held {
                0 => write!(Out, "{} given back", Size(freed))?,
                held => write!(Out, "{} held until 'stress off'", Size(held))?,
            }
            writeln!(Out, "; {} left, and {} of reserve for hotplug", Size(left), Size(reserve_bytes))?;
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
        Format::Table => writeln!(Out, "frame {pfn:#x} was written to while it was free")?,
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
