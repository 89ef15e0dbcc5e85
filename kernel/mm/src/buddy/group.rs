//! Groups: the inner nodes of the buddy's tree, 128 children each, and where their words lie.
//!
//! ```text
//!  level 2   | ... 128 children of 2^14 frames (64 MiB) ... |        orders 14 to 20
//!  level 1      | ... 128 children of 2^7 frames ... |               orders  7 to 13
//!  level 0         | ... 128 frames ... |                            orders  0 to  6
//!
//!  a child's two bits    10  free
//!                        01  a held block starts here (or it is outside of the usable run)
//!                        00  more of the block that starts before
//!                        11  open: a group of its own, one level down;  on level 0: a single frame, held as movable
//!
//!  a group's words       0 first bits of children 0..64 | 1 second bits of those | 2, 3 of children 64..128 | 4 link
//!                        above level 0 also  5, 6 which of the held blocks that start are held as movable
//!
//!  in the header's room  | counters, lists | groups of the top level | ... | groups of level 1 | groups of level 0 |
//! ```
//!
//! A group has words when it is *open*: when it is neither wholly free nor in one held block. It is open exactly
//! when its child's bits one level up say so, and the topmost are always; so whoever comes from above never reads
//! words that were not written, and learns extent and kind of every block without a look at its descriptor.
//!
//! The words of a level lie side by side behind the header, 40 bytes for 128 frames: a frame freed at random touches
//! one line of them, in memory that is 1/200 of the memmap. The link is for `lists`.
//!
//! Neighbours: `bits` is the arithmetic of one group, `lists` the lists of groups, `layout` makes the room.

use crate::addr::{Order, Pfn, PfnRange, VirtAddr};
use crate::buddy::bits::{self, SHIFT};
use crate::buddy::{Buddy, header_bytes, max_order};
use crate::machine::Machine;

/// Levels there are, for orders up to [`Order::MAX`].
pub(crate) const LEVELS: usize = (Order::MAX.0 / SHIFT) as usize + 1;
const _: () = assert!(LEVELS == 5, "see MetadataLayout::level_of_block");

/// Where the link is among a group's words, and the bits that say what is movable.
const LINK: u64 = 32;
const MOVABLE: u64 = 40;

/// Bytes of the words of a group.
#[inline]
const fn group_bytes(level: u8) -> u64 {
    if level == 0 { MOVABLE } else { MOVABLE + 16 }
}

/// The level of the groups that blocks of `order` are in.
#[inline]
pub(crate) const fn level_of(order: Order) -> u8 {
    order.0 / SHIFT
}

/// How many children a block of `order` takes in its group: 2^sub.
#[inline]
pub(super) const fn sub_of(order: Order) -> u8 {
    order.0 % SHIFT
}

/// A group of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// Its level.
    pub(super) level: u8,
    /// Its number among all groups of its level, from frame 0 on.
    pub(super) nr: u64,
}

impl Group {
    /// The group of `level` that has `pfn`.
    #[inline]
    pub(crate) const fn of(pfn: Pfn, level: u8) -> Group {
        Group { level, nr: pfn.0 >> ((level + 1) * SHIFT) }
    }

    /// Its number among all groups of its level.
    #[inline]
    pub(crate) const fn nr(self) -> u64 {
        self.nr
    }

    /// The order of a block of 2^sub children.
    #[inline]
    pub(super) const fn order(self, sub: u8) -> Order {
        Order(self.level * SHIFT + sub)
    }

    /// The group's first frame (which may lie in front of the usable run).
    #[inline]
    pub(crate) const fn start(self) -> Pfn {
        Pfn(self.nr << ((self.level + 1) * SHIFT))
    }

    /// Its frames, also those outside of the usable run.
    pub(crate) const fn frames(self) -> PfnRange {
        PfnRange::of(self.start(), 1 << ((self.level + 1) * SHIFT))
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

/// The groups that are open in a fresh region: those that are partly outside of it, two of a level at most.
pub(super) fn first_groups(usable: PfnRange) -> impl Iterator<Item = Group> {
    let top = level_of(max_order(usable));
    (0..=top).rev().flat_map(move |level| {
        let first = Group::of(usable.start, level);
        let last = Group::of(Pfn(usable.end.0.saturating_sub(1)), level);
        let partly = move |group: &Group| !usable.contains_range(group.frames());
        let other = (last != first).then_some(last);
        [Some(first), other].into_iter().flatten().filter(partly)
    })
}

/// Where a region's header and the words of its groups lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataLayout {
    /// The header.
    pub(super) header: VirtAddr,
    /// For each level: where the words of its group number 0 would lie.
    levels: [VirtAddr; LEVELS],
}

impl MetadataLayout {
    /// The room of a region with this usable run, whose header is at `header`.
    pub fn of(usable: PfnRange, header: VirtAddr) -> MetadataLayout {
        let mut levels = [header; LEVELS];
        each_level(usable, |level, first, at| {
            levels[level as usize] = header.offset(at.wrapping_sub(first * group_bytes(level)));
        });
        MetadataLayout { header, levels }
    }

    /// Bytes of header and groups of a region with this usable run.
    pub fn bytes(usable: PfnRange) -> u64 {
        each_level(usable, |_, _, _| {})
    }

    /// Where a fresh region with this usable run writes: the first and the last bytes, counted from the header.
    pub fn first_written(usable: PfnRange) -> impl Iterator<Item = u64> {
        let room = MetadataLayout::of(usable, VirtAddr(0));
        let bytes = [0, header_bytes(max_order(usable)) - 1];
        let ends = move |group: Group| (room.group(group).0, group_bytes(group.level) - 1);
        let groups = first_groups(usable).map(ends);
        bytes.into_iter().chain(groups.flat_map(|(at, last)| [at, at + last]))
    }

    #[inline(always)]
    pub(crate) const fn group(&self, group: Group) -> VirtAddr {
        words_of(self.level(group.level), group)
    }

    /// The first of the two words that have the bits of a child.
    #[inline(always)]
    pub(super) const fn pair(&self, group: Group, place: u8) -> VirtAddr {
        pair(self.level(group.level), group, place)
    }

    /// Where the words of a level's group number 0 would lie.
    #[inline(always)]
    pub(super) const fn level(&self, level: u8) -> VirtAddr {
        self.levels[level as usize]
    }

    /// The room as words, and back: where the words of each level lie.
    pub(crate) const fn levels(&self) -> [VirtAddr; LEVELS] {
        self.levels
    }
}

/// The level of the group that has the block of `pfn` as children: that of the lowest open group around it. `pfn` is of
/// a usable run whose topmost groups are of level `top`, and `base` tells where each level lies.
#[inline(always)]
pub(crate) fn level_of_block<M: Machine>(
    base: impl Fn(u8) -> VirtAddr,
    machine: &M,
    top: u8,
    pfn: Pfn,
) -> u8 {
    // One after the other, so that each shift is known when this is compiled.
    if top >= 4 && !is_open::<4, M>(&base, machine, pfn) {
        return 4;
    }
    if top >= 3 && !is_open::<3, M>(&base, machine, pfn) {
        return 3;
    }
    if top >= 2 && !is_open::<2, M>(&base, machine, pfn) {
        return 2;
    }
    u8::from(top >= 1 && !is_open::<1, M>(&base, machine, pfn))
}

/// Whether the child of an open group that has `pfn` is open.
#[inline(always)]
fn is_open<const LEVEL: u8, M: Machine>(base: &impl Fn(u8) -> VirtAddr, machine: &M, pfn: Pfn) -> bool {
    let group = Group::of(pfn, LEVEL);
    let place = group.place(pfn);
    let at = pair(base(LEVEL), group, place);
    (machine.load(at) & machine.load(at.offset(8))) >> (place % 64) & 1 == 1
}

/// Where the words of a group lie, in a level that lies at `base`.
#[inline(always)]
const fn words_of(base: VirtAddr, group: Group) -> VirtAddr {
    base.offset(group.nr * group_bytes(group.level))
}

/// The first of the two words that have the bits of a child.
#[inline(always)]
const fn pair(base: VirtAddr, group: Group, place: u8) -> VirtAddr {
    words_of(base, group).offset(16 * (place as u64 / 64))
}

/// The word that says whether the held block that starts at a child of a group above level 0 is movable.
#[inline(always)]
const fn movable_at(base: VirtAddr, group: Group, place: u8) -> VirtAddr {
    words_of(base, group).offset(MOVABLE + 8 * (place as u64 / 64))
}

/// Where the bit is that says of a held block, a single frame or one of a group above level 0, that it is movable. Its
/// level lies at `base`.
#[inline(always)]
fn movable_bit(base: VirtAddr, head: Pfn, order: Order) -> (VirtAddr, u64) {
    let group = Group::of(head, level_of(order));
    let place = group.place(head);
    let at = if group.level == 0 { pair(base, group, place) } else { movable_at(base, group, place) };
    (at, 1 << (place % 64))
}

/// Makes a block that the cache holds a movable one in use. Its order is 0 or at least 7, and its level lies at `base`.
#[inline(always)]
pub(crate) fn mark_used_uncounted<M: Machine>(machine: &M, base: VirtAddr, head: Pfn, order: Order) {
    let (at, bit) = movable_bit(base, head, order);
    machine.store(at, machine.load(at) | bit);
}

/// Makes a movable block in use one that the cache holds; whether it was that, with `head` its first frame. Its order
/// is 0 or at least 7, its group, which is open, of a level that lies at `base`.
#[inline(always)]
pub(crate) fn mark_cached<M: Machine>(machine: &M, base: VirtAddr, head: Pfn, order: Order) -> bool {
    let (at, bit) = movable_bit(base, head, order);
    let word = machine.load(at);
    let group = Group::of(head, level_of(order));
    let is_block = word & bit != 0
        && if group.level == 0 {
            machine.load(at.offset(8)) & bit != 0
        } else {
            // A frame inside of the block's first child is no head.
            let whole = Some((group.place(head), sub_of(order)));
            head.is_aligned(order)
                && Children::load(machine, words_of(base, group)).held(group.place(head)) == whole
        };
    if is_block {
        machine.store(at, word & !bit);
    }
    is_block
}

/// Calls `each` with level, first group and its bytes' distance from the header, from the top level down.
/// Returns how many bytes there are with the header.
fn each_level(usable: PfnRange, mut each: impl FnMut(u8, u64, u64)) -> u64 {
    let max = max_order(usable);
    let mut at = header_bytes(max);
    for level in (0..=level_of(max)).rev() {
        let first = Group::of(usable.start, level).nr;
        let last = Group::of(Pfn(usable.end.0.saturating_sub(1)), level).nr;
        each(level, first, at);
        at += (last + 1).saturating_sub(first) * group_bytes(level);
    }
    at
}

/// The two bits of each child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Children {
    pub(super) first: u128,
    pub(super) second: u128,
}

impl Children {
    #[inline(always)]
    fn load<M: Machine>(machine: &M, at: VirtAddr) -> Children {
        let word = |n: u64| u128::from(machine.load(at.offset(8 * n)));
        Children { first: word(0) | word(2) << 64, second: word(1) | word(3) << 64 }
    }

    /// Those that are free.
    #[inline]
    pub(super) const fn free(self) -> u128 {
        self.first & !self.second
    }

    /// Whether the child at `place`, on level 0, is a single frame that is held as movable.
    #[inline]
    pub(super) const fn is_single(self, place: u8) -> bool {
        (self.first & self.second) >> place & 1 == 1
    }

    /// The held block that the child at `place` is in: its first place and `sub`. `None` when the bits make no block.
    #[inline]
    pub(super) fn held(self, place: u8) -> Option<(u8, u8)> {
        let starts = self.second & !self.first & u128::MAX >> (127 - place);
        let first = 127u8.checked_sub(starts.leading_zeros() as u8)?;
        let behind = (self.first | self.second) & (u128::MAX << first << 1);
        let end = behind.trailing_zeros() as u8;
        let size = end - first;
        (place < end && size.is_power_of_two() && first.is_multiple_of(size))
            .then_some((first, size.trailing_zeros() as u8))
    }
}

impl<M: Machine> Buddy<'_, M> {
    /// The highest level of the region's groups. No group of it is ever wholly free: it would be a
    /// block of a higher order than the region's highest.
    #[inline]
    pub(super) const fn top(&self) -> u8 {
        level_of(self.max)
    }

    /// The bits of a group's children.
    #[inline(always)]
    pub(super) fn children(&self, group: Group) -> Children {
        Children::load(self.machine, self.metadata.group(group))
    }

    /// Writes the bits of a group's children.
    #[inline(always)]
    pub(super) fn set_children(&self, group: Group, children: Children) {
        let at = self.metadata.group(group);
        let Children { first, second } = children;
        self.machine.store(at, first as u64);
        self.machine.store(at.offset(8), second as u64);
        self.machine.store(at.offset(16), (first >> 64) as u64);
        self.machine.store(at.offset(24), (second >> 64) as u64);
    }

    /// Which children are free.
    #[inline]
    pub(super) fn free_bits(&self, group: Group) -> u128 {
        self.children(group).free()
    }

    /// Makes the child at `place`, which was part of nothing or of the same held block, the first of a held block.
    #[inline(always)]
    pub(super) fn start_block(&self, group: Group, place: u8, what: Start) {
        let base = self.metadata.level(group.level);
        let (at, bit) = (pair(base, group, place), 1 << (place % 64));
        let first = self.machine.load(at) & !bit;
        self.machine.store(at, if matches!(what, Start::Open | Start::Single) { first | bit } else { first });
        self.machine.store(at.offset(8), self.machine.load(at.offset(8)) | bit);
        if group.level > 0 {
            let at = movable_at(base, group, place);
            let others = self.machine.load(at) & !bit;
            self.machine.store(at, if what == Start::Movable { others | bit } else { others });
        }
    }

    /// Whether the held block that starts at `place` of a group above level 0 is held as movable.
    #[inline]
    pub(super) fn is_movable(&self, group: Group, place: u8) -> bool {
        self.machine.load(movable_at(self.metadata.level(group.level), group, place)) >> (place % 64) & 1 == 1
    }

    /// The word of a group's link: see `lists`.
    #[inline]
    pub(super) fn link_at(&self, group: Group) -> VirtAddr {
        self.metadata.group(group).offset(LINK)
    }

    /// Writes the words of a group that had none; lists it.
    pub(super) fn open(&self, group: Group, children: Children) {
        self.set_children(group, children);
        if group.level > 0 {
            let base = self.metadata.level(group.level);
            [0, 64].iter().for_each(|&place| self.machine.store(movable_at(base, group, place), 0));
        }
        self.clear_link(group);
        self.relist(group, bits::largest(children.free()));
    }

    /// Writes the words of a group of a fresh region: what is in the usable run is free.
    pub(super) fn open_first(&self, group: Group) {
        let child = Order(group.level * SHIFT).pages();
        let [start, end] =
            [self.usable.start, self.usable.end].map(|border| border.0.saturating_sub(group.start().0));
        let whole = bits::between(start.div_ceil(child), end / child);
        let touched = bits::between(start / child, end.div_ceil(child));
        self.open(group, Children { first: touched, second: !whole });
    }

    /// The block that an open group should be, when it is free as a whole: for `check`.
    pub(crate) fn is_unmerged(&self, group: Group) -> Option<(Pfn, Order)> {
        (self.free_bits(group) == u128::MAX).then(|| (group.start(), group.order(SHIFT)))
    }

    /// Whether the list of `order` is the right one for a group: for `check`.
    pub(crate) fn belongs(&self, group: Group, order: Order) -> bool {
        let largest = bits::largest(self.free_bits(group));
        largest == self.list_of(group) && largest.map(|sub| group.order(sub)) == Some(order)
    }
}

/// What starts at a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A block that is held, not as movable, or whose descriptor says it.
    Held,
    /// A block that is held as movable.
    Movable,
    /// A single frame that is held as movable.
    Single,
    /// A group of its own.
    Open,
}
