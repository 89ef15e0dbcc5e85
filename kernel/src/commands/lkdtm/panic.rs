//! `panic`: stops the kernel by a panic or a fault of the CPU.

use super::cpu_faults::{Fault, provoke};
use super::{Failure, Outcome};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Operands};

/// `panic`.
pub static COMMAND: Command = Command {
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
    words: |_, word| Fault::ALL.iter().for_each(|fault| word(fault.name())),
    example: "panic descriptor",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let Some(name) = invocation.operand(0) else { panic!("asked for by the shell") };
    let unknown = || {
        let usage = invocation.command.usage();
        Failure::of(format_args!("there is no fault '{name}' to provoke; usage: {usage}"))
    };
    provoke(Fault::named(name).ok_or_else(unknown)?)
}
