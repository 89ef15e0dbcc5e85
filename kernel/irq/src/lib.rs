//! Data that the kernel's main program shares with its interrupt handlers: a lock, a wake flag, a byte ring, the log
//! ring.
//!
//! ```text
//!  handler:  lock (interrupts are off already), record the event, wake
//!  main:     lock with interrupts off, take the event;  sleep unless woken, without losing a wake-up
//! ```
//!
//! One CPU runs: a handler interrupts the main program anywhere interrupts are on, and runs to completion. The CPU is
//! behind a trait, so `tests/interleavings.rs` can check every interleaving of the two. Neighbours: the kernel's
//! `sync`, `executor`, `log` and `arch::serial`.
#![no_std]
#![forbid(unsafe_code)]

pub mod log_ring;
mod mutex;
pub mod ring;
mod wake_flag;

pub use mutex::{IrqGuard, IrqMutex};
pub use wake_flag::WakeFlag;

/// The interrupt flag of the current CPU.
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

    /// Called when `lock()` finds the lock held. In an interrupt handler that is a deadlock (the interrupted code
    /// holds it, and only one CPU runs), so the implementation should panic there.
    fn lock_contended() {}

    /// Enables interrupts and halts until one arrives; a pending one ends the halt at once. Call with interrupts off.
    fn sleep();
}
