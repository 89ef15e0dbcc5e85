//! Spin locks with a rank. A debug build panics when a lock is taken against the order of ranks.
//!
//! ```text
//!  Mutex, RwLock     spin's, with a Rank                  (carapace-irq has the lock for interrupt handlers)
//!  rank              THE lock order, and what each lock protects
//!  held              the ranks held on this CPU: one bit each; checked before a lock is waited for
//!  schedule          where another CPU may run, for host tests that run several in turn
//! ```
//!
//! The order is checked with `debug_assertions` (host tests, the simulated machine, fuzzing, a kernel built so): each
//! CPU, or thread with feature `std`, has a word with one bit for each rank that it holds. `lock` panics when the bit of
//! the same or a later rank is set; so two locks of one rank, such as two regions, are never held together. A
//! `try_lock` cannot wait, so it is recorded and not checked. Without `debug_assertions` a lock is just spin's and stores
//! no rank.
//!
//! Neighbours: `carapace-mm`, `carapace-irq`, the kernel's `sync`. Corresponds to Linux's lockdep, but with a declared
//! order instead of a learnt one.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

mod held;
mod mutex;
mod rank;
mod rwlock;
pub mod schedule;

#[cfg(all(feature = "std", debug_assertions))]
pub use held::exchange;
pub use held::{Held, Place, track};
pub use mutex::{Mutex, MutexGuard};
pub use rank::Rank;
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
