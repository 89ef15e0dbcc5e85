//! Runs of any length: finding one across neighbouring free blocks, and taking it as proper blocks.
//!
//! Neighbours: `allocate` serves contiguous requests with it, `boot` carves out what is occupied.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::first::first_order;
use crate::buddy::group::{Group, level_of, sub_of};
use crate::buddy::{Buddy, bits};
use crate::machine::Machine;
use crate::page::State;

impl<M: Machine> Buddy<'_, M> {
    /// Takes the frames of `run`, all of which must be free, as proper blocks. Nothing changes (and
    /// the answer is `None`) when one is not.
    pub fn carve(&self, run: PfnRange, state: State, holder: u64) -> Option<()> {
        if run.is_empty() || !self.usable.contains_range(run) {
            return None;
        }
        let mut at = run.start;
        while at < run.end {
            at = self.free_block(at)?.1.range().end;
        }
        let mut at = run.start;
        while at < run.end {
            let (group, free) = self.free_block(at)?;
            // The largest block that starts here, in both the run and what is free.
            let order = first_order(at, run.end.min(free.range().end));
            self.claim(group, at, order, free.tag.order);
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
        if pages == 0 || pages > self.summary.free() {
            return None;
        }
        if let Some(order) = Order::holding(pages) {
            let fitting = self.summary.orders() & (!0 << order.0);
            if fitting != 0 {
                let group = self.first(Order(fitting.trailing_zeros() as u8))?;
                let least = if group.level == level_of(order) { sub_of(order) } else { 0 };
                return bits::smallest(self.free_bits(group), least).map(|(place, _)| group.child(place));
            }
        }
        let least = Order((63 - pages.leading_zeros()).saturating_sub(1) as u8);
        for order in (least.0..=self.max.0).rev().map(Order) {
            let mut next = self.first(order);
            while let Some(group) = next {
                if let Some(start) = self.run_from(group, least, pages) {
                    return Some(start);
                }
                next = self.next(group);
            }
        }
        None
    }

    /// Where a run of `pages` free frames starts that has a block of a group in it, of order `least` or more.
    fn run_from(&self, group: Group, least: Order, pages: u64) -> Option<Pfn> {
        self.free_blocks_of(group).filter(|block| block.1 >= least).find_map(|(head, order)| {
            let mut run = PfnRange::of(head, order.pages());
            while run.pages() < pages
                && let Some((_, free)) = self.free_block(run.end)
            {
                run.end = free.range().end;
            }
            while run.pages() < pages
                && run.start > self.usable.start
                && let Some((_, free)) = self.free_block(Pfn(run.start.0 - 1))
            {
                run.start = free.head;
            }
            (run.pages() >= pages).then_some(run.start)
        })
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
