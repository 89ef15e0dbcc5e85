//! Where a region's header and the words of its groups lie, and the descent from the top group to the block of a frame.
//!
//! ```text
//!  metadata              | counters, lists | groups of the top level | ... | groups of level 1 | groups of level 0 |
//! ```
//!
//! The words of a level are contiguous. So a group's address is that which group number 0 of its level would have, plus
//! its number times the bytes of a group: the frame cache keeps the first for each level, and needs nothing else of the
//! region.
//!
//! Neighbours: `group` has the meaning of the words, `layout` reserves the memory, `frame_cache` keeps addresses.

use core::ops::RangeInclusive;

use crate::addr::{PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::buddy::group::{Group, LEVELS, LINK, MOVABLE, TOUCHED, level_of};
use crate::buddy::{header_bytes, max_order};
use crate::machine::Machine;

/// Returns the size in bytes of a group's words.
#[inline]
const fn group_bytes(level: u8) -> u64 {
    match level {
        0 => MOVABLE,
        1 | 2 => TOUCHED + 16,
        _ => TOUCHED,
    }
}

/// Returns the groups that are open in a new region: those partly outside of it, at most two per level.
pub(super) fn first_groups(usable: PfnRange) -> impl Iterator<Item = Group> {
    let top = level_of(max_order(usable));
    // For each level the first group and then the last one. One flat iterator: an emulator translates little code for it.
    (0..2 * (top + 1)).rev().filter_map(move |n| {
        let first = Group::of(usable.start, n / 2);
        let last = Group::of(Pfn(usable.end.0.saturating_sub(1)), n / 2);
        let is_first = n % 2 == 1;
        let group = if is_first { first } else { last };
        let is_new = is_first || last != first;
        (is_new && !usable.contains_range(group.frames())).then_some(group)
    })
}

/// The addresses of a region's header and of the words of its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataLayout {
    /// The header.
    pub(super) header: VirtAddr,
    /// For each level, the address that the words of group number 0 would have.
    levels: [VirtAddr; LEVELS],
}

impl MetadataLayout {
    /// Computes the layout for this usable run with the header at `header`.
    #[inline(never)] // once a region, and an emulator translates each copy
    pub fn of(usable: PfnRange, header: VirtAddr) -> MetadataLayout {
        let mut levels = [header; LEVELS];
        each_level(usable, |level, first, at| {
            levels[level as usize] = header.offset(at.wrapping_sub(first * group_bytes(level)));
        });
        MetadataLayout { header, levels }
    }

    /// Returns the size in bytes of header and groups for this usable run.
    pub fn bytes(usable: PfnRange) -> u64 {
        each_level(usable, |_, _, _| {})
    }

    /// Returns bytes that [`Buddy::init`] writes, as ascending offsets from the header: one at least in each page.
    pub fn first_written(usable: PfnRange) -> impl Iterator<Item = u64> {
        let layout = MetadataLayout::of(usable, VirtAddr(0));
        let bytes = [0, header_bytes(max_order(usable)) - 1];
        let ends = move |levels: RangeInclusive<u8>| {
            first_groups(usable).filter(move |group| levels.contains(&group.level)).flat_map(move |group| {
                let at = layout.group(group).0;
                [at, at + group_bytes(group.level) - 1]
            })
        };
        // Level 2: the touched bits of all its groups, a few bytes each, so a byte of each page. They include pages of
        // the open groups but for the beginning of the first one.
        let last = Pfn(usable.end.0.saturating_sub(1));
        let [first, end] = [usable.start, last].map(|pfn| layout.group(Group::of(pfn, 2)).0 + TOUCHED);
        let touched = if level_of(max_order(usable)) >= 2 { first..end + 16 } else { 0..0 };
        let begins = first_groups(usable).find(|&group| group == Group::of(usable.start, 2));
        let pages = touched.clone().step_by(PAGE_SIZE as usize).chain(touched.end.checked_sub(1));
        let level_2 = begins.map(|group| layout.group(group).0).into_iter().chain(pages);
        bytes.into_iter().chain(ends(3..=u8::MAX)).chain(level_2).chain(ends(0..=1))
    }

    #[inline(always)]
    pub(crate) const fn group(&self, group: Group) -> VirtAddr {
        words_of(self.level(group.level), group)
    }

    /// Returns the address of the first of the two words with a child's bits.
    #[inline(always)]
    pub(super) const fn pair(&self, group: Group, index: u8) -> VirtAddr {
        pair(self.level(group.level), group, index)
    }

    /// Returns the address that the words of the level's group number 0 would have.
    #[inline(always)]
    pub(super) const fn level(&self, level: u8) -> VirtAddr {
        self.levels[level as usize]
    }

    /// Returns that address for each level.
    pub(crate) const fn levels(&self) -> [VirtAddr; LEVELS] {
        self.levels
    }
}

/// Returns the level of the group whose children form the block of `pfn`: the lowest open group around it. `pfn` lies
/// in a usable run whose topmost groups have level `top`; `base` returns the address of each level.
#[inline(always)]
pub(crate) fn level_of_block<M: Machine>(
    base: impl Fn(u8) -> VirtAddr,
    machine: &M,
    top: u8,
    pfn: Pfn,
) -> u8 {
    // Unrolled, so that each shift is a compile-time constant.
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

/// Returns whether, in the open group of `LEVEL`, the child that contains `pfn` is open.
#[inline(always)]
fn is_open<const LEVEL: u8, M: Machine>(base: &impl Fn(u8) -> VirtAddr, machine: &M, pfn: Pfn) -> bool {
    let group = Group::of(pfn, LEVEL);
    let index = group.index_of(pfn);
    let at = pair(base(LEVEL), group, index);
    (machine.load(at) & machine.load(at.offset(8))) >> (index % 64) & 1 == 1
}

/// Returns the address of a group's words, in a level at `base`.
#[inline(always)]
pub(super) const fn words_of(base: VirtAddr, group: Group) -> VirtAddr {
    base.offset(group.nr * group_bytes(group.level))
}

/// Returns the address of a group's link, in a level at `base`.
#[inline(always)]
pub(super) const fn link_of(base: VirtAddr, group: Group) -> VirtAddr {
    words_of(base, group).offset(LINK)
}

/// Returns the address of the first of the two words with a child's bits.
#[inline(always)]
pub(super) const fn pair(base: VirtAddr, group: Group, index: u8) -> VirtAddr {
    words_of(base, group).offset(16 * (index as u64 / 64))
}

/// Returns the address of the word with a child's movable bit, in a group above level 0.
#[inline(always)]
pub(super) const fn movable_at(base: VirtAddr, group: Group, index: u8) -> VirtAddr {
    words_of(base, group).offset(MOVABLE + 8 * (index as u64 / 64))
}

/// Calls `each` with level, first group number and that group's offset from the header in bytes, from the top level
/// down. Returns the total size in bytes, header included.
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
