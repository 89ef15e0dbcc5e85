//! Which free memory the host may have pages behind: a bit for each child that was allocated since it was last reported.
//!
//! ```text
//!  level 2 group   | 64 MiB | 64 MiB | ... 128 bits, valid from `init` on, also while the group is closed
//!  level 1 group   |512 KiB | ...      128 bits, while the group is open; it opens with its child's bit of level 2
//! ```
//!
//! Memory that was never allocated has no host pages behind it, so nothing needs to be reported after an add. A block is
//! touched when it is split off a free block of a level above 0: freeing and allocating single frames never comes here.
//! A report takes pieces of 2 MiB out of free blocks, and clears their bits. Above 64 MiB there are no bits, so a block of
//! a terabyte is reported in parts, and each part once.
//!
//! Invariants: a child with host pages behind its free frames has its bit set on the lowest level where it is valid; the
//! bit of level 2 is set when the open group below it has one. All under the region's lock. Neighbours: `group` has
//! the place of the words, `reporting` asks.

use crate::addr::{Order, Pfn, PfnRange, VirtAddr};
use crate::buddy::bits::{self, SHIFT};
use crate::buddy::group::{Group, TOUCHED, level_of};
use crate::buddy::{BlockKind, Buddy, Walk};
use crate::machine::Machine;
use crate::pieces::PIECE_PAGES;

/// The levels with bits.
const LOW: u8 = 1;
const HIGH: u8 = 2;
/// Frames of a child of level 2.
const HIGH_PAGES: u64 = 1 << (HIGH * SHIFT);
/// Frames of a child of level 1.
const LOW_PAGES: u64 = 1 << (LOW * SHIFT);

/// What happens to bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Set,
    Clear,
}

impl<M: Machine> Buddy<'_, M> {
    /// The address of the word with the bit of child `index`.
    fn touched_at(&self, group: Group, index: u8) -> VirtAddr {
        self.metadata.group(group).offset(TOUCHED + 8 * (u64::from(index) / 64))
    }

    fn touched_bits(&self, group: Group) -> u128 {
        let word = |index| u128::from(self.machine.load(self.touched_at(group, index)));
        word(0) | word(64) << 64
    }

    fn is_touched(&self, pfn: Pfn, level: u8) -> bool {
        let group = Group::of(pfn, level);
        let index = group.index_of(pfn);
        self.machine.load(self.touched_at(group, index)) >> (index % 64) & 1 == 1
    }

    /// Changes the bits of the children of `level` that `frames` overlap.
    fn mark_touched(&self, level: u8, frames: PfnRange, mark: Mark) {
        let child = level * SHIFT;
        let (mut at, end) = (frames.start.0 >> child, frames.end.0.div_ceil(1 << child));
        while at < end {
            let next = ((at | 63) + 1).min(end);
            let group = Group::of(Pfn(at << child), level);
            let word = self.touched_at(group, at as u8 & 127);
            let first = at % 64;
            let mask = (!0 >> (64 - (next - at))) << first;
            let before = self.machine.load(word);
            let after = if mark == Mark::Set { before | mask } else { before & !mask };
            if before != after {
                self.machine.store(word, after);
            }
            at = next;
        }
    }

    /// Writes the bits of a new region: nothing is touched.
    pub(super) fn init_touched(&self) {
        if self.top() >= HIGH {
            let last = Pfn(self.usable.end.0.saturating_sub(1));
            for nr in Group::of(self.usable.start, HIGH).nr..=Group::of(last, HIGH).nr {
                let group = Group { level: HIGH, nr };
                [0, 64].iter().for_each(|&index| self.machine.store(self.touched_at(group, index), 0));
            }
        }
    }

    /// Marks all of a new region as touched: before this kernel the firmware or another kernel used it.
    pub(crate) fn touch_all(&self) {
        let mut at = self.usable.start;
        if self.top() >= HIGH {
            self.mark_touched(HIGH, self.usable, Mark::Set);
        }
        while self.top() >= LOW && at < self.usable.end {
            let group = Group::of(at, LOW);
            if self.is_open_low(at) {
                self.mark_touched(LOW, group.frames().intersection(self.usable), Mark::Set);
            }
            at = group.frames().end;
        }
        self.summary.set_unreported(true);
    }

    /// Whether the group of level 1 around `pfn` has words.
    fn is_open_low(&self, pfn: Pfn) -> bool {
        self.locate(pfn).is_some_and(|block| block.group.level <= LOW)
    }

    /// Writes the bits of a group that is about to be open.
    pub(super) fn open_touched(&self, group: Group) {
        if group.level == LOW {
            let all = self.top() >= HIGH && self.is_touched(group.start().max(self.usable.start), HIGH);
            let bits = if all { !0 } else { 0 };
            [0, 64].iter().for_each(|&index| self.machine.store(self.touched_at(group, index), bits));
        }
    }

    /// A group is about to be closed, because all of it is free.
    pub(super) fn close_touched(&self, group: Group) {
        if group.level == LOW && self.top() >= HIGH {
            let mark = if self.touched_bits(group) == 0 { Mark::Clear } else { Mark::Set };
            self.mark_touched(HIGH, group.frames(), mark);
        }
    }

    /// A block was taken out of a free block of a level above 0.
    pub(super) fn touch(&self, head: Pfn, order: Order) {
        let block = PfnRange::of(head, order.pages());
        if level_of(order) <= LOW && self.top() >= LOW {
            self.mark_touched(LOW, block, Mark::Set);
        }
        if self.top() >= HIGH {
            self.mark_touched(HIGH, block, Mark::Set);
        }
    }

    /// Some children of a group were allocated together.
    pub(super) fn touch_children(&self, group: Group, children: u128) {
        if group.level > 0 && children != 0 {
            let (first, last) = (children.trailing_zeros() as u8, 127 - children.leading_zeros() as u8);
            let end = group.child(last).offset(Order(group.level * SHIFT).pages());
            let range = PfnRange::new(group.child(first), end);
            // Those in between may be marked too: that costs a report more.
            self.mark_touched(group.level.min(HIGH), range, Mark::Set);
            if group.level == LOW && self.top() >= HIGH {
                self.mark_touched(HIGH, range, Mark::Set);
            }
        }
    }

    /// Clears the bits of held frames, which are whole blocks.
    pub(crate) fn untouch(&self, held: PfnRange) {
        self.walk(held, |found| {
            let level = level_of(found.tag.order).clamp(LOW, HIGH);
            if self.top() >= level {
                self.mark_touched(level, found.range(), Mark::Clear);
            }
            Walk::Continue
        });
    }

    /// Sets the bits of held frames again.
    pub(crate) fn touch_again(&self, held: PfnRange) {
        self.walk(held, |found| {
            self.touch(found.head, found.tag.order);
            Walk::Continue
        });
    }

    /// Finds touched free memory at or above `from`, in whole pieces of 2 MiB; at most `most` frames, at least a child.
    pub(crate) fn next_touched(&self, from: Pfn, most: u64) -> Option<PfnRange> {
        let mut at = from.max(self.usable.start);
        while at < self.usable.end && self.top() >= LOW {
            let low = Group::of(at, LOW);
            let next = low.frames().end;
            if self.top() >= HIGH && !self.is_touched(at, HIGH) {
                at = next;
                continue;
            }
            let block = self.locate(at)?;
            if block.group.level > LOW {
                let free = PfnRange::new(at, block.end().min(self.usable.end));
                if block.kind == BlockKind::Free {
                    return Some(self.touched_run(free, most));
                }
                at = free.end;
                continue;
            }
            if let Some(run) = self.touched_pieces(low, at) {
                return Some(run);
            }
            if self.top() >= HIGH && self.touched_bits(low) == 0 {
                self.mark_touched(HIGH, low.frames(), Mark::Clear);
            }
            at = next;
        }
        None
    }

    /// The touched children of level 2 at the start of a free block.
    fn touched_run(&self, free: PfnRange, most: u64) -> PfnRange {
        let mut end = free.start.offset(HIGH_PAGES);
        while end < free.end && self.is_touched(end, HIGH) && end.0 + HIGH_PAGES - free.start.0 <= most {
            end = end.offset(HIGH_PAGES);
        }
        PfnRange::new(free.start, end)
    }

    /// The first run of touched pieces in a free block of an open group of level 1, at or above `from`.
    fn touched_pieces(&self, group: Group, from: Pfn) -> Option<PfnRange> {
        let touched = self.touched_bits(group);
        if touched == 0 {
            return None;
        }
        let is_touched = |piece: Pfn| {
            let children =
                bits::block(group.index_of(piece), (PIECE_PAGES / LOW_PAGES).trailing_zeros() as u8);
            touched & children != 0
        };
        for (head, order) in self.free_blocks_of(group).filter(|(_, order)| order.pages() >= PIECE_PAGES) {
            let end = head.offset(order.pages());
            let mut start = head.max(Pfn(from.0.next_multiple_of(PIECE_PAGES)));
            while start < end && !is_touched(start) {
                start = start.offset(PIECE_PAGES);
            }
            let mut behind = start;
            while behind < end && is_touched(behind) {
                behind = behind.offset(PIECE_PAGES);
            }
            if start < behind {
                return Some(PfnRange::new(start, behind));
            }
        }
        None
    }
}
