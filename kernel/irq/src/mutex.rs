//! A lock that interrupt handlers share. Invariant: interrupts are off while it is held, so that a handler on the same
//! CPU cannot wait for what it interrupted.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use spin::{Mutex, MutexGuard};

use crate::Cpu;

/// A spinning lock that keeps interrupts off while it is held.
pub struct IrqMutex<T, C> {
    inner: Mutex<T>,
    /// The CPU is named, not kept.
    cpu: PhantomData<fn() -> C>,
}

impl<T, C> fmt::Debug for IrqMutex<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrqMutex").field("is_locked", &self.inner.is_locked()).finish()
    }
}

impl<T, C: Cpu> IrqMutex<T, C> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> IrqMutex<T, C> {
        IrqMutex { inner: Mutex::new(value), cpu: PhantomData }
    }

    /// Takes the lock. Hold it shortly: no interrupt is served meanwhile.
    pub fn lock(&self) -> IrqGuard<'_, T, C> {
        let restore = Restore::off();
        if self.inner.is_locked() {
            C::found_taken();
        }
        IrqGuard { guard: self.inner.lock(), _restore: restore }
    }

    /// Takes the lock if it is free: for fatal reports, which may have interrupted its holder.
    pub fn try_lock(&self) -> Option<IrqGuard<'_, T, C>> {
        let restore = Restore::off();
        // Without the lock, `restore` puts the interrupt flag back at once.
        self.inner.try_lock().map(|guard| IrqGuard { guard, _restore: restore })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupts {
    On,
    Off,
}

/// Puts the interrupt flag back to what it was.
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

/// The lock, held; free again, and interrupts as before, when dropped. Guards are dropped in reverse
/// order of taking (Rust's scopes do), so that the outermost is the one to switch interrupts on.
#[derive(Debug)]
pub struct IrqGuard<'a, T, C: Cpu> {
    // Fields are dropped in this order: the lock is free before an interrupt can come that wants it.
    guard: MutexGuard<'a, T>,
    _restore: Restore<C>,
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
