//! Replacing leaves: mapped pages map other frames, which hold a copy of their contents.
//!
//! ```text
//!  2 MiB leaf, migrated as a whole   one store
//!  2 MiB leaf, migrated in part      a PT of 512 leaves that map the same frames, complete before one store
//!                                    replaces the large leaf by a link to it; then one store per migrated page
//! ```
//!
//! Invariants: at every moment each address maps either its old or its new frame; the flush comes after the last store
//! and before the caller may reuse the old frames. The caller provides the tables for splits; when they run out,
//! leaves that are split stay split, and no page maps a new frame yet.
//!
//! Neighbours: `vmalloc::migrate` uses it; `handover` moves tables.

use arrayvec::ArrayVec;

use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::machine::Machine;
use crate::page_table::entry::{Entry, EntryKind, Level, VaRange};
use crate::page_table::walk::{entry_addr, load_entry};
use crate::page_table::{FrameSource, Lifetime, PageTables, Rights};

/// The most leaves that are flushed one by one.
const SINGLE_FLUSHES: usize = 32;

/// The reason why no leaf was replaced. Every address still maps its old frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceError {
    /// A page of the range is not mapped.
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

impl PageTables {
    /// Prepares [`PageTables::replace`]: splits the leaves that cross the borders of the `pages` pages at `virt`, and
    /// those inside that are not congruent with `phys`. Every address still maps its old frame. Reports address, level
    /// and frame of each new table to `on_new_table`.
    ///
    /// # Errors
    /// See [`ReplaceError`]. LeafRun that were split stay split.
    pub(crate) fn split<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        phys: PhysAddr,
        pages: u64,
        frames: &mut dyn FrameSource,
        on_new_table: &mut dyn FnMut(VirtAddr, Level, Pfn),
    ) -> Result<(), ReplaceError> {
        let range = VaRange { virt, phys, pages };
        self.split_below(machine, self.root, Level::Pml4, range, frames, on_new_table)
    }

    /// Remaps the `pages` pages at `virt` to the frames at `phys`, keeping the leaves' sizes and rights, and
    /// flushes.
    ///
    /// # Errors
    /// [`ReplaceError::NotMapped`] when a page is not mapped or a leaf does not fit: see
    /// [`PageTables::split`]. Nothing has changed then.
    pub(crate) fn replace<M: Machine>(
        &mut self,
        machine: &M,
        virt: VirtAddr,
        phys: PhysAddr,
        pages: u64,
    ) -> Result<(), ReplaceError> {
        let range = VaRange { virt, phys, pages };
        check_fits(machine, self.root, Level::Pml4, range)?;
        let leaves = replace_below(machine, self.root, Level::Pml4, range);
        if leaves > SINGLE_FLUSHES as u64 {
            machine.flush_all();
            return Ok(());
        }
        let mut replaced = ArrayVec::<VirtAddr, SINGLE_FLUSHES>::new();
        self.for_each_leaf(machine, virt, pages, &mut |leaf| {
            let _ = replaced.try_push(leaf.virt);
        });
        machine.flush(&replaced);
        Ok(())
    }

    fn split_below<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        range: VaRange,
        frames: &mut dyn FrameSource,
        on_new_table: &mut dyn FnMut(VirtAddr, Level, Pfn),
    ) -> Result<(), ReplaceError> {
        let Some(below) = level.below() else { return Ok(()) };
        for part in range.entries(level) {
            let entry = load_entry(machine, table, level, part.virt);
            let next = match entry.kind(level) {
                EntryKind::Absent => return Err(ReplaceError::NotMapped { at: part.virt }),
                EntryKind::Leaf(_) if leaf_fits(part, level) => continue,
                EntryKind::Leaf(_) => {
                    self.split_leaf(machine, table, level, part.virt, frames, on_new_table)?
                }
                EntryKind::Table(next) => next,
            };
            self.split_below(machine, next, below, part, frames, on_new_table)?;
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
        frames: &mut dyn FrameSource,
        on_new_table: &mut dyn FnMut(VirtAddr, Level, Pfn),
    ) -> Result<Pfn, ReplaceError> {
        let old = load_entry(machine, table, level, at);
        let sizes =
            level.leaf().zip(level.below()).and_then(|(size, below)| Some((size, below, below.leaf()?)));
        let (size, below, smaller) = sizes.ok_or(ReplaceError::NotMapped { at })?;
        let new = frames.alloc_frame().ok_or(ReplaceError::OutOfFrames { at })?;
        let view = self.map_unlinked(machine, new, below);
        let phys = old.leaf_phys(size);
        let (rights, caching) = (old.rights().unwrap_or(Rights::Data), old.caching());
        for index in 0..size.bytes() / smaller.bytes() {
            let to = PhysAddr(phys.0 + index * smaller.bytes());
            machine.store(view.offset(index * 8), Entry::leaf(to, smaller, rights, caching).0);
        }
        machine.store(entry_addr(table, level, at), Entry::table(new, Lifetime::UntilEmpty).0);
        machine.flush(&[at]);
        self.clear_slots(machine);
        on_new_table(VirtAddr(at.0 & !(size.bytes() - 1)), below, new);
        Ok(new)
    }
}

/// Returns whether a leaf of `level` can map `part` to its physical address.
fn leaf_fits(part: VaRange, level: Level) -> bool {
    part.is_whole_entry(level) && part.phys.0.is_multiple_of(level.entry_pages() * PAGE_SIZE)
}

fn check_fits<M: Machine>(machine: &M, table: Pfn, level: Level, range: VaRange) -> Result<(), ReplaceError> {
    for part in range.entries(level) {
        match (load_entry(machine, table, level, part.virt).kind(level), level.below()) {
            (EntryKind::Leaf(_), _) if leaf_fits(part, level) => {}
            (EntryKind::Table(next), Some(below)) => check_fits(machine, next, below, part)?,
            _ => return Err(ReplaceError::NotMapped { at: part.virt }),
        }
    }
    Ok(())
}

/// Returns the number of leaves that it replaced.
fn replace_below<M: Machine>(machine: &M, table: Pfn, level: Level, range: VaRange) -> u64 {
    let mut leaves = 0;
    for part in range.entries(level) {
        let entry = load_entry(machine, table, level, part.virt);
        match (entry.kind(level), level.below()) {
            (EntryKind::Leaf(size), _) => {
                let new =
                    Entry::leaf(part.phys, size, entry.rights().unwrap_or(Rights::Data), entry.caching());
                machine.store(entry_addr(table, level, part.virt), new.0);
                leaves += 1;
            }
            (EntryKind::Table(next), Some(below)) => leaves += replace_below(machine, next, below, part),
            (EntryKind::Absent, _) | (_, None) => {}
        }
    }
    leaves
}
