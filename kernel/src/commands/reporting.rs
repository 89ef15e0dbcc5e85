//! `reporting`: the free memory reported to the host.

use super::Outcome;
use super::console::Out;
use crate::virtio::reporting;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Columns, left, right};
use carapace_schema::{Device, Reporting};

/// `reporting`.
pub static COMMAND: Command = Command {
    name: "reporting",
    summary: "free page reporting: how much free memory was reported to the host",
    flags: &[JSON],
    example: "reporting",
    effect: Effect::Reads,
    ..Command::NEW
};

static COLUMNS: Columns<Reporting> = Columns::new(&[
    left("DEVICE", |row, cell| cell(&row.device)),
    right("BATCHES", |row, cell| cell(&row.batches)),
    right("REPORTED", |row, cell| cell(&Size(row.reported))),
    right("IN FLIGHT", |row, cell| cell(&Size(row.in_flight))),
    right("RESETS", |row, cell| cell(&row.resets)),
]);

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let mut rows = |each: &mut dyn FnMut(&Reporting)| {
        if let Some((name, stats)) = reporting::stats() {
            let reporting::Stats { batches, reported, in_flight, resets } = stats;
            each(&Reporting { device: Device::of(&name), batches, reported, in_flight, resets });
        }
    };
    output::list(&mut Out, invocation.format(), &COLUMNS, &mut rows)?;
    Ok(())
}
