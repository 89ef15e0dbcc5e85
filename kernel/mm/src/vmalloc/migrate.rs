//! Moving what an allocation has elsewhere, while it is in use: a block, or a page table of the window.
//!
//! ```text
//!  block in leaving memory      1 take a block elsewhere, of the same order or a lower one (then split this one)
//!       |                       2 split leaves that the new place cannot have
//!       |  virt -> old          3 copy
//!       v  virt -> new          4 change the leaves, flush
//!  block elsewhere              5 free the old one: into leaving memory, so nobody gets it
//! ```
//!
//! Invariants: under the window's lock nobody fills, verifies, grows or frees, so nothing is written between the
//! copy and the flush; what cannot be had is found out before step 3, so that an error leaves the mapping leading
//! where it led; the new block knows its address before the old one is free. Blocks of allocations that are being
//! made move too, as far as they are mapped; those of allocations that go are waited for.
//!
//! Neighbours: `remove` finds the blocks and decides in which order, `runs` moves contiguous allocations.

use crate::addr::{Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::address_space::direct;
use crate::descriptor::Kind;
use crate::hot_remove::RemoveError;
use crate::machine::Machine;
use crate::memory::{Block, Memory};
use crate::page_table::{FrameSource, LeafSize, Level, PageTables, ReplaceError};
use crate::vmalloc::{AllocationId, AllocationState, Area, FrameProvider, Shape, VmallocArena};

/// The order of a block that a leaf of 2 MiB maps.
const LARGE: Order = Order(9);

/// Who has a movable block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// An allocation that may lie anywhere, which maps the block by leaves of this size.
    Scattered(LeafSize),
    /// One that moves as a whole.
    Contiguous,
    /// One that is being made or freed: it has to be waited for.
    Busy(AllocationId),
    /// No allocation of this window.
    Nobody,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many frames of it, from its head on, are elsewhere; their place is free.
    Pages(u64),
    /// Nothing: no block is large enough.
    NoBlock,
    /// Nothing: it has to be waited for.
    Busy(AllocationId),
}

/// Which blocks are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// Of 2 MiB at least, so that leaves of 2 MiB stay leaves.
    Large,
    /// Any.
    Any,
}

/// Frames for the tables that leaves fall apart into.
pub(super) struct Tables<'a, M>(pub(super) &'a Memory<M>);

impl<M: Machine> FrameSource for Tables<'_, M> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        self.0.alloc_table()
    }

    fn free_frame(&mut self, frame: Pfn) {
        self.0.free_table(frame);
    }
}

impl VmallocArena {
    /// Who has the block that is mapped at `at`.
    pub(crate) fn holder<M: Machine>(&self, memory: &Memory<M>, block: Block, at: VirtAddr) -> Held {
        let mut areas = self.areas.lock();
        match areas.holding(at) {
            Some(place) => held(memory, place, block, at),
            None => Held::Nobody,
        }
    }

    /// The allocation being made that has `frame` in reserve for a page table.
    pub(crate) fn reserving(&self, frame: Pfn) -> Option<AllocationId> {
        let areas = self.areas.lock();
        let place = areas.list.iter().find(|place| place.pending.reserve.contains(&frame))?;
        Some(place.allocation.id)
    }

    /// Moves (the first part of) the movable `block`, mapped at `at`, elsewhere: at most about `most` frames.
    ///
    /// # Errors
    /// When there is no room, or the page tables do not hold the block; it is where it was then.
    pub(crate) fn migrate<M: Machine>(
        &self,
        memory: &Memory<M>,
        block: Block,
        at: VirtAddr,
        most: u64,
        sizes: Sizes,
    ) -> Result<Moved, RemoveError> {
        let mut areas = self.areas.lock();
        let place = areas.holding(at).ok_or(RemoveError::Corrupt { at })?;
        match held(memory, place, block, at) {
            Held::Scattered(size) if sizes == Sizes::Any || size > LeafSize::K4 => {}
            Held::Scattered(_) => return Ok(Moved::NoBlock),
            Held::Contiguous => return Ok(Moved::Busy(place.allocation.id)),
            Held::Busy(id) => return Ok(Moved::Busy(id)),
            Held::Nobody => return Err(RemoveError::Corrupt { at }),
        }
        let wanted = Order(most.max(1).ilog2() as u8).max(LARGE).min(block.order);
        let Some(new) = take(memory, block, wanted, sizes) else { return Ok(Moved::NoBlock) };
        let pages = new.order.pages();
        memory.split_allocated(block.head, new.order);
        memory.set_owner(new.head, at);
        let moved = remap(memory, at, block.head, new.head, pages);
        memory.free_owned(if moved.is_ok() { block.head } else { new.head });
        moved.map(|()| Moved::Pages(pages))
    }

    /// Moves the page table in `frame`, which is the one of `level` for `at`, elsewhere.
    ///
    /// # Errors
    /// When there is no frame, or `frame` is no such table.
    pub(crate) fn migrate_table<M: Machine>(
        &self,
        memory: &Memory<M>,
        frame: Pfn,
        at: VirtAddr,
        level: Level,
    ) -> Result<(), RemoveError> {
        // Nobody edits the window's tables meanwhile.
        let _places = self.areas.lock();
        let linked = memory.with_tables(|tables, machine| tables.table_of(machine, at, level)).flatten();
        if linked != Some(frame) {
            return Err(RemoveError::Corrupt { at });
        }
        let Some(new) = memory.alloc_table() else { return Err(memory.no_table_room(1)) };
        memory.set_table_owner(new, at, level);
        memory.with_tables(|tables, machine| tables.hand_over(machine, at, level, new));
        memory.free_table(frame);
        Ok(())
    }
}

fn held<M: Machine>(memory: &Memory<M>, place: &Area, block: Block, at: VirtAddr) -> Held {
    let first = (at.0 - place.allocation.start.0) / PAGE_SIZE;
    let mapped = place.allocation.pages.saturating_sub(first) >= block.order.pages();
    let state = place.allocation.state;
    if place.shape == Shape::Contiguous && state == AllocationState::Ready {
        return Held::Contiguous;
    }
    if place.shape == Shape::Contiguous || state == AllocationState::Freeing || !mapped {
        return Held::Busy(place.allocation.id);
    }
    let found = memory.with_tables(|tables, machine| tables.translate(machine, at)).flatten();
    match found {
        Some(found) if found.phys == block.head.start() => Held::Scattered(found.size),
        _ => Held::Nobody,
    }
}

/// A block for what is at `old`, of its node if there is one, else of any.
fn take<M: Machine>(memory: &Memory<M>, old: Block, wanted: Order, sizes: Sizes) -> Option<Block> {
    let node = memory.node_of(old.head);
    if sizes == Sizes::Large {
        let orders = (LARGE.0..=wanted.0).rev().map(Order);
        let try_order = |order| {
            let near = memory.allocate_block(order, node, Kind::Movable);
            near.or_else(|| memory.allocate_block(order, None, Kind::Movable))
        };
        return orders.into_iter().find_map(try_order);
    }
    let near = memory.allocate_up_to(wanted, node, Kind::Movable);
    near.or_else(|| memory.allocate_up_to(wanted, None, Kind::Movable))
}

/// Lets `pages` pages at `at`, which lead to `old` on, lead to a copy at `new` on.
pub(super) fn remap<M: Machine>(
    memory: &Memory<M>,
    at: VirtAddr,
    old: Pfn,
    new: Pfn,
    pages: u64,
) -> Result<(), RemoveError> {
    let corrupt = RemoveError::Corrupt { at };
    split_leaves(memory, at, new.start(), pages)?;
    memory.machine().copy_pages(direct(old.start()), direct(new.start()), pages);
    let replace = |tables: &mut PageTables, machine: &M| tables.replace(machine, at, new.start(), pages);
    memory.with_tables(replace).and_then(Result::ok).ok_or(corrupt)
}

/// Splits leaves that cannot be what they are at `phys`.
pub(super) fn split_leaves<M: Machine>(
    memory: &Memory<M>,
    at: VirtAddr,
    phys: PhysAddr,
    pages: u64,
) -> Result<(), RemoveError> {
    let mut note = |at, level, frame| memory.set_table_owner(frame, at, level);
    let split = memory.with_tables(|tables, machine| {
        tables.split(machine, at, phys, pages, &mut Tables(memory), &mut note)
    });
    match split {
        Some(Ok(())) => Ok(()),
        Some(Err(ReplaceError::OutOfFrames { .. })) => Err(memory.no_table_room(1)),
        Some(Err(ReplaceError::NotMapped { at })) => Err(RemoveError::Corrupt { at }),
        None => Err(RemoveError::NotStarted),
    }
}
