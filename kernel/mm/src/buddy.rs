//! The buddy allocator of one region, over a lazily initialised memmap. Corresponds to Linux `mm/page_alloc.c`.
//!
//! ```text
//!  usable run    |8|  16  |      32      |              64               | 4 |
//!  first blocks  greedy from the left: each as large as alignment and the run's end allow
//!  groups        128 frames, 128 of those, ...: two bits per child encode which are free, where held blocks start,
//!                and which are open groups (`group`). A completely free group is one bit further up.
//!  descriptors   of the heads of held blocks: state, order, region, rmap; not of all, see `owner`
//! ```
//!
//! A block is *held* when it is not free: allocated, cached, isolated or offline. A split opens groups down to the
//! requested order, a merge closes them: seven orders per level. The bits alone determine the blocks. So lists link
//! groups and not blocks, and freeing a random frame accesses the words of its group and not its descriptor.
//!
//! **A descriptor is written when a held block starts at its frame, a group's words when the group opens, and no word
//! is read before it is written.** So the memory need not be zeroed. The rule follows from these conditions; the
//! named tests check each one, on a machine where reading an unwritten word panics:
//!
//! 1. Blocks are aligned to their size by absolute frame number, and no order is capped below the
//!    region's highest: `first_blocks_are_greedy_and_maximal`.
//! 2. The usable run alone determines the groups that [`Buddy::init`] opens: all groups partly outside
//!    of the run, the topmost included, with their children inside the run free. They stay open:
//!    `freeing_all_restores_the_initial_state`.
//! 3. Any other group is open exactly when its child bits one level up are the open pattern. So a descent
//!    from the top meets open groups only, and finds every block without its descriptor:
//!    `random_operations_match_the_eager_model`.
//! 4. A group closes when all its children are free. Children outside of the run never are, so a group partly outside
//!    never closes, and no buddy outside of the run is read: `merging_stays_inside_the_run`.
//! 5. The bits of a group record its free blocks, and `free` reads them first. So a frame that is not, or not any more,
//!    the head of an allocated block is not freed, whatever its descriptor contains: `freeing_twice_is_refused`.
//! 6. Children are free or held, and only free ones merge; cached, isolated and offline blocks are
//!    held: `nothing_merges_across_states`. `isolate` isolates a part of a region.
//! 7. Runs of any length consist of proper blocks: `a_fresh_dimm_is_one_run`, `runs_grow_to_both_sides`.
//! 8. Header, groups and the descriptors of the usable run do not overlap. Header and groups lie in the descriptor
//!    slots of the memmap's own frames (boot memory: in separate pages): `groups_do_not_overlap`, and `layout`'s
//!    `every_dimm_has_a_layout`.
//! 9. Both halves of a split held block have its state: `held_blocks_split`.
//!
//! The header (lists and counters) lies in the resource and is accessed through the machine; only the [`Summary`] lies
//! outside, for reads without the lock. Everything else runs under the region's lock. Neighbours: `region` owns the
//! lock, `layout` places the header.

mod apart;
mod bits;
mod bulk;
mod claim;
mod find;
mod group;
mod initial_blocks;
mod isolate;
mod lists;
mod metadata;
mod owner;
mod runs;
mod singles;
mod split;
mod summary;
mod touched;

#[cfg(test)]
pub(crate) mod tests;

use crate::addr::{Order, Pfn, PfnRange};
use crate::descriptor::{BlockState, Page, SlotNr, Tag};
use crate::info::PageState;
use crate::machine::Machine;

pub(crate) use claim::{claim, mark_used_uncounted};
use group::{Children, Start, sub_of};
pub(crate) use group::{Group, LEVELS, level_of};
#[cfg(test)]
pub(crate) use initial_blocks::initial_blocks;
pub use initial_blocks::max_order;
pub use isolate::Walk;
pub use metadata::MetadataLayout;
use metadata::first_groups;
pub(crate) use metadata::level_of_block;
pub(crate) use owner::forget_owner;
use owner::is_lean;
pub use summary::{End, Summary};

/// The number of header words before the lists: a counter of frames for each [`BlockState`]. Word 0 and the counter of free
/// frames stay 0; the summary counts free frames.
const LISTS: u64 = 9;
/// Header words per order: the first group of its list, and the number of free blocks.
const LIST_WORDS: u64 = 2;

/// Returns the size in bytes of the header of a region with the highest order `max`. The groups' words follow it
/// ([`MetadataLayout`]).
pub const fn header_bytes(max: Order) -> u64 {
    8 * (LISTS + LIST_WORDS * (max.0 as u64 + 1))
}

const _: () = assert!(header_bytes(Order::MAX) <= crate::addr::PAGE_SIZE);
const _: () = assert!(BlockState::Unplugged as u64 == LISTS - 1);

/// A free or held block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first frame.
    pub head: Pfn,
    /// State, order and slot.
    pub tag: Tag,
}

impl Found {
    /// Returns the block's frames.
    pub const fn range(&self) -> PfnRange {
        PfnRange::of(self.head, self.tag.order.pages())
    }
}

/// A block as encoded in the bits of the groups: 2^`sub` children of `group`, from child `first`.
#[derive(Clone, Copy, Debug)]
struct BlockRef {
    group: Group,
    first: u8,
    sub: u8,
    kind: BlockKind,
}

/// The kind of a block as encoded in the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    Free,
    /// Held; its descriptor holds the state.
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

/// The buddy allocator of one region: a view of its header and memmap, used under the region's lock.
#[derive(Debug)]
pub struct Buddy<'a, M> {
    pub(crate) machine: &'a M,
    pub(crate) metadata: MetadataLayout,
    pub(crate) usable: PfnRange,
    pub(crate) max: Order,
    pub(crate) slot: SlotNr,
    pub(crate) summary: &'a Summary,
    /// The isolated part: blocks freed in it become isolated instead of free. Usually empty.
    pub(crate) isolated: PfnRange,
}

impl<M: Machine> Buddy<'_, M> {
    /// Writes the header and the first groups; all frames are free. Returns the number of groups written.
    pub fn init(&self) -> u64 {
        for counter in 0..LISTS {
            self.machine.store(self.metadata.header.offset(8 * counter), 0);
        }
        for order in 0..=self.max.0 {
            self.set_first(Order(order), None);
            self.machine.store(self.list(Order(order)).offset(8), 0);
        }
        self.summary.clear_free();
        self.init_touched();
        let mut written = 0;
        for group in first_groups(self.usable) {
            self.open_first(group);
            self.recount(group, &[0; 8], &bits::tally(self.free_bits(group)));
            written += 1;
        }
        self.count(BlockState::Free, self.usable.pages(), 0);
        written
    }

    /// Allocates a block of `order`, in state `state`, and sets its rmap. `None` when no free block is large enough.
    #[inline]
    pub fn allocate(&self, order: Order, state: BlockState, rmap: u64) -> Option<Pfn> {
        if order > self.max {
            return None;
        }
        let (group, children, index, sub) = self.smallest(order)?;
        let head = group.child(index);
        if rmap != 0 || !is_lean(order, state) {
            self.page(head).prefetch();
        }
        self.split_off(group, children, head, order, group.order(sub), state);
        self.mark_allocated(head, order, state, rmap);
        Some(head)
    }

    /// The smallest free block of at least `order`: its group, that one's bits, its first child there, and its size.
    #[inline]
    fn smallest(&self, order: Order) -> Option<(Group, Children, u8, u8)> {
        let group = self.listed(order)?;
        let least = if group.level == level_of(order) { sub_of(order) } else { 0 };
        let children = self.children(group);
        let (index, sub) = bits::smallest(children.free(), least)?;
        Some((group, children, index, sub))
    }

    /// A group with the smallest free block of at least `order`.
    #[inline(always)]
    fn listed(&self, order: Order) -> Option<Group> {
        let fitting = self.summary.orders() & (!0 << order.0);
        if fitting == 0 {
            return None;
        }
        self.first(Order(fitting.trailing_zeros() as u8))
    }

    /// Allocates the largest free block, but of at most order `most`.
    pub fn allocate_up_to(&self, most: Order, state: BlockState, rmap: u64) -> Option<(Pfn, Order)> {
        let highest = self.summary.highest()?;
        let order = most.min(highest);
        self.allocate(order, state, rmap).map(|head| (head, order))
    }

    /// Frees the allocated block at `head` and merges it with free buddies. The frames inside the isolated part become
    /// isolated instead. Returns the block's order.
    ///
    /// # Errors
    /// The frame's state when it is not the head of an allocated block; nothing changes then.
    #[inline]
    pub fn free(&self, head: Pfn) -> Result<Order, PageState> {
        if !self.usable.contains(head) {
            return Err(PageState::Memmap);
        }
        // Written out, so that the level is a compile-time constant where most blocks are.
        match self.level_at(head) {
            0 => self.free_in(0, head),
            1 => self.free_in(1, head),
            level => self.free_in(level, head),
        }
    }

    /// [`Buddy::free`] of a usable frame, around which the groups of `level` are the lowest open ones.
    #[inline(always)]
    fn free_in(&self, level: u8, head: Pfn) -> Result<Order, PageState> {
        let block = self.locate_head(Group::of(head, level), head).ok_or(PageState::Memmap)?;
        let state = self.state_of(&block).ok_or(PageState::Absent)?;
        if !state.is_allocated() || block.head() != head {
            return Err(page_state(state));
        }
        // A block of order 1 to 6 is freed under the region's lock only: no other CPU claims it.
        if block.kind == BlockKind::Movable && !block.is_lean() && !self.claim_located(&block) {
            return Err(PageState::Free);
        }
        if self.isolated.is_empty() {
            self.free_found(&block, state);
        } else {
            self.free_beside_isolated(PfnRange::new(head, block.end()), state);
        }
        Ok(block.order())
    }

    /// Frees a held block in any state, offline, isolated and cached included. Returns its order.
    ///
    /// # Errors
    /// The frame's state when it is not the head of a held block; nothing changes then.
    pub fn free_held(&self, head: Pfn) -> Result<Order, PageState> {
        let block = self.locate(head).ok_or(PageState::Memmap)?;
        let state = self.state_of(&block).ok_or(PageState::Absent)?;
        if block.kind == BlockKind::Free || block.head() != head {
            return Err(page_state(state));
        }
        self.free_found(&block, state);
        Ok(block.order())
    }

    /// Splits the held block that crosses `border`, if any, until a block starts there. `rmap_at` computes the rmap of
    /// a new head from the block's rmap and the new head's offset in frames.
    pub fn split_at(&self, border: Pfn, rmap_at: impl Fn(u64, u64) -> u64) {
        while let Some(block) =
            self.locate(border).filter(|block| block.kind != BlockKind::Free && block.head() < border)
            && self.split_held(&block, &rmap_at).is_some()
        {}
    }

    /// Splits a held block into two halves in the same state.
    fn split_held(&self, block: &BlockRef, rmap_at: &impl Fn(u64, u64) -> u64) -> Option<()> {
        let (head, half) = (block.head(), Order(block.order().0.checked_sub(1)?));
        let state = self.state_of(block)?;
        let tag = Tag { state, order: block.order(), slot: self.slot };
        // The rmap of a cached block may never have been written; an unplugged one may have no descriptor.
        let has_rmap = !matches!(state, BlockState::Cached | BlockState::Unplugged);
        let rmap = has_rmap.then(|| self.rmap(&Found { head, tag }));
        if block.sub == 0 {
            // A block of one child: open the child as a group without free children.
            self.start_block(block.group, block.first, Start::Open);
            self.open(Group::of(head, block.group.level - 1), Children { first: 0, second: 0 });
        }
        let middle = head.offset(half.pages());
        self.mark_used(head, half, state);
        self.mark_used(middle, half, state);
        if let Some(rmap) = rmap {
            self.set_rmap(head, half, state, rmap);
            self.set_rmap(middle, half, state, rmap_at(rmap, half.pages()));
        }
        Some(())
    }

    /// Returns the number of frames in `state`.
    pub fn pages_in(&self, state: BlockState) -> u64 {
        match state {
            BlockState::Free => self.summary.free(),
            _ => self.machine.load(self.metadata.header.offset(8 * state as u64)),
        }
    }

    /// Whether the piece that contains `pfn` is not plugged.
    #[inline]
    pub(crate) fn is_unplugged(&self, pfn: Pfn) -> bool {
        self.summary.pieces.is_unplugged(pfn)
    }

    /// Returns the descriptor of a frame in the usable run.
    #[inline]
    pub fn page(&self, pfn: Pfn) -> Page<'_, M> {
        Page::of(self.machine, pfn)
    }

    #[inline]
    pub(crate) fn tag(&self, pfn: Pfn) -> Option<Tag> {
        self.page(pfn).tag()
    }

    #[inline]
    fn set_tag(&self, pfn: Pfn, state: BlockState, order: Order) {
        self.page(pfn).set_tag(Tag { state, order, slot: self.slot });
    }

    /// Marks a block that was split off as held in `state`, sets its rmap, and counts its frames.
    #[inline]
    fn mark_allocated(&self, head: Pfn, order: Order, state: BlockState, rmap: u64) {
        self.mark_used(head, order, state);
        if state != BlockState::Unplugged {
            self.set_rmap(head, order, state, rmap);
        }
        self.count(BlockState::Free, 0, order.pages());
        self.count(state, order.pages(), 0);
    }

    /// Records in bits and descriptor that a held block starts at `head`. Its children must be neither free nor part of
    /// another block.
    #[inline]
    fn mark_used(&self, head: Pfn, order: Order, state: BlockState) {
        let group = Group::of(head, level_of(order));
        let start = match state {
            BlockState::Movable => Start::Movable,
            _ => Start::Held,
        };
        // The descriptor before the bits that make it valid: an evacuation on another CPU reads them in reverse order.
        if state != BlockState::Unplugged && !is_lean(order, state) {
            self.set_tag(head, state, order);
        }
        self.start_block(group, group.index_of(head), start);
    }

    /// Adds `more` to the counter of `state` and subtracts `less`. The summary counts the free frames.
    #[inline]
    pub(crate) fn count(&self, state: BlockState, more: u64, less: u64) {
        if state == BlockState::Free {
            self.summary.count(more, less);
        } else {
            let at = self.metadata.header.offset(8 * state as u64);
            self.machine.store(at, self.machine.load(at).wrapping_add(more).wrapping_sub(less));
        }
    }
}

/// Returns the state of frames as shown to users.
pub const fn page_state(state: BlockState) -> PageState {
    match state {
        BlockState::Free | BlockState::Cached => PageState::Free,
        BlockState::Movable => PageState::Movable,
        BlockState::Pinned | BlockState::Boot => PageState::Pinned,
        BlockState::Offline | BlockState::Isolated => PageState::Offline,
        BlockState::Unplugged => PageState::Unplugged,
    }
}
