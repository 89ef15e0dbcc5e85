//! Migrating pages: mapped pages come to map other frames, which hold a copy of their contents, while other CPUs read
//! and write them.
//!
//! ```text
//!  split    a large leaf that does not fit its new frames becomes a table of 512 smaller leaves of the same frames,
//!           complete before one store links it
//!  begin    each leaf becomes a migration entry (`entry`)        CPUs may use the old frame
//!  flush    one for all leaves                                   an access faults; no CPU accesses the old frame
//!  (copy)   the caller's                                         an access faults
//!  end      each entry becomes a leaf of the new frame           the new frame; absent entries are not cached: no flush
//!  or undo  each entry becomes the leaf that it was              the old frame, unchanged
//! ```
//!
//! Invariants: the flush lies between `begin` and the copy, so that no byte is written to the old frame after it is
//! copied, and no CPU reads the old frame while another one writes the new one. A split changes the size and not the
//! frames, the migration entry comes between it and the new frame: no CPU caches two translations of one address that
//! differ (SDM vol. 3 section 4.10.2.3). The caller provides the tables for splits; when they run out, leaves that are
//! split stay split, and no page maps a new frame yet.
//!
//! Neighbours: `vmalloc::batch` uses it; `replace_singles` does the same for pages of 4 KiB; `handover` moves tables.

use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::machine::Machine;
use crate::page_table::entry::{Entry, EntryKind, Level, VaRange};
use crate::page_table::walk::{entry_addr, load_entry};
use crate::page_table::{FlushBatch, FrameSource, Lifetime, PageTables, Rights};

/// The reason why no leaf was changed. Every address still maps its old frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceError {
    /// A page of the range is not mapped, or not to the frame that it should.
    NotMapped {
        /// The page's address.
        at: VirtAddr,
    },
    /// No frame was left for the table of a split leaf.
    OutOfFrames {
        /// The first address that both the range and the leaf cover.
        at: VirtAddr,
    },
}

/// Pages that migrate: `pages` pages at `at`, from the frames at `old` to those at `new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageMove {
    pub(crate) at: VirtAddr,
    pub(crate) old: Pfn,
    pub(crate) new: Pfn,
    pub(crate) pages: u64,
}

impl PageMove {
    /// The range, with the new frames.
    fn range(&self) -> VaRange {
        VaRange { virt: self.at, phys: self.new.start(), pages: self.pages }
    }

    /// Where the page at `at` is before it migrates.
    fn old_phys(&self, at: VirtAddr) -> PhysAddr {
        PhysAddr(self.old.start().0 + (at.0 - self.at.0))
    }
}

/// What splitting a leaf needs and tells.
pub(crate) struct NewTables<'a> {
    /// Frames for the tables.
    pub(crate) frames: &'a mut dyn FrameSource,
    /// Gets address, level and frame of each new table.
    pub(crate) report: &'a mut dyn FnMut(VirtAddr, Level, Pfn),
    /// Collects the leaves that were split.
    pub(crate) flush: &'a mut FlushBatch,
}

impl PageTables {
    /// Prepares [`PageTables::begin_migration`]: splits the leaves that cross the borders of the move, those that are
    /// not congruent with the new frames, and those of 1 GiB. Every address still maps its old frame.
    ///
    /// # Errors
    /// See [`ReplaceError`]. Leaves that were split stay split.
    pub(crate) fn split<M: Machine>(
        &mut self,
        machine: &M,
        pages: &PageMove,
        new_tables: &mut NewTables<'_>,
    ) -> Result<(), ReplaceError> {
        self.split_below(machine, self.root, Level::Pml4, pages.range(), new_tables)
    }

    /// Makes the leaves of `pages` migration entries. After `flush` has run, no CPU reads or writes the pages.
    ///
    /// # Errors
    /// [`ReplaceError::NotMapped`] when a page does not map its old frame or a leaf does not fit: see
    /// [`PageTables::split`]. Nothing has changed then.
    pub(crate) fn begin_migration<M: Machine>(
        &mut self,
        machine: &M,
        pages: &PageMove,
        flush: &mut FlushBatch,
    ) -> Result<(), ReplaceError> {
        check_fits(machine, self.root, Level::Pml4, pages.range(), pages)?;
        change_leaves(machine, self.root, Level::Pml4, pages.range(), &mut |part, leaf| {
            flush.page(part.virt);
            leaf.made_migrating()
        });
        Ok(())
    }

    /// Makes the migration entries of `pages` leaves of the new frames, of the same sizes and with the same rights.
    pub(crate) fn end_migration<M: Machine>(&mut self, machine: &M, pages: &PageMove) {
        change_leaves(machine, self.root, Level::Pml4, pages.range(), &mut |part, leaf| {
            leaf.moved_to(part.phys)
        });
    }

    /// Makes the migration entries of `pages` the leaves that they were, and leaves present ones alone.
    pub(crate) fn undo_migration<M: Machine>(&mut self, machine: &M, pages: &PageMove) {
        change_leaves(machine, self.root, Level::Pml4, pages.range(), &mut |_, leaf| leaf.made_present());
    }

    fn split_below<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        range: VaRange,
        new_tables: &mut NewTables<'_>,
    ) -> Result<(), ReplaceError> {
        let Some(below) = level.below() else { return Ok(()) };
        for part in range.entries(level) {
            let entry = load_entry(machine, table, level, part.virt);
            let next = match entry.kind(level) {
                EntryKind::Absent | EntryKind::Migrating(_) => {
                    return Err(ReplaceError::NotMapped { at: part.virt });
                }
                EntryKind::Leaf(_) if leaf_fits(part, level) => continue,
                EntryKind::Leaf(_) => self.split_leaf(machine, table, level, part.virt, new_tables)?,
                EntryKind::Table(next) => next,
            };
            self.split_below(machine, next, below, part, new_tables)?;
        }
        Ok(())
    }

    /// Replaces the leaf of `level` that covers `at` by a table of smaller leaves that map the same frames.
    pub(super) fn split_leaf<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        at: VirtAddr,
        new_tables: &mut NewTables<'_>,
    ) -> Result<Pfn, ReplaceError> {
        let old = load_entry(machine, table, level, at);
        let sizes =
            level.leaf().zip(level.below()).and_then(|(size, below)| Some((size, below, below.leaf()?)));
        let (size, below, smaller) = sizes.ok_or(ReplaceError::NotMapped { at })?;
        let new = new_tables.frames.alloc_frame().ok_or(ReplaceError::OutOfFrames { at })?;
        let view = self.map_unlinked(machine, new, below);
        let phys = old.leaf_phys(size);
        let (rights, caching) = (old.rights().unwrap_or(Rights::Data), old.caching());
        for index in 0..size.bytes() / smaller.bytes() {
            let to = PhysAddr(phys.0 + index * smaller.bytes());
            machine.store(view.offset(index * 8), Entry::leaf(to, smaller, rights, caching).0);
        }
        machine.store(entry_addr(table, level, at), Entry::table(new, Lifetime::UntilEmpty).0);
        new_tables.flush.page(at);
        self.clear_slots(machine);
        (new_tables.report)(VirtAddr(at.0 & !(size.bytes() - 1)), below, new);
        Ok(new)
    }
}

/// Returns whether a leaf of `level` can migrate to the frames of `part`. None of 1 GiB does: other CPUs would wait for
/// the copy of a whole GiB.
fn leaf_fits(part: VaRange, level: Level) -> bool {
    level < Level::Pdpt
        && part.is_whole_entry(level)
        && part.phys.0.is_multiple_of(level.entry_pages() * PAGE_SIZE)
}

fn check_fits<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    range: VaRange,
    pages: &PageMove,
) -> Result<(), ReplaceError> {
    for part in range.entries(level) {
        let entry = load_entry(machine, table, level, part.virt);
        match (entry.kind(level), level.below()) {
            (EntryKind::Leaf(size), _)
                if leaf_fits(part, level) && entry.leaf_phys(size) == pages.old_phys(part.virt) => {}
            (EntryKind::Table(next), Some(below)) => check_fits(machine, next, below, part, pages)?,
            _ => return Err(ReplaceError::NotMapped { at: part.virt }),
        }
    }
    Ok(())
}

/// Replaces each leaf and each migration entry of `range` by what `change` makes of it.
fn change_leaves<M: Machine>(
    machine: &M,
    table: Pfn,
    level: Level,
    range: VaRange,
    change: &mut dyn FnMut(VaRange, Entry) -> Entry,
) {
    for part in range.entries(level) {
        let entry = load_entry(machine, table, level, part.virt);
        match (entry.kind(level), level.below()) {
            (EntryKind::Leaf(_) | EntryKind::Migrating(_), _) => {
                machine.store(entry_addr(table, level, part.virt), change(part, entry).0);
            }
            (EntryKind::Table(next), Some(below)) => change_leaves(machine, next, below, part, change),
            (EntryKind::Absent, _) | (_, None) => {}
        }
    }
}
