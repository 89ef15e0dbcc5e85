//! Groups: the inner nodes of the buddy's tree, 128 children each, their words in a descriptor inside.
//!
//! ```text
//!  level 2   | ... 128 children of 2^14 frames (64 MiB) ... |        orders 14 to 20
//!  level 1      | ... 128 children of 2^7 frames ... |               orders  7 to 13
//!  level 0         | ... 128 frames ... |                            orders  0 to  6
//! ```
//!
//! A child is free (its bit in the free bits), the first of a held block (its bit in the heads), one of
//! the others of that block, outside of the usable run, or *open*: a group of its own one level down. A
//! group has words when it is open: when it is neither wholly free nor in a held block, and holds at
//! least one whole child of the usable run.
//!
//! Its words lie in the descriptor of its *home*: of the first frame, plus the level, of its first child
//! that is wholly usable. Homes never collide: those of level 1 and above stand 1 to 4 frames behind a
//! multiple of 128, those of level 0 on one, or on the run's first frame, in front of all others.
//!
//! Neighbours: `bits` is the arithmetic of one group, `lists` the lists of groups, `page` the words.

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::Buddy;
use crate::buddy::bits::{self, SHIFT};
use crate::buddy::first::first_blocks;
use crate::machine::Machine;
use crate::page::{State, Tag};

/// Levels there are, for orders up to [`Order::MAX`].
pub(super) const LEVELS: usize = (Order::MAX.0 / SHIFT) as usize + 1;

/// The level of the groups that blocks of `order` are in.
#[inline]
pub(super) const fn level_of(order: Order) -> u8 {
    order.0 / SHIFT
}

/// How many children a block of `order` takes in its group: 2^sub.
#[inline]
pub(super) const fn sub_of(order: Order) -> u8 {
    order.0 % SHIFT
}

/// A group of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Its level.
    pub(super) level: u8,
    /// The frame whose descriptor has its words; one of its own.
    pub(super) home: Pfn,
}

/// The frames whose descriptors a fresh region writes, some of them several times.
pub fn first_homes(usable: PfnRange) -> impl Iterator<Item = Pfn> {
    first_blocks(usable).map(move |(head, order)| Group::of(usable, head, level_of(order)).home)
}

impl Group {
    /// The group of `level` that has `pfn`, in a region with this usable run.
    #[inline]
    const fn of(usable: PfnRange, pfn: Pfn, level: u8) -> Group {
        let start = pfn.align_down(Order((level + 1) * SHIFT)).0;
        let whole = usable.start.0.next_multiple_of(1 << (level * SHIFT));
        let first = if whole > start { whole } else { start };
        Group { level, home: Pfn(first + level as u64) }
    }

    /// The order of a block of 2^sub children.
    #[inline]
    pub(super) const fn order(self, sub: u8) -> Order {
        Order(self.level * SHIFT + sub)
    }

    /// The frame whose descriptor has its words.
    pub(crate) const fn home(self) -> Pfn {
        self.home
    }

    /// The group's first frame (which may lie in front of the usable run).
    #[inline]
    pub(super) const fn start(self) -> Pfn {
        self.home.align_down(self.order(SHIFT))
    }

    /// The place of the child that has `pfn`, a frame of the group.
    #[inline]
    pub(super) const fn place(self, pfn: Pfn) -> u8 {
        (pfn.0 >> (self.level * SHIFT)) as u8 & 127
    }

    /// The first frame of the child at `place`.
    #[inline]
    pub(super) const fn child(self, place: u8) -> Pfn {
        Pfn(self.start().0 + ((place as u64) << (self.level * SHIFT)))
    }
}

impl<M: Machine> Buddy<'_, M> {
    /// The group of `level` that has `pfn`.
    #[inline]
    pub(super) const fn group(&self, pfn: Pfn, level: u8) -> Group {
        Group::of(self.usable, pfn, level)
    }

    /// The highest level of the region's groups. No group of it is ever wholly free: it would be a
    /// block of a higher order than the region's highest.
    #[inline]
    pub(super) const fn top(&self) -> u8 {
        level_of(self.max)
    }

    /// Which children are free.
    #[inline]
    pub(super) fn free_bits(&self, group: Group) -> u128 {
        self.page(group.home).free_bits()
    }

    /// Which children are the first of a held block.
    #[inline]
    pub(super) fn heads(&self, group: Group) -> u128 {
        self.page(group.home).heads()
    }

    /// Writes the words of a group that had none, with these free children; lists it.
    pub(super) fn open(&self, group: Group, free: u128) {
        let page = self.page(group.home);
        page.set_heads(0);
        page.set_list(None);
        page.set_free_bits(free);
        self.relist(group, bits::largest(free));
    }

    /// Whether no part of a block is free, when it is held, and none of it the head of another: for `check`.
    pub(crate) fn is_whole(&self, head: Pfn, tag: Tag) -> bool {
        let group = self.group(head, level_of(tag.order));
        let place = group.place(head);
        let all = bits::block(place, sub_of(tag.order));
        tag.state == State::Free
            || (self.free_bits(group) & all == 0 && self.heads(group) & all == 1 << place)
    }

    /// The block that an open group should be, when it is free as a whole: for `check`.
    pub(crate) fn is_unmerged(&self, group: Group) -> Option<(Pfn, Order)> {
        (self.free_bits(group) == u128::MAX).then(|| (group.start(), group.order(SHIFT)))
    }

    /// Whether the list of `order` is the right one for a group: for `check`.
    pub(crate) fn belongs(&self, group: Group, order: Order) -> bool {
        let largest = bits::largest(self.free_bits(group));
        largest == self.page(group.home).list() && largest.map(|sub| group.order(sub)) == Some(order)
    }
}
