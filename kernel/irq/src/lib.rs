//! Data that the kernel's main program shares with its interrupt handlers, and a CPU with other CPUs: a lock, a wake flag,
//! a mailbox, a job in pieces, a byte ring, the log ring; and the commands by which a CPU starts and interrupts others.
//!
//! ```text
//!  handler:  lock (interrupts are off already), record the event, wake
//!  main:     lock with interrupts off, take the event;  sleep unless woken, without losing a wake-up
//!  mailbox:  post a request to other CPUs, interrupt them, sleep until the last one has served it
//!  jobs:     CPUs take pieces of a job; the caller ends it when all are done
//! ```
//!
//! A handler interrupts the main program of its CPU anywhere interrupts are on, and runs to completion. The CPU is
//! behind a trait, so `tests/interleavings.rs` and `tests/mailbox.rs` can check every interleaving. Neighbours: the
//! kernel's `sync`, `executor`, `log`, `cpus` and serial lines.
#![no_std]
#![forbid(unsafe_code)]

pub mod jobs;
pub mod local_apic;
pub mod log_ring;
pub mod mailbox;
mod mutex;
pub mod ring;
mod waiting;
mod wake_flag;
pub mod word;

pub use mutex::{IrqGuard, IrqMutex};
pub use wake_flag::WakeFlag;

/// The CPU that runs: its number and its interrupt flag.
pub trait Cpu {
    /// Whether a debug build checks the order of locks on this CPU ([`carapace_lock::Rank`]). Not where several simulated
    /// CPUs take turns on one thread.
    const CHECKS_LOCK_ORDER: bool = true;

    /// Whether interrupts are enabled.
    fn are_on() -> bool;

    /// Disables interrupts until [`Cpu::on`].
    fn off();

    /// Enables interrupts; pending ones are delivered at once.
    fn on();

    /// Its number: no two CPUs have the same one.
    fn number() -> usize;

    /// Enables interrupts and halts until one arrives; a pending one ends the halt at once. Call with interrupts off.
    fn sleep();
}
