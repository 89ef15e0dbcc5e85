//! The mutual exclusion: `spin::Mutex` with a rank.

use core::ops::{Deref, DerefMut};

use crate::{Held, Place, Rank, schedule};

/// A spinning lock of a [`Rank`]. Not for data that interrupt handlers share.
#[derive(Debug)]
pub struct Mutex<T> {
    inner: spin::Mutex<T>,
    place: Place,
}

/// Holds a [`Mutex`] until it is dropped.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    // Dropped in this order: a rank is held no shorter than its lock.
    inner: spin::MutexGuard<'a, T>,
    _held: Held,
}

impl<T> Mutex<T> {
    /// An unlocked mutex that protects `value`.
    pub const fn new(rank: Rank, value: T) -> Mutex<T> {
        Mutex { inner: spin::Mutex::new(value), place: Place::of(rank) }
    }

    /// Takes the lock, waits for it if it is held.
    ///
    /// # Panics
    /// In a debug build when a lock of the same or a later rank is held.
    #[inline(always)]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.place.take_in_order();
        schedule::until(|| !self.inner.is_locked());
        MutexGuard { inner: self.inner.lock(), _held: held }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let inner = self.inner.try_lock()?;
        Some(MutexGuard { inner, _held: self.place.record() })
    }

    /// Whether the lock is held.
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
