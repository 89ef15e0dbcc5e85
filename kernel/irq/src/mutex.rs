//! A lock shared with interrupt handlers and other CPUs. Invariant: interrupts are off while it is held, so a handler
//! never waits for the code it interrupted; it may wait for another CPU, whose holder cannot be interrupted and so soon
//! releases it.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicUsize, Ordering};

use carapace_lock::{Held, Place, Rank};
use spin::{Mutex, MutexGuard};

use crate::Cpu;

/// A spin lock that disables interrupts while it is held.
pub struct IrqMutex<T, C> {
    inner: Mutex<T>,
    /// The number of the CPU that holds it, plus 1; 0 if none does. A CPU compares it with its own number only, and it
    /// alone writes that number, so the comparison is exact.
    owner: AtomicUsize,
    place: Place,
    /// Only the type's functions are used.
    cpu: PhantomData<fn() -> C>,
}

impl<T, C> fmt::Debug for IrqMutex<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrqMutex").field("is_locked", &self.inner.is_locked()).finish()
    }
}

impl<T, C: Cpu> IrqMutex<T, C> {
    /// An unlocked mutex that protects `value`.
    pub const fn new(rank: Rank, value: T) -> IrqMutex<T, C> {
        IrqMutex {
            inner: Mutex::new(value),
            owner: AtomicUsize::new(0),
            place: Place::of(rank),
            cpu: PhantomData,
        }
    }

    /// Takes the lock; waits while another CPU holds it. Hold it briefly: no interrupt is served meanwhile.
    ///
    /// # Panics
    /// When this CPU already holds it (a deadlock). In a debug build when a lock of the same or a later rank is held.
    #[track_caller]
    pub fn lock(&self) -> IrqGuard<'_, T, C> {
        let restore = Restore::off();
        if self.owner.load(Ordering::Relaxed) == C::number() + 1 {
            held_by_waiter();
        }
        let held = C::CHECKS_LOCK_ORDER.then(|| self.place.take_in_order());
        self.guard(self.inner.lock(), held, restore)
    }

    fn guard<'a>(
        &'a self,
        guard: MutexGuard<'a, T>,
        held: Option<Held>,
        restore: Restore<C>,
    ) -> IrqGuard<'a, T, C> {
        self.owner.store(C::number() + 1, Ordering::Relaxed);
        IrqGuard { owner: &self.owner, guard, _held: held, _restore: restore }
    }

    /// Takes the lock if it is free: for panic reports, which may have interrupted its holder.
    pub fn try_lock(&self) -> Option<IrqGuard<'_, T, C>> {
        let restore = Restore::off();
        // On failure `restore` is dropped, which restores the interrupt flag at once.
        self.inner.try_lock().map(|guard| {
            let held = C::CHECKS_LOCK_ORDER.then(|| self.place.record());
            self.guard(guard, held, restore)
        })
    }
}

#[cold]
#[track_caller]
fn held_by_waiter() -> ! {
    panic!(
        "a CPU waits for a lock that it holds: in an interrupt handler, that the code it interrupted holds"
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupts {
    On,
    Off,
}

/// Restores the interrupt flag when dropped.
#[derive(Debug)]
struct Restore<C: Cpu>(Interrupts, PhantomData<fn() -> C>);

impl<C: Cpu> Restore<C> {
    fn off() -> Restore<C> {
        let before = if C::are_on() { Interrupts::On } else { Interrupts::Off };
        C::off();
        Restore(before, PhantomData)
    }
}

impl<C: Cpu> Drop for Restore<C> {
    fn drop(&mut self) {
        if self.0 == Interrupts::On {
            C::on();
        }
    }
}

/// Holds the lock. Dropping it releases the lock and restores the interrupt flag. Guards must be dropped in reverse
/// order of locking (as Rust's scopes do), so that the outermost guard enables interrupts.
#[derive(Debug)]
pub struct IrqGuard<'a, T, C: Cpu> {
    owner: &'a AtomicUsize,
    // Dropped in this order: the lock is released, and its rank free, before interrupts are enabled.
    guard: MutexGuard<'a, T>,
    _held: Option<Held>,
    _restore: Restore<C>,
}

impl<T, C: Cpu> Drop for IrqGuard<'_, T, C> {
    fn drop(&mut self) {
        // Before the lock is released, with which another CPU becomes the owner.
        self.owner.store(0, Ordering::Relaxed);
    }
}

impl<T, C: Cpu> Deref for IrqGuard<'_, T, C> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T, C: Cpu> DerefMut for IrqGuard<'_, T, C> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
