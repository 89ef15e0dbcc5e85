//! The command `policy`: whether plugged memory goes online, in which zone, and whether allocations prefer fast memory.

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_mm::info::{NodeChoice, Policy};
use carapace_schema::{self as schema, Word};

/// `policy`.
pub static COMMAND: Command = Command {
    name: "policy",
    summary: "what plugged memory becomes, and which node allocations prefer",
    operands: Operands::optional("[online|offline|movable|kernel|fastest|most-free]"),
    words: |_, word| {
        Policy::ALL.iter().for_each(|policy| word(policy.name()));
        NodeChoice::ALL.iter().for_each(|choice| word(choice.name()));
    },
    flags: &[JSON],
    example: "policy movable",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    if let Some(name) = invocation.operand(0) {
        match (Policy::named(name), NodeChoice::named(name)) {
            (Some(policy), _) => core().set_policy(policy),
            (None, Some(choice)) => core().set_node_choice(choice),
            (None, None) => {
                return Err(Failure::of(format_args!(
                    "there is no policy '{name}': online, offline, movable or kernel; fastest or most-free"
                )));
            }
        }
    }
    let policy = core().policy();
    let means = match policy {
        Policy::Offline => "stays offline: none of its frames can be allocated",
        Policy::Online(carapace_mm::info::Zone::Any) => "goes online for all allocations",
        Policy::Online(carapace_mm::info::Zone::Movable) => "goes online for movable allocations only",
        Policy::Online(carapace_mm::info::Zone::Kernel) => "goes online for pinned allocations first",
    };
    let choice = core().node_choice();
    let prefers = match choice {
        NodeChoice::Fastest => "the fastest memory, where the firmware's HMAT tells",
        NodeChoice::MostFree => "the CPU's node, then that with most free memory",
    };
    let row = schema::Policy { policy: Word::of(&policy.name()), nodes: Word::of(&choice.name()) };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            writeln!(Out, "{policy}: plugged memory {means}")?;
            writeln!(Out, "{choice}: a movable allocation without a node prefers {prefers}")?;
        }
    }
    Ok(())
}
