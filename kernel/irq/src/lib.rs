//! What the kernel's main program shares with its interrupt handlers: a lock, a wake-up flag, a ring of bytes, the log's
//! lines.
//!
//! ```text
//!  handler:  note it (a lock, interrupts are off anyway), wake
//!  main:     take the lock with interrupts off;  sleep unless awake, without missing a wake-up
//! ```
//!
//! One CPU: a handler runs in the midst of the main program wherever interrupts are on, and to its end. The CPU is
//! behind a trait, so that `tests/orders.rs` tries every order in which the two can meet. Neighbours: the kernel's
//! `sync`, `executor`, `log` and `arch::serial`.
#![no_std]
#![forbid(unsafe_code)]

pub mod lines;
mod mutex;
pub mod ring;
mod wake;

pub use mutex::{IrqGuard, IrqMutex};
pub use wake::Wake;

/// The interrupt flag of the CPU that runs this.
pub trait Cpu {
    /// Whether interrupts come.
    fn are_on() -> bool;

    /// Lets none come until [`Cpu::on`].
    fn off();

    /// Lets them come; those that wait come at once.
    fn on();

    /// A lock that is asked for is taken. In a handler, on the one CPU, its holder is what was interrupted, and the wait
    /// would have no end: whoever knows where it runs says so here instead.
    fn found_taken() {}

    /// Lets them come and waits for one, which may have been waiting already. To be called with interrupts off.
    fn sleep();
}
