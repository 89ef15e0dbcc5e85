//! The services that the vmalloc arena needs from the memory core, and their implementation by [`Memory`].
//!
//! Neighbours: `allocate` does the work; the arena's tests bring a simple provider of their own.

use core::sync::atomic::Ordering;

use crate::addr::{Block, NodeId, Order, Pfn, PfnRange, VirtAddr};
use crate::descriptor::Mobility;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{FrameSource, Level, PageTables};
use crate::rmap::RmapEntry;

/// A source of frames and page tables for the arena.
pub trait FrameProvider {
    /// The machine through which memory is accessed.
    type Machine: Machine;

    /// Returns the machine.
    fn machine(&self) -> &Self::Machine;

    /// Runs `work` on the page tables, under their lock; `None` before they exist. `work` may call
    /// [`FrameProvider::free_table`] and [`FrameProvider::set_table_owner`], and no other method of the provider.
    fn with_tables<T>(&self, work: impl FnOnce(&mut PageTables, &Self::Machine) -> T) -> Option<T>;

    /// Allocates a block of order `most` or, when none is free, of the next lower one that is.
    fn alloc_block(&self, most: Order, node: Option<NodeId>, mobility: Mobility) -> Option<Block>;

    /// Allocates a contiguous run, made of blocks of which the first is at the run's start.
    fn alloc_run(&self, pages: u64, node: Option<NodeId>, mobility: Mobility) -> Option<PfnRange>;

    /// Returns the allocated block with the head frame `head`.
    fn block_at(&self, head: Pfn) -> Option<Block>;

    /// Sets the rmap of the blocks of `run`, which the caller owns: they are mapped from `at` on. Several blocks, also
    /// where there was one, if its memory is being isolated: that splits it at any time.
    fn set_owner(&self, run: PfnRange, at: VirtAddr);

    /// Splits the block that crosses `border`, if any, until one starts there. The caller owns it.
    fn split_at(&self, border: Pfn);

    /// Frees the blocks of `run`, which the caller owns.
    fn free_owned(&self, run: PfnRange);

    /// Allocates a frame for a page table.
    fn alloc_table(&self) -> Option<Pfn>;

    /// Sets the rmap of a frame of [`FrameProvider::alloc_table`]: it is the table of `level` for `at`.
    fn set_table_owner(&self, frame: Pfn, at: VirtAddr, level: Level);

    /// Frees a frame of [`FrameProvider::alloc_table`].
    fn free_table(&self, frame: Pfn);

    /// Counts the free frames that an allocation of `kind` may use, on one node or on all.
    fn free_pages(&self, node: Option<NodeId>, mobility: Mobility) -> u64;
}

impl<M: Machine> FrameProvider for Memory<M> {
    type Machine = M;

    fn machine(&self) -> &M {
        &self.machine
    }

    fn with_tables<T>(&self, work: impl FnOnce(&mut PageTables, &M) -> T) -> Option<T> {
        Memory::with_tables(self, work)
    }

    fn alloc_block(&self, most: Order, node: Option<NodeId>, mobility: Mobility) -> Option<Block> {
        self.allocate_up_to(most, node, mobility)
    }

    fn alloc_run(&self, pages: u64, node: Option<NodeId>, mobility: Mobility) -> Option<PfnRange> {
        self.allocate_run(pages, node, mobility)
    }

    fn block_at(&self, head: Pfn) -> Option<Block> {
        Memory::block_at(self, head)
    }

    fn set_owner(&self, run: PfnRange, at: VirtAddr) {
        let set = self.set_run_mapping(run, at);
        debug_assert!(set.is_ok(), "{run} consists of blocks that the caller owns");
    }

    fn split_at(&self, border: Pfn) {
        if let Some(entry) = self.entry_of(border) {
            self.with_region(entry, |_, buddy| buddy.split_at(border, RmapEntry::after));
        }
    }

    fn free_owned(&self, run: PfnRange) {
        let freed = self.free_run(run);
        debug_assert!(freed.is_ok(), "{run} consists of blocks that the caller owns");
    }

    fn alloc_table(&self) -> Option<Pfn> {
        let block = self.allocate_reserve()?;
        self.page_tables.fetch_add(1, Ordering::Relaxed);
        Some(block.head)
    }

    fn set_table_owner(&self, frame: Pfn, at: VirtAddr, level: Level) {
        // The frame may be gone by a surprise removal.
        let _ = self.set_rmap(frame, RmapEntry::Table(at, level));
    }

    fn free_table(&self, frame: Pfn) {
        // A surprise removal may have taken a reserved frame.
        if self.resource_of(frame).is_some() {
            self.page_tables.fetch_sub(1, Ordering::Relaxed);
            self.free_owned(PfnRange::of(frame, 1));
        }
    }

    fn free_pages(&self, node: Option<NodeId>, mobility: Mobility) -> u64 {
        let free = self.free_in(node);
        match mobility {
            Mobility::Movable => free,
            Mobility::Pinned => free.saturating_sub(self.nodes.movable_only(&self.slots, node)),
        }
    }
}

/// A [`FrameSource`] that frees emptied tables to a provider and provides no frames.
pub(super) struct TableSink<'a, P>(pub(super) &'a P);

impl<P: FrameProvider> FrameSource for TableSink<'_, P> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        None
    }

    fn free_frame(&mut self, frame: Pfn) {
        self.0.free_table(frame);
    }
}
