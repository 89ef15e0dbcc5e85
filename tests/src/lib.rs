//! The end-to-end tests' library on top of the harness (package `guest`): the harness returns an error; this library ends
//! the test and prints all output of the guest's serial line.
//!
//! Each wait has a time limit, which ends a test that hangs; no test judges a duration. The kernel is built with profile
//! `release`.
//!
//! ```text
//!  guest, eject, sound   a guest: typed to, plugged into, ejected from, checked      guest/watchdog  why it is silent
//!  remote                its second serial line                     session, screen  `cargo xtask` beside a guest
//!  tables, asl           ACPI tables changed and of our own         corrupt_elf      kernels with a fault
//! ```

pub mod asl;
pub mod corrupt_elf;
pub mod eject;
pub mod guest;
pub mod random;
pub mod remote;
pub mod screen;
pub mod session;
mod sound;
pub mod tables;

pub use ::guest::{qmp, schema, serial, task};
pub use guest::{Guest, Machine, Plan};
