//! `cargo xtask report`.

use std::path::PathBuf;

use clap::Parser;

/// Plays a scenario (a DIMM of 256 MiB is plugged, filled, and taken away; one of 1 TiB) and makes one HTML page of it.
#[derive(Debug, Parser)]
pub struct ReportArgs {
    /// Where the page goes; its raw data go beside it [default: target/report/index.html in the project]
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Make the page from raw data, and boot nothing [default: boot a guest and play the scenario]
    #[arg(long, value_name = "DATA.JSON")]
    pub from: Option<PathBuf>,
}
