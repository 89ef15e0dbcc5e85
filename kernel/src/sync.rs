//! The kernel's locks. [`Rank`] defines their order and what each protects; builds with `debug_assertions` check the
//! order.
//!
//! ```text
//!  Mutex       data of the main program                        leaves interrupts as they are
//!  IrqMutex    data shared with interrupt handlers             disables interrupts while held
//! ```
//!
//! An interrupt handler that finds a lock held by its own CPU would wait forever. `IrqMutex` turns this deadlock into a
//! panic with a backtrace. A handler does wait for another CPU.

use crate::arch::percpu;

pub use crate::arch::interrupts::IrqMutex;
pub use carapace_lock::{Mutex, MutexGuard, Rank};

/// Starts checking the order of locks in builds with `debug_assertions`.
pub fn init() {
    carapace_lock::track(|| &percpu::this().held_ranks);
}
