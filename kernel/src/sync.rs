//! The kernel's locks. Their order, and what each protects, is written in one place: [`Rank`]. A build with
//! `debug_assertions` checks it: [`init`] says where this CPU's held ranks are.
//!
//! ```text
//!  Mutex       the main program's data                         interrupts stay as they are
//!  IrqMutex    data shared with interrupt handlers             interrupts off while it is held
//! ```
//!
//! No handler ever waits: on the one CPU that runs, a lock that a handler finds held would be held by what it
//! interrupted, for ever. `ThisCpu` makes that a panic with a backtrace instead of a silent end.

use crate::arch::interrupts::ThisCpu;
use crate::arch::percpu;

pub use carapace_lock::{Mutex, MutexGuard, Rank};

/// A spinning lock that keeps this CPU's interrupts off while it is held.
pub type IrqMutex<T> = carapace_irq::IrqMutex<T, ThisCpu>;

/// Lets a build with `debug_assertions` check the order of locks from now on.
pub fn init() {
    carapace_lock::track(|| &percpu::this().held_ranks);
}
