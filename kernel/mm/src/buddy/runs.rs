//! Contiguous runs of any length: finding one across adjacent free blocks, and allocating it as proper blocks.
//! Corresponds to Linux `alloc_contig_range`.
//!
//! Neighbours: `allocate` serves contiguous requests with it, `boot` allocates occupied frames with it.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::group::{Group, level_of, sub_of};
use crate::buddy::initial_blocks::first_order;
use crate::buddy::{Buddy, bits};
use crate::descriptor::BlockState;
use crate::machine::Machine;

impl<M: Machine> Buddy<'_, M> {
    /// Allocates the frames of `run` as proper blocks, in state `state`. `None`, and nothing changes, when a frame is
    /// not free.
    pub fn alloc_range(&self, run: PfnRange, state: BlockState, rmap: u64) -> Option<()> {
        if run.is_empty() || !self.usable.contains_range(run) {
            return None;
        }
        let mut at = run.start;
        while at < run.end {
            at = self.free_block(at)?.end();
        }
        let mut at = run.start;
        while at < run.end {
            let free = self.free_block(at)?;
            // The largest block that starts here and lies in both the run and the free block.
            let order = first_order(at, run.end.min(free.end()));
            self.split_off(free.group, self.children(free.group), at, order, free.order(), state);
            self.mark_allocated(at, order, state, rmap);
            at = at.offset(order.pages());
        }
        Some(())
    }

    /// Finds a run of `pages` free frames, which may span adjacent blocks. Returns its start.
    ///
    /// A free run of at least 2^k frames contains an aligned block of 2^(k-1), which is part of a free block of
    /// at least that order. The search starts from such blocks only and extends each to both sides, so
    /// its cost does not grow with the number of frames.
    pub fn find_run(&self, pages: u64) -> Option<Pfn> {
        if let Some(order) = Order::holding(pages) {
            let fitting = self.summary.orders() & (!0 << order.0);
            if pages > 0 && fitting != 0 {
                let group = self.first(Order(fitting.trailing_zeros() as u8))?;
                let least = if group.level == level_of(order) { sub_of(order) } else { 0 };
                return bits::smallest(self.free_bits(group), least).map(|(index, _)| group.child(index));
            }
        }
        self.find_run_at(pages, 1, 0)
    }

    /// Like [`Buddy::find_run`], for a run that starts `rest` frames above a multiple of `unit`.
    pub fn find_run_at(&self, pages: u64, unit: u64, rest: u64) -> Option<Pfn> {
        if pages == 0 || pages > self.summary.free() {
            return None;
        }
        let fits = |run: PfnRange| {
            let start = run.start.offset((rest % unit + unit - run.start.0 % unit) % unit);
            run.contains_range(PfnRange::of(start, pages)).then_some(start)
        };
        let least = Order((63 - pages.leading_zeros()).saturating_sub(1) as u8);
        for order in (least.0..=self.max.0).rev().map(Order) {
            let mut next = self.first(order);
            while let Some(group) = next {
                let blocks = self.free_blocks_of(group).filter(|block| block.1 >= least);
                if let Some(start) = blocks.filter_map(|block| self.run_around(block, fits)).next() {
                    return Some(start);
                }
                next = self.next(group);
            }
        }
        None
    }

    /// Extends a free block over its free neighbours until `fits` finds a start in the run.
    fn run_around(&self, block: (Pfn, Order), fits: impl Fn(PfnRange) -> Option<Pfn>) -> Option<Pfn> {
        let mut run = PfnRange::of(block.0, block.1.pages());
        while fits(run).is_none()
            && let Some(free) = self.free_block(run.end)
        {
            run.end = free.end();
        }
        while fits(run).is_none()
            && run.start > self.usable.start
            && let Some(free) = self.free_block(Pfn(run.start.0 - 1))
        {
            run.start = free.head();
        }
        fits(run)
    }

    /// Returns the free blocks of a group, ascending.
    pub(crate) fn free_blocks_of(&self, group: Group) -> impl Iterator<Item = (Pfn, Order)> {
        let mut left = self.free_bits(group);
        core::iter::from_fn(move || {
            let (index, sub) = bits::around(left, left.trailing_zeros() as u8 & 127)?;
            left &= !bits::block(index, sub);
            Some((group.child(index), group.order(sub)))
        })
    }
}
