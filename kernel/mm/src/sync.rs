//! How to wait for another CPU, and the words of those protocols that a model checker watches.
//!
//! Neighbours: `frame_cache::owner`, `fault` and `zonelist::names` are generic over [`Word`]; their tests bring the model checker
//! loom's words, the rest of the crate `AtomicU64`.

use core::sync::atomic::{AtomicU64, Ordering};

/// Waits a moment for another CPU, which is at work and waits for nothing that this CPU has.
pub(crate) use carapace_lock::schedule::spin;

/// An atomic word.
pub(crate) trait Word {
    /// See [`AtomicU64::load`].
    fn load(&self, order: Ordering) -> u64;
    /// See [`AtomicU64::store`].
    fn store(&self, value: u64, order: Ordering);
    /// [`spin`].
    fn spin();
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
    fn spin() {
        spin();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A word that loom watches.
    pub(crate) type Watched = loom::sync::atomic::AtomicU64;

    impl Word for Watched {
        fn load(&self, order: Ordering) -> u64 {
            self.load(order)
        }

        fn store(&self, value: u64, order: Ordering) {
            self.store(value, order);
        }

        fn spin() {
            loom::thread::yield_now();
        }
    }

    /// Runs `program` in every interleaving with at most three preemptions, and with every order of memory that the
    /// program allows.
    pub(crate) fn every_interleaving(program: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(program);
    }
}
