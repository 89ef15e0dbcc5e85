//! Migrating a block or a page table of a live allocation out of isolated memory. Corresponds to Linux
//! `mm/migrate.c`.
//!
//! ```text
//!  block in isolated memory     1 allocate a block elsewhere, of the same order or a lower one (then split this one)
//!       |                       2 split leaves that are not congruent with the new block
//!       |  virt -> old          3 copy
//!       v  virt -> new          4 replace the leaves, flush
//!  block elsewhere              5 free the old one: into isolated memory, so it cannot be allocated
//! ```
//!
//! Invariants:
//! * The arena's lock excludes fill, verify, grow and free, so nothing is written between the copy and the flush.
//! * All allocations happen before step 3, so that an error leaves the mapping unchanged.
//! * The rmap of the new block is set before the old block is freed.
//!
//! The mapped blocks of a growing allocation migrate as well; an allocation that is being freed is waited for.
//!
//! Neighbours: `hot_remove` finds the blocks and decides the order, `migrate_contiguous` migrates contiguous
//! allocations.

use core::fmt;

use crate::addr::{Block, Order, PAGE_SIZE, Pfn, VirtAddr};
use crate::address_space::direct;
use crate::descriptor::Mobility;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{
    FlushBatch, FrameSource, LeafSize, Level, NewTables, PageMove, PageTables, ReplaceError,
};
use crate::vmalloc::{AllocationId, AllocationState, Area, FrameProvider, Shape, VmallocArena};

/// The order of a block mapped by one 2 MiB leaf.
const LARGE: Order = Order(9);

/// The user of a movable block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MappedBy {
    /// A scattered allocation, which maps the block with leaves of this size.
    Scattered(LeafSize),
    /// A contiguous allocation, which migrates as a whole.
    Contiguous,
    /// An allocation that is growing or being freed: wait for it.
    Busy(AllocationId),
    /// No allocation of this arena.
    Unknown,
}

/// The result of migrating a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Migrated {
    /// This many frames, from the head, were migrated and freed.
    Pages(u64),
    /// None: no free block is large enough.
    NoBlock,
    /// None: the allocation is busy.
    Busy(AllocationId),
}

/// The sizes of the target blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// At least 2 MiB, so that 2 MiB leaves stay whole.
    Large,
    /// Any size.
    Any,
}

/// No free run fits a contiguous allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRun {
    /// The allocation.
    pub id: AllocationId,
    /// Its size in frames.
    pub pages: u64,
    /// The longest run of free frames elsewhere.
    pub longest: u64,
}

impl fmt::Display for NoRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoRun { id, pages, longest } = self;
        write!(
            f,
            "allocation {id} needs a run of {pages} frames, but the longest free run elsewhere has {longest}"
        )
    }
}

/// An error of a migration. The block or allocation stays where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MigrateError {
    /// The memory core owns no page tables yet.
    NotStarted,
    /// Too few free frames for page tables.
    NoTables {
        /// Frames needed.
        needed: u64,
        /// Frames available.
        free: u64,
    },
    /// No run is long enough for a contiguous allocation.
    NoRun(NoRun),
    /// The page tables contradict the descriptors.
    Corrupt {
        /// The mapping's address.
        at: VirtAddr,
    },
}

/// A [`FrameSource`] for the page tables that replace split leaves.
pub(super) struct SplitTables<'a, M>(pub(super) &'a Memory<M>);

impl<M: Machine> FrameSource for SplitTables<'_, M> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        self.0.alloc_table()
    }

    fn free_frame(&mut self, frame: Pfn) {
        self.0.free_table(frame);
    }
}

impl VmallocArena {
    /// Returns the user of the block mapped at `at`.
    pub(crate) fn mapped_by<M: Machine>(&self, memory: &Memory<M>, block: Block, at: VirtAddr) -> MappedBy {
        let mut areas = self.areas.lock();
        match areas.holding(at) {
            Some(area) => mapping_of(memory, area, block, at),
            None => MappedBy::Unknown,
        }
    }

    /// Returns the growing allocation that holds `frame` in its table reserve.
    pub(crate) fn reserved_by(&self, frame: Pfn) -> Option<AllocationId> {
        let areas = self.areas.lock();
        let area = areas.list.iter().find(|area| area.pending.reserve.contains(&frame))?;
        Some(area.allocation.id)
    }

    /// Migrates the movable `block`, mapped at `at`, or its first part: about `most` frames at most, but not less than
    /// 2 MiB of a large block.
    ///
    /// # Errors
    /// When frames for tables run out, or the page tables contradict the rmap; the block stays in place then.
    pub(crate) fn migrate<M: Machine>(
        &self,
        memory: &Memory<M>,
        block: Block,
        at: VirtAddr,
        most: u64,
        sizes: Sizes,
    ) -> Result<Migrated, MigrateError> {
        let mut areas = self.areas.lock();
        let area = areas.holding(at).ok_or(MigrateError::Corrupt { at })?;
        match mapping_of(memory, area, block, at) {
            MappedBy::Scattered(size) if sizes == Sizes::Any || size > LeafSize::K4 => {}
            MappedBy::Scattered(_) => return Ok(Migrated::NoBlock),
            MappedBy::Contiguous => return Ok(Migrated::Busy(area.allocation.id)),
            MappedBy::Busy(id) => return Ok(Migrated::Busy(id)),
            MappedBy::Unknown => return Err(MigrateError::Corrupt { at }),
        }
        let wanted = Order(most.max(1).ilog2() as u8).max(LARGE).min(block.order);
        let Some(new) = alloc_target(memory, block, wanted, sizes) else { return Ok(Migrated::NoBlock) };
        let pages = new.order.pages();
        memory.split_allocated(block.head, new.order);
        memory.set_owner(new.head, at);
        let moved = remap(memory, at, block.head, new.head, pages);
        memory.free_owned(if moved.is_ok() { block.head } else { new.head });
        moved.map(|()| Migrated::Pages(pages))
    }

    /// Migrates the page table in `frame`, the table of `level` for `at`.
    ///
    /// # Errors
    /// When no frame is free, or `frame` is not that table.
    pub(crate) fn migrate_table<M: Machine>(
        &self,
        memory: &Memory<M>,
        frame: Pfn,
        at: VirtAddr,
        level: Level,
    ) -> Result<(), MigrateError> {
        // Excludes other edits of the window's tables.
        let _areas = self.areas.lock();
        let linked =
            memory.with_tables(|tables, machine| tables.removable_table(machine, at, level)).flatten();
        if linked != Some(frame) {
            return Err(MigrateError::Corrupt { at });
        }
        let Some(new) = memory.alloc_table() else { return Err(no_tables(memory)) };
        memory.set_table_owner(new, at, level);
        memory.with_tables(|tables, machine| {
            let mut flush = FlushBatch::new();
            tables.hand_over(machine, at, level, new, &mut flush);
            flush.run(machine);
        });
        memory.free_table(frame);
        Ok(())
    }
}

/// The error of a page table that gets no frame.
fn no_tables<M: Machine>(memory: &Memory<M>) -> MigrateError {
    MigrateError::NoTables { needed: 1, free: memory.free_pages(None, Mobility::Pinned) }
}

/// Returns how `area` uses `block`, mapped at `at`.
fn mapping_of<M: Machine>(memory: &Memory<M>, area: &Area, block: Block, at: VirtAddr) -> MappedBy {
    let first = (at.0 - area.allocation.start.0) / PAGE_SIZE;
    let mapped = area.allocation.pages.saturating_sub(first) >= block.order.pages();
    let state = area.allocation.state;
    if area.shape == Shape::Contiguous && state == AllocationState::Ready {
        return MappedBy::Contiguous;
    }
    if area.shape == Shape::Contiguous || state == AllocationState::Freeing || !mapped {
        return MappedBy::Busy(area.allocation.id);
    }
    let found = memory.with_tables(|tables, machine| tables.translate(machine, at)).flatten();
    match found {
        Some(found) if found.phys == block.head.start() => MappedBy::Scattered(found.size),
        _ => MappedBy::Unknown,
    }
}

/// Allocates a target block for `old`, on the same node if possible.
fn alloc_target<M: Machine>(memory: &Memory<M>, old: Block, wanted: Order, sizes: Sizes) -> Option<Block> {
    let node = memory.node_of(old.head);
    if sizes == Sizes::Large {
        let orders = (LARGE.0..=wanted.0).rev().map(Order);
        let try_order = |order| {
            let near = memory.allocate_block(order, node, Mobility::Movable);
            near.or_else(|| memory.allocate_block(order, None, Mobility::Movable))
        };
        return orders.into_iter().find_map(try_order);
    }
    let near = memory.allocate_up_to(wanted, node, Mobility::Movable);
    near.or_else(|| memory.allocate_up_to(wanted, None, Mobility::Movable))
}

/// Copies `pages` frames from `old` to `new` and remaps the pages at `at` to the copy.
pub(super) fn remap<M: Machine>(
    memory: &Memory<M>,
    at: VirtAddr,
    old: Pfn,
    new: Pfn,
    pages: u64,
) -> Result<(), MigrateError> {
    let corrupt = MigrateError::Corrupt { at };
    let pages = PageMove { at, old, new, pages };
    let mut flush = FlushBatch::new();
    split_leaves(memory, &pages, &mut flush)?;
    let begin = |tables: &mut PageTables, machine: &M| tables.begin_migration(machine, &pages, &mut flush);
    memory.with_tables(begin).and_then(Result::ok).ok_or(corrupt)?;
    flush.run(memory.machine());
    memory.machine().copy_pages(direct(old.start()), direct(new.start()), pages.pages);
    memory.with_tables(|tables, machine| tables.end_migration(machine, &pages));
    Ok(())
}

/// Splits the leaves of `pages` that cannot map the new frames with their size.
pub(super) fn split_leaves<M: Machine>(
    memory: &Memory<M>,
    pages: &PageMove,
    flush: &mut FlushBatch,
) -> Result<(), MigrateError> {
    let report = &mut |at, level, frame| memory.set_table_owner(frame, at, level);
    let mut new_tables = NewTables { frames: &mut SplitTables(memory), report, flush };
    let split = memory.with_tables(|tables, machine| tables.split(machine, pages, &mut new_tables));
    match split {
        Some(Ok(())) => Ok(()),
        Some(Err(ReplaceError::OutOfFrames { .. })) => Err(no_tables(memory)),
        Some(Err(ReplaceError::NotMapped { at })) => Err(MigrateError::Corrupt { at }),
        None => Err(MigrateError::NotStarted),
    }
}
