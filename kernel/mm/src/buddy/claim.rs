//! Claiming a movable block to free it, and handing it out again: one atomic step on a bit of its group's words, with
//! the region's lock or without. `group` says which bits, and why of several CPUs one succeeds.
//!
//! Neighbours: the frame cache claims and hands out without the lock, `buddy` and `singles` with it.

use crate::addr::{Order, Pfn, VirtAddr};
use crate::buddy::group::{Group, ODD, held_from, level_of, sub_of};
use crate::buddy::metadata::{movable_at, pair};
use crate::buddy::{BlockRef, Buddy};
use crate::machine::Machine;

/// Returns address and mask of the bit that tells a movable block in use from another held block: a single frame, or a
/// block in a group above level 0. Its level lies at `base`.
#[inline(always)]
fn movable_bit(base: VirtAddr, head: Pfn, order: Order) -> (VirtAddr, u64) {
    let group = Group::of(head, level_of(order));
    let index = group.index_of(head);
    let at = if group.level == 0 { pair(base, group, index) } else { movable_at(base, group, index) };
    (at, 1 << (index % 64))
}

/// Turns a cached block into a movable block in use, without counting it. Its order is 0 or at least 7; its level lies
/// at `base`. Its descriptor is written before: a CPU that sees the bit (an Acquire) sees the descriptor too.
#[inline(always)]
pub(crate) fn mark_used_uncounted<M: Machine>(machine: &M, base: VirtAddr, head: Pfn, order: Order) {
    let (at, bit) = movable_bit(base, head, order);
    machine.fetch_xor(at, bit);
}

/// Claims the movable block in use at `head` to free it: it is a cached block then. Returns false, and changes nothing,
/// when `head` is not the head of such a block, or another CPU was first. The order is 0 or at least 7; the block's
/// group is open and its level lies at `base`.
#[inline(always)]
pub(crate) fn claim<M: Machine>(machine: &M, base: VirtAddr, head: Pfn, order: Order) -> bool {
    let (at, bit) = movable_bit(base, head, order);
    let group = Group::of(head, level_of(order));
    if group.level == 0 {
        // While another CPU changes the next child, this may look like a block of several frames: then the caller takes
        // the region's lock and looks again.
        return singles_at(machine, at) & bit != 0 && machine.fetch_or(at, bit) & bit == 0;
    }
    // A frame inside of the block's first child is not a head.
    head.is_aligned(order)
        && machine.load(at) & bit != 0
        && is_held(machine, base, group, head, order)
        && machine.fetch_and(at, !bit) & bit != 0
}

/// Whether a held block of `order` starts at `head`, a child of `group` in a level at `base`.
#[inline(always)]
fn is_held<M: Machine>(machine: &M, base: VirtAddr, group: Group, head: Pfn, order: Order) -> bool {
    let index = group.index_of(head);
    let half = pair(base, group, index);
    held_from(group.level, machine.load(half), machine.load(half.offset(8)), index) == Some(sub_of(order))
}

/// [`claim`] of several single frames, whose bits are in the two words at `at`. Returns those that are claimed.
pub(super) fn claim_singles<M: Machine>(machine: &M, at: VirtAddr, bits: u64) -> u64 {
    let singles = singles_at(machine, at) & bits;
    if singles == 0 { 0 } else { singles & !machine.fetch_or(at, singles) }
}

/// The single movable frames in use in the two words at `at`: see [`Children::singles`].
#[inline(always)]
fn singles_at<M: Machine>(machine: &M, at: VirtAddr) -> u64 {
    let (first, second) = (machine.load(at), machine.load(at.offset(8)));
    second & !first & ((first | second) >> 1 | ODD as u64)
}

impl<M: Machine> Buddy<'_, M> {
    /// [`claim`] of a block that was located as movable under the region's lock: only another claim may come first.
    #[inline(always)]
    pub(super) fn claim_located(&self, block: &BlockRef) -> bool {
        let base = self.metadata.level(block.group.level);
        let (at, bit) = movable_bit(base, block.head(), block.order());
        if block.group.level == 0 {
            self.machine.fetch_or(at, bit) & bit == 0
        } else {
            self.machine.fetch_and(at, !bit) & bit != 0
        }
    }

    /// Whether the first bit of a held block of level 0 is set.
    #[inline]
    pub(super) fn has_first_bit(&self, head: Pfn) -> bool {
        let (at, bit) = movable_bit(self.metadata.level(0), head, Order(0));
        self.machine.load(at) & bit != 0
    }

    /// Sets the first bit of a held block of level 0.
    pub(super) fn set_first_bit(&self, head: Pfn) {
        let (at, bit) = movable_bit(self.metadata.level(0), head, Order(0));
        self.machine.fetch_or(at, bit);
    }
}
