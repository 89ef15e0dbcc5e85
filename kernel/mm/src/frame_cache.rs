//! The frame cache: single frames and 2 MiB blocks in front of the buddy, for movable allocations without a node.
//! Linux's counterpart is the per-CPU page lists (`pcp`), which hold the same kinds of orders.
//!
//! ```text
//!  allocate --> at most 128 single frames --64 at once--> buddy     free: the same way back
//!               at most 16 blocks of 2 MiB -8 at once---> of one region
//! ```
//!
//! Allocating or freeing a block is a push or a pop plus one bit of its group's words ([`mark_cached`]): no choice of a
//! region, no lock, no counter and, on free, no descriptor. The group's bits suffice to refuse anything that is not an
//! allocated movable block of exactly that order.
//!
//! Not synchronised: a single CPU runs, and interrupt handlers never allocate. Relaxed atomics only satisfy `Sync`.
//! With more CPUs, each would own a cache and drain it on request.
//!
//! Invariants: to the buddy, cached blocks are held blocks in the state `Cached`; they count as free, because every
//! reader of a region (`Memory::with_region`) and every allocation that finds nothing drains the cache first. All
//! cached blocks belong to one region, the one chosen when the cache was filled; never to a region that is going
//! offline, even in part. The region's counters are updated when blocks return to it: a frame that was cached then and
//! is not now has become movable. Neighbours: `allocate` decides
//! when to refill and when to flush, `memory` drains; `buddy` gives and takes the blocks.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::addr::{Order, Pfn, PfnRange, VirtAddr};
use crate::buddy::{Buddy, Group, LEVELS, level_of, level_of_block, mark_cached, mark_used_uncounted};
use crate::descriptor::{BlockState, Page, SlotNr, Tag};
use crate::machine::Machine;

/// The block sizes that the cache keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeClass {
    /// Single frames.
    Single,
    /// Blocks of 2 MiB, for large leaves.
    Large,
}

impl SizeClass {
    const ALL: [SizeClass; 2] = [SizeClass::Single, SizeClass::Large];

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

    /// Capacity in blocks; half as many move from or to the buddy at once.
    #[inline]
    const fn capacity(self) -> usize {
        match self {
            SizeClass::Single => MAX_BLOCKS,
            SizeClass::Large => 16,
        }
    }
}

/// The largest capacity of a size class.
const MAX_BLOCKS: usize = 128;
/// No group.
const NO_GROUP: u64 = u64::MAX;
/// No slot.
const NO_SLOT: u16 = u16::MAX;

/// The cache. See the module's head.
#[derive(Debug)]
pub(crate) struct FrameCache {
    /// The slot of the region that the frames belong to.
    slot: AtomicU16,
    /// The region's usable run, empty without a slot.
    usable: [AtomicU64; 2],
    /// Addresses of the region's group words by level, and its top level.
    levels: [AtomicU64; LEVELS],
    top: AtomicU8,
    /// Number of a level-0 group that is known to be open: one of its frames passed through the cache since the last
    /// blocks went back to the buddy, so one of its frames is held.
    open: AtomicU64,
    stacks: [Stack; SizeClass::ALL.len()],
}

/// The blocks of a size class; the last one is allocated next.
#[derive(Debug)]
struct Stack {
    len: AtomicUsize,
    heads: [AtomicU64; MAX_BLOCKS],
}

impl Stack {
    const fn new() -> Stack {
        Stack { len: AtomicUsize::new(0), heads: [const { AtomicU64::new(0) }; MAX_BLOCKS] }
    }

    #[inline]
    fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    #[inline]
    fn push(&self, head: Pfn) {
        let len = self.len();
        if let Some(free) = self.heads.get(len) {
            free.store(head.0, Relaxed);
            self.len.store(len + 1, Relaxed);
        }
    }

    #[inline]
    fn pop(&self) -> Option<Pfn> {
        let last = self.len().checked_sub(1)?;
        self.len.store(last, Relaxed);
        Some(Pfn(self.heads.get(last)?.load(Relaxed)))
    }

    fn get(&self, n: usize) -> Pfn {
        Pfn(self.heads[n].load(Relaxed))
    }

    /// Removes the first `n` blocks.
    fn drop_first(&self, n: usize) {
        let len = self.len();
        (n..len).for_each(|from| self.heads[from - n].store(self.get(from).0, Relaxed));
        self.len.store(len - n, Relaxed);
    }

    fn reverse(&self) {
        let len = self.len();
        for n in 0..len / 2 {
            let (one, other) = (self.get(n), self.get(len - 1 - n));
            self.heads[n].store(other.0, Relaxed);
            self.heads[len - 1 - n].store(one.0, Relaxed);
        }
    }
}

impl FrameCache {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        FrameCache {
            slot: AtomicU16::new(NO_SLOT),
            usable: [const { AtomicU64::new(0) }; 2],
            levels: [const { AtomicU64::new(0) }; LEVELS],
            top: AtomicU8::new(0),
            open: AtomicU64::new(NO_GROUP),
            stacks: [const { Stack::new() }; SizeClass::ALL.len()],
        }
    }

    /// Whether the cached blocks belong to the region in `slot`.
    #[inline]
    pub(crate) fn has(&self, slot: SlotNr) -> bool {
        self.slot.load(Relaxed) == slot.0
    }

    /// The slot of the region that the cached blocks belong to.
    pub(crate) fn slot(&self) -> Option<SlotNr> {
        let slot = self.slot.load(Relaxed);
        (slot != NO_SLOT).then_some(SlotNr(slot))
    }

    /// The slot of the cached region if `pfn` lies in its usable run.
    #[inline]
    pub(crate) fn slot_of(&self, pfn: Pfn) -> Option<SlotNr> {
        let [start, end] = &self.usable;
        let usable = PfnRange { start: Pfn(start.load(Relaxed)), end: Pfn(end.load(Relaxed)) };
        usable.contains(pfn).then(|| SlotNr(self.slot.load(Relaxed)))
    }

    #[inline(always)]
    fn level(&self, level: u8) -> VirtAddr {
        VirtAddr(self.levels[level as usize].load(Relaxed))
    }

    #[inline(always)]
    fn stack(&self, class: SizeClass) -> &Stack {
        &self.stacks[class as usize]
    }

    /// Number of cached frames.
    pub(crate) fn pages(&self) -> u64 {
        SizeClass::ALL.iter().map(|&class| (self.stack(class).len() as u64) << class.order().0).sum()
    }

    /// Detaches the cache from its region, once its blocks went back or were lost.
    pub(crate) fn detach(&self) {
        self.slot.store(NO_SLOT, Relaxed);
        self.usable.iter().for_each(|border| border.store(0, Relaxed));
        self.open.store(NO_GROUP, Relaxed);
        self.stacks.iter().for_each(|stack| stack.len.store(0, Relaxed));
    }

    /// Drops the frames of a region after a surprise removal, without accessing its memory.
    pub(crate) fn drop_slot(&self, slot: SlotNr) {
        if self.has(slot) {
            self.detach();
        }
    }
}

impl FrameCache {
    /// Takes a block of a size class out of the cache and marks it as allocated. `None` when the cache has none.
    #[inline(always)]
    pub(crate) fn pop<M: Machine>(&self, machine: &M, class: SizeClass) -> Option<PfnRange> {
        // Written out per class, so that order and level are compile-time constants.
        match class {
            SizeClass::Single => self.pop_of(machine, SizeClass::Single),
            SizeClass::Large => self.pop_of(machine, SizeClass::Large),
        }
    }

    #[inline(always)]
    fn pop_of<M: Machine>(&self, machine: &M, class: SizeClass) -> Option<PfnRange> {
        let order = class.order();
        let head = self.stack(class).pop()?;
        mark_used_uncounted(machine, self.level(level_of(order)), head, order);
        let page = Page::of(machine, head);
        page.set_tag(Tag { state: BlockState::Movable, order, slot: SlotNr(self.slot.load(Relaxed)) });
        page.set_rmap(0);
        if class == SizeClass::Single {
            self.open.store(Group::of(head, 0).nr(), Relaxed);
        }
        Some(PfnRange::of(head, order.pages()))
    }

    /// Marks an allocated block as cached; the caller pushes it then. `None` when the block belongs to another region or
    /// is not an allocated movable block of a cached order.
    #[inline(always)]
    pub(crate) fn mark<M: Machine>(&self, machine: &M, head: Pfn) -> Option<SizeClass> {
        let group = Group::of(head, 0).nr();
        if self.open.load(Relaxed) == group {
            return self.mark_of(machine, SizeClass::Single, head);
        }
        self.slot_of(head)?;
        match level_of_block(|level| self.level(level), machine, self.top.load(Relaxed), head) {
            0 => self.mark_of(machine, SizeClass::Single, head).inspect(|_| self.open.store(group, Relaxed)),
            1 => self.mark_of(machine, SizeClass::Large, head),
            _ => None,
        }
    }

    #[inline(always)]
    fn mark_of<M: Machine>(&self, machine: &M, class: SizeClass, head: Pfn) -> Option<SizeClass> {
        let order = class.order();
        mark_cached(machine, self.level(level_of(order)), head, order).then_some(class)
    }

    /// Whether a size class must be flushed before the next push.
    #[inline(always)]
    pub(crate) fn is_full(&self, class: SizeClass) -> bool {
        self.stack(class).len() >= class.capacity()
    }

    /// Adds a block that [`FrameCache::mark`] marked.
    #[inline(always)]
    pub(crate) fn push(&self, class: SizeClass, head: Pfn) {
        self.stack(class).push(head);
    }

    /// Fills an empty size class from the region in `slot`, to which all other cached blocks belong, if there are any.
    /// `false` when the region has no such block.
    pub(crate) fn refill<M: Machine>(&self, slot: SlotNr, buddy: &Buddy<'_, M>, class: SizeClass) -> bool {
        let stack = self.stack(class);
        buddy.alloc_bulk(class.order(), class.capacity() / 2, |head| stack.push(head));
        if stack.len() == 0 {
            return false;
        }
        self.slot.store(slot.0, Relaxed);
        self.usable[0].store(buddy.usable.start.0, Relaxed);
        self.usable[1].store(buddy.usable.end.0, Relaxed);
        self.top.store(level_of(buddy.max), Relaxed);
        let levels = self.levels.iter().zip(buddy.metadata.levels());
        levels.for_each(|(level, at)| level.store(at.0, Relaxed));
        // Reversed, so that the first block from the buddy is allocated first.
        stack.reverse();
        true
    }

    /// Returns the older half of a size class to the buddy of its region.
    pub(crate) fn flush_half<M: Machine>(&self, buddy: &Buddy<'_, M>, class: SizeClass) {
        self.open.store(NO_GROUP, Relaxed);
        update_counters(buddy, self.pages());
        flush(buddy, self.stack(class), class, class.capacity() / 2);
    }

    /// Returns all cached blocks to the buddy of their region; [`FrameCache::detach`] follows.
    pub(crate) fn flush_all<M: Machine>(&self, buddy: &Buddy<'_, M>) {
        update_counters(buddy, self.pages());
        SizeClass::ALL.iter().for_each(|&class| flush(buddy, self.stack(class), class, MAX_BLOCKS));
    }
}

/// Updates the region's counters for frames that passed through the cache; `cached` frames remain cached.
fn update_counters<M: Machine>(buddy: &Buddy<'_, M>, cached: u64) {
    // More frames may have been freed than allocated: the difference wraps, and the counters wrap with it.
    let out = buddy.pages_in(BlockState::Cached).wrapping_sub(cached);
    buddy.count(BlockState::Movable, out, 0);
    buddy.count(BlockState::Cached, 0, out);
}

/// Returns up to `most` of the oldest blocks of a class to their region.
fn flush<M: Machine>(buddy: &Buddy<'_, M>, stack: &Stack, class: SizeClass, most: usize) {
    let (order, many) = (class.order(), most.min(stack.len()));
    let pages = (many as u64) << order.0;
    buddy.count(BlockState::Cached, 0, pages);
    buddy.count(BlockState::Free, pages, 0);
    let mut back = 0;
    while back < many {
        back += buddy.free_bulk(order, (back..many).map(|n| stack.get(n)));
    }
    stack.drop_first(many);
}
