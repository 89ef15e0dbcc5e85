//! What migration asks of the regions: where there is room, and blocks made to fit.
//!
//! Memory that is leaving is on no node's list, or isolated in its region, so nothing here ever finds a frame in it.
//! Neighbours: `evacuate` and `window` ask, `node` and `buddy` know.

use crate::addr::{NodeId, Order, PAGE_SHIFT, Pfn, PfnRange, VirtAddr};
use crate::buddy::Walk;
use crate::descriptor::{Kind, State};
use crate::hot_remove::RemoveError;
use crate::layout::LARGE_PAGES;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::region::Entry;
use crate::rmap::RmapEntry;
use crate::zonelist::{Amount, Constraints};

/// A block that somebody holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsedBlock {
    pub(crate) head: Pfn,
    pub(crate) pages: u64,
    pub(crate) state: State,
    pub(crate) word: RmapEntry,
}

impl<M: Machine> Memory<M> {
    /// The node of the resource that has `pfn`.
    pub(crate) fn node_of(&self, pfn: Pfn) -> Option<NodeId> {
        let entry = self.index.read().find(pfn).copied()?;
        self.region(entry).map(|region| region.node)
    }

    /// The first block at or behind `at` in a resource's usable run that is held; `at` goes behind it.
    pub(crate) fn block_from(&self, entry: Entry, at: &mut Pfn) -> Option<UsedBlock> {
        self.with_region(entry.slot, |region, buddy| {
            let mut next = None;
            *at = buddy.walk(PfnRange::new(region.layout.usable.start.max(*at), entry.range.end), |found| {
                if found.tag.state == State::Free {
                    return Walk::Continue;
                }
                let (head, tag) = (found.head, found.tag);
                let word = RmapEntry::of(buddy.page(head).rmap());
                next = Some(UsedBlock { head, pages: tag.order.pages(), state: tag.state, word });
                Walk::Stop
            });
            next
        })?
    }

    /// Splits the allocated block at `head` until its first part has `order`; each part knows its own holder.
    pub(crate) fn split_allocated(&self, head: Pfn, order: Order) {
        if let Some(entry) = self.index.read().find(head).copied() {
            self.with_region(entry.slot, |_, buddy| buddy.split_to(head, order, RmapEntry::after));
        }
    }

    /// A run as long as `old`, on its node if there is one: congruent to the address `at` modulo 2 MiB, so that large
    /// leaves stay, or else any.
    pub(crate) fn allocate_run_like(&self, old: PfnRange, at: VirtAddr) -> Option<PfnRange> {
        let near = self.node_of(old.start);
        let congruent = (LARGE_PAGES, at.0 >> PAGE_SHIFT);
        [(near, congruent), (None, congruent), (near, (1, 0)), (None, (1, 0))].into_iter().find_map(
            |(node, (unit, rest))| {
                let pages = old.pages();
                let want = Constraints { node, kind: Kind::Movable, amount: Amount::Pages(pages) };
                self.nodes.choose(&self.slots, &want, |slot| {
                    self.with_region(slot, |_, buddy| {
                        let run = PfnRange::of(buddy.find_run_at(pages, unit, rest)?, pages);
                        buddy.alloc_range(run, State::Movable, 0)?;
                        self.poison.taken(&self.machine, run);
                        Some(run)
                    })?
                })
            },
        )
    }

    /// The longest run of free frames, known to be shorter than `below`.
    pub(crate) fn longest_run(&self, below: u64) -> u64 {
        let (mut fits, mut too_long) = (0, below);
        while fits + 1 < too_long {
            let middle = fits + (too_long - fits) / 2;
            let want = Constraints { node: None, kind: Kind::Movable, amount: Amount::Pages(middle) };
            let there = self.nodes.choose(&self.slots, &want, |slot| {
                self.with_region(slot, |_, buddy| buddy.find_run(middle)).flatten()
            });
            if there.is_some() { fits = middle } else { too_long = middle }
        }
        fits
    }

    /// Blocks of 2 MiB that are free where allocations may be.
    pub(super) fn large_blocks(&self) -> u64 {
        let mut blocks = 0;
        self.each_entry(|entry| {
            self.with_region(entry.slot, |region, buddy| {
                if !region.is_isolated_whole() {
                    let of = |order: u8| buddy.free_blocks(Order(order)) << (order - 9);
                    blocks += (9..=region.max.0.max(9)).map(of).sum::<u64>();
                }
            });
        });
        blocks
    }

    /// That there is no room any more for what is still to move.
    pub(super) fn not_enough_free(&self) -> RemoveError {
        let mut needed = 0;
        self.each_isolated(|entry, region| {
            self.with_region(entry.slot, |_, buddy| {
                buddy.walk(region.isolated, |found| {
                    needed += if found.tag.state == State::Movable { found.tag.order.pages() } else { 0 };
                    Walk::Continue
                });
            });
        });
        RemoveError::NotEnoughFree { needed, free: self.free_everywhere() }
    }
}
