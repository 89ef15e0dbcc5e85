//! `spin::RwLock` with a rank. A CPU may hold it only once, even for reading: a writer waiting between two reads of one
//! CPU would deadlock.

use core::ops::{Deref, DerefMut};

use crate::{Held, Place, Rank, schedule};

/// A spinning lock of a [`Rank`] for many readers or one writer. Not for data that interrupt handlers share.
#[derive(Debug)]
pub struct RwLock<T> {
    inner: spin::RwLock<T>,
    place: Place,
}

/// Holds an [`RwLock`] for reading until it is dropped.
#[derive(Debug)]
pub struct ReadGuard<'a, T> {
    // Dropped in this order: a rank is held no shorter than its lock.
    inner: spin::RwLockReadGuard<'a, T>,
    _held: Held,
}

/// Holds an [`RwLock`] for writing until it is dropped.
#[derive(Debug)]
pub struct WriteGuard<'a, T> {
    // Dropped in this order: a rank is held no shorter than its lock.
    inner: spin::RwLockWriteGuard<'a, T>,
    _held: Held,
}

impl<T> RwLock<T> {
    /// An unlocked lock that protects `value`.
    pub const fn new(rank: Rank, value: T) -> RwLock<T> {
        RwLock { inner: spin::RwLock::new(value), place: Place::of(rank) }
    }

    /// Takes the lock for reading, waits while a writer holds it.
    ///
    /// # Panics
    /// In a debug build when a lock of the same or a later rank is held.
    #[inline(always)]
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_, T> {
        let held = self.place.take_in_order();
        schedule::until(|| self.inner.writer_count() == 0);
        ReadGuard { inner: self.inner.read(), _held: held }
    }

    /// Takes the lock for writing, waits while it is held.
    ///
    /// # Panics
    /// In a debug build when a lock of the same or a later rank is held.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T> {
        let held = self.place.take_in_order();
        schedule::until(|| self.inner.writer_count() + self.inner.reader_count() == 0);
        WriteGuard { inner: self.inner.write(), _held: held }
    }

    /// Takes the lock for reading if no writer holds it.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        let inner = self.inner.try_read()?;
        Some(ReadGuard { inner, _held: self.place.record() })
    }

    /// Takes the lock for writing if it is free.
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        let inner = self.inner.try_write()?;
        Some(WriteGuard { inner, _held: self.place.record() })
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
