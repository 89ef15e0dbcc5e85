//! The end-to-end harness: boots the kernel in QEMU as a user would, types at its shell, plugs
//! DIMMs by QEMU's monitor, and reads what comes back.
//!
//! ```text
//!  test ── Guest ──┬── serial line (unix socket) ── shell commands, `-J` answers     serial, answers
//!                  ├── QMP (unix socket) ── HMP lines, events                        monitor
//!                  ├── second serial line, where a test wants one                    remote
//!                  └── QEMU's exit status                                            guest
//! ```
//!
//! The QEMU command comes from `cargo xtask run --dry-run`, so that tests run what users run. A test
//! that fails prints everything the guest said on its serial line. Everything has a time limit, which
//! is there to end a test that hangs and never to judge a time.

pub mod answers;
pub mod asl;
pub mod eject;
pub mod guest;
pub mod monitor;
pub mod random;
pub mod remote;
pub mod screen;
pub mod serial;
pub mod session;
mod sound;
pub mod spoil;
pub mod tables;
pub mod xtask;

pub use guest::{Guest, Machine, Plan};
