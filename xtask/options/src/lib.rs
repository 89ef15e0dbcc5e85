//! The options of the programs that `cargo xtask` compiles when they are asked for.
//!
//! A crate of its own, so that xtask says what they are (`--help`, completion) and refuses wrong ones before it compiles
//! a program, which reads the same options.

mod bench;
mod report;
mod watch;

pub use bench::BenchArgs;
pub use report::ReportArgs;
pub use watch::WatchArgs;
