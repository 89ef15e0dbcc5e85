//! What the end-to-end tests share on top of the harness (package `guest`): there what does not happen is an error, here
//! it ends the test and prints everything the guest said on its serial line.
//!
//! Everything has a time limit, which is there to end a test that hangs and never to judge a time. The kernel is built
//! with profile `release`.
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
