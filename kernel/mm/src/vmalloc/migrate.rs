//! Adding a block or a page table of a live allocation, in isolated memory, to a batch that migrates it. Corresponds to
//! Linux `mm/migrate.c`.
//!
//! ```text
//!  block in isolated memory     1 allocate a block elsewhere, of the same order or a lower one (then split this one)
//!       |                       2 split leaves that are not congruent with the new block
//!       |  virt -> old          3 copy, and change the leaves, with the rest of the batch (`batch`)
//!       v  virt -> new          4 free the old one: into isolated memory, so it cannot be allocated
//!  block elsewhere
//! ```
//!
//! Invariants:
//! * All allocations happen before step 3, so that an error leaves the mapping unchanged.
//! * The rmap of the new block is set before the old block is freed.
//!
//! The mapped blocks of a growing allocation migrate as well; an allocation that is being freed is waited for.
//!
//! Neighbours: `hot_remove` finds the blocks and decides the order, `migrate_contiguous` migrates contiguous
//! allocations.

use arrayvec::ArrayVec;

use crate::addr::{Block, Order, PAGE_SIZE, Pfn, VirtAddr};
use crate::descriptor::Mobility;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{
    FlushBatch, FrameSource, LastTable, LeafSize, Level, NewTables, PageMove, ReplaceError, SingleMove,
};
use crate::vmalloc::batch::{Batch, Part};
use crate::vmalloc::migrate_error::MigrateError;
use crate::vmalloc::{AllocationId, AllocationState, Area, AreaTree, FrameProvider, Shape, VmallocArena};

/// The order of a block mapped by one 2 MiB leaf.
const LARGE: Order = Order(9);

/// The most single frames that are surveyed, or added to a batch, together: each lock is taken once for all of them.
pub(crate) const SINGLES: usize = 64;

/// A single frame in use, and the address at which its descriptor says that it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Single {
    pub(crate) head: Pfn,
    pub(crate) at: VirtAddr,
}

/// Single frames that are looked at together.
pub(crate) type Singles = ArrayVec<Single, SINGLES>;

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

/// The result of adding a block to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planned {
    /// This many frames, from the head, migrate with the batch.
    Pages(u64),
    /// None: no free block is large enough.
    NoBlock,
    /// None: the allocation is busy.
    Busy(AllocationId),
    /// None: no allocation maps the block at this address.
    Unknown,
}

/// The sizes of the target blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// At least 2 MiB, so that 2 MiB leaves stay whole.
    Large,
    /// Any size.
    Any,
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

    /// Returns how many of `singles`, from the first, scattered allocations map by leaves of 4 KiB.
    pub(crate) fn count_scattered<M: Machine>(&self, memory: &Memory<M>, singles: &[Single]) -> usize {
        count_scattered(memory, &mut self.areas.lock(), singles)
    }

    /// Returns the growing allocation that holds `frame` in its table reserve.
    pub(crate) fn reserved_by(&self, frame: Pfn) -> Option<AllocationId> {
        let areas = self.areas.lock();
        let area = areas.list.iter().find(|area| area.pending.reserve.contains(&frame))?;
        Some(area.allocation.id)
    }
}

impl<M: Machine> Batch<'_, M> {
    /// Adds the movable `block`, mapped at `at`, or its first 2 MiB.
    ///
    /// # Errors
    /// When frames for tables run out, or the page tables contradict the rmap; the block stays in place then.
    pub(crate) fn add_block(
        &mut self,
        block: Block,
        at: VirtAddr,
        sizes: Sizes,
    ) -> Result<Planned, MigrateError> {
        let memory = self.memory;
        let mut areas = self.arena.areas.lock();
        let Some(area) = areas.holding(at) else { return Ok(Planned::Unknown) };
        match mapping_of(memory, area, block, at) {
            MappedBy::Scattered(size) if sizes == Sizes::Any || size > LeafSize::K4 => {}
            MappedBy::Scattered(_) => return Ok(Planned::NoBlock),
            MappedBy::Contiguous => return Ok(Planned::Busy(area.allocation.id)),
            MappedBy::Busy(id) => return Ok(Planned::Busy(id)),
            MappedBy::Unknown => return Ok(Planned::Unknown),
        }
        let wanted = LARGE.min(block.order);
        let Some(new) = alloc_target(memory, block, wanted, sizes) else { return Ok(Planned::NoBlock) };
        if new.order < block.order {
            memory.split_allocated(block.head, new.order);
        }
        memory.set_owner(new.range(), at);
        let pages = PageMove { at, old: block.head, new: new.head, pages: new.order.pages() };
        if let Err(error) = split_leaves(memory, &pages, &mut self.flush) {
            memory.free_owned(new.range());
            return Err(error);
        }
        self.push(&mut areas, pages, Part::Block);
        Ok(Planned::Pages(pages.pages))
    }

    /// Adds single frames, and returns how many of them, from the first: those that [`VmallocArena::count_scattered`]
    /// counts and that get a target. [`Batch::add_block`] tells about the next one.
    pub(crate) fn add_singles(&mut self, singles: &[Single]) -> usize {
        let memory = self.memory;
        let mut areas = self.arena.areas.lock();
        let wanted = count_scattered(memory, &mut areas, singles).min(self.space() as usize);
        let Some(first) = singles.first().filter(|_| wanted > 0) else { return 0 };
        let (old_count, mut left) = (self.moves.singles.len(), singles.iter());
        let added = memory.allocate_singles(wanted, memory.node_of(first.head), |new| {
            let Single { head, at } = *left.next().unwrap_or(first);
            self.moves.singles.push(SingleMove::new(at, head, new));
            at
        });
        self.count_singles(&mut areas, old_count);
        added
    }

    /// Adds the page table in `frame`, the table of `level` for `at`. Returns whether it is that table.
    ///
    /// # Errors
    /// When no frame is free.
    pub(crate) fn add_table(&mut self, frame: Pfn, at: VirtAddr, level: Level) -> Result<bool, MigrateError> {
        let memory = self.memory;
        let linked =
            memory.with_tables(|tables, machine| tables.removable_table(machine, at, level)).flatten();
        if linked != Some(frame) {
            return Ok(false);
        }
        let new = memory.alloc_table().ok_or_else(|| no_tables(memory))?;
        memory.set_table_owner(new, at, level);
        self.push_table(PageMove { at, old: frame, new, pages: 1 }, level);
        Ok(true)
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

/// See [`VmallocArena::count_scattered`].
fn count_scattered<M: Machine>(memory: &Memory<M>, areas: &mut AreaTree, singles: &[Single]) -> usize {
    let mut addresses = VirtAddr(0)..VirtAddr(0);
    let mut last = LastTable::default();
    let counted = memory.with_tables(|tables, machine| {
        let is_scattered = |single: &&Single| {
            if !addresses.contains(&single.at) {
                let Some(area) = areas.holding(single.at).filter(|area| area.is_scattered()) else {
                    return false;
                };
                addresses = area.allocation.start..area.page(area.reserved);
            }
            // A page that is not mapped yet, or no longer, has no leaf: both change under the areas' lock.
            tables.maps_single(machine, single.at, single.head, &mut last)
        };
        singles.iter().take_while(is_scattered).count()
    });
    counted.unwrap_or(0)
}

impl Area {
    /// Whether its blocks may migrate one by one now.
    fn is_scattered(&self) -> bool {
        self.shape != Shape::Contiguous && self.allocation.state != AllocationState::Freeing
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
