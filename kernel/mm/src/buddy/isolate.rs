//! A part of a region out of use: blocks split at its borders, what is free in it kept from everybody.
//!
//! ```text
//!  leaving         |<------------------->|
//!  before   | F  |   F   | M |  P | M  |   F    |      F free, M movable, P pinned
//!  isolated | F | I      | M |  P | M  | I |  F |      I isolated; a block freed in there becomes I
//!  offline  | F | O      | O          O    O |  F |      once nothing is allocated there
//! ```
//!
//! Invariants: no block reaches across a border of the part, but a pinned one (which keeps it in use, and is split there
//! when it is freed); isolated
//! and offline blocks are held, so they merge with nothing. A region that leaves as a whole needs none of this: it
//! goes off its node's list. Neighbours: `remove` asks, `Buddy::free` keeps what comes back.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::{BlockRef, Buddy, Found};
use crate::descriptor::State;
use crate::machine::Machine;

impl<M: Machine> Buddy<'_, M> {
    /// Calls `each` with the blocks that have a frame in `part`, in the order of addresses, until it says that it
    /// has enough; returns where the first block begins that was not told. `each` may change the block's state.
    pub fn walk(&self, part: PfnRange, mut each: impl FnMut(&Found) -> Walk) -> Pfn {
        let part = part.intersection(self.usable);
        let mut at = part.start;
        while at < part.end
            && let Some(found) = self.find(at)
        {
            at = found.range().end;
            if each(&found) == Walk::Enough {
                break;
            }
        }
        at
    }

    /// Splits an allocated block until the part at its head has `order`; `rmap_at` as for [`Buddy::split_at`].
    pub fn split_to(&self, head: Pfn, order: Order, rmap_at: impl Fn(u64, u64) -> u64) {
        while let Some(spot) = self.locate(head).filter(|spot| spot.order() > order)
            && self.split_held(&spot, &rmap_at).is_some()
        {}
    }

    /// Frees an allocated block while a part is isolated: what lies in the part becomes isolated. A pinned block
    /// across the border is split there first.
    #[cold]
    pub(super) fn free_beside_isolated(&self, block: PfnRange, state: State) {
        for border in [self.isolated.start, self.isolated.end] {
            if block.contains(border) {
                self.split_at(border, |holder, _| holder);
            }
        }
        let mut at = block.start;
        while at < block.end
            && let Some(spot) = self.locate(at)
        {
            at = spot.end();
            if self.isolated.contains(spot.head()) {
                self.restate(&spot, state, State::Isolated);
            } else {
                self.give_back(&spot, state);
            }
        }
    }

    /// Makes a held block one of another state.
    pub(super) fn restate(&self, spot: &BlockRef, from: State, to: State) {
        let pages = spot.order().pages();
        self.mark_used(spot.head(), spot.order(), to);
        self.count(from, 0, pages);
        self.count(to, pages, 0);
    }

    /// Takes what is free in `part` out of the lists: it becomes `state`. Returns how many frames.
    pub fn take_free(&self, part: PfnRange, state: State) -> u64 {
        let part = part.intersection(self.usable);
        let (mut at, mut taken) = (part.start, 0);
        while at < part.end
            && let Some(found) = self.find(at)
        {
            let end = found.range().end.min(part.end);
            if found.tag.state == State::Free && self.alloc_range(PfnRange::new(at, end), state, 0).is_some()
            {
                taken += end.0 - at.0;
            }
            at = end;
        }
        taken
    }

    /// Makes all blocks of `part` that are `from` into `to`, both of them held. Returns how many frames.
    pub fn change(&self, part: PfnRange, from: State, to: State) -> u64 {
        let mut changed = 0;
        self.walk(part, |found| {
            if found.tag.state == from
                && let Some(spot) = self.locate(found.head)
            {
                self.restate(&spot, from, to);
                changed += found.tag.order.pages();
            }
            Walk::On
        });
        changed
    }

    /// Frees all blocks of `part` that are `from`, merged as far as they go. Returns how many frames.
    pub fn free_all(&self, part: PfnRange, from: State) -> u64 {
        let mut freed = 0;
        self.walk(part, |found| {
            if found.tag.state == from
                && let Ok(order) = self.release_held(found.head)
            {
                freed += order.pages();
            }
            Walk::On
        });
        freed
    }
}

/// Whether a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// To the next block.
    On,
    /// It ends here.
    Enough,
}
