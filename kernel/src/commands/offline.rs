//! `offline`: takes a resource, or a range of sections, out of use.
//!
//! Offline memory stays mapped and known, but none of its frames can be allocated. Going offline migrates its allocations
//! in steps. Ctrl-C rolls back. Neighbours: `online` is the way back, `chmem` does the same block by block.

use super::console::Out;
use super::sections::sections_from_to;
use super::{Failure, Outcome, input, words};
use crate::hotplug::{STEP, microseconds, wait_limit, why};
use crate::memory::{arena, core};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Format};
use carapace_cli::parse::{self, IdOrRange};
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::hot_remove::{Offlined, RemoveError, Target};
use carapace_mm::info::ResourceId;
use carapace_mm::vmalloc::Progress;
use carapace_schema::Offline;

/// `offline`.
pub static COMMAND: Command = Command {
    name: "offline",
    summary: "takes a resource or sections offline, after migrating allocations",
    operands: Operands::one("ID|FROM-TO"),
    operand_help: TARGET_HELP,
    words: words::resources_and_sections,
    flags: &[JSON],
    example: "offline 33-33",
    ..Command::NEW
};

/// `help` for the operand of `offline` and `online`.
pub const TARGET_HELP: &[(&str, &str)] =
    &[("ID", "The resource's number."), ("FROM-TO", "A range of section numbers, both inclusive.")];

/// The target that `ID` or `FROM-TO` names.
pub fn target(invocation: &Invocation<'_>) -> Result<Target, Failure> {
    let text = invocation.operand(0).unwrap_or_default();
    Ok(match parse::id_or_range(text).map_err(Failure::of)? {
        IdOrRange::Id(number) => {
            let id = u32::try_from(number).ok().map(ResourceId);
            let known = id.filter(|&id| core().resource(id).is_some());
            Target::Resource(known.ok_or_else(|| {
                Failure::of(format_args!(
                    "there is no resource {number} (resources lists them); section {number} is {number}-{number}"
                ))
            })?)
        }
        IdOrRange::Sections { from, to } => Target::Frames(sections_from_to(from, to)?),
    })
}

/// Why the target did not go offline.
#[allow(clippy::large_enum_variant, reason = "as for `Failure`: there may be no heap")]
pub enum NotOffline {
    /// The memory core refuses.
    Refused(RemoveError),
    /// Ctrl-C.
    Stopped(Failure),
}

impl From<RemoveError> for NotOffline {
    fn from(error: RemoveError) -> NotOffline {
        NotOffline::Refused(error)
    }
}

impl From<NotOffline> for Failure {
    fn from(error: NotOffline) -> Failure {
        match error {
            NotOffline::Refused(error) => Failure::of(why(error)),
            NotOffline::Stopped(failure) => failure,
        }
    }
}

/// Takes all of `target` offline, or changes nothing.
pub async fn take_offline(target: Target) -> Result<Offlined, NotOffline> {
    let mut offlining = core().begin_offline(target, &microseconds)?;
    let mut limit = wait_limit();
    while core().offline_step(arena(), &mut offlining, STEP, &microseconds)? == Progress::More {
        let failure = match limit.check(offlining.waiting(), microseconds()) {
            Some(error) => Some(NotOffline::Refused(error)),
            None => input::step().await.err().map(NotOffline::Stopped),
        };
        if let Some(why) = failure {
            core().abort_offline(arena(), offlining);
            return Err(why);
        }
    }
    Ok(core().finish_offline(arena(), offlining)?)
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let offlined = take_offline(target(invocation)?).await?;
    let row = Offline { pages: offlined.pages, migrated_pages: offlined.stats.migrated_pages };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table if row.pages == 0 => writeln!(Out, "no change: all of it is already offline")?,
        Format::Table => {
            let size = Size(row.pages.saturating_mul(PAGE_SIZE));
            writeln!(Out, "{size} offline, {} pages; {} migrated", row.pages, row.migrated_pages)?;
        }
    }
    Ok(())
}
