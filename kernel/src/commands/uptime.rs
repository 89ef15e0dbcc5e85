//! `uptime`: the time since boot.

use super::Outcome;
use super::console::Out;
use crate::arch::time;
use crate::hotplug;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::output::{self, Format};
use carapace_schema::Uptime;

/// `uptime`.
pub static COMMAND: Command = Command {
    name: "uptime",
    summary: "the time since boot",
    flags: &[JSON],
    example: "uptime",
    effect: Effect::Reads,
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    match invocation.format() {
        Format::Json => output::object(&mut Out, &Uptime { uptime_us: hotplug::microseconds() })?,
        Format::Table => {
            let uptime = time::uptime();
            let seconds = uptime.as_secs();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            writeln!(Out, "up {hours}:{minutes:02}:{:02}.{:03}", seconds % 60, uptime.subsec_millis())?;
        }
    }
    Ok(())
}
