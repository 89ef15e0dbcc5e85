//! Allocating and freeing blocks and runs, over all regions.
//!
//! Invariant: what was taken is given back by the same number of frames. Neighbours: `node` chooses
//! regions, `buddy` takes and frees, `window` and the kernel ask.

use crate::addr::{NodeId, Order, Pfn, PfnRange, VirtAddr};
use crate::descriptor::{Kind, Page, SlotNr};
use crate::error::FreeError;
use crate::frame_cache::SizeClass;
use crate::info::PageState;
use crate::machine::Machine;
use crate::memory::{Block, Memory};
use crate::zonelist::{Amount, Constraints};

impl<M: Machine> Memory<M> {
    /// A block of exactly `order`. Without `node`: boot memory first for pinned ones, else the node
    /// with most free frames. `None` when there is none.
    #[inline]
    pub fn allocate_block(&self, order: Order, node: Option<NodeId>, kind: Kind) -> Option<Block> {
        if (node, kind) == (None, Kind::Movable)
            && let Some(class) = SizeClass::of(order)
            && let Some(head) = self.pop_or_refill(class)
        {
            return Some(Block { head, order });
        }
        self.allocate_chosen(order, node, kind)
    }

    /// The same past the cache.
    #[inline(never)]
    fn allocate_chosen(&self, order: Order, node: Option<NodeId>, kind: Kind) -> Option<Block> {
        if order > Order::MAX {
            return None;
        }
        self.choose(node, kind, Amount::Order(order), |slot| {
            self.locked(slot, |_, buddy| {
                let head = buddy.allocate(order, kind.state(), 0)?;
                self.handed_out(Block { head, order })
            })?
        })
    }

    /// The largest block up to order `most` that the node has which [`Memory::allocate_block`] would
    /// choose: a smaller one there is preferred to one of another node (or, if pinned, to hot-added memory).
    pub fn allocate_up_to(&self, most: Order, node: Option<NodeId>, kind: Kind) -> Option<Block> {
        let most = most.min(Order::MAX);
        if (node, kind) == (None, Kind::Movable)
            && let Some(head) = SizeClass::of(most).and_then(|class| self.pop_cached(class))
        {
            return Some(Block { head, order: most });
        }
        self.choose(node, kind, Amount::UpTo(most), |slot| {
            self.locked(slot, |_, buddy| {
                let (head, order) = buddy.allocate_up_to(most, kind.state(), 0)?;
                self.handed_out(Block { head, order })
            })?
        })
    }

    /// One run of `pages` frames, also across neighbouring free blocks. It consists of proper
    /// blocks, each freed by itself or all by [`Memory::free_run`]; the first starts at the run's
    /// start, and [`Memory::block_at`] tells their orders.
    pub fn allocate_run(&self, pages: u64, node: Option<NodeId>, kind: Kind) -> Option<PfnRange> {
        if pages == 0 || pages > Order::MAX.pages() {
            return None;
        }
        self.choose(node, kind, Amount::Pages(pages), |slot| {
            self.locked(slot, |_, buddy| {
                let run = PfnRange::of(buddy.find_run(pages)?, pages);
                buddy.alloc_range(run, kind.state(), 0)?;
                self.poison.taken(&self.machine, run);
                Some(run)
            })?
        })
    }

    /// The allocated block whose head is `head`.
    pub fn block_at(&self, head: Pfn) -> Option<Block> {
        self.allocated(head).ok()
    }

    /// Notes where the allocated block at `head` is mapped (the reverse map).
    ///
    /// # Errors
    /// When `head` is not the head of an allocated block.
    pub fn set_mapping(&self, head: Pfn, at: VirtAddr) -> Result<(), FreeError> {
        self.allocated(head)?;
        Page::of(&self.machine, head).set_rmap(at.0);
        Ok(())
    }

    /// Frees the allocated block at `head`, and tells its order. `head` may be any frame: its region is looked for in the
    /// index, and that region's bits say what is at the frame. No descriptor is read that was not written.
    ///
    /// # Errors
    /// When `head` is not the head of an allocated block; nothing changes then.
    #[inline]
    pub fn free_block(&self, head: Pfn) -> Result<Order, FreeError> {
        match self.push_cached(head) {
            Some(order) => Ok(order),
            None => self.free_past_cache(head),
        }
    }

    #[inline(never)]
    fn free_past_cache(&self, head: Pfn) -> Result<Order, FreeError> {
        let slot = match self.cache.slot_of(head) {
            Some(slot) => slot,
            None => self.slot_of(head)?,
        };
        let freed = self.locked(slot, |_, buddy| {
            let order = buddy.free(head)?;
            self.poison.freed(&self.machine, PfnRange::of(head, order.pages()));
            Ok(order)
        });
        freed.unwrap_or(Err(PageState::Absent)).map_err(|state| self.refusal(head, state))
    }

    /// Frees all blocks of a run that [`Memory::allocate_run`] gave.
    ///
    /// # Errors
    /// When the run does not consist of allocated blocks; those in front of the broken place are free then.
    pub fn free_run(&self, run: PfnRange) -> Result<(), FreeError> {
        let mut at = run.start;
        while at < run.end {
            at = at.offset(self.free_block(at)?.pages());
        }
        Ok(())
    }

    /// Notes that a block goes to somebody.
    #[inline]
    fn handed_out(&self, block: Block) -> Option<Block> {
        self.poison.taken(&self.machine, block.range());
        Some(block)
    }

    /// Offers regions to `try_slot` until it takes one; when none is left, once more with the cached frames
    /// back in theirs.
    fn choose<T>(
        &self,
        node: Option<NodeId>,
        kind: Kind,
        amount: Amount,
        mut try_slot: impl FnMut(SlotNr) -> Option<T>,
    ) -> Option<T> {
        let want = Constraints { node, kind, amount };
        let got = self.nodes.choose(&self.slots, &want, &mut try_slot);
        if got.is_some() || !self.drain_all() {
            return got;
        }
        self.nodes.choose(&self.slots, &want, &mut try_slot)
    }

    /// The slot of the region that has `pfn` in its usable run.
    #[inline]
    fn slot_of(&self, pfn: Pfn) -> Result<SlotNr, FreeError> {
        let entry = self.index.read().find(pfn).copied().ok_or(FreeError::Absent { pfn })?;
        Ok(entry.slot)
    }

    fn allocated(&self, head: Pfn) -> Result<Block, FreeError> {
        let found = self.locked(self.slot_of(head)?, |_, buddy| buddy.find(head)).flatten();
        match found {
            Some(found) if found.head == head && found.tag.state.is_allocated() => {
                Ok(Block { head, order: found.tag.order })
            }
            Some(found) if found.head != head => Err(FreeError::NoHead { pfn: head, head: found.head }),
            Some(found) => {
                Err(FreeError::NotAllocated { pfn: head, state: crate::buddy::page_state(found.tag.state) })
            }
            None => Err(FreeError::NotAllocated { pfn: head, state: PageState::Memmap }),
        }
    }

    /// Why freeing `head` was refused, in words that fit.
    #[cold]
    fn refusal(&self, head: Pfn, state: PageState) -> FreeError {
        match self.allocated(head) {
            Err(error) => error,
            Ok(_) => FreeError::NotAllocated { pfn: head, state },
        }
    }
}
