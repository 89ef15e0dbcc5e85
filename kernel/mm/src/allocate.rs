//! Allocating and freeing blocks and contiguous runs, over all regions.
//!
//! Invariant: what is allocated is freed with the same number of frames. Neighbours: `zonelist` chooses regions,
//! `frame_cache` serves movable blocks without a choice, `buddy` allocates in one region; `vmalloc` and the kernel call.

use crate::addr::{Block, NodeId, Order, PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::buddy::{Buddy, Found, Walk, page_state};
use crate::descriptor::{Mobility, SlotNr};
use crate::error::FreeError;
use crate::frame_cache::{Entered, Foreign, SizeClass};
use crate::info::PageState;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::rmap::RmapEntry;
use crate::zonelist::{Amount, Constraints};

impl<M: Machine> Memory<M> {
    /// Allocates a block of exactly `order`. Without `node`: for pinned allocations boot memory first, for movable
    /// ones the fastest memory ([`Memory::set_speed`]); then the node of this CPU ([`Memory::set_cpu_node`]), then that
    /// with most free frames. `None` when no region has one. Linux: `alloc_pages_node`.
    #[inline]
    pub fn allocate_block(&self, order: Order, node: Option<NodeId>, mobility: Mobility) -> Option<Block> {
        if (node, mobility) == (None, Mobility::Movable)
            && let Some(class) = SizeClass::of(order)
            && let Some(head) = self.pop_or_refill(class)
        {
            return Some(Block { head, order });
        }
        self.allocate_chosen(order, node, mobility, RmapEntry::None)
    }

    /// Allocates a frame for a page table of an allocation. An evacuation never sees it without that rmap.
    pub(crate) fn allocate_reserve(&self) -> Option<Block> {
        self.allocate_chosen(Order(0), None, Mobility::Pinned, RmapEntry::Reserve)
    }

    /// As [`Memory::allocate_block`], bypassing the frame cache.
    #[inline(never)]
    fn allocate_chosen(
        &self,
        order: Order,
        node: Option<NodeId>,
        mobility: Mobility,
        rmap: RmapEntry,
    ) -> Option<Block> {
        if order > Order::MAX {
            return None;
        }
        let near = self.own_node();
        let constraints = self.constraints(node, near, mobility, Amount::Order(order));
        self.choose(&constraints, |slot| {
            self.locked_in_use(slot, |_, buddy| {
                let head = buddy.allocate(order, mobility.state(), rmap.encode())?;
                self.check_taken(Block { head, order })
            })
        })
    }

    /// The constraints of an allocation by this CPU. The kernel's own data stays where it was, fast memory or not: that
    /// in hot-added memory would keep it from leaving.
    pub(crate) fn constraints(
        &self,
        node: Option<NodeId>,
        near: Option<NodeId>,
        mobility: Mobility,
        amount: Amount,
    ) -> Constraints {
        let prefers = (node, mobility) == (None, Mobility::Movable);
        let fast_for = if prefers { self.own_node() } else { None };
        Constraints { node, fast_for, near, mobility, amount }
    }

    /// Allocates the largest block up to order `most` from the first region that has one, the fastest node first
    /// ([`Memory::set_speed`]), then nodes by free frames: a
    /// smaller block there is preferred to one of another node (or, if pinned, of hot-added memory).
    pub fn allocate_up_to(&self, most: Order, node: Option<NodeId>, mobility: Mobility) -> Option<Block> {
        let most = most.min(Order::MAX);
        if (node, mobility) == (None, Mobility::Movable)
            && let Some(head) =
                SizeClass::of(most).and_then(|class| self.pop_cached(&self.own_cache(), class))
        {
            return Some(Block { head, order: most });
        }
        let constraints = self.constraints(node, None, mobility, Amount::UpTo(most));
        self.choose(&constraints, |slot| {
            self.locked_in_use(slot, |_, buddy| {
                let (head, order) = buddy.allocate_up_to(most, mobility.state(), 0)?;
                self.check_taken(Block { head, order })
            })
        })
    }

    /// Allocates `pages` contiguous frames, also across adjacent free blocks. Linux: `alloc_contig_pages`. The run
    /// consists of proper blocks, freed one by one or together by [`Memory::free_run`]; the first begins at the run's
    /// start, and [`Memory::block_at`] returns their orders.
    pub fn allocate_run(&self, pages: u64, node: Option<NodeId>, mobility: Mobility) -> Option<PfnRange> {
        if pages == 0 || pages > Order::MAX.pages() {
            return None;
        }
        let constraints = self.constraints(node, None, mobility, Amount::Pages(pages));
        self.choose(&constraints, |slot| {
            self.locked_in_use(slot, |_, buddy| {
                let run = PfnRange::of(buddy.find_run(pages)?, pages);
                buddy.alloc_range(run, mobility.state(), 0)?;
                self.poison.taken(&self.machine, run);
                Some(run)
            })
        })
    }

    /// The allocated block whose head is `head`.
    pub fn block_at(&self, head: Pfn) -> Option<Block> {
        self.allocated(head, |_, found| Block { head, order: found.tag.order }).ok()
    }

    /// Records where the allocated block at `head` is mapped (the reverse map).
    ///
    /// # Errors
    /// When `head` is not the head of an allocated block.
    pub fn set_mapping(&self, head: Pfn, at: VirtAddr) -> Result<(), FreeError> {
        self.set_rmap(head, RmapEntry::Mapping(at))
    }

    /// [`Memory::set_mapping`] for all blocks of a run: the first is mapped at `at`, the next one behind it.
    pub(crate) fn set_run_mapping(&self, run: PfnRange, at: VirtAddr) -> Result<(), FreeError> {
        // One lock for all: a block that is split has its owner before or after, in both halves.
        self.allocated(run.start, |buddy, _| {
            buddy.walk(run, |found| {
                let into = (found.head.0 - run.start.0) * PAGE_SIZE;
                let rmap = RmapEntry::Mapping(at.offset(into)).encode();
                buddy.set_rmap(found.head, found.tag.order, found.tag.state, rmap);
                Walk::Continue
            });
        })
    }

    /// Writes the rmap of the allocated block at `head`, under its region's lock: an evacuation reads it there.
    pub(crate) fn set_rmap(&self, head: Pfn, rmap: RmapEntry) -> Result<(), FreeError> {
        self.allocated(head, |buddy, found| {
            buddy.set_rmap(head, found.tag.order, found.tag.state, rmap.encode());
        })
    }

    /// Frees the allocated block at `head` and returns its order. `head` may be any frame number: the index finds its
    /// region, and that region's bits say what is at the frame. No uninitialised descriptor is read. Linux:
    /// `__free_pages`.
    ///
    /// # Errors
    /// When `head` is not the head of an allocated block; nothing changes then.
    #[inline]
    pub fn free_block(&self, head: Pfn) -> Result<Order, FreeError> {
        let cache = self.own_cache();
        match self.push_cached(&cache, head) {
            Some(order) => Ok(order),
            None => self.free_past_cache(cache, head),
        }
    }

    /// Allocates a movable block from the CPU's frame cache, refilling it if needed.
    #[inline(always)]
    fn pop_or_refill(&self, class: SizeClass) -> Option<Pfn> {
        let cache = self.own_cache();
        match self.pop_cached(&cache, class) {
            None => self.refill_and_pop(&cache, class),
            got => got,
        }
    }

    /// Allocates a movable block if the frame cache has one.
    #[inline(always)]
    fn pop_cached(&self, cache: &Entered<'_>, class: SizeClass) -> Option<Pfn> {
        let block = cache.pop(&self.machine, class)?;
        self.poison.taken(&self.machine, block);
        Some(block.start)
    }

    /// Frees a block into the CPU's frame cache and returns its order. `None` when the cache does not take it
    /// ([`Cached::mark`]).
    #[inline(always)]
    fn push_cached(&self, cache: &Entered<'_>, head: Pfn) -> Option<Order> {
        let class = cache.mark(&self.machine, head)?;
        if cache.is_full(class) {
            self.flush_half(cache, class);
        }
        let order = class.order();
        self.poison.freed(&self.machine, PfnRange::of(head, order.pages()));
        cache.push(class, head);
        Some(order)
    }

    #[cold]
    #[inline(never)]
    fn refill_and_pop(&self, cache: &Entered<'_>, class: SizeClass) -> Option<Pfn> {
        self.refill(cache, class).then(|| self.pop_cached(cache, class)).flatten()
    }

    /// Fills an empty size class from the region that is preferred now; `false` when no region has such a block, or the
    /// preferred one is going offline: then the caller allocates past the cache.
    fn refill(&self, cache: &Entered<'_>, class: SizeClass) -> bool {
        let amount = Amount::Order(class.order());
        let constraints = self.constraints(None, self.own_node(), Mobility::Movable, amount);
        let filled = self.nodes.choose(&self.slots, &constraints, |slot| {
            if !cache.serves(slot)
                && let Some((served, id)) = cache.region()
            {
                self.locked_as(served, id, |_, buddy| cache.flush_all(buddy));
                cache.detach();
            }
            self.locked(slot, |region, buddy| {
                if !region.isolated.is_empty() || !self.has_end(region, buddy) {
                    return Some(false);
                }
                cache.refill(region.id, buddy, class).then_some(true)
            })?
        });
        filled == Some(true)
    }

    #[cold]
    #[inline(never)]
    fn flush_half(&self, cache: &Entered<'_>, class: SizeClass) {
        if let Some((slot, id)) = cache.region() {
            self.locked_as(slot, id, |_, buddy| cache.flush_half(buddy, class));
        }
    }

    /// Frees a block past the stacks of the CPU's cache: into its set of the block's region, or under the region's lock.
    #[inline(never)]
    fn free_past_cache(&self, cache: Entered<'_>, head: Pfn) -> Result<Order, FreeError> {
        let slot = cache.likely_slot(head);
        if let Some(slot) = slot
            && self.push_foreign(&cache, cache.foreign(slot), head)
        {
            return Ok(Order(0));
        }
        self.free_past_set(cache, slot, head)
    }

    /// Frees a block that is no frame of the CPU's set of the region in `slot`, its likely one.
    #[inline(never)]
    fn free_past_set(&self, cache: Entered<'_>, slot: Option<SlotNr>, head: Pfn) -> Result<Order, FreeError> {
        let mut freed = slot.and_then(|slot| self.free_locked(&cache, slot, head));
        if freed.is_none() {
            let entry = self.entry_of(head).ok_or(FreeError::Absent { pfn: head })?;
            cache.remember(head, entry.slot);
            if self.push_foreign(&cache, cache.foreign(entry.slot), head) {
                return Ok(Order(0));
            }
            freed = self.free_locked(&cache, entry.slot, head);
        }
        drop(cache);
        freed.unwrap_or(Err(PageState::Absent)).map_err(|state| self.refusal(head, state))
    }

    /// Frees a block under the lock of the region in `slot`. `None` when that region has no frame `head`.
    #[inline]
    fn free_locked(&self, cache: &Entered<'_>, slot: SlotNr, head: Pfn) -> Option<Result<Order, PageState>> {
        let foreign = cache.foreign(slot);
        let attach = !cache.serves(slot) && foreign.changes_to(slot);
        if attach {
            self.flush_foreign(foreign);
        }
        self.locked(slot, |region, buddy| {
            if !region.layout.range.contains(head) {
                return None;
            }
            Some(buddy.free(head).inspect(|order| {
                self.poison.freed(&self.machine, PfnRange::of(head, order.pages()));
                if attach && region.isolated.is_empty() {
                    foreign.attach(region.id, buddy);
                }
                cache.count_free();
            }))
        })?
    }

    /// Frees a frame into a set of frames of another region; `false` when the set does not take it ([`Foreign::mark`]).
    #[inline(always)]
    fn push_foreign(&self, cache: &Entered<'_>, foreign: &Foreign, head: Pfn) -> bool {
        if !foreign.mark(&self.machine, head) {
            return false;
        }
        if foreign.is_full() {
            self.flush_full(foreign);
        }
        self.poison.freed(&self.machine, PfnRange::of(head, 1));
        foreign.push(head);
        cache.count_free();
        true
    }

    /// Makes space in a set of frames of another region, which keeps it.
    #[cold]
    #[inline(never)]
    fn flush_full(&self, foreign: &Foreign) {
        if let Some((slot, id)) = foreign.region() {
            self.locked_as(slot, id, |_, buddy| foreign.flush(buddy));
        }
    }

    /// Frees all blocks of a run from [`Memory::allocate_run`].
    ///
    /// # Errors
    /// When part of the run is not allocated; the blocks before that part are freed then.
    pub fn free_run(&self, run: PfnRange) -> Result<(), FreeError> {
        let mut at = run.start;
        while at < run.end {
            at = at.offset(self.free_block(at)?.pages());
        }
        Ok(())
    }

    /// Checks the poison of a block that is about to be returned to a caller.
    #[inline]
    fn check_taken(&self, block: Block) -> Option<Block> {
        self.poison.taken(&self.machine, block.range());
        Some(block)
    }

    /// Offers regions to `try_slot` until one succeeds; when none does, drains the frame caches and tries once more.
    pub(crate) fn choose<T>(
        &self,
        constraints: &Constraints,
        mut try_slot: impl FnMut(SlotNr) -> Option<T>,
    ) -> Option<T> {
        let mut choose = || self.nodes.choose(&self.slots, constraints, &mut try_slot);
        let got = match choose() {
            None if self.drain_all() => choose(),
            got => got,
        };
        if got.is_some() {
            self.own_cache().count_allocation();
        }
        got
    }

    /// Runs `work` on the allocated block whose head is `head`, under its region's lock.
    fn allocated<T>(&self, head: Pfn, work: impl FnOnce(&Buddy<'_, M>, &Found) -> T) -> Result<T, FreeError> {
        let entry = self.entry_of(head).ok_or(FreeError::Absent { pfn: head })?;
        let found = self.with_region(entry, |_, buddy| match buddy.find(head) {
            Some(found) if found.head == head && found.tag.state.is_allocated() => Ok(work(buddy, &found)),
            Some(found) if found.head != head => Err(FreeError::NoHead { pfn: head, head: found.head }),
            Some(found) => Err(FreeError::NotAllocated { pfn: head, state: page_state(found.tag.state) }),
            None => Err(FreeError::NotAllocated { pfn: head, state: PageState::Memmap }),
        });
        found.unwrap_or(Err(FreeError::Absent { pfn: head }))
    }

    /// The error for a refused free of `head`.
    #[cold]
    fn refusal(&self, head: Pfn, state: PageState) -> FreeError {
        match self.allocated(head, |_, _| ()) {
            Err(error) => error,
            Ok(()) => FreeError::NotAllocated { pfn: head, state },
        }
    }
}
