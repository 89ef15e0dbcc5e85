//! Runs of any length: finding one across neighbouring free blocks, and taking it as proper blocks.
//!
//! Neighbours: `allocate` serves contiguous requests with it, `boot` carves out what is occupied.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::group::{Group, level_of, sub_of};
use crate::buddy::initial_blocks::first_order;
use crate::buddy::{Buddy, bits};
use crate::descriptor::State;
use crate::machine::Machine;

impl<M: Machine> Buddy<'_, M> {
    /// Takes the frames of `run`, all of which must be free, as proper blocks. Nothing changes (and
    /// the answer is `None`) when one is not.
    pub fn alloc_range(&self, run: PfnRange, state: State, holder: u64) -> Option<()> {
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
            // The largest block that starts here, in both the run and what is free.
            let order = first_order(at, run.end.min(free.end()));
            self.split_off(free.group, self.children(free.group), at, order, free.order());
            self.take(at, order, state, holder);
            at = at.offset(order.pages());
        }
        Some(())
    }

    /// Where a run of `pages` free frames starts, also across neighbouring blocks.
    ///
    /// A run of at least 2^k frames holds an aligned block of 2^(k-1); that one is free as a whole,
    /// so it is part of a free block of that order or more. Only those are looked at, and from
    /// each the neighbours to both sides, so the cost does not grow with the frames.
    pub fn find_run(&self, pages: u64) -> Option<Pfn> {
        if let Some(order) = Order::holding(pages) {
            let fitting = self.summary.orders() & (!0 << order.0);
            if pages > 0 && fitting != 0 {
                let group = self.first(Order(fitting.trailing_zeros() as u8))?;
                let least = if group.level == level_of(order) { sub_of(order) } else { 0 };
                return bits::smallest(self.free_bits(group), least).map(|(place, _)| group.child(place));
            }
        }
        self.find_run_at(pages, 1, 0)
    }

    /// The same for a run that starts `rest` frames above a multiple of `unit`.
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

    /// Where the run starts that `fits` finds among the free frames around a free block.
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

    /// The free blocks of a group, ascending.
    pub(crate) fn free_blocks_of(&self, group: Group) -> impl Iterator<Item = (Pfn, Order)> {
        let mut left = self.free_bits(group);
        core::iter::from_fn(move || {
            let (place, sub) = bits::around(left, left.trailing_zeros() as u8 & 127)?;
            left &= !bits::block(place, sub);
            Some((group.child(place), group.order(sub)))
        })
    }
}
