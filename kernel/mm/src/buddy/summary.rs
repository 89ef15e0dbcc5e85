//! A region's summary, outside of the resource: for the choice of a region without its lock.
//!
//! Free frames and non-empty orders are counted here alone, not in the header, so nothing can disagree.
//! Neighbours: `buddy` writes it under the region's lock, `node` reads it without.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::addr::Order;

/// What others may read of a region without its lock; a hint, exact whenever nobody holds the lock.
#[derive(Debug)]
pub struct Summary {
    /// Free frames.
    free: AtomicU64,
    /// Bit n is set when there is a free block of order n.
    orders: AtomicU64,
}

impl Summary {
    /// Nothing free.
    pub const fn new() -> Self {
        Summary { free: AtomicU64::new(0), orders: AtomicU64::new(0) }
    }

    /// Free frames.
    #[inline]
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Bit n is set when there is a free block of order n.
    #[inline]
    pub fn orders(&self) -> u64 {
        self.orders.load(Ordering::Relaxed)
    }

    /// The highest order there is a free block of.
    pub fn highest(&self) -> Option<Order> {
        let orders = self.orders();
        (orders != 0).then(|| Order(63 - orders.leading_zeros() as u8))
    }

    /// Notes that a block of `order` is in its list now, or that the list is empty.
    #[inline]
    pub(super) fn note(&self, order: Order, listed: Listed) {
        let orders = match listed {
            Listed::Some => self.orders() | 1 << order.0,
            Listed::None => self.orders() & !(1 << order.0),
        };
        self.orders.store(orders, Ordering::Relaxed);
    }

    /// Counts free frames: `more` came, `less` went.
    #[inline]
    pub(super) fn count(&self, more: u64, less: u64) {
        self.free.store(self.free() + more - less, Ordering::Relaxed);
    }

    /// Forgets everything: the region is gone or not there yet.
    pub fn clear(&self) {
        self.free.store(0, Ordering::Relaxed);
        self.orders.store(0, Ordering::Relaxed);
    }
}

impl Default for Summary {
    fn default() -> Self {
        Summary::new()
    }
}

/// Whether a list has a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// It has.
    Some,
    /// It is empty.
    None,
}
