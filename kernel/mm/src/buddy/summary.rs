//! A region's summary, stored outside of the resource, so that an allocation can choose a region without its lock.
//!
//! Free frames and non-empty orders are recorded here and not in the header, so no copy can disagree.
//! Neighbours: `buddy` writes it under the region's lock, `zonelist` reads it without.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::addr::Order;
use crate::pieces::PieceMap;

/// The part of a region's state that is read without its lock: a hint, exact while the lock is free.
#[derive(Debug)]
pub struct Summary {
    /// Free frames.
    free: AtomicU64,
    /// Bit n is set when a block of order n is free.
    orders: AtomicU64,
    /// Set when a free block of a level above 0 may have to be reported to the host: see `touched`.
    unreported: AtomicBool,
    /// Whether the last frame is known to answer: an [`End`].
    end: AtomicU8,
    /// The cluster of groups in which a group was opened last, and the CPU that did, in the low 8 bits: see `apart`.
    opened: AtomicU64,
    /// The pieces of a chunk that are not plugged; empty for other regions.
    pub pieces: PieceMap,
}

/// Whether memory answers at a region's last frame: see `probe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// It does, or does not matter.
    Answers,
    /// It was not probed yet: nothing was allocated from the region.
    Unknown,
    /// It does not.
    Missing,
    /// It does not, and that was reported.
    Reported,
}

impl Summary {
    /// Creates a summary without free frames.
    pub const fn new() -> Self {
        Summary {
            free: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            unreported: AtomicBool::new(false),
            end: AtomicU8::new(End::Answers as u8),
            opened: AtomicU64::new(0),
            pieces: PieceMap::new(),
        }
    }

    /// Returns the number of free frames.
    #[inline]
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Returns the bitmap of orders: bit n is set when a block of order n is free.
    #[inline]
    pub fn orders(&self) -> u64 {
        self.orders.load(Ordering::Relaxed)
    }

    /// Returns the order of the largest free block.
    pub fn highest(&self) -> Option<Order> {
        let orders = self.orders();
        (orders != 0).then(|| Order(63 - orders.leading_zeros() as u8))
    }

    /// Records whether the list of `order` has a group.
    #[inline]
    pub(super) fn note(&self, order: Order, listed: Listed) {
        let orders = match listed {
            Listed::Some => self.orders() | 1 << order.0,
            Listed::None => self.orders() & !(1 << order.0),
        };
        self.orders.store(orders, Ordering::Relaxed);
    }

    /// Adds `more` to the free frames and subtracts `less`.
    #[inline]
    pub(super) fn count(&self, more: u64, less: u64) {
        self.free.store(self.free() + more - less, Ordering::Relaxed);
    }

    /// Whether a free block may have to be reported to the host.
    #[inline]
    pub fn has_unreported(&self) -> bool {
        self.unreported.load(Ordering::Relaxed)
    }

    /// Records whether a free block may have to be reported to the host.
    #[inline]
    pub(crate) fn set_unreported(&self, unreported: bool) {
        if self.has_unreported() != unreported {
            self.unreported.store(unreported, Ordering::Relaxed);
        }
    }

    /// The cluster and the CPU of [`Summary::set_opened`].
    pub(super) fn opened(&self) -> (u64, u8) {
        let opened = self.opened.load(Ordering::Relaxed);
        (opened >> 8, opened as u8)
    }

    /// Records in which cluster a group is opened, and by which CPU.
    pub(super) fn set_opened(&self, cluster: u64, cpu: u8) {
        self.opened.store(cluster << 8 | u64::from(cpu), Ordering::Relaxed);
    }

    /// Whether memory answers at the last frame. Exact under the region's lock.
    #[inline]
    pub fn end(&self) -> End {
        match self.end.load(Ordering::Relaxed) {
            0 => End::Answers,
            1 => End::Unknown,
            2 => End::Missing,
            _ => End::Reported,
        }
    }

    /// Records whether memory answers at the last frame.
    pub(crate) fn set_end(&self, end: End) {
        self.end.store(end as u8, Ordering::Relaxed);
    }

    /// Resets the summary of a removed or future region.
    pub fn clear(&self) {
        self.clear_free();
        self.set_end(End::Answers);
        self.pieces.clear();
    }

    /// Resets what a new allocator counts.
    pub(super) fn clear_free(&self) {
        self.free.store(0, Ordering::Relaxed);
        self.orders.store(0, Ordering::Relaxed);
        self.unreported.store(false, Ordering::Relaxed);
    }
}

impl Default for Summary {
    fn default() -> Self {
        Summary::new()
    }
}

/// The state of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// It has a group.
    Some,
    /// It is empty.
    None,
}
