//! A small cache of single frames and of blocks of 2 MiB in front of the buddy, for movable allocations that name no
//! node. (Linux keeps lists of such orders for each CPU too: the smallest ones, and that of a large leaf.)
//!
//! ```text
//!  allocate --> at most 128 single frames --64 at once--> buddy     free: the same way back
//!               at most 16 blocks of 2 MiB -8 at once---> of one region
//! ```
//!
//! A block goes in and out by a push and a pop and one bit of its group's words ([`mark_cached`]): without choosing a
//! region, without a lock, a counter or, on the way in, its descriptor. The bits of the groups say enough to refuse what
//! is not a movable block in use of just that order.
//!
//! It belongs to the one CPU that runs, and no interrupt handler allocates: so it is a few plain words, atomic only
//! to be shared by the type's rules, and nobody else ever looks at them. Each further CPU would have one of its own,
//! and would be asked to empty it.
//!
//! Invariants: cached blocks are held blocks of the buddy in the state `Cached` and count as free to everybody:
//! whoever looks at a region ([`Memory::with_region`]) or finds nothing left empties the cache first. It has
//! blocks of one region only, the one that the choice named when it was filled, and of none that is leaving, even
//! in part. The region's counters learn what went in and out when some go back: frames that were cached then
//! and are not now are movable. Neighbours: `allocate` uses it, `buddy` fills it.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::addr::{Order, Pfn, PfnRange, VirtAddr};
use crate::buddy::{Buddy, Group, LEVELS, level_of, level_of_block, mark_cached, mark_used_uncounted};
use crate::descriptor::{Kind, Page, SlotNr, State, Tag};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::zonelist::{Amount, Constraints};

/// A kind of blocks that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeClass {
    /// Single frames.
    Single,
    /// Blocks of 2 MiB, for large leaves.
    Large,
}

impl SizeClass {
    const ALL: [SizeClass; 2] = [SizeClass::Single, SizeClass::Large];

    /// The class whose blocks have `order`.
    #[inline]
    pub(crate) const fn of(order: Order) -> Option<SizeClass> {
        match order.0 {
            0 => Some(SizeClass::Single),
            9 => Some(SizeClass::Large),
            _ => None,
        }
    }

    #[inline]
    const fn order(self) -> Order {
        match self {
            SizeClass::Single => Order(0),
            SizeClass::Large => Order(9),
        }
    }

    /// Blocks that there are at most; half as many come from or go to the buddy at once.
    #[inline]
    const fn most(self) -> usize {
        match self {
            SizeClass::Single => MOST,
            SizeClass::Large => 16,
        }
    }
}

/// Blocks of a class at most.
const MOST: usize = 128;
/// No group.
const NO_GROUP: u64 = u64::MAX;
/// No slot.
const NOBODY: u16 = u16::MAX;

/// The cache.
#[derive(Debug)]
pub(crate) struct FrameCache {
    /// The slot whose frames it has.
    slot: AtomicU16,
    /// The region's usable run, empty while there is no slot.
    usable: [AtomicU64; 2],
    /// Where the words of its groups lie, and the level of the topmost.
    levels: [AtomicU64; LEVELS],
    top: AtomicU8,
    /// The number of a group of level 0 that is known to be open: since the cache gave something back the last time, a
    /// frame of it went out or came in, so one is held.
    open: AtomicU64,
    stacks: [Stack; SizeClass::ALL.len()],
}

/// The blocks of a class: the last is the next to go.
#[derive(Debug)]
struct Stack {
    len: AtomicUsize,
    heads: [AtomicU64; MOST],
}

impl Stack {
    const fn new() -> Stack {
        Stack { len: AtomicUsize::new(0), heads: [const { AtomicU64::new(0) }; MOST] }
    }

    #[inline]
    fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    #[inline]
    fn push(&self, head: Pfn) {
        let len = self.len();
        if let Some(place) = self.heads.get(len) {
            place.store(head.0, Relaxed);
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

    /// The first `n` are gone.
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
            slot: AtomicU16::new(NOBODY),
            usable: [const { AtomicU64::new(0) }; 2],
            levels: [const { AtomicU64::new(0) }; LEVELS],
            top: AtomicU8::new(0),
            open: AtomicU64::new(NO_GROUP),
            stacks: [const { Stack::new() }; SizeClass::ALL.len()],
        }
    }

    #[inline]
    fn has(&self, slot: SlotNr) -> bool {
        self.slot.load(Relaxed) == slot.0
    }

    fn slot(&self) -> Option<SlotNr> {
        let slot = self.slot.load(Relaxed);
        (slot != NOBODY).then_some(SlotNr(slot))
    }

    /// The slot whose region has `pfn` in its usable run, if that is the cache's.
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

    /// Frames that it has.
    pub(crate) fn pages(&self) -> u64 {
        SizeClass::ALL.iter().map(|&class| (self.stack(class).len() as u64) << class.order().0).sum()
    }

    /// Has frames of nobody: what it had is given back or gone.
    fn leave(&self) {
        self.slot.store(NOBODY, Relaxed);
        self.usable.iter().for_each(|border| border.store(0, Relaxed));
        self.open.store(NO_GROUP, Relaxed);
        self.stacks.iter().for_each(|stack| stack.len.store(0, Relaxed));
    }

    /// Forgets the frames of a region whose memory is gone, which is not touched.
    pub(crate) fn forget(&self, slot: SlotNr) {
        if self.has(slot) {
            self.leave();
        }
    }
}

impl<M: Machine> Memory<M> {
    /// A block for a movable allocation, from whichever region the choice names.
    #[inline(always)]
    pub(crate) fn pop_or_refill(&self, class: SizeClass) -> Option<Pfn> {
        match self.pop_cached(class) {
            None => self.fetch(class),
            got => got,
        }
    }

    /// The same when the cache has one.
    #[inline(always)]
    pub(crate) fn pop_cached(&self, class: SizeClass) -> Option<Pfn> {
        // Each class for itself, so that order and level are known when this is compiled.
        match class {
            SizeClass::Single => self.pop_of(SizeClass::Single),
            SizeClass::Large => self.pop_of(SizeClass::Large),
        }
    }

    #[inline(always)]
    fn pop_of(&self, class: SizeClass) -> Option<Pfn> {
        let (cache, order) = (&self.cache, class.order());
        let head = cache.stack(class).pop()?;
        mark_used_uncounted(&self.machine, cache.level(level_of(order)), head, order);
        let page = Page::of(&self.machine, head);
        page.set_tag(Tag { state: State::Movable, order, slot: SlotNr(cache.slot.load(Relaxed)) });
        page.set_rmap(0);
        if class == SizeClass::Single {
            cache.open.store(Group::of(head, 0).nr(), Relaxed);
        }
        self.poison.taken(&self.machine, PfnRange::of(head, order.pages()));
        Some(head)
    }

    /// Puts a block that is being freed into the cache, and tells its order. `None`: it is of another region, or not a
    /// movable block in use of one of the orders that the cache has.
    #[inline(always)]
    pub(crate) fn push_cached(&self, head: Pfn) -> Option<Order> {
        let (cache, machine) = (&self.cache, &self.machine);
        let group = Group::of(head, 0).nr();
        if cache.open.load(Relaxed) == group {
            return self.push_of(SizeClass::Single, head);
        }
        cache.slot_of(head)?;
        match level_of_block(|level| cache.level(level), machine, cache.top.load(Relaxed), head) {
            0 => self.push_of(SizeClass::Single, head).inspect(|_| cache.open.store(group, Relaxed)),
            1 => self.push_of(SizeClass::Large, head),
            _ => None,
        }
    }

    /// The same when the block's group is known to be open.
    #[inline(always)]
    fn push_of(&self, class: SizeClass, head: Pfn) -> Option<Order> {
        let (order, stack) = (class.order(), self.cache.stack(class));
        if !mark_cached(&self.machine, self.cache.level(level_of(order)), head, order) {
            return None;
        }
        if stack.len() >= class.most() {
            self.give_back_half(class);
        }
        self.poison.freed(&self.machine, PfnRange::of(head, order.pages()));
        stack.push(head);
        Some(order)
    }

    /// Empties the cache when it has frames of `slot`.
    #[inline]
    pub(crate) fn drain(&self, slot: SlotNr) {
        if self.cache.has(slot) {
            self.drain_all();
        }
    }

    /// Gives all cached blocks back. Whether there were any.
    pub(crate) fn drain_all(&self) -> bool {
        let cache = &self.cache;
        let had = cache.pages();
        if let Some(slot) = cache.slot() {
            self.locked(slot, |_, buddy| {
                tell_counters(buddy, had);
                SizeClass::ALL.iter().for_each(|&class| give_back(buddy, cache.stack(class), class, MOST));
            });
            cache.leave();
        }
        had > 0
    }

    /// A block of a class that it has none of.
    #[cold]
    #[inline(never)]
    fn fetch(&self, class: SizeClass) -> Option<Pfn> {
        self.fill(class).then(|| self.pop_cached(class)).flatten()
    }

    /// Fills in blocks of a class that it has none of, from the region that such a block would come from now. Whether
    /// there were any.
    fn fill(&self, class: SizeClass) -> bool {
        let (cache, order) = (&self.cache, class.order());
        let stack = cache.stack(class);
        let want = Constraints { node: None, kind: Kind::Movable, amount: Amount::Order(order) };
        let filled = self.nodes.choose(&self.slots, &want, |slot| {
            if !cache.has(slot) {
                self.drain_all();
            }
            self.locked(slot, |region, buddy| {
                if !region.isolated.is_empty() {
                    // It is still the one that the block should come from, past the cache.
                    return Some(Filled::No);
                }
                buddy.alloc_bulk(order, class.most() / 2, |head| stack.push(head));
                if stack.len() == 0 {
                    return None;
                }
                cache.slot.store(slot.0, Relaxed);
                cache.usable[0].store(buddy.usable.start.0, Relaxed);
                cache.usable[1].store(buddy.usable.end.0, Relaxed);
                cache.top.store(level_of(buddy.max), Relaxed);
                let levels = cache.levels.iter().zip(buddy.metadata.levels());
                levels.for_each(|(level, at)| level.store(at.0, Relaxed));
                Some(Filled::Yes)
            })?
        });
        // The first that came is the first to go.
        stack.reverse();
        filled == Some(Filled::Yes)
    }

    /// Gives the older half of a class's blocks back.
    #[cold]
    #[inline(never)]
    fn give_back_half(&self, class: SizeClass) {
        let cache = &self.cache;
        cache.open.store(NO_GROUP, Relaxed);
        if let Some(slot) = cache.slot() {
            self.locked(slot, |_, buddy| {
                tell_counters(buddy, cache.pages());
                give_back(buddy, cache.stack(class), class, class.most() / 2);
            });
        }
    }
}

/// Whether blocks came into the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    Yes,
    No,
}

/// Tells the region's counters what went out and came in: `cached` frames are in the cache now.
fn tell_counters<M: Machine>(buddy: &Buddy<'_, M>, cached: u64) {
    // More may have come in than went out: the difference wraps, and so do the counters.
    let out = buddy.pages_in(State::Cached).wrapping_sub(cached);
    buddy.count(State::Movable, out, 0);
    buddy.count(State::Cached, 0, out);
}

/// Gives the `most` oldest blocks of a class, or as many as there are, back to their region.
fn give_back<M: Machine>(buddy: &Buddy<'_, M>, stack: &Stack, class: SizeClass, most: usize) {
    let (order, many) = (class.order(), most.min(stack.len()));
    let pages = (many as u64) << order.0;
    buddy.count(State::Cached, 0, pages);
    buddy.count(State::Free, pages, 0);
    let mut back = 0;
    while back < many {
        back += buddy.free_bulk(order, (back..many).map(|n| stack.get(n)));
    }
    stack.drop_first(many);
}
