//! The command `policy`: whether plugged memory goes online, and in which zone.

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_mm::info::Policy;
use carapace_schema::{self as schema, Word};

/// `policy`.
pub static COMMAND: Command = Command {
    name: "policy",
    summary: "whether memory plugged from now on goes online, and in which zone",
    operands: Operands::optional("[online|offline|movable|kernel]"),
    words: |word| Policy::ALL.iter().for_each(|policy| word(policy.name())),
    flags: &[JSON],
    example: "policy movable",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    if let Some(name) = invocation.operand(0) {
        let unknown =
            || Failure::of(format_args!("there is no policy '{name}': online, offline, movable or kernel"));
        core().set_policy(Policy::named(name).ok_or_else(unknown)?);
    }
    let policy = core().policy();
    let means = match policy {
        Policy::Offline => "stays offline: none of its frames can be allocated",
        Policy::Online(carapace_mm::info::Zone::Any) => "goes online for all allocations",
        Policy::Online(carapace_mm::info::Zone::Movable) => "goes online for movable allocations only",
        Policy::Online(carapace_mm::info::Zone::Kernel) => "goes online for pinned allocations first",
    };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &schema::Policy { policy: Word::of(&policy.name()) })?,
        Format::Table => writeln!(Out, "{policy}: plugged memory {means}")?,
    }
    Ok(())
}
