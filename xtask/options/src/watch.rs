//! `cargo xtask watch`.

use std::path::PathBuf;

use clap::Parser;

/// Show a running guest on the whole screen: its memory, free blocks, events; and plug DIMMs into it.
#[derive(Debug, Parser)]
pub struct WatchArgs {
    /// The guest's QMP socket [default: that of the only guest that runs]
    #[arg(long, value_name = "PATH")]
    pub qmp: Option<PathBuf>,
}
