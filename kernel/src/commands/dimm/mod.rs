//! `plug`, `unplug`, `dimms`: DIMMs as QEMU names them. The host that runs the guest carries the first two out
//! ([`crate::terminal::host`]).

pub mod dimms;
pub mod plug;
pub mod unplug;

use super::console::Out;
use super::{Failure, Outcome};
use crate::terminal::host::{self, NoAnswer, Wanted};
use carapace_cli::output::Format;
use carapace_schema::Text;
use core::fmt::{Arguments, Write};

/// Asks the host. Where there is none, prints the `lines` for QEMU's monitor.
async fn ask(wanted: Wanted, name: &str, format: Format, lines: Arguments<'_>) -> Result<Text<300>, Failure> {
    match host::ask(wanted).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(why)) => Err(Failure::of(why)),
        Err(NoAnswer::Stopped(failure)) => Err(failure),
        Err(NoAnswer::Busy) => Err(Failure::of("the host has another request under way")),
        Err(NoAnswer::NoHost) => {
            if format == Format::Table {
                show(lines)?;
            }
            Err(Failure::of(format_args!(
                "no host carries out {name} here: `cargo xtask run` does for the guests that it starts"
            )))
        }
    }
}

fn show(lines: Arguments<'_>) -> Outcome {
    Ok(writeln!(Out, "In QEMU's monitor the same is\n\n{lines}\n")?)
}
