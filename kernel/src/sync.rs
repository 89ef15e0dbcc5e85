//! The kernel's locks. Their order, and what each protects, is written in one place: [`Rank`]. A build with
//! `debug_assertions` checks it: [`init`] says where this CPU's held ranks are.
//!
//! ```text
//!  Mutex       the main program's data                         interrupts stay as they are
//!  IrqMutex    data shared with interrupt handlers             interrupts off while it is held
//! ```
//!
//! A handler never waits for its own CPU: a lock that what it interrupted holds would be held for ever. `IrqMutex` makes
//! that a panic with a backtrace instead of a silent end. It does wait for another CPU.

use crate::arch::interrupts::ThisCpu;
use crate::arch::percpu;

pub use carapace_lock::{Mutex, MutexGuard, Rank};

/// A spinning lock that keeps this CPU's interrupts off while it is held.
pub type IrqMutex<T> = carapace_irq::IrqMutex<T, ThisCpu>;

/// Lets a build with `debug_assertions` check the order of locks from now on.
pub fn init() {
    carapace_lock::track(|| &percpu::this().held_ranks);
}
