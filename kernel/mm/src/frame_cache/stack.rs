//! A stack of block heads, of fixed capacity.
//!
//! Atomic words, so that a cache can be shared; the protocol of `owner` lets one CPU at a time write them. The length is
//! read by any CPU, as a statistic.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::addr::Pfn;

/// Blocks; the last one is allocated next.
#[derive(Debug)]
pub(super) struct Stack<const N: usize> {
    len: AtomicUsize,
    heads: [AtomicU64; N],
}

impl<const N: usize> Stack<N> {
    pub(super) const fn new() -> Self {
        Stack { len: AtomicUsize::new(0), heads: [const { AtomicU64::new(0) }; N] }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    #[inline(always)]
    pub(super) fn push(&self, head: Pfn) {
        let len = self.len();
        if let Some(place) = self.heads.get(len) {
            place.store(head.0, Relaxed);
            self.len.store(len + 1, Relaxed);
        }
    }

    #[inline(always)]
    pub(super) fn pop(&self) -> Option<Pfn> {
        let last = self.len().checked_sub(1)?;
        self.len.store(last, Relaxed);
        Some(Pfn(self.heads.get(last)?.load(Relaxed)))
    }

    /// The `most` oldest blocks.
    #[inline(always)]
    pub(super) fn oldest(&self, most: usize) -> impl Iterator<Item = Pfn> {
        let heads = self.heads.get(..most.min(self.len())).unwrap_or_default();
        heads.iter().map(|head| Pfn(head.load(Relaxed)))
    }

    /// The block at `place`, counted from the oldest; below the length.
    #[inline(always)]
    pub(super) fn at(&self, place: usize) -> Pfn {
        Pfn(self.heads.get(place).map_or(0, |head| head.load(Relaxed)))
    }

    /// Removes the first `n` blocks.
    pub(super) fn drop_first(&self, n: usize) {
        let left = self.len().saturating_sub(n);
        for place in 0..left {
            self.heads[place].store(self.heads[place + n].load(Relaxed), Relaxed);
        }
        self.len.store(left, Relaxed);
    }

    pub(super) fn clear(&self) {
        self.len.store(0, Relaxed);
    }

    pub(super) fn reverse(&self) {
        let len = self.len();
        for n in 0..len / 2 {
            let (one, other) = (&self.heads[n], &self.heads[len - 1 - n]);
            let first = one.load(Relaxed);
            one.store(other.load(Relaxed), Relaxed);
            other.store(first, Relaxed);
        }
    }
}
