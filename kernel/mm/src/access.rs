//! Keeps frames mapped while a CPU accesses them: a surprise removal unmaps a region only when every access that began
//! before has ended. Linux: an RCU read-side section, and `synchronize_rcu`.
//!
//! ```text
//!  a CPU that accesses                       a CPU that removes (it holds the hotplug lock)
//!  1 count becomes odd                       1 remove the region from the index
//!  2 the cheap half (Machine::fence_light)   2 a full barrier on every CPU (Machine::fence_all)
//!  3 is the region in the index?             3 each count that is odd: wait until it has changed
//!  4 yes: access its frames                  4 unmap the region
//!  5 count becomes even                      later: another region may be added at its addresses
//! ```
//!
//! Why no frame is accessed after step 4: the barrier splits the accessing CPU's instructions. If its step 1 comes before
//! the barrier, the removing CPU sees an odd count and waits for step 5. If it comes after, so does step 3, which
//! does not find the region. Step 5 is a Release that the other's step 3 acquires, so the access is over.
//!
//! The orderly removal needs no such wait: it waits for blocks that are allocated.
//!
//! Invariants: in an access no lock is taken that the removing CPU may hold while it waits ([`Rank::Access`]), and no
//! access begins within another one. So each one ends soon. Interrupts stay on, so the CPU answers requests meanwhile.
//! Neighbours: `scratch` accesses, `hot_remove::surprise_removal` waits.

use core::sync::atomic::{AtomicU64, Ordering};

use carapace_lock::{Held, Place, Rank};

use crate::machine::{MAX_CPUS, Machine};
use crate::sync::spin;

/// The accesses of all CPUs.
#[derive(Debug)]
pub(crate) struct Accesses {
    cpus: [Count; MAX_CPUS],
}

/// How often a CPU has begun or ended an access: odd while it accesses.
#[derive(Debug)]
#[repr(align(128))]
struct Count(AtomicU64);

/// An access of the CPU that runs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    count: &'a Count,
    _held: Held,
}

impl Accesses {
    /// None.
    pub(crate) const fn new() -> Accesses {
        Accesses { cpus: [const { Count(AtomicU64::new(0)) }; MAX_CPUS] }
    }

    /// Begins an access of the CPU that runs. It then looks whether the region is there.
    pub(crate) fn begin<M: Machine>(&self, machine: &M) -> Access<'_> {
        let held = Place::of(Rank::Access).take_in_order();
        let count = &self.cpus[machine.cpu().index()];
        debug_assert!(!count.is_odd(Ordering::Relaxed), "an access within an access");
        count.advance(Ordering::Relaxed);
        machine.fence_light();
        Access { count, _held: held }
    }

    /// Waits until every access has ended that began before this call. Those that begin later see what this CPU
    /// stored before.
    pub(crate) fn wait<M: Machine>(&self, machine: &M) {
        machine.fence_all();
        for Count(count) in &self.cpus {
            // Acquire: the access is over.
            let seen = count.load(Ordering::Acquire);
            while !seen.is_multiple_of(2) && count.load(Ordering::Acquire) == seen {
                spin();
            }
        }
    }
}

impl Count {
    fn is_odd(&self, order: Ordering) -> bool {
        !self.0.load(order).is_multiple_of(2)
    }

    /// Only the CPU itself writes its count.
    fn advance(&self, order: Ordering) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), order);
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        self.count.advance(Ordering::Release);
    }
}
