//! The buddy allocator of one region, over a memmap that is initialised lazily.
//!
//! ```text
//!  usable run   |8|  16  |      32      |              64               | 4 |
//!  first blocks  greedy from the left: each as large as alignment and the run's end allow
//!  a split       head and middle of the block get descriptors: two halves, each a block
//! ```
//!
//! **A block's descriptor is written when the block comes into being, and only its head's; no
//! descriptor is read that was not written.** The memory need not be zero. It holds because
//! (the named tests of this module hold each, on a machine where reading what was not written panics):
//!
//! 1. Blocks are aligned to their size by absolute frame number, and no order is capped below the
//!    region's highest: `first_blocks_are_greedy_and_maximal`.
//! 2. The first blocks are recomputable from the usable run alone: same test. Their heads are written by
//!    [`Buddy::init`], so every walk may start from them.
//! 3. A split writes both halves' heads, and a block of the split tree is split, or whole with a
//!    written head: reading the head of the leftmost part tells which. So descent (first blocks, then
//!    halving) meets only written heads: `random_operations_match_the_eager_model`.
//! 4. A merge asks only for a buddy whose union with the block lies wholly inside the usable run. That
//!    union is a part of a first block, split now, so the buddy's head is written:
//!    `merging_never_looks_outside_the_run`.
//! 5. What merges into another block leaves a head that says "free", never "allocated": so freeing
//!    twice is refused: `freeing_twice_is_refused`.
//! 6. Two free buddies are always merged; a block that is cached, isolated or offline is not free and
//!    merges with nothing: `nothing_merges_across_states`.
//! 7. Runs of odd size are made of proper blocks: `a_fresh_dimm_is_one_run`.
//! 8. Frames of the memmap are outside the usable run (boot memory: blocks pinned since boot), so
//!    their slots, which hold header and tables, are never read as descriptors.
//!
//! The header (list heads and counters) lies in the resource and is read and written through the
//! machine; only the [`Summary`] is outside, for others to read without the lock. All of this runs
//! under the region's lock. Neighbours: `region` owns the lock, `layout` says where the header lies.

mod first;
mod lists;
mod runs;
mod summary;

#[cfg(test)]
mod tests;

use crate::addr::{Order, Pfn, PfnRange, VirtAddr};
use crate::info::PageState;
use crate::machine::Machine;
use crate::page::{Page, SlotNr, State, Tag};

use first::first_block_of;
pub use first::{first_blocks, max_order};
pub use summary::Summary;

/// Words of the header in front of the lists: a counter of frames for each [`State`] (word 0 and that
/// of free frames, which the summary counts, stay 0).
const LISTS: u64 = 8;
/// Words of a list in the header: the first block and the number of blocks.
const LIST_WORDS: u64 = 2;

/// Bytes of the header of a region whose highest order is `max`.
pub const fn header_bytes(max: Order) -> u64 {
    8 * (LISTS + LIST_WORDS * (max.0 as u64 + 1))
}

const _: () = assert!(header_bytes(Order::MAX) <= crate::addr::PAGE_SIZE);
const _: () = assert!(State::Cached as u64 == LISTS - 1);

/// A block as found in the memmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its head.
    pub head: Pfn,
    /// Its tag.
    pub tag: Tag,
}

impl Found {
    /// Its frames.
    pub const fn range(&self) -> PfnRange {
        PfnRange::of(self.head, self.tag.order.pages())
    }
}

/// The buddy allocator of one region: a view of its header and memmap, to be used under its lock.
#[derive(Debug)]
pub struct Buddy<'a, M> {
    pub(crate) machine: &'a M,
    pub(crate) header: VirtAddr,
    pub(crate) usable: PfnRange,
    pub(crate) max: Order,
    pub(crate) slot: SlotNr,
    pub(crate) summary: &'a Summary,
}

impl<M: Machine> Buddy<'_, M> {
    /// Writes header and first blocks, all free. Returns how many descriptors it wrote.
    pub fn init(&self) -> u64 {
        for counter in 0..LISTS {
            self.machine.store(self.header.offset(8 * counter), 0);
        }
        for order in 0..=self.max.0 {
            self.set_first(Order(order), None);
            self.machine.store(self.list(Order(order)).offset(8), 0);
        }
        self.summary.clear();
        let mut written = 0;
        for (head, order) in first_blocks(self.usable) {
            self.push(head, order);
            written += 1;
        }
        self.count(State::Free, self.usable.pages(), 0);
        written
    }

    /// Takes a block of `order`. It becomes `state`, held by `holder`.
    #[inline]
    pub fn allocate(&self, order: Order, state: State, holder: u64) -> Option<Pfn> {
        if order > self.max {
            return None;
        }
        let fitting = self.summary.orders() & (!0 << order.0);
        if fitting == 0 {
            return None;
        }
        let mut have = Order(fitting.trailing_zeros() as u8);
        let head = self.first(have)?;
        self.unlink(head, have);
        while have > order {
            have = Order(have.0 - 1);
            self.push(head.offset(have.pages()), have);
        }
        self.take(head, order, state, holder);
        Some(head)
    }

    /// Takes the largest block that can be had up to order `most`.
    pub fn allocate_up_to(&self, most: Order, state: State, holder: u64) -> Option<(Pfn, Order)> {
        let highest = self.summary.highest()?;
        let order = most.min(highest);
        self.allocate(order, state, holder).map(|head| (head, order))
    }

    /// Frees the block whose head is `head`, merging it with free buddies. Returns its order.
    ///
    /// # Errors
    /// The state the frame is in when it is not the head of an allocated block; nothing changes then.
    #[inline]
    pub fn free(&self, head: Pfn) -> Result<Order, PageState> {
        if !self.usable.contains(head) {
            return Err(PageState::Memmap);
        }
        let tag = self.tag(head).ok_or(PageState::Absent)?;
        if !tag.state.is_allocated() {
            return Err(page_state(tag.state));
        }
        self.count(tag.state, 0, tag.order.pages());
        self.count(State::Free, tag.order.pages(), 0);
        self.release(head, tag.order);
        Ok(tag.order)
    }

    /// Puts a block that nobody holds into its list, merged as far as it goes. Counts nothing.
    #[inline]
    fn release(&self, head: Pfn, order: Order) {
        let (mut at, mut have) = (head, order);
        while have < self.max {
            let buddy = Pfn(at.0 ^ have.pages());
            let both = PfnRange::of(at.min(buddy), 2 * have.pages());
            // Condition 4: a buddy that is not wholly inside is not even looked at.
            if !self.usable.contains_range(both) {
                break;
            }
            match self.tag(buddy) {
                Some(Tag { state: State::Free, order, .. }) if order == have => {}
                _ => break,
            }
            self.unlink(buddy, have);
            at = both.start;
            have = Order(have.0 + 1);
        }
        if at != head {
            // Condition 5: what is no head any more must not look allocated.
            self.set_tag(head, State::Free, order);
        }
        self.push(at, have);
    }

    /// The block that `pfn` is in: from the first block down by halving. `None` for a frame outside
    /// the usable run, or when a head was overwritten (`check` tells).
    pub fn find(&self, pfn: Pfn) -> Option<Found> {
        if !self.usable.contains(pfn) {
            return None;
        }
        let (mut head, mut order) = first_block_of(self.usable, pfn);
        loop {
            let tag = self.tag(head)?;
            if tag.order >= order {
                return (tag.order == order).then_some(Found { head, tag });
            }
            order = Order(order.0 - 1);
            let middle = head.offset(order.pages());
            if pfn >= middle {
                head = middle;
            }
        }
    }

    /// Frames in `state`.
    pub fn pages_in(&self, state: State) -> u64 {
        match state {
            State::Free => self.summary.free(),
            _ => self.machine.load(self.header.offset(8 * state as u64)),
        }
    }

    /// The descriptor of a frame of the usable run.
    #[inline]
    pub fn page(&self, pfn: Pfn) -> Page<'_, M> {
        Page::of(self.machine, pfn)
    }

    #[inline]
    fn tag(&self, pfn: Pfn) -> Option<Tag> {
        self.page(pfn).tag()
    }

    #[inline]
    fn set_tag(&self, pfn: Pfn, state: State, order: Order) {
        self.page(pfn).set_tag(Tag { state, order, slot: self.slot });
    }

    /// Makes an unlinked block one that is held, and counts it.
    #[inline]
    fn take(&self, head: Pfn, order: Order, state: State, holder: u64) {
        self.set_tag(head, state, order);
        self.page(head).set_holder(holder);
        self.count(State::Free, 0, order.pages());
        self.count(state, order.pages(), 0);
    }

    /// Adds to and takes from the counter of `state`. The free frames are in the summary alone.
    #[inline]
    fn count(&self, state: State, more: u64, less: u64) {
        if state == State::Free {
            self.summary.count(more, less);
        } else {
            let at = self.header.offset(8 * state as u64);
            self.machine.store(at, self.machine.load(at) + more - less);
        }
    }
}

/// What the frames of a block in `state` are, as it is shown.
pub const fn page_state(state: State) -> PageState {
    match state {
        State::Free | State::Cached => PageState::Free,
        State::Movable => PageState::Movable,
        State::Pinned | State::Boot => PageState::Pinned,
        State::Offline | State::Isolated => PageState::Offline,
    }
}
