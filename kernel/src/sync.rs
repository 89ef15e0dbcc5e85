//! Locks, and the one order in which they are taken.
//!
//! ```text
//!  hotplug > page tables > node > region > heap (general, reserve) > devices window > remote > news > console
//!          > log > IO APIC > serial > serial output
//! ```
//!
//! A lock may be taken while locks to its left are held, never the other way round. The first five are
//! `spin::Mutex`es of the memory core and the heap and are never touched by interrupt handlers. Those
//! that handlers share (log, IO APIC, serial and its output) are [`IrqMutex`]es: interrupts are off
//! while one is held, so that a handler on the same CPU cannot wait for what it interrupted. A fatal
//! report (exception, panic) waits for no lock at all.

use core::ops::{Deref, DerefMut};
use spin::{Mutex, MutexGuard};

use crate::arch::interrupts;

/// A spinning lock that keeps interrupts off while it is held.
#[derive(Debug, Default)]
pub struct IrqMutex<T> {
    inner: Mutex<T>,
}

impl<T> IrqMutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> IrqMutex<T> {
        IrqMutex { inner: Mutex::new(value) }
    }

    /// Takes the lock. Hold it shortly: no interrupt is served meanwhile.
    pub fn lock(&self) -> IrqGuard<'_, T> {
        let restore = Restore(if interrupts::are_enabled() { Interrupts::On } else { Interrupts::Off });
        interrupts::disable();
        IrqGuard { guard: self.inner.lock(), _restore: restore }
    }

    /// Takes the lock if it is free: for fatal reports, which may have interrupted its holder.
    pub fn try_lock(&self) -> Option<IrqGuard<'_, T>> {
        let restore = Restore(if interrupts::are_enabled() { Interrupts::On } else { Interrupts::Off });
        interrupts::disable();
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
struct Restore(Interrupts);

impl Drop for Restore {
    fn drop(&mut self) {
        if self.0 == Interrupts::On {
            interrupts::enable();
        }
    }
}

/// The lock, held; free again, and interrupts as before, when dropped. Guards are dropped in reverse
/// order of taking (Rust's scopes do), so that the outermost is the one to switch interrupts on.
#[derive(Debug)]
pub struct IrqGuard<'a, T> {
    // Fields are dropped in this order: the lock is free before an interrupt can come that wants it.
    guard: MutexGuard<'a, T>,
    _restore: Restore,
}

impl<T> Deref for IrqGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for IrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
