//! The frame caches: single frames and 2 MiB blocks in front of the buddy, for movable allocations without a node; one
//! cache for each CPU, on cache lines of its own. Linux's counterpart is the per-CPU page lists (`pcp`), which hold the
//! same kinds of orders.
//!
//! ```text
//!  allocate --> at most 256 single frames -128 at once--> buddy     free: the same way back
//!               at most 16 blocks of 2 MiB -8 at once---> of one region
//!  free -----> 128 x 15 single frames of other regions -15 at once-> their buddies
//! ```
//!
//! Allocating or freeing a block is a push or a pop plus one bit of its group's words ([`claim`], one atomic step):
//! no choice of a region, no lock, no shared counter and, on free, no descriptor. The group's bits suffice to refuse
//! anything that is not an allocated movable block of exactly that order.
//!
//! Invariants: one CPU at a time uses a cache (`owner`). To the buddy, cached blocks are held blocks in the state
//! `Cached`; they count as free: statistics add them, and an allocation that finds nothing drains all caches first. The
//! blocks that are allocated from belong to one region, the one chosen when the cache was filled; never to a region of
//! which a part is isolated (`known`). The region's counters are updated when blocks return to it.
//!
//! Neighbours: `allocate` decides when to refill and when to flush, `drain` empties caches; `buddy` gives and takes the
//! blocks.

mod foreign;
mod known;
mod owner;
mod per_cpu;
mod stack;

use core::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::{Buddy, Group, claim, forget_owner, level_of, mark_used_uncounted};
use crate::descriptor::{BlockState, Page, SlotNr, Tag};
use crate::info::ResourceId;
use crate::machine::Machine;
use crate::region::MAX_REGIONS;
pub(crate) use foreign::Foreign;
use known::{Counted, Known};
pub(crate) use owner::Entered;
use owner::Ownership;
pub(crate) use per_cpu::FrameCaches;
use stack::Stack;

/// The block sizes that a cache keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeClass {
    /// Single frames.
    Single,
    /// Blocks of 2 MiB, for large leaves.
    Large,
}

impl SizeClass {
    /// The size class of `order`.
    #[inline]
    pub(crate) const fn of(order: Order) -> Option<SizeClass> {
        match order.0 {
            0 => Some(SizeClass::Single),
            9 => Some(SizeClass::Large),
            _ => None,
        }
    }

    #[inline]
    pub(crate) const fn order(self) -> Order {
        match self {
            SizeClass::Single => Order(0),
            SizeClass::Large => Order(9),
        }
    }
}

/// Capacities in blocks; half as many move from or to the buddy at once. Half of the single frames is a group: where
/// memory is unused, CPUs take different groups, and so do not write to each other's cache lines when they allocate and free.
const SINGLES: usize = 256;
const LARGE: usize = 16;
/// Sets of frames of other regions; a region uses the one that its slot's number selects.
const FOREIGN: usize = 128;
/// Hints at the region of a frame, and the frames of a run that has one: 2^13 are 32 MiB, less than a DIMM.
const HINTS: usize = 256;
const HINT_SHIFT: u32 = 13;
/// The bits of a hint that hold a slot's number.
const SLOT_BITS: u32 = 9;
const _: () = assert!(MAX_REGIONS <= 1 << SLOT_BITS);
/// No group.
const NO_GROUP: u64 = u64::MAX;

/// The cache of one CPU. See the module's head.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct FrameCache {
    ownership: Ownership,
    cached: Cached,
}

/// The contents of a cache, for the CPU that owns it at the moment.
#[derive(Debug)]
pub(crate) struct Cached {
    /// The region that the frames of both stacks belong to.
    region: Known,
    counted: Counted,
    /// Number of a level-0 group that is known to be open: one of its frames passed through the cache since the last
    /// blocks went back to the buddy, so one of its frames is held.
    open: AtomicU64,
    /// The first frame of the level-0 group that the buddy opened for this cache last.
    opened: AtomicU64,
    singles: Stack<SINGLES>,
    large: Stack<LARGE>,
    foreign: [Foreign; FOREIGN],
    /// For runs of frames: the slot of their region, and above it a tag that tells the run from most others that share the
    /// hint. A wrong one costs a lookup.
    hints: [AtomicU16; HINTS],
    /// Blocks that this CPU has allocated and freed since boot.
    allocations: AtomicU64,
    frees: AtomicU64,
}

/// The activity of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Blocks that it has allocated since boot.
    pub allocations: u64,
    /// Blocks that it has freed since boot.
    pub frees: u64,
    /// Frames in its cache.
    pub cached_pages: u64,
}

impl FrameCache {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        FrameCache {
            ownership: Ownership::new(),
            cached: Cached {
                region: Known::new(),
                counted: Counted::new(),
                open: AtomicU64::new(NO_GROUP),
                opened: AtomicU64::new(NO_GROUP),
                singles: Stack::new(),
                large: Stack::new(),
                foreign: [const { Foreign::new() }; FOREIGN],
                hints: [const { AtomicU16::new(0) }; HINTS],
                allocations: AtomicU64::new(0),
                frees: AtomicU64::new(0),
            },
        }
    }

    /// Whether the cache knows the region in `slot`. Any CPU may ask. The answer holds on when it is no, once a part of
    /// the region is isolated.
    #[inline]
    pub(crate) fn knows(&self, slot: SlotNr) -> bool {
        self.cached.region.is(slot) || self.cached.foreign(slot).is(slot)
    }

    /// Frames of the region in `slot` that the cache has; exact while its CPU neither allocates nor frees.
    pub(crate) fn pages_of(&self, slot: SlotNr) -> u64 {
        let own = if self.cached.region.is(slot) { self.cached.pages() } else { 0 };
        own + self.cached.foreign(slot).pages_of(slot)
    }

    /// Blocks of `order` of the region in `slot` that the cache has, likewise.
    pub(crate) fn blocks_of(&self, slot: SlotNr, order: Order) -> u64 {
        let foreign = self.cached.foreign(slot).pages_of(slot);
        let own = self.cached.region.is(slot);
        match SizeClass::of(order) {
            Some(SizeClass::Single) => foreign + if own { self.cached.singles.len() as u64 } else { 0 },
            Some(SizeClass::Large) if own => self.cached.large.len() as u64,
            _ => 0,
        }
    }

    /// Calls `each` with the slot of each region of which the cache has frames, and their number, likewise.
    pub(crate) fn each_region(&self, each: &mut impl FnMut(SlotNr, u64)) {
        if let Some((slot, _)) = self.cached.region() {
            each(slot, self.cached.pages());
        }
        for foreign in &self.cached.foreign {
            if let Some((slot, _)) = foreign.region() {
                each(slot, foreign.pages());
            }
        }
    }

    /// What its CPU does; exact while that neither allocates nor frees.
    pub(crate) fn stats(&self) -> CpuStats {
        let foreign: u64 = self.cached.foreign.iter().map(Foreign::pages).sum();
        CpuStats {
            allocations: self.cached.allocations.load(Relaxed),
            frees: self.cached.frees.load(Relaxed),
            cached_pages: self.cached.pages() + foreign,
        }
    }
}

impl Cached {
    /// Frames on the two stacks.
    fn pages(&self) -> u64 {
        self.singles.len() as u64 + ((self.large.len() as u64) << SizeClass::Large.order().0)
    }

    /// Whether there is a frame of any region.
    pub(crate) fn is_empty(&self) -> bool {
        self.pages() == 0 && self.foreign.iter().all(|foreign| foreign.pages() == 0)
    }

    /// Whether the blocks to allocate belong to the region in `slot`.
    #[inline]
    pub(crate) fn serves(&self, slot: SlotNr) -> bool {
        self.region.is(slot)
    }

    /// The region that the blocks to allocate belong to.
    pub(crate) fn region(&self) -> Option<(SlotNr, ResourceId)> {
        self.region.region()
    }

    /// The frames of other regions whose slot selects the same set as `slot`.
    #[inline]
    pub(crate) fn foreign(&self, slot: SlotNr) -> &Foreign {
        &self.foreign[slot.0 as usize % FOREIGN]
    }

    /// The slot that is likely to be that of the region of `head`: found without a lookup of the region. The caller checks
    /// that the region there has the frame.
    #[inline]
    pub(crate) fn likely_slot(&self, head: Pfn) -> Option<SlotNr> {
        let hint = self.hint(head).load(Relaxed);
        (hint >> SLOT_BITS == hint_tag(head)).then_some(SlotNr(hint % (1 << SLOT_BITS)))
    }

    /// Remembers that `head` belongs to the region in `slot`.
    pub(crate) fn remember(&self, head: Pfn, slot: SlotNr) {
        self.hint(head).store(hint_tag(head) << SLOT_BITS | slot.0, Relaxed);
    }

    fn hint(&self, head: Pfn) -> &AtomicU16 {
        &self.hints[(head.0 >> HINT_SHIFT) as usize % HINTS]
    }

    /// All frames of other regions.
    pub(crate) fn all_foreign(&self) -> &[Foreign] {
        &self.foreign
    }

    /// Counts an allocation of this CPU.
    #[inline(always)]
    pub(crate) fn count_allocation(&self) {
        self.allocations.store(self.allocations.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Counts a free of this CPU.
    #[inline(always)]
    pub(crate) fn count_free(&self) {
        self.frees.store(self.frees.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Counts allocations and frees of this CPU.
    pub(crate) fn count_more(&self, allocations: usize, frees: usize) {
        for (counter, more) in [(&self.allocations, allocations), (&self.frees, frees)] {
            counter.store(counter.load(Relaxed).wrapping_add(more as u64), Relaxed);
        }
    }

    /// Takes a block of a size class out of the cache and marks it as allocated. `None` when the cache has none.
    #[inline(always)]
    pub(crate) fn pop<M: Machine>(&self, machine: &M, class: SizeClass) -> Option<PfnRange> {
        // Written out per class, so that order and level are compile-time constants.
        match class {
            SizeClass::Single => {
                let head = self.singles.pop()?;
                // The descriptor is written: it says movable, of this region.
                forget_owner(machine, self.region.level(0), head);
                self.hand_out(machine, head, Order(0));
                self.open.store(Group::of(head, 0).nr(), Relaxed);
                Some(PfnRange::of(head, 1))
            }
            SizeClass::Large => {
                let (head, order) = (self.large.pop()?, SizeClass::Large.order());
                let page = Page::of(machine, head);
                page.set_tag(Tag { state: BlockState::Movable, order, slot: self.region.slot() });
                page.set_rmap(0);
                self.hand_out(machine, head, order);
                Some(PfnRange::of(head, order.pages()))
            }
        }
    }

    /// Marks a block as allocated, once its descriptor says what it is.
    #[inline(always)]
    fn hand_out<M: Machine>(&self, machine: &M, head: Pfn, order: Order) {
        mark_used_uncounted(machine, self.region.level(level_of(order)), head, order);
        self.count_allocation();
    }

    /// Marks an allocated block as cached; the caller pushes it then. `None` when the block belongs to another region or
    /// is not an allocated movable block of a cached order.
    #[inline(always)]
    pub(crate) fn mark<M: Machine>(&self, machine: &M, head: Pfn) -> Option<SizeClass> {
        let group = Group::of(head, 0).nr();
        if self.open.load(Relaxed) == group {
            return self.mark_of(machine, SizeClass::Single, head);
        }
        if !self.region.has(head) {
            return None;
        }
        match self.region.level_of_block(machine, head) {
            0 => self.mark_of(machine, SizeClass::Single, head).inspect(|_| self.open.store(group, Relaxed)),
            1 => self.mark_of(machine, SizeClass::Large, head),
            _ => None,
        }
    }

    #[inline(always)]
    fn mark_of<M: Machine>(&self, machine: &M, class: SizeClass, head: Pfn) -> Option<SizeClass> {
        let order = class.order();
        claim(machine, self.region.level(level_of(order)), head, order).then_some(class)
    }

    /// Whether a size class must be flushed before the next push.
    #[inline(always)]
    pub(crate) fn is_full(&self, class: SizeClass) -> bool {
        match class {
            SizeClass::Single => self.singles.len() >= SINGLES,
            SizeClass::Large => self.large.len() >= LARGE,
        }
    }

    /// Adds a block that [`Cached::mark`] marked.
    #[inline(always)]
    pub(crate) fn push(&self, class: SizeClass, head: Pfn) {
        match class {
            SizeClass::Single => self.singles.push(head),
            SizeClass::Large => self.large.push(head),
        }
        self.count_free();
    }

    /// Fills an empty size class from the region `id`, to which all other blocks on the stacks belong, if there are any.
    /// `false` when the region has no such block.
    pub(crate) fn refill<M: Machine>(&self, id: ResourceId, buddy: &Buddy<'_, M>, class: SizeClass) -> bool {
        let blocks = match class {
            SizeClass::Single => {
                let before = Some(self.opened.load(Relaxed)).filter(|&pfn| pfn != NO_GROUP);
                let before = before.map(|pfn| Group::of(Pfn(pfn), 0));
                let (blocks, opened) = fill(&self.singles, buddy, class, before);
                if let Some(group) = opened {
                    self.opened.store(group.start().0, Relaxed);
                }
                blocks
            }
            SizeClass::Large => fill(&self.large, buddy, class, None).0,
        };
        if blocks == 0 {
            return false;
        }
        self.region.learn(id, buddy);
        self.counted.drew((blocks as u64) << class.order().0);
        true
    }

    /// Returns the older half of a size class to the buddy of its region.
    pub(crate) fn flush_half<M: Machine>(&self, buddy: &Buddy<'_, M>, class: SizeClass) {
        self.open.store(NO_GROUP, Relaxed);
        self.counted.update_counters(buddy, self.pages());
        match class {
            SizeClass::Single => flush(buddy, &self.counted, &self.singles, class.order(), SINGLES / 2),
            SizeClass::Large => flush(buddy, &self.counted, &self.large, class.order(), LARGE / 2),
        }
    }

    /// Returns all blocks on the stacks to the buddy of their region; [`Cached::detach`] follows.
    pub(crate) fn flush_all<M: Machine>(&self, buddy: &Buddy<'_, M>) {
        self.counted.update_counters(buddy, self.pages());
        flush(buddy, &self.counted, &self.singles, SizeClass::Single.order(), SINGLES);
        flush(buddy, &self.counted, &self.large, SizeClass::Large.order(), LARGE);
    }

    /// Detaches the stacks from their region, once their blocks went back or were lost with it.
    pub(crate) fn detach(&self) {
        self.region.clear();
        self.counted.clear();
        self.open.store(NO_GROUP, Relaxed);
        self.singles.clear();
        self.large.clear();
    }
}

/// The tag of the run of frames that `head` is in; never 0, which an unused hint has.
#[inline]
const fn hint_tag(head: Pfn) -> u16 {
    const TAGS: u64 = (1 << (16 - SLOT_BITS)) - 1;
    ((head.0 >> HINT_SHIFT) / HINTS as u64 % TAGS) as u16 + 1
}

/// Fills an empty stack with half as many blocks as it holds at most. Returns how many there are, and what
/// [`Buddy::alloc_bulk`] returns.
fn fill<M: Machine, const N: usize>(
    stack: &Stack<N>,
    buddy: &Buddy<'_, M>,
    class: SizeClass,
    before: Option<Group>,
) -> (usize, Option<Group>) {
    let opened = buddy.alloc_bulk(class.order(), N / 2, before, |head| stack.push(head));
    // Reversed, so that the first block from the buddy is allocated first.
    stack.reverse();
    (stack.len(), opened)
}

/// Returns up to `most` of the oldest blocks of a stack to their region.
fn flush<M: Machine, const N: usize>(
    buddy: &Buddy<'_, M>,
    counted: &Counted,
    stack: &Stack<N>,
    order: Order,
    most: usize,
) {
    let blocks = most.min(stack.len());
    let pages = (blocks as u64) << order.0;
    if buddy.isolated.is_empty() {
        buddy.count(BlockState::Cached, 0, pages);
        buddy.count(BlockState::Free, pages, 0);
        // Written out, so that order and level are compile-time constants.
        match order {
            Order(0) => buddy.free_bulk(Order(0), blocks, |nr| stack.at(nr)),
            _ => buddy.free_bulk(order, blocks, |nr| stack.at(nr)),
        }
    } else {
        stack.oldest(blocks).for_each(|head| buddy.free_cached(head, order));
    }
    stack.drop_first(blocks);
    counted.returned(pages);
}

#[cfg(test)]
impl FrameCache {
    /// [`Cached::refill`] of a cache that no CPU uses.
    pub(crate) fn refilled<M: Machine>(
        &self,
        id: ResourceId,
        buddy: &Buddy<'_, M>,
        class: SizeClass,
    ) -> bool {
        self.cached.refill(id, buddy, class)
    }

    /// [`Cached::pop`], by the only user.
    pub(crate) fn popped<M: Machine>(&self, machine: &M, class: SizeClass) -> Option<Pfn> {
        self.cached.pop(machine, class).map(|block| block.start)
    }
}
