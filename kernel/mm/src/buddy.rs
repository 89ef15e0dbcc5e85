//! The buddy allocator of one region, over a memmap that is initialised lazily.
//!
//! ```text
//!  usable run   |8|  16  |      32      |              64               | 4 |
//!  first blocks  greedy from the left: each as large as alignment and the run's end allow
//!  groups        128 frames, 128 of those, ...: two bits a child say which are free, where held blocks start, and
//!                which are groups themselves (`group`). What is free as a whole is one bit further up.
//!  descriptors   of the heads of held blocks: state, order, region, holder
//! ```
//!
//! A split opens groups down to the size that is asked for, a merge closes them: seven orders a step. What
//! blocks there are follows from the bits, so that nothing is linked but groups, and a frame freed at
//! random touches the words of its group and not its descriptor.
//!
//! **A word is written when something comes into being there: a descriptor when a held block starts at its frame, a
//! group's words when it opens; no word is read that was not written.** The memory need not be zero. It
//! holds because (the named tests hold each, on a machine where reading what was not written panics):
//!
//! 1. Blocks are aligned to their size by absolute frame number, and no order is capped below the
//!    region's highest: `first_blocks_are_greedy_and_maximal`.
//! 2. The groups that [`Buddy::init`] opens follow from the usable run alone: all that are partly outside
//!    of it, the topmost among them, what they have of it free. They stay open: `everything_comes_back`.
//! 3. A group further down is open exactly when its child's bits one level up say so. So descent
//!    (from the top, a level a step) meets open groups only, and knows every block without its descriptor:
//!    `random_operations_match_the_eager_model`.
//! 4. A group closes when all its children are free. Those outside of the run never are, so it is never one that is
//!    partly outside, and no buddy outside of the run is ever looked at: `merging_never_looks_outside_the_run`.
//! 5. What is free says so in the bits of its group, where freeing looks first: what is not the head of
//!    an allocated block, or is no more, is not freed, whatever its descriptor says: `freeing_twice_is_refused`.
//! 6. Children are free or held, and free ones merge by themselves; what is cached, isolated or offline is
//!    held: `nothing_merges_across_states`. A part of a region is isolated in `isolate`.
//! 7. Runs of odd size are made of proper blocks: `a_fresh_dimm_is_one_run`, `runs_grow_to_both_sides`.
//! 8. Header and groups lie apart from each other and from all descriptors of the usable run, in the slots of the
//!    memmap's own frames (boot memory: in pages of their own): `groups_lie_apart_in_their_room`, and `layout`'s
//!    `every_dimm_has_a_layout`.
//! 9. A held block that is split is held by the same state on both sides: `held_blocks_split`.
//!
//! The header (lists and counters) lies in the resource and is read and written through the
//! machine; only the [`Summary`] is outside, for others to read without the lock. All of this runs
//! under the region's lock. Neighbours: `region` owns the lock, `layout` says where the header lies.

mod bits;
mod bulk;
mod group;
mod initial_blocks;
mod isolate;
mod lists;
mod runs;
mod summary;

#[cfg(test)]
pub(crate) mod tests;

use crate::addr::{Order, Pfn, PfnRange};
use crate::descriptor::{Page, SlotNr, State, Tag};
use crate::info::PageState;
use crate::machine::Machine;

use bits::SHIFT;
pub(crate) use group::Group;
pub use group::MetadataLayout;
use group::{Children, Start, first_groups, sub_of};
pub(crate) use group::{LEVELS, level_of, level_of_block, mark_cached, mark_used_uncounted};
#[cfg(test)]
pub(crate) use initial_blocks::initial_blocks;
pub use initial_blocks::max_order;
pub use isolate::Walk;
pub use summary::Summary;

/// Words of the header in front of the lists: a counter of frames for each [`State`] (word 0 and that
/// of free frames, which the summary counts, stay 0).
const LISTS: u64 = 8;
/// Words of an order in the header: the first group of its list, and the number of free blocks.
const LIST_WORDS: u64 = 2;

/// Bytes of the header of a region whose highest order is `max`; the words of its groups come behind it ([`MetadataLayout`]).
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

/// Where a frame is, as the bits of the groups say: a block of 2^`sub` children of `group`.
#[derive(Clone, Copy, Debug)]
struct BlockRef {
    group: Group,
    first: u8,
    sub: u8,
    kind: BlockKind,
}

/// What a block is, as far as bits tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    Free,
    /// Held; its descriptor says for what.
    Held,
    /// Held as movable.
    Movable,
}

impl BlockRef {
    #[inline]
    const fn head(&self) -> Pfn {
        self.group.child(self.first)
    }

    #[inline]
    const fn order(&self) -> Order {
        self.group.order(self.sub)
    }

    #[inline]
    const fn end(&self) -> Pfn {
        self.head().offset(self.order().pages())
    }
}

/// The buddy allocator of one region: a view of its header and memmap, to be used under its lock.
#[derive(Debug)]
pub struct Buddy<'a, M> {
    pub(crate) machine: &'a M,
    pub(crate) metadata: MetadataLayout,
    pub(crate) usable: PfnRange,
    pub(crate) max: Order,
    pub(crate) slot: SlotNr,
    pub(crate) summary: &'a Summary,
    /// Where what is freed is kept from everybody; mostly empty.
    pub(crate) isolated: PfnRange,
}

impl<M: Machine> Buddy<'_, M> {
    /// Writes header and first groups, all frames free. Returns how many groups it wrote.
    pub fn init(&self) -> u64 {
        for counter in 0..LISTS {
            self.machine.store(self.metadata.header.offset(8 * counter), 0);
        }
        for order in 0..=self.max.0 {
            self.set_first(Order(order), None);
            self.machine.store(self.list(Order(order)).offset(8), 0);
        }
        self.summary.clear();
        let mut written = 0;
        for group in first_groups(self.usable) {
            self.open_first(group);
            self.recount(group, &[0; 8], &bits::tally(self.free_bits(group)));
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
        let group = self.first(Order(fitting.trailing_zeros() as u8))?;
        let least = if group.level == level_of(order) { sub_of(order) } else { 0 };
        let children = self.children(group);
        let (place, sub) = bits::smallest(children.free(), least)?;
        let head = group.child(place);
        self.split_off(group, children, head, order, group.order(sub));
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
    /// isolated instead (of a block across the border of that part, what lies in it). Returns its order.
    ///
    /// # Errors
    /// The state the frame is in when it is not the head of an allocated block; nothing changes then.
    #[inline]
    pub fn free(&self, head: Pfn) -> Result<Order, PageState> {
        let spot = self.locate(head).ok_or(PageState::Memmap)?;
        let state = self.state_of(&spot).ok_or(PageState::Absent)?;
        if !state.is_allocated() || spot.head() != head {
            return Err(page_state(state));
        }
        if self.isolated.is_empty() {
            self.give_back(&spot, state);
        } else {
            self.free_beside_isolated(PfnRange::new(head, spot.end()), state);
        }
        Ok(spot.order())
    }

    /// Frees a held block whatever it is held for (offline, isolated, cached). Returns its order.
    ///
    /// # Errors
    /// The state the frame is in when it is not the head of a held block; nothing changes then.
    pub fn release_held(&self, head: Pfn) -> Result<Order, PageState> {
        let spot = self.locate(head).ok_or(PageState::Memmap)?;
        let state = self.state_of(&spot).ok_or(PageState::Absent)?;
        if spot.kind == BlockKind::Free || spot.head() != head {
            return Err(page_state(state));
        }
        self.give_back(&spot, state);
        Ok(spot.order())
    }

    /// Splits the held block that reaches across `border`, if one does, so that a block begins there.
    /// `rmap_at` tells the word of the holder for a frame so far into the block from its own.
    pub fn split_at(&self, border: Pfn, rmap_at: impl Fn(u64, u64) -> u64) {
        while let Some(spot) =
            self.locate(border).filter(|spot| spot.kind != BlockKind::Free && spot.head() < border)
            && self.split_held(&spot, &rmap_at).is_some()
        {}
    }

    /// Makes two blocks of a held one; both have its state.
    fn split_held(&self, spot: &BlockRef, rmap_at: &impl Fn(u64, u64) -> u64) -> Option<()> {
        let (head, half) = (spot.head(), Order(spot.order().0.checked_sub(1)?));
        let state = self.state_of(spot)?;
        if spot.sub == 0 {
            // One child: it becomes a group, held as a whole.
            self.start_block(spot.group, spot.first, Start::Open);
            self.open(Group::of(head, spot.group.level - 1), Children { first: 0, second: 0 });
        }
        let middle = head.offset(half.pages());
        self.mark_used(head, half, state);
        self.mark_used(middle, half, state);
        self.page(middle).set_rmap(rmap_at(self.page(head).rmap(), half.pages()));
        Some(())
    }

    /// The block that `pfn` is in: from the topmost group down. `None` for a frame outside the usable
    /// run, or when bits or a head were overwritten (`check` tells).
    pub fn find(&self, pfn: Pfn) -> Option<Found> {
        let spot = self.locate(pfn)?;
        let (head, order, slot) = (spot.head(), spot.order(), self.slot);
        if spot.kind != BlockKind::Free {
            let tag = self.tag(head)?;
            if (tag.order, tag.slot) != (order, slot)
                || spot.kind == BlockKind::Movable && tag.state != State::Movable
            {
                return None;
            }
        }
        Some(Found { head, tag: Tag { state: self.state_of(&spot)?, order, slot } })
    }

    /// What a block is. `None` when its descriptor does not say it.
    #[inline]
    fn state_of(&self, spot: &BlockRef) -> Option<State> {
        match spot.kind {
            BlockKind::Free => Some(State::Free),
            BlockKind::Movable => Some(State::Movable),
            BlockKind::Held => match self.tag(spot.head())?.state {
                State::Free => None,
                // It was freed into the cache, which leaves the descriptor as it is.
                State::Movable if spot.order() == Order(0) || spot.group.level > 0 => Some(State::Cached),
                state => Some(state),
            },
        }
    }

    /// The block that `pfn` is in, without a look at its descriptor. `None` for a frame outside the usable run, or
    /// when the bits make no sense.
    #[inline]
    fn locate(&self, pfn: Pfn) -> Option<BlockRef> {
        if !self.usable.contains(pfn) {
            return None;
        }
        let level = level_of_block(|level| self.metadata.level(level), self.machine, self.top(), pfn);
        let group = Group::of(pfn, level);
        let (place, children) = (group.place(pfn), self.children(group));
        if let Some((first, sub)) = bits::around(children.free(), place) {
            return Some(BlockRef { group, first, sub, kind: BlockKind::Free });
        }
        if children.is_single(place) {
            return Some(BlockRef { group, first: place, sub: 0, kind: BlockKind::Movable });
        }
        let (first, sub) = children.held(place)?;
        let movable = level > 0 && self.is_movable(group, first);
        Some(BlockRef { group, first, sub, kind: if movable { BlockKind::Movable } else { BlockKind::Held } })
    }

    /// The free block that `pfn` is in; `None` when `pfn` is not free.
    fn free_block(&self, pfn: Pfn) -> Option<BlockRef> {
        self.locate(pfn).filter(|spot| spot.kind == BlockKind::Free)
    }

    /// Takes the block of `order` at `head` out of the free block of order `from` around it, which is in
    /// `group`, whose bits are `children`. The other halves stay free.
    #[inline]
    fn split_off(&self, group: Group, children: Children, head: Pfn, order: Order, from: Order) {
        let level = level_of(order);
        // On the block's level its areas are no longer free; above, the child that has it is open.
        let without = |group: Group, children: Children| {
            let place = group.place(head);
            if group.level == level {
                Children { first: children.first & !bits::block(place, sub_of(order)), ..children }
            } else {
                Children { second: children.second | 1 << place, ..children }
            }
        };
        let left = without(group, children);
        self.set_children(group, left);
        // What was not of the largest leaves the largest as it was.
        if self.list_of(group) == Some(sub_of(from)) {
            self.relist(group, bits::largest(left.free()));
        }
        for level in (level..group.level).rev() {
            let inner = Group::of(head, level);
            self.open(inner, without(inner, Children { first: !0, second: 0 }));
        }
        self.count_split(from, order);
    }

    /// Makes a block that nobody holds free, merged as far as it goes. Counts no frames.
    #[inline]
    fn release(&self, head: Pfn, order: Order) {
        let (group, sub) = (Group::of(head, level_of(order)), sub_of(order));
        let place = group.place(head);
        if sub < SHIFT - 1 {
            // Where its half of the group does not become free as a whole, two words say all.
            let at = self.metadata.pair(group, place);
            let block = bits::block(place % 64, sub) as u64;
            let (first, second) = (self.machine.load(at) | block, self.machine.load(at.offset(8)) & !block);
            let free = first & !second;
            if free != u64::MAX {
                self.machine.store(at, first);
                self.machine.store(at.offset(8), second);
                return self.released(group, bits::around_in_half(free, place % 64, sub), order);
            }
        }
        self.release_far(group, place, sub, order);
    }

    /// The same where it may close groups.
    #[inline(never)]
    fn release_far(&self, mut group: Group, mut place: u8, mut sub: u8, order: Order) {
        loop {
            let (children, block) = (self.children(group), bits::block(place, sub));
            let children = Children { first: children.first | block, second: children.second & !block };
            let free = children.free();
            if free != u128::MAX {
                self.set_children(group, children);
                let merged = bits::around(free, place).map_or(sub, |(_, merged)| merged);
                return self.released(group, merged, order);
            }
            // Wholly free: from now on it is a child of the group above that is free.
            self.relist(group, None);
            let above = Group::of(group.start(), group.level + 1);
            (place, sub) = (above.place(group.start()), 0);
            group = above;
        }
    }

    /// Notes that a block of `order` became part of a free one of 2^merged children of `group`.
    #[inline]
    fn released(&self, group: Group, merged: u8, order: Order) {
        if self.list_of(group) < Some(merged) {
            self.relist(group, Some(merged));
        }
        self.count_merge(order, group.order(merged));
    }

    /// Makes a held block free.
    #[inline]
    fn give_back(&self, spot: &BlockRef, state: State) {
        let (head, order) = (spot.head(), spot.order());
        self.count(state, 0, order.pages());
        self.count(State::Free, order.pages(), 0);
        self.release(head, order);
    }

    /// Frames in `state`.
    pub fn pages_in(&self, state: State) -> u64 {
        match state {
            State::Free => self.summary.free(),
            _ => self.machine.load(self.metadata.header.offset(8 * state as u64)),
        }
    }

    /// The descriptor of a frame of the usable run.
    #[inline]
    pub fn page(&self, pfn: Pfn) -> Page<'_, M> {
        Page::of(self.machine, pfn)
    }

    #[inline]
    pub(crate) fn tag(&self, pfn: Pfn) -> Option<Tag> {
        self.page(pfn).tag()
    }

    #[inline]
    fn set_tag(&self, pfn: Pfn, state: State, order: Order) {
        self.page(pfn).set_tag(Tag { state, order, slot: self.slot });
    }

    /// Makes a block that is no longer free one that is held, and counts it.
    #[inline]
    fn take(&self, head: Pfn, order: Order, state: State, holder: u64) {
        self.mark_used(head, order, state);
        self.page(head).set_rmap(holder);
        self.count(State::Free, 0, order.pages());
        self.count(state, order.pages(), 0);
    }

    /// Notes in bits and descriptor that a held block starts at `head`, whose areas are nobody's or its own.
    #[inline]
    fn mark_used(&self, head: Pfn, order: Order, state: State) {
        let group = Group::of(head, level_of(order));
        let start = match (state, order) {
            (State::Movable, Order(0)) => Start::Single,
            (State::Movable, _) => Start::Movable,
            _ => Start::Held,
        };
        self.start_block(group, group.place(head), start);
        self.set_tag(head, state, order);
    }

    /// Adds to and takes from the counter of `state`. The free frames are in the summary alone.
    #[inline]
    pub(crate) fn count(&self, state: State, more: u64, less: u64) {
        if state == State::Free {
            self.summary.count(more, less);
        } else {
            let at = self.metadata.header.offset(8 * state as u64);
            self.machine.store(at, self.machine.load(at).wrapping_add(more).wrapping_sub(less));
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
