//! The ranks that this CPU (with feature `std`: this thread) holds, one bit each.
//!
//! Invariants: a bit is set exactly while the guard that set it lives; that guard clears it. A handler
//! that interrupts leaves the word as it found it, as its guards are gone when it returns.

#[cfg(all(feature = "std", debug_assertions))]
pub use checked::exchange;
#[cfg(debug_assertions)]
pub use checked::{Held, Place, track};
#[cfg(not(debug_assertions))]
pub use unchecked::{Held, Place, track};

#[cfg(debug_assertions)]
mod checked {
    use core::fmt;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use crate::Rank;

    /// The record that a rank is held, until it is dropped.
    #[derive(Debug)]
    pub struct Held {
        /// The bit to clear: 0 when another guard set it, or when nothing is tracked.
        bit: u64,
    }

    #[cfg(feature = "std")]
    std::thread_local! {
        static WORD: AtomicU64 = const { AtomicU64::new(0) };
    }

    #[cfg(not(feature = "std"))]
    static WORD: spin::Once<fn() -> &'static AtomicU64> = spin::Once::new();

    /// Tracks ranks in `word`, which returns a word of the current CPU's, from now on. Without this call nothing is
    /// tracked. (With feature `std` it is done by thread, and this call changes nothing.)
    #[cfg(not(feature = "std"))]
    pub fn track(word: fn() -> &'static AtomicU64) {
        WORD.call_once(|| word);
    }

    /// Does nothing: with feature `std` ranks are tracked by thread.
    #[cfg(feature = "std")]
    pub fn track(_word: fn() -> &'static AtomicU64) {}

    /// Makes these the ranks that this thread holds, and returns those it held: for a thread that runs several CPUs in
    /// turn.
    #[cfg(feature = "std")]
    pub fn exchange(held: u64) -> u64 {
        WORD.with(|word| word.swap(held, Relaxed))
    }

    #[cfg(feature = "std")]
    fn with_word<R>(work: impl FnOnce(&AtomicU64) -> R) -> Option<R> {
        WORD.try_with(work).ok()
    }

    #[cfg(not(feature = "std"))]
    fn with_word<R>(work: impl FnOnce(&AtomicU64) -> R) -> Option<R> {
        WORD.get().map(|word| work(word()))
    }

    /// A lock's rank, as the lock stores it: nothing in a build that does not check.
    #[derive(Clone, Copy, Debug)]
    pub struct Place(Rank);

    impl Place {
        /// The place of a lock of this rank.
        pub const fn of(rank: Rank) -> Place {
            Place(rank)
        }

        /// Records that the lock is about to be waited for.
        ///
        /// # Panics
        /// When a lock of this or a later rank is held: the order of [`Rank`] is violated.
        #[track_caller]
        pub fn take_in_order(self) -> Held {
            let before = with_word(|word| word.load(Relaxed)).unwrap_or(0);
            if before >= 1 << self.0 as u64 {
                out_of_order(self.0, before);
            }
            self.record()
        }

        /// Records that the lock was taken without waiting, which is always allowed.
        pub fn record(self) -> Held {
            let bit = 1 << self.0 as u64;
            let before = with_word(|word| word.fetch_or(bit, Relaxed));
            Held { bit: if before.is_some_and(|before| before & bit == 0) { bit } else { 0 } }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            with_word(|word| word.fetch_and(!self.bit, Relaxed));
        }
    }

    #[cold]
    #[track_caller]
    fn out_of_order(rank: Rank, held: u64) -> ! {
        panic!("lock order violated: {rank} is taken while these are held: {}", Names(held))
    }

    /// The ranks of a word's bits.
    struct Names(u64);

    impl fmt::Display for Names {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let held = Rank::ALL.into_iter().filter(|&rank| self.0 & 1 << rank as u64 != 0);
            for (number, rank) in held.enumerate() {
                let separator = if number == 0 { "" } else { ", " };
                write!(f, "{separator}{rank}")?;
            }
            Ok(())
        }
    }
}

#[cfg(not(debug_assertions))]
mod unchecked {
    use core::sync::atomic::AtomicU64;

    use crate::Rank;

    /// Nothing: the order is checked by builds with `debug_assertions` only.
    #[derive(Debug)]
    pub struct Held;

    /// Nothing: a lock stores its rank in builds with `debug_assertions` only.
    #[derive(Clone, Copy, Debug)]
    pub struct Place;

    /// Does nothing: the order is checked by builds with `debug_assertions` only.
    pub fn track(_word: fn() -> &'static AtomicU64) {}

    impl Place {
        /// Nothing.
        pub const fn of(_rank: Rank) -> Place {
            Place
        }

        /// Does nothing.
        #[inline(always)]
        pub fn take_in_order(self) -> Held {
            Held
        }

        /// Does nothing.
        #[inline(always)]
        pub fn record(self) -> Held {
            Held
        }
    }
}
