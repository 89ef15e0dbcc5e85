//! The options of the programs that `cargo xtask` compiles on demand.
//!
//! They are a separate crate, so that xtask lists them (`--help`, completion) and refuses wrong ones before it compiles a
//! program; the program parses the same options.

mod bench;
mod report;
mod watch;

pub use bench::BenchArgs;
pub use report::ReportArgs;
pub use watch::WatchArgs;
