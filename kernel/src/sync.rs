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

use crate::arch::percpu;

pub use crate::arch::interrupts::IrqMutex;
pub use carapace_lock::{Mutex, MutexGuard, Rank};

/// Lets a build with `debug_assertions` check the order of locks from now on.
pub fn init() {
    carapace_lock::track(|| &percpu::this().held_ranks);
}
