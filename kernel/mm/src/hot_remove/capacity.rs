//! Capacity for migration: counting free frames and blocks, finding target runs, splitting blocks to fit.
//!
//! Isolated memory is on no node's list, or isolated in its region, so these functions never return a frame of it.
//! Neighbours: `evacuate` and `vmalloc` call it; `zonelist` and `buddy` do the work.

use crate::addr::{NodeId, Order, PAGE_SHIFT, Pfn, PfnRange, VirtAddr};
use crate::buddy::Walk;
use crate::descriptor::{BlockState, Mobility};
use crate::hot_remove::RemoveError;
use crate::layout::LARGE_PAGES;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::region::IndexEntry;
use crate::rmap::RmapEntry;
use crate::zonelist::Amount;

/// A block that is not free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsedBlock {
    pub(crate) head: Pfn,
    pub(crate) pages: u64,
    pub(crate) state: BlockState,
    pub(crate) rmap: RmapEntry,
}

impl<M: Machine> Memory<M> {
    /// Returns the node of the resource that contains `pfn`.
    pub(crate) fn node_of(&self, pfn: Pfn) -> Option<NodeId> {
        let entry = self.entry_of(pfn)?;
        self.with_region(entry, |region, _| region.node)
    }

    /// Returns the first block at or after `at` in a resource's usable run that is not free, cached or unplugged. Advances
    /// `at` to its end.
    pub(crate) fn block_from(&self, entry: IndexEntry, at: &mut Pfn) -> Option<UsedBlock> {
        self.with_region(entry, |region, buddy| {
            let mut next = None;
            *at = buddy.walk(PfnRange::new(region.layout.usable.start.max(*at), entry.range.end), |found| {
                // The rmap of a cached block may never have been written; an unplugged one may have no descriptor.
                let unused = [BlockState::Free, BlockState::Cached, BlockState::Unplugged];
                if unused.contains(&found.tag.state) {
                    return Walk::Continue;
                }
                let (head, tag) = (found.head, found.tag);
                let rmap = RmapEntry::of(buddy.rmap(found));
                next = Some(UsedBlock { head, pages: tag.order.pages(), state: tag.state, rmap });
                Walk::Stop
            });
            next
        })?
    }

    /// Splits the allocated block at `head` until its first part has `order`; each part gets its own rmap.
    pub(crate) fn split_allocated(&self, head: Pfn, order: Order) {
        if let Some(entry) = self.entry_of(head) {
            self.with_region(entry, |_, buddy| buddy.split_to(head, order, RmapEntry::after));
        }
    }

    /// Allocates up to `wanted` single movable frames of one region, on `node` if possible. Gives each to `owner`, which
    /// returns the address at which it will be mapped. Returns how many.
    pub(crate) fn allocate_singles(
        &self,
        wanted: usize,
        node: Option<NodeId>,
        mut owner: impl FnMut(Pfn) -> VirtAddr,
    ) -> usize {
        let mut on = |node| {
            let constraints = self.constraints(node, None, Mobility::Movable, Amount::Order(Order(0)));
            self.choose(&constraints, |slot| {
                self.locked_in_use(slot, |_, buddy| {
                    let count = buddy.alloc_singles(wanted, |head| {
                        self.poison.taken(&self.machine, PfnRange::of(head, 1));
                        RmapEntry::Mapping(owner(head)).encode()
                    });
                    (count > 0).then_some(count)
                })
            })
        };
        let count = if wanted > 0 { on(node).or_else(|| on(None)).unwrap_or(0) } else { 0 };
        // `choose` has counted one.
        self.own_cache().count_more(count.saturating_sub(1), 0);
        count
    }

    /// Frees single movable frames, which the caller owns: those at the start of `heads` that lie in one region. Returns
    /// how many.
    pub(crate) fn free_singles(&self, mut heads: impl Iterator<Item = Pfn> + Clone) -> usize {
        let Some(entry) = heads.clone().next().and_then(|head| self.entry_of(head)) else { return 0 };
        let mut freed = 0;
        let seen = self.with_region(entry, |_, buddy| {
            buddy.free_singles(&mut heads, |run| {
                self.poison.freed(&self.machine, run);
                freed += run.pages() as usize;
            })
        });
        let seen = seen.unwrap_or(0);
        debug_assert_eq!(freed, seen, "only its owner frees a frame");
        self.own_cache().count_more(0, freed);
        seen
    }

    /// Allocates a run as long as `old`: preferably on the same node and congruent to the address `at` modulo 2 MiB, so
    /// that large leaves stay whole.
    pub(crate) fn allocate_run_like(&self, old: PfnRange, at: VirtAddr) -> Option<PfnRange> {
        let near = self.node_of(old.start);
        let congruent = (LARGE_PAGES, at.0 >> PAGE_SHIFT);
        [(near, congruent), (None, congruent), (near, (1, 0)), (None, (1, 0))].into_iter().find_map(
            |(node, (unit, rest))| {
                let pages = old.pages();
                let constraints = self.constraints(node, None, Mobility::Movable, Amount::Pages(pages));
                self.choose(&constraints, |slot| {
                    self.locked_in_use(slot, |_, buddy| {
                        let run = PfnRange::of(buddy.find_run_at(pages, unit, rest)?, pages);
                        buddy.alloc_range(run, BlockState::Movable, 0)?;
                        self.poison.taken(&self.machine, run);
                        Some(run)
                    })
                })
            },
        )
    }

    /// Returns the length of the longest run of free frames, which must be shorter than `below`.
    pub(crate) fn longest_run(&self, below: u64) -> u64 {
        self.drain_all();
        let (mut fits, mut too_long) = (0, below);
        while fits + 1 < too_long {
            let middle = fits + (too_long - fits) / 2;
            let constraints = self.constraints(None, None, Mobility::Movable, Amount::Pages(middle));
            let run = self.nodes.choose(&self.slots, &constraints, |slot| {
                self.locked_in_use(slot, |_, buddy| buddy.find_run(middle))
            });
            if run.is_some() { fits = middle } else { too_long = middle }
        }
        fits
    }

    /// Counts the free blocks of 2 MiB in regions that are not isolated as a whole.
    pub(super) fn large_blocks(&self) -> u64 {
        self.drain_own();
        let mut blocks = 0;
        self.for_each_entry(|entry| {
            self.with_region(entry, |region, buddy| {
                if !region.is_fully_isolated() {
                    let of = |order: u8| buddy.free_blocks(Order(order)) << (order - 9);
                    blocks += (9..=region.max.0.max(9)).map(of).sum::<u64>();
                }
            });
        });
        blocks
    }

    /// Makes the error for movable frames that do not fit elsewhere.
    pub(super) fn not_enough_free(&self) -> RemoveError {
        let mut needed = 0;
        self.each_isolated(|entry, region| {
            self.with_region(entry, |_, buddy| {
                buddy.walk(region.isolated, |found| {
                    needed +=
                        if found.tag.state == BlockState::Movable { found.tag.order.pages() } else { 0 };
                    Walk::Continue
                });
            });
        });
        RemoveError::NotEnoughFree { needed, free: self.free_everywhere() }
    }
}
