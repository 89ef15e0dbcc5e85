//! `policy`: what becomes of memory that is plugged.

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_cli::rows::PolicyRow;
use carapace_mm::info::Policy;

/// `policy`.
pub static POLICY: Command = Command {
    name: "policy",
    summary: "what memory becomes that is plugged from now on",
    operands: Operands::optional("[online|offline|movable|kernel]"),
    words: |word| Policy::ALL.iter().for_each(|policy| word(policy.name())),
    flags: &[JSON],
    example: "policy movable",
    ..Command::NEW
};

/// `policy [online|offline|movable|kernel] [-J]`
pub async fn policy(invocation: &Invocation<'_>) -> Outcome {
    if let Some(name) = invocation.operand(0) {
        let unknown =
            || Failure::of(format_args!("there is no policy '{name}': online, offline, movable or kernel"));
        core().set_policy(Policy::named(name).ok_or_else(unknown)?);
    }
    let policy = core().policy();
    let means = match policy {
        Policy::Offline => "is added offline: none of its frames can be allocated",
        Policy::Online(carapace_mm::info::Zone::Any) => "goes online for every kind of allocation",
        Policy::Online(carapace_mm::info::Zone::Movable) => "goes online for movable allocations only",
        Policy::Online(carapace_mm::info::Zone::Kernel) => "goes online for the kernel's own allocations too",
    };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &PolicyRow { policy: policy.name() })?,
        Format::Table => writeln!(Out, "{policy}: memory that is plugged {means}")?,
    }
    Ok(())
}
