//! The buddy allocator of one region, over a memmap that is initialised lazily.
//!
//! ```text
//!  usable run   |8|  16  |      32      |              64               | 4 |
//!  first blocks  greedy from the left: each as large as alignment and the run's end allow
//!  groups        128 frames, 128 of those, ...: which children are free and where held blocks start, in two
//!                words of 128 bits each (`group`). What is free as a whole is one bit further up.
//! ```
//!
//! A split opens groups down to the size that is asked for, a merge closes them: seven orders a step. What
//! blocks are free follows from the bits, so that nothing is linked but groups, and a frame freed at
//! random touches its own descriptor and that of its group.
//!
//! **A descriptor's words are written when something comes into being there: a held block at its head, an
//! open group at its home; no descriptor is read that was not written.** The memory need not be zero. It
//! holds because (the named tests hold each, on a machine where reading what was not written panics):
//!
//! 1. Blocks are aligned to their size by absolute frame number, and no order is capped below the
//!    region's highest: `first_blocks_are_greedy_and_maximal`.
//! 2. The groups that [`Buddy::init`] opens follow from the usable run alone: all that are partly outside
//!    of it, and the topmost, each with its first blocks free. They stay open: `everything_comes_back`.
//! 3. A group further down is open exactly when its bit one level up says neither free nor held. So descent
//!    (from the top, a level a step) meets open groups and held heads only:
//!    `random_operations_match_the_eager_model`.
//! 4. A group closes when all its children are free, so never one that is partly outside, and no buddy
//!    outside of the run is ever looked at: `merging_never_looks_outside_the_run`.
//! 5. A freed head says "free" until it is allocated again, and is no head in its group's words, so
//!    freeing twice is refused: `freeing_twice_is_refused`.
//! 6. Bits are free or held, and free ones merge by themselves; what is cached, isolated or offline is
//!    held: `nothing_merges_across_states`. A part of a region is isolated in `isolate`.
//! 7. Runs of odd size are made of proper blocks: `a_fresh_dimm_is_one_run`.
//! 8. Frames of the memmap are outside the usable run (boot memory: blocks pinned since boot), so
//!    their slots, which hold header and tables, are never read as descriptors: `homes_are_usable_and_apart`.
//! 9. A held block that is split is held by the same state on both sides: `held_blocks_split`.
//!
//! The header (lists and counters) lies in the resource and is read and written through the
//! machine; only the [`Summary`] is outside, for others to read without the lock. All of this runs
//! under the region's lock. Neighbours: `region` owns the lock, `layout` says where the header lies.

mod bits;
mod first;
mod group;
mod isolate;
mod lists;
mod runs;
mod summary;

#[cfg(test)]
mod tests;

use crate::addr::{Order, Pfn, PfnRange, VirtAddr};
use crate::info::PageState;
use crate::machine::Machine;
use crate::page::{Page, SlotNr, State, Tag};

use bits::SHIFT;
pub use first::{first_blocks, max_order};
pub use group::first_homes;
use group::{Group, LEVELS, level_of, sub_of};
pub use isolate::Walk;
pub use summary::Summary;

/// Words of the header in front of the lists: a counter of frames for each [`State`] (word 0 and that
/// of free frames, which the summary counts, stay 0).
const LISTS: u64 = 8;
/// Words of an order in the header: the first group of its list, and the number of free blocks.
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
    /// Where what is freed is kept from everybody; mostly empty.
    pub(crate) isolated: PfnRange,
}

impl<M: Machine> Buddy<'_, M> {
    /// Writes header, first groups and first blocks, all free. Returns how many descriptors it wrote.
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
        // Blocks ascend, so those of one level meet its groups (two at most) one after the other.
        let mut last = [None; LEVELS];
        for (head, order) in first_blocks(self.usable) {
            let group = self.group(head, level_of(order));
            let before = &mut last[level_of(order) as usize];
            if *before != Some(group) {
                self.open(group, 0);
                *before = Some(group);
                written += 1;
            }
            self.release(head, order);
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
        let group = self.first(Order(fitting.trailing_zeros() as u8))?;
        let least = if group.level == level_of(order) { sub_of(order) } else { 0 };
        let (place, sub) = bits::smallest(self.free_bits(group), least)?;
        let head = group.child(place);
        self.claim(group, head, order, group.order(sub));
        self.take(head, order, state, holder);
        Some(head)
    }

    /// Takes the largest block that can be had up to order `most`.
    pub fn allocate_up_to(&self, most: Order, state: State, holder: u64) -> Option<(Pfn, Order)> {
        let highest = self.summary.highest()?;
        let order = most.min(highest);
        self.allocate(order, state, holder).map(|head| (head, order))
    }

    /// Frees the block whose head is `head`, merging it with free buddies; in an isolated part it becomes
    /// isolated instead. Returns its order.
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
        if self.isolated.contains(head) {
            return self.keep(head, tag);
        }
        self.give_back(head, tag)
    }

    /// Frees a held block whatever it is held for (offline, isolated, cached). Returns its order.
    ///
    /// # Errors
    /// The state the frame is in when it is not the head of a held block; nothing changes then.
    pub fn release_held(&self, head: Pfn) -> Result<Order, PageState> {
        match self.find(head) {
            Some(found) if found.head == head && found.tag.state != State::Free => {
                self.give_back(head, found.tag)
            }
            Some(found) => Err(page_state(found.tag.state)),
            None => Err(PageState::Memmap),
        }
    }

    /// Frees a single cached frame; whether it was one.
    pub(crate) fn release_cached(&self, head: Pfn) -> bool {
        let tag = self.tag(head).filter(|tag| tag.state == State::Cached);
        tag.is_some_and(|tag| self.give_back(head, tag).is_ok())
    }

    /// Splits the held block that reaches across `border`, if one does, so that a block begins there.
    /// `holder_at` tells the word of the holder for a frame so far into the block from its own.
    pub fn split_at(&self, border: Pfn, holder_at: impl Fn(u64, u64) -> u64) {
        while let Some((group, found)) =
            self.locate(border).filter(|(_, found)| found.tag.state != State::Free && found.head < border)
        {
            self.halve(group, &found, &holder_at);
        }
    }

    /// Makes two blocks of a held one, which is in `group`; both have its state.
    fn halve(&self, group: Group, found: &Found, holder_at: &impl Fn(u64, u64) -> u64) {
        let Found { head, tag: Tag { state, order, .. } } = *found;
        debug_assert!(order.0 > 0 && state != State::Free);
        let mut group = group;
        if sub_of(order) == 0 {
            // One child: it becomes a group, held as a whole.
            self.page(group.home()).drop_head(group.place(head));
            group = self.group(head, group.level - 1);
            self.open(group, 0);
            self.page(group.home()).put_head(group.place(head));
        }
        let half = Order(order.0 - 1);
        let middle = head.offset(half.pages());
        self.page(group.home()).put_head(group.place(middle));
        self.set_tag(head, state, half);
        self.set_tag(middle, state, half);
        self.page(middle).set_holder(holder_at(self.page(head).holder(), half.pages()));
    }

    /// The block that `pfn` is in: from the topmost group down. `None` for a frame outside the usable
    /// run, or when a head was overwritten (`check` tells).
    pub fn find(&self, pfn: Pfn) -> Option<Found> {
        self.locate(pfn).map(|(_, found)| found)
    }

    /// The block that `pfn` is in, and the group it is in.
    fn locate(&self, pfn: Pfn) -> Option<(Group, Found)> {
        if !self.usable.contains(pfn) {
            return None;
        }
        let mut level = self.top();
        loop {
            // A child partly outside is open or, when the group has no whole one, there is no group.
            let child = Order(level * SHIFT);
            if self.usable.contains_range(PfnRange::of(pfn.align_down(child), child.pages())) {
                let group = self.group(pfn, level);
                let place = group.place(pfn);
                if let Some((first, sub)) = bits::around(self.free_bits(group), place) {
                    let tag = Tag { state: State::Free, order: group.order(sub), slot: self.slot };
                    return Some((group, Found { head: group.child(first), tag }));
                }
                // The block that starts last, up to here: if it does not reach here, the child is open.
                let heads = self.heads(group) & u128::MAX >> (127 - place);
                if heads != 0 {
                    let head = group.child(127 - heads.leading_zeros() as u8);
                    let found = Found { head, tag: self.tag(head)? };
                    if found.range().contains(pfn) {
                        let right = level_of(found.tag.order) == level && found.tag.state != State::Free;
                        return right.then_some((group, found));
                    }
                }
            }
            level = level.checked_sub(1)?;
        }
    }

    /// The free block that `pfn` is in, and the group it is in; `None` when `pfn` is not free.
    fn free_block(&self, pfn: Pfn) -> Option<(Group, Found)> {
        self.locate(pfn).filter(|(_, found)| found.tag.state == State::Free)
    }

    /// Takes the block of `order` at `head` out of the free block of order `from` around it, which is in
    /// `group`. The other halves stay free.
    #[inline]
    fn claim(&self, group: Group, head: Pfn, order: Order, from: Order) {
        let taken = |group: Group| {
            let sub = if group.level == level_of(order) { sub_of(order) } else { 0 };
            bits::block(group.place(head), sub)
        };
        let left = self.free_bits(group) & !taken(group);
        let page = self.page(group.home());
        page.set_free_bits(left);
        // What was not of the largest leaves the largest as it was.
        if page.list() == Some(sub_of(from)) {
            self.relist(group, bits::largest(left));
        }
        for level in (level_of(order)..group.level).rev() {
            let inner = self.group(head, level);
            self.open(inner, !taken(inner));
        }
        self.count_split(from, order);
    }

    /// Makes a block that nobody holds free, merged as far as it goes. Counts no frames.
    #[inline]
    fn release(&self, head: Pfn, order: Order) {
        let (mut at, mut level, mut sub) = (head, level_of(order), sub_of(order));
        loop {
            let group = self.group(at, level);
            let (page, place) = (self.page(group.home()), group.place(at));
            let free = page.free_bits() | bits::block(place, sub);
            if free != u128::MAX {
                page.set_free_bits(free);
                let merged = bits::around(free, place).map_or(sub, |(_, merged)| merged);
                self.relist(group, page.list().max(Some(merged)));
                self.count_merge(order, group.order(merged));
                return;
            }
            // Wholly free: from now on it is a bit of the group above.
            self.relist(group, None);
            (at, level, sub) = (group.start(), level + 1, 0);
        }
    }

    /// Makes a held block free.
    #[inline]
    fn give_back(&self, head: Pfn, tag: Tag) -> Result<Order, PageState> {
        let group = self.group(head, level_of(tag.order));
        let page = self.page(group.home());
        if !page.has_head(group.place(head)) {
            return Err(PageState::Free);
        }
        page.drop_head(group.place(head));
        self.set_tag(head, State::Free, tag.order);
        self.count(tag.state, 0, tag.order.pages());
        self.count(State::Free, tag.order.pages(), 0);
        self.release(head, tag.order);
        Ok(tag.order)
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

    /// Makes a block that is no longer free one that is held, and counts it.
    #[inline]
    fn take(&self, head: Pfn, order: Order, state: State, holder: u64) {
        let group = self.group(head, level_of(order));
        self.page(group.home()).put_head(group.place(head));
        self.set_tag(head, state, order);
        self.page(head).set_holder(holder);
        self.count(State::Free, 0, order.pages());
        self.count(state, order.pages(), 0);
    }

    /// Adds to and takes from the counter of `state`. The free frames are in the summary alone.
    #[inline]
    pub(crate) fn count(&self, state: State, more: u64, less: u64) {
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
