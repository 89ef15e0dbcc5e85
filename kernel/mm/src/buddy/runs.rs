//! Runs of any length: finding one across neighbouring free blocks, and taking it as proper blocks.
//!
//! Neighbours: `allocate` serves contiguous requests with it, `boot` carves out what is occupied.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::Buddy;
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
            let found = self.find(at).filter(|found| found.tag.state == State::Free)?;
            at = found.range().end;
        }
        let mut at = run.start;
        while at < run.end {
            let found = self.find(at)?;
            let (mut head, mut order) = (found.head, found.tag.order);
            self.unlink(head, order);
            // Halve until the part at `at` lies inside the run; the other halves stay free. Both
            // halves' heads are written: the one that goes on when it is done (nobody reads before).
            while head < at || head.offset(order.pages()) > run.end {
                order = Order(order.0 - 1);
                let middle = head.offset(order.pages());
                if at < middle {
                    self.push(middle, order);
                } else {
                    self.push(head, order);
                    head = middle;
                }
            }
            self.take(head, order, state, holder);
            at = head.offset(order.pages());
        }
        Some(())
    }

    /// Where a run of `pages` free frames starts, also across neighbouring blocks.
    ///
    /// A run of at least 2^k frames holds an aligned block of 2^(k-1); that one is free as a whole,
    /// so it is part of a listed block of that order or more. Only those are looked at, and from
    /// each the neighbours to both sides, so the cost does not grow with the frames.
    pub fn find_run(&self, pages: u64) -> Option<Pfn> {
        if pages == 0 || pages > self.summary.free() {
            return None;
        }
        if let Some(order) = Order::holding(pages) {
            let fitting = self.summary.orders() & (!0 << order.0);
            if fitting != 0 {
                return self.first(Order(fitting.trailing_zeros() as u8));
            }
        }
        let least = (63 - pages.leading_zeros()).saturating_sub(1) as u8;
        for order in (least..=self.max.0).rev().map(Order) {
            let mut next = self.first(order);
            while let Some(head) = next {
                let mut run = PfnRange::of(head, order.pages());
                while run.pages() < pages
                    && let Some(found) = self.find(run.end).filter(|found| found.tag.state == State::Free)
                {
                    run.end = found.range().end;
                }
                while run.pages() < pages
                    && run.start > self.usable.start
                    && let Some(found) =
                        self.find(Pfn(run.start.0 - 1)).filter(|found| found.tag.state == State::Free)
                {
                    run.start = found.head;
                }
                if run.pages() >= pages {
                    return Some(run.start);
                }
                next = self.page(head).next();
            }
        }
        None
    }
}
