//! Changing where mapped pages lead: what was copied elsewhere is reached there from now on, at the same addresses.
//!
//! ```text
//!  2 MiB leaf, all of it moves      one store
//!  2 MiB leaf, a part of it moves   a PT of 512 leaves that lead where the large one led, complete before one
//!                                   store links it in the leaf's place; then a store for each page that moves
//! ```
//!
//! Invariants: at every moment each address leads to the old place or to the new one; the flush comes after the
//! last store and before the caller may use the old frames for anything else. A table for a split
//! comes from the caller; when it has none, what was split so far stays split and nothing leads elsewhere yet.
//!
//! Neighbours: `window` migrates by it, `leave` moves tables.

use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::machine::Machine;
use crate::page_table::entry::{Entry, Kind, Level, VaRange};
use crate::page_table::walk::{entry_of, slot_of};
use crate::page_table::{FrameSource, Lifetime, PageTables, Rights};

/// Up to how many leaves are flushed one by one.
const SINGLE_FLUSHES: u64 = 32;

/// Why pages do not lead elsewhere. Every address leads where it led before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceError {
    /// A page of the range is not mapped.
    NotMapped {
        /// Where.
        at: VirtAddr,
    },
    /// No frame for the table that a leaf falls apart into.
    OutOfFrames {
        /// The leaf's part of the range.
        at: VirtAddr,
    },
}

impl PageTables {
    /// Splits the leaves that reach across the borders of the `pages` pages from `virt` on, and those inside that
    /// cannot be leaves of their size at `phys`. To be called before [`PageTables::replace`]; nothing
    /// leads elsewhere yet. Tells the address and frame of each new table to `made`.
    ///
    /// # Errors
    /// See [`ReplaceError`]. Leaves that were split stay split.
    pub(crate) fn split<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        phys: PhysAddr,
        pages: u64,
        frames: &mut dyn FrameSource,
        made: &mut dyn FnMut(VirtAddr, Level, Pfn),
    ) -> Result<(), ReplaceError> {
        let piece = VaRange { virt, phys, pages };
        self.split_below(machine, self.root, Level::Pml4, piece, frames, made)
    }

    /// Lets the `pages` pages from `virt` on lead to `phys` on, with rights and sizes of leaves as they are, and
    /// flushes.
    ///
    /// # Errors
    /// [`ReplaceError::NotMapped`] when a page is not mapped or a leaf does not fit: see
    /// [`PageTables::split`]. Nothing was changed then.
    pub(crate) fn replace<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        phys: PhysAddr,
        pages: u64,
    ) -> Result<(), ReplaceError> {
        let piece = VaRange { virt, phys, pages };
        fits(machine, self.root, Level::Pml4, piece)?;
        let leaves = replace_below(machine, self.root, Level::Pml4, piece);
        if leaves > SINGLE_FLUSHES {
            machine.flush_all();
            return Ok(());
        }
        // Few leaves: their first pages, found by stepping from leaf to leaf.
        self.leaves(machine, virt, pages, &mut |leaf| machine.flush(leaf.virt));
        Ok(())
    }

    fn split_below<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        piece: VaRange,
        frames: &mut dyn FrameSource,
        made: &mut dyn FnMut(VirtAddr, Level, Pfn),
    ) -> Result<(), ReplaceError> {
        let Some(below) = level.below() else { return Ok(()) };
        for part in piece.entries(level) {
            let entry = entry_of(machine, table, level, part.virt);
            let next = match entry.kind(level) {
                Kind::Absent => return Err(ReplaceError::NotMapped { at: part.virt }),
                Kind::Leaf(_) if leaf_fits(part, level) => continue,
                Kind::Leaf(_) => self.split_leaf(machine, table, level, part.virt, frames, made)?,
                Kind::Table(next) => next,
            };
            self.split_below(machine, next, below, part, frames, made)?;
        }
        Ok(())
    }

    /// Puts a table of smaller leaves in the place of the leaf of `level` that covers `at`.
    pub(super) fn split_leaf<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        at: VirtAddr,
        frames: &mut dyn FrameSource,
        made: &mut dyn FnMut(VirtAddr, Level, Pfn),
    ) -> Result<Pfn, ReplaceError> {
        let old = entry_of(machine, table, level, at);
        let sizes =
            level.leaf().zip(level.below()).and_then(|(size, below)| Some((size, below, below.leaf()?)));
        let (size, below, smaller) = sizes.ok_or(ReplaceError::NotMapped { at })?;
        let new = frames.alloc_frame().ok_or(ReplaceError::OutOfFrames { at })?;
        let view = self.unlinked(machine, new, below);
        let phys = old.leaf_phys(size);
        let (rights, caching) = (old.rights().unwrap_or(Rights::Data), old.caching());
        for index in 0..size.bytes() / smaller.bytes() {
            let to = PhysAddr(phys.0 + index * smaller.bytes());
            machine.store(view.offset(index * 8), Entry::leaf(to, smaller, rights, caching).0);
        }
        machine.store(slot_of(table, level, at), Entry::table(new, Lifetime::UntilEmpty).0);
        machine.flush(at);
        self.clear_slots(machine);
        made(VirtAddr(at.0 & !(size.bytes() - 1)), below, new);
        Ok(new)
    }
}

/// Whether `part` is a leaf of `level` at its physical address.
fn leaf_fits(part: VaRange, level: Level) -> bool {
    part.is_whole_entry(level) && part.phys.0.is_multiple_of(level.entry_pages() * PAGE_SIZE)
}

fn fits<M: Machine>(machine: &M, table: Pfn, level: Level, piece: VaRange) -> Result<(), ReplaceError> {
    for part in piece.entries(level) {
        match (entry_of(machine, table, level, part.virt).kind(level), level.below()) {
            (Kind::Leaf(_), _) if leaf_fits(part, level) => {}
            (Kind::Table(next), Some(below)) => fits(machine, next, below, part)?,
            _ => return Err(ReplaceError::NotMapped { at: part.virt }),
        }
    }
    Ok(())
}

/// Returns how many leaves it changed.
fn replace_below<M: Machine>(machine: &M, table: Pfn, level: Level, piece: VaRange) -> u64 {
    let mut leaves = 0;
    for part in piece.entries(level) {
        let entry = entry_of(machine, table, level, part.virt);
        match (entry.kind(level), level.below()) {
            (Kind::Leaf(size), _) => {
                let new =
                    Entry::leaf(part.phys, size, entry.rights().unwrap_or(Rights::Data), entry.caching());
                machine.store(slot_of(table, level, part.virt), new.0);
                leaves += 1;
            }
            (Kind::Table(next), Some(below)) => leaves += replace_below(machine, next, below, part),
            (Kind::Absent, _) | (_, None) => {}
        }
    }
    leaves
}
