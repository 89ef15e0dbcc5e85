//! A small cache of single frames in front of the buddy, for movable allocations that name no node.
//!
//! ```text
//!  allocate --> cache (at most 64 frames of one region) --32 at once--> buddy     free: the same way back
//! ```
//!
//! A frame goes in and out under the cache's own lock, without choosing a region, locking it or changing its
//! groups. There is one, for the one CPU that runs; each further CPU would have one of its own.
//!
//! Invariants: cached frames are held blocks of the buddy in the state `Cached` and count as free to everybody:
//! whoever looks at a region ([`Memory::with_region`]) or finds nothing left empties the cache first. It has
//! frames of one region only, the one that the choice named when it was filled, and of none that is leaving, even
//! in part. What went in and out since is in the region's counters when the cache is emptied. Lock order: cache,
//! then region. Neighbours: `allocate` uses it, `buddy` fills it.

use core::sync::atomic::{AtomicU16, Ordering};

use arrayvec::ArrayVec;
use spin::Mutex;

use crate::addr::{Order, Pfn, PfnRange};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::node::{Amount, Want};
use crate::page::{Kind, Page, SlotNr, State, Tag};

/// Frames that it has at most.
const MOST: usize = 64;
/// Frames that come from or go to the buddy at once.
const BATCH: usize = MOST / 2;
/// No slot.
const NOBODY: u16 = u16::MAX;

/// The cache.
#[derive(Debug)]
pub(crate) struct FrameCache {
    /// The slot whose frames it has, to be read without the lock.
    slot: AtomicU16,
    frames: Mutex<Frames>,
}

#[derive(Debug)]
struct Frames {
    list: ArrayVec<Pfn, MOST>,
    /// The region's usable run.
    usable: PfnRange,
    /// Frames that went out and came in since the region's counters were told.
    out: u64,
    back: u64,
}

impl FrameCache {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        let frames = Frames {
            list: ArrayVec::new_const(),
            usable: PfnRange { start: Pfn(0), end: Pfn(0) },
            out: 0,
            back: 0,
        };
        FrameCache { slot: AtomicU16::new(NOBODY), frames: Mutex::new(frames) }
    }

    #[inline]
    fn has(&self, slot: SlotNr) -> bool {
        self.slot.load(Ordering::Relaxed) == slot.0
    }

    fn slot(&self) -> Option<SlotNr> {
        let slot = self.slot.load(Ordering::Relaxed);
        (slot != NOBODY).then_some(SlotNr(slot))
    }

    /// How many frames it has; `None` while it is locked.
    pub(crate) fn count(&self) -> Option<u64> {
        self.frames.try_lock().map(|frames| frames.list.len() as u64)
    }

    /// Forgets the frames of a region whose memory is gone, which is not touched.
    pub(crate) fn forget(&self, slot: SlotNr) {
        let mut frames = self.frames.lock();
        if self.has(slot) {
            self.slot.store(NOBODY, Ordering::Relaxed);
            (frames.out, frames.back) = (0, 0);
            frames.list.clear();
        }
    }
}

impl<M: Machine> Memory<M> {
    /// A single frame for a movable allocation, from whichever region the choice names.
    #[inline]
    pub(crate) fn take_cached(&self) -> Option<Pfn> {
        let mut frames = self.cache.frames.lock();
        if frames.list.is_empty() {
            self.fill(&mut frames)?;
        }
        let (slot, head) = (self.cache.slot()?, frames.list.pop()?);
        let page = Page::of(&self.machine, head);
        page.set_tag(Tag { state: State::Movable, order: Order(0), slot });
        page.set_holder(0);
        frames.out += 1;
        self.poison.taken(&self.machine, PfnRange::of(head, 1));
        Some(head)
    }

    /// Puts a single frame that is being freed into the cache; whether it did. `tag` is what its descriptor says.
    #[inline]
    pub(crate) fn give_cached(&self, head: Pfn, tag: Tag) -> bool {
        let wanted = Tag { state: State::Movable, order: Order(0), ..tag };
        if tag != wanted || !self.cache.has(tag.slot) {
            return false;
        }
        let mut frames = self.cache.frames.lock();
        let page = Page::of(&self.machine, head);
        // Nobody may have freed it meanwhile.
        if !self.cache.has(tag.slot) || !frames.usable.contains(head) || page.tag() != Some(wanted) {
            return false;
        }
        if frames.list.is_full() {
            self.return_some(&mut frames, tag.slot, BATCH);
        }
        page.set_tag(Tag { state: State::Cached, ..wanted });
        self.poison.freed(&self.machine, PfnRange::of(head, 1));
        frames.list.push(head);
        frames.back += 1;
        true
    }

    /// Empties the cache when it has frames of `slot`.
    #[inline]
    pub(crate) fn settle(&self, slot: SlotNr) {
        if self.cache.has(slot) {
            self.empty_cache();
        }
    }

    /// Gives all cached frames back. Whether there were any.
    pub(crate) fn empty_cache(&self) -> bool {
        let mut frames = self.cache.frames.lock();
        let had = !frames.list.is_empty();
        if let Some(slot) = self.cache.slot() {
            self.return_some(&mut frames, slot, MOST);
            self.cache.slot.store(NOBODY, Ordering::Relaxed);
        }
        had
    }

    /// Fills the empty cache from the region that a single frame would come from now.
    fn fill(&self, frames: &mut Frames) -> Option<()> {
        if let Some(slot) = self.cache.slot() {
            self.return_some(frames, slot, MOST);
            self.cache.slot.store(NOBODY, Ordering::Relaxed);
        }
        let want = Want { node: None, kind: Kind::Movable, amount: Amount::Order(Order(0)) };
        let slot = self.nodes.choose(&self.slots, &want, |slot| {
            self.locked(slot, |region, buddy| {
                if !region.leaving.is_empty() {
                    return None;
                }
                frames.usable = buddy.usable;
                for _ in 0..BATCH {
                    frames.list.extend(buddy.allocate(Order(0), State::Cached, 0));
                }
                (!frames.list.is_empty()).then_some(slot)
            })?
        })?;
        // The first that came is the first to go.
        frames.list.reverse();
        self.cache.slot.store(slot.0, Ordering::Relaxed);
        Some(())
    }

    /// Gives the `most` oldest cached frames back to their region, and tells its counters.
    fn return_some(&self, frames: &mut Frames, slot: SlotNr, most: usize) {
        let most = most.min(frames.list.len());
        let (out, back) = (core::mem::take(&mut frames.out), core::mem::take(&mut frames.back));
        self.locked(slot, |_, buddy| {
            buddy.count(State::Movable, out, back);
            buddy.count(State::Cached, back, out);
            for head in frames.list.drain(..most) {
                let freed = buddy.release_cached(head);
                debug_assert!(freed, "{head:?} is cached");
            }
        });
    }
}
