//! What the window needs of the memory core, and the facade as the one that provides it.
//!
//! Neighbours: `allocate` does the work; the window's tests have a simple provider of their own.

use core::sync::atomic::Ordering;

use crate::addr::{NodeId, Order, Pfn, PfnRange, VirtAddr};
use crate::descriptor::{Kind, Page};
use crate::machine::Machine;
use crate::memory::{Block, Memory};
use crate::page_table::{FrameSource, Level, PageTables};
use crate::rmap::RmapEntry;

/// Where the window's frames, tables and page tables come from.
pub trait FrameProvider {
    /// The machine that memory is touched through.
    type Machine: Machine;

    /// The machine.
    fn machine(&self) -> &Self::Machine;

    /// Runs `work` on the page tables, under their lock; `None` while there are none. `work` may call
    /// [`FrameProvider::free_table`] and nothing else of the provider.
    fn with_tables<T>(&self, work: impl FnOnce(&mut PageTables, &Self::Machine) -> T) -> Option<T>;

    /// A block of order `most` or, where none is free, of a lower one.
    fn alloc_block(&self, most: Order, node: Option<NodeId>, kind: Kind) -> Option<Block>;

    /// A contiguous run made of allocated blocks, the first at its start.
    fn alloc_run(&self, pages: u64, node: Option<NodeId>, kind: Kind) -> Option<PfnRange>;

    /// The allocated block that `head` heads.
    fn block_at(&self, head: Pfn) -> Option<Block>;

    /// Notes where the block at `head` is mapped.
    fn set_owner(&self, head: Pfn, at: VirtAddr);

    /// Frees the allocated block at `head`.
    fn free_owned(&self, head: Pfn);

    /// A frame for a page table.
    fn alloc_table(&self) -> Option<Pfn>;

    /// Notes that the frame of [`FrameProvider::alloc_table`] is the table of `level` for `at` now.
    fn set_table_owner(&self, frame: Pfn, at: VirtAddr, level: Level);

    /// Takes back a frame of [`FrameProvider::alloc_table`].
    fn free_table(&self, frame: Pfn);

    /// Free frames that an allocation of `kind` may have, of a node or of all.
    fn free_pages(&self, node: Option<NodeId>, kind: Kind) -> u64;
}

impl<M: Machine> FrameProvider for Memory<M> {
    type Machine = M;

    fn machine(&self) -> &M {
        &self.machine
    }

    fn with_tables<T>(&self, work: impl FnOnce(&mut PageTables, &M) -> T) -> Option<T> {
        Memory::with_tables(self, work)
    }

    fn alloc_block(&self, most: Order, node: Option<NodeId>, kind: Kind) -> Option<Block> {
        self.allocate_up_to(most, node, kind)
    }

    fn alloc_run(&self, pages: u64, node: Option<NodeId>, kind: Kind) -> Option<PfnRange> {
        self.allocate_run(pages, node, kind)
    }

    fn block_at(&self, head: Pfn) -> Option<Block> {
        Memory::block_at(self, head)
    }

    fn set_owner(&self, head: Pfn, at: VirtAddr) {
        let set = self.set_mapping(head, at);
        debug_assert!(set.is_ok(), "{head:?} heads a block of ours");
    }

    fn free_owned(&self, head: Pfn) {
        let freed = self.free_block(head);
        debug_assert!(freed.is_ok(), "{head:?} heads a block of ours");
    }

    fn alloc_table(&self) -> Option<Pfn> {
        let block = self.allocate_block(Order(0), None, Kind::Pinned)?;
        self.page_tables.fetch_add(1, Ordering::Relaxed);
        Page::of(&self.machine, block.head).set_rmap(RmapEntry::Reserve.encode());
        Some(block.head)
    }

    fn set_table_owner(&self, frame: Pfn, at: VirtAddr, level: Level) {
        Page::of(&self.machine, frame).set_rmap(RmapEntry::Table(at, level).encode());
    }

    fn free_table(&self, frame: Pfn) {
        // One in reserve may have gone with its device meanwhile.
        if self.resource_of(frame).is_some() {
            self.page_tables.fetch_sub(1, Ordering::Relaxed);
            self.free_owned(frame);
        }
    }

    fn free_pages(&self, node: Option<NodeId>, kind: Kind) -> u64 {
        self.drain_all();
        let there = match node {
            Some(node) => self.nodes.find(node).map_or(0, |nr| self.nodes.free(nr)),
            None => self.free_everywhere(),
        };
        match kind {
            Kind::Movable => there,
            Kind::Pinned => there.saturating_sub(self.nodes.movable_only(&self.slots, node)),
        }
    }
}

/// Gives tables that became empty back to a provider.
pub(super) struct Returning<'a, P>(pub(super) &'a P);

impl<P: FrameProvider> FrameSource for Returning<'_, P> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        None
    }

    fn free_frame(&mut self, frame: Pfn) {
        self.0.free_table(frame);
    }
}
