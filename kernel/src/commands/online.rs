//! `online`: takes a resource, or a range of sections, that is offline into use again.

use super::console::Out;
use super::offline::{TARGET_HELP, target};
use super::{Failure, Outcome, words};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Flag, JSON, Operands};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Format};
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::info::Zone;
use carapace_schema::Online;

const MOVABLE: Flag = Flag::new("--movable", "zone movable: only memory that can be migrated");
const KERNEL: Flag = Flag::new("--kernel", "zone kernel: pinned allocations preferred");

/// `online`.
pub static COMMAND: Command = Command {
    name: "online",
    summary: "takes an offline resource or sections online again",
    operands: Operands::one("ID|FROM-TO"),
    operand_help: TARGET_HELP,
    words: words::resources_and_sections,
    flags: &[MOVABLE, KERNEL, JSON],
    example: "online 33-33",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let zone = match (invocation.has(&MOVABLE), invocation.has(&KERNEL)) {
        (false, false) => None,
        (true, false) => Some(Zone::Movable),
        (false, true) => Some(Zone::Kernel),
        (true, true) => return Err(Failure::of("--movable and --kernel exclude each other")),
    };
    let onlined = core().online(target(invocation)?, zone).map_err(Failure::of)?;
    match invocation.format() {
        Format::Json => output::object(&mut Out, &Online { pages: onlined.pages })?,
        Format::Table if onlined.pages == 0 => {
            writeln!(Out, "no change: all of it is already online")?;
        }
        Format::Table => {
            let size = Size(onlined.pages.saturating_mul(PAGE_SIZE));
            writeln!(Out, "{size} online, {} pages", onlined.pages)?;
        }
    }
    Ok(())
}
