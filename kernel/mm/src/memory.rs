//! The facade: [`Memory`] is all of the memory core, for the kernel and for tests.

use crate::addr::{NodeId, Order, Pfn, PfnRange, SectionNr, VirtAddr};
use crate::check::CheckError;
use crate::early::{EarlyFrames, Occupied};
use crate::error::{AddError, BootError, FreeError};
use crate::hotplug::Step;
use crate::info::{
    AddRequest, Added, BlockInfo, BootRange, DeviceId, NodeTotals, PageInfo, ResourceId, ResourceInfo,
    SectionRow, Totals,
};
use crate::machine::{CpuFeatures, Machine};
use crate::page::Kind;

/// All of the memory core.
#[derive(Debug)]
pub struct Memory<M> {
    machine: M,
}

/// What is known of memory at boot.
#[derive(Clone, Copy, Debug)]
pub struct BootMemory<'a> {
    /// The top page table (CR3), whose direct map covers the ranges.
    pub root: Pfn,
    /// The CPU.
    pub features: CpuFeatures,
    /// The usable ranges of the firmware's map, ascending.
    pub ranges: &'a [BootRange],
    /// What the loader and the kernel occupy in them (beside what the early frames gave out).
    pub occupied: &'a [Occupied],
    /// Where memory may be hot-plugged (SRAT's hot-pluggable ranges); empty: anywhere.
    pub hotplug: &'a [PfnRange],
}

/// A block of 2^order frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// Its first frame.
    pub head: Pfn,
    /// Its order.
    pub order: Order,
}

#[allow(unused_variables)]
impl<M: Machine> Memory<M> {
    /// A memory core that knows no memory yet.
    pub const fn new(machine: M) -> Self {
        Memory { machine }
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Takes over the memory of boot. Ranges that are too small for their own memmap are told to `left_out`.
    pub fn boot(
        &self,
        boot: BootMemory<'_>,
        early: &mut EarlyFrames,
        left_out: &mut dyn FnMut(PfnRange),
    ) -> Result<(), BootError> {
        Err(BootError::NoMemory)
    }

    /// Adds the memory of a device, all of it or nothing. `clock` tells microseconds.
    pub fn add(
        &self,
        device: DeviceId,
        requests: &[AddRequest],
        clock: &dyn Fn() -> u64,
    ) -> Result<Added, AddError> {
        Err(AddError::NotStarted)
    }

    /// Makes `step` of the next `times` adds fail (0: of none).
    pub fn fail_at(&self, step: Step, times: u32) {}

    /// All resources, in the order of their addresses.
    pub fn resources(&self, tell: &mut dyn FnMut(ResourceInfo)) {}

    /// The resource of that number.
    pub fn resource(&self, id: ResourceId) -> Option<ResourceInfo> {
        None
    }

    /// The resource that has the frame.
    pub fn resource_of(&self, pfn: Pfn) -> Option<ResourceId> {
        None
    }

    /// The rows of all resources' sections that have a frame in `within`, in the order of addresses.
    pub fn sections(&self, within: PfnRange, tell: &mut dyn FnMut(SectionRow)) {}

    /// The row of one resource's part of one section.
    pub fn section(&self, id: ResourceId, section: SectionNr) -> Option<SectionRow> {
        None
    }

    /// What a frame is.
    pub fn page(&self, pfn: Pfn) -> Option<PageInfo> {
        None
    }

    /// Free blocks of each order, up to the resource's highest ([`ResourceInfo::max_order`]).
    pub fn free_blocks(&self, id: ResourceId) -> Option<[u64; Order::COUNT]> {
        None
    }

    /// The blocks of a resource in the order of addresses.
    pub fn blocks(&self, id: ResourceId, tell: &mut dyn FnMut(BlockInfo)) {}

    /// Sums over all resources.
    pub fn totals(&self) -> Totals {
        Totals::default()
    }

    /// Sums over each node's resources, in the order of node numbers.
    pub fn nodes(&self, tell: &mut dyn FnMut(NodeTotals)) {}

    /// A block of exactly `order`. Without `node`: boot memory first for pinned ones, else the node
    /// with most free frames. `None` when there is none.
    pub fn allocate_block(&self, order: Order, node: Option<NodeId>, kind: Kind) -> Option<Block> {
        None
    }

    /// The largest block that can be had up to `most`.
    pub fn allocate_up_to(&self, most: Order, node: Option<NodeId>, kind: Kind) -> Option<Block> {
        None
    }

    /// One run of `pages` frames, also across neighbouring free blocks. It consists of proper
    /// blocks, each freed by itself: [`Memory::block_at`] tells them, the first starts at the run's start.
    pub fn allocate_run(&self, pages: u64, node: Option<NodeId>, kind: Kind) -> Option<PfnRange> {
        None
    }

    /// The allocated block whose head is `head`.
    pub fn block_at(&self, head: Pfn) -> Option<Block> {
        None
    }

    /// Notes where the allocated block at `head` is mapped (the reverse map).
    pub fn set_mapping(&self, head: Pfn, at: VirtAddr) -> Result<(), FreeError> {
        Ok(())
    }

    /// Frees the allocated block at `head`.
    pub fn free_block(&self, head: Pfn) -> Result<Order, FreeError> {
        Err(FreeError::Absent { pfn: head })
    }

    /// Frees all blocks of a run that [`Memory::allocate_run`] gave.
    pub fn free_run(&self, run: PfnRange) -> Result<(), FreeError> {
        Ok(())
    }

    /// Walks every invariant, tells what is broken, and returns how many things were looked at.
    pub fn check(&self, tell: &mut dyn FnMut(CheckError)) -> u64 {
        0
    }
}
