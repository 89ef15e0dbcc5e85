//! Blocks with a test pattern, for the shell's `stress`: any CPU allocates and fills one, any CPU verifies and frees it,
//! through the direct map. Linux's counterpart is `rcutorture`'s kind of test.
//!
//! ```text
//!  allocate --> fill --> (handed to another CPU) --> verify --> free
//!                  \------ the region vanishes -------> Vanished, without an access
//! ```
//!
//! The blocks are movable and have no rmap: an evacuation waits for them. So they are short-lived.
//!
//! Invariants: each access to a block's frames, and the step from the allocation to the number of its resource, is an
//! `access`: the region is not unmapped meanwhile, nor another one added at its place. A [`ScratchBlock`] is the only
//! handle of its block and is used up by the free. Neighbours: `allocate`, `access`; the kernel's `stress` calls.

use core::fmt;

use crate::addr::{Block, NodeId, Order, Pfn, PhysAddr};
use crate::address_space::direct;
use crate::descriptor::Mobility;
use crate::info::ResourceId;
use crate::machine::Machine;
use crate::memory::Memory;

/// A block with a test pattern.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it stays allocated until it is freed"]
pub struct ScratchBlock {
    block: Block,
    resource: ResourceId,
    seed: u64,
}

impl ScratchBlock {
    /// Its first frame.
    pub const fn head(&self) -> Pfn {
        self.block.head
    }

    /// Its size in frames.
    pub const fn pages(&self) -> u64 {
        self.block.order.pages()
    }
}

/// The block's memory was surprise-removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vanished;

impl fmt::Display for Vanished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the block's memory was surprise-removed")
    }
}

impl core::error::Error for Vanished {}

/// The word of which a frame of a block is full: 2^64 divided by the golden ratio, odd, so that all frames differ.
const fn pattern(seed: u64, pfn: Pfn) -> u64 {
    seed ^ pfn.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<M: Machine> Memory<M> {
    /// Allocates a movable block and fills it with a pattern of `seed`. `None` when no region has one, or the region
    /// vanished.
    pub fn allocate_scratch(&self, order: Order, node: Option<NodeId>, seed: u64) -> Option<ScratchBlock> {
        let access = self.accesses.begin(&self.machine);
        let block = self.allocate_block(order, node, Mobility::Movable)?;
        // No region is added at this place before the access ends: it is the region that the block is of.
        let resource = self.resource_of(block.head)?;
        drop(access);
        let scratch = ScratchBlock { block, resource, seed };
        self.each_frame(&scratch, |at, word| self.machine.fill_page(direct(at), word)).ok()?;
        Some(scratch)
    }

    /// Compares a block with its pattern. Returns the number of pages that differ.
    ///
    /// # Errors
    /// [`Vanished`].
    pub fn verify_scratch(&self, scratch: &ScratchBlock) -> Result<u64, Vanished> {
        let mut bad = 0;
        self.each_frame(scratch, |at, word| {
            bad += u64::from(self.machine.first_mismatch(direct(at), word).is_some());
        })?;
        Ok(bad)
    }

    /// Frees a block.
    ///
    /// # Errors
    /// [`Vanished`].
    pub fn free_scratch(&self, scratch: ScratchBlock) -> Result<(), Vanished> {
        let _access = self.accesses.begin(&self.machine);
        self.check_present(&scratch)?;
        let freed = self.free_block(scratch.block.head);
        debug_assert_eq!(freed, Ok(scratch.block.order), "the block is the caller's");
        Ok(())
    }

    /// Calls `each` with each frame of a block and its word of the pattern. A large block is many accesses, so that a
    /// removal does not wait for all of it.
    fn each_frame(
        &self,
        scratch: &ScratchBlock,
        mut each: impl FnMut(PhysAddr, u64),
    ) -> Result<(), Vanished> {
        for pfn in scratch.block.range().each() {
            let _access = self.accesses.begin(&self.machine);
            self.check_present(scratch)?;
            each(pfn.start(), pattern(scratch.seed, pfn));
        }
        Ok(())
    }

    /// Whether the block's region is present, and stays so until the caller's access ends.
    fn check_present(&self, scratch: &ScratchBlock) -> Result<(), Vanished> {
        let present = self.resource_of(scratch.block.head) == Some(scratch.resource);
        if present { Ok(()) } else { Err(Vanished) }
    }
}
