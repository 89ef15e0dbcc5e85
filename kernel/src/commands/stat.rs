//! `stat`: counters since boot.

use super::Outcome;
use super::console::Out;
use crate::hotplug;
use crate::{acpi, log};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::format_size::Elapsed;
use carapace_cli::output::{self, Format};
use carapace_schema::Stat;

/// `stat`.
pub static COMMAND: Command = Command {
    name: "stat",
    summary: "counters since boot",
    flags: &[JSON],
    example: "stat",
    effect: Effect::Reads,
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let (acpi_interrupts, notifications) =
        acpi::with(|acpi| (acpi.interrupts, acpi.notifications)).unwrap_or_default();
    let stat = Stat {
        uptime_us: hotplug::microseconds(),
        acpi_interrupts,
        notifications,
        log_lines_dropped: log::dropped(),
    };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &stat)?,
        Format::Table => {
            writeln!(Out, "uptime              {}", Elapsed(stat.uptime_us * 1000))?;
            writeln!(Out, "ACPI interrupts     {}", stat.acpi_interrupts)?;
            writeln!(Out, "notifications       {}", stat.notifications)?;
            writeln!(Out, "log lines dropped   {}", stat.log_lines_dropped)?;
        }
    }
    Ok(())
}
