//! A simulated memory core, for tests and fuzzing. It panics when the machine plugs or unplugs a block twice.
//!
//! Neighbour: [`crate::machine`] has the trait that it implements.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    reason = "a test's"
)]

use std::collections::BTreeSet;
use std::vec::Vec;

use crate::machine::{MAX_RUNS, Memory};
use crate::mem::Run;
use arrayvec::ArrayVec;

/// Bytes of a block.
pub const BLOCK: u64 = 2 << 20;
/// The address of a device's memory.
pub const BASE: u64 = 4 << 30;

/// Memory that is used block by block.
#[derive(Debug, Default)]
pub struct Core {
    /// The numbers of the blocks that it uses.
    pub plugged: BTreeSet<u64>,
    /// Those of them with content.
    pub used: BTreeSet<u64>,
    /// Whether it refuses to plug.
    pub refuse: bool,
    /// Changes when a shrink may go on.
    pub version: u64,
}

/// The numbers of a run's blocks.
pub fn blocks(run: Run) -> impl Iterator<Item = u64> {
    run.base / BLOCK..(run.base + run.bytes) / BLOCK
}

/// The run of adjacent blocks.
pub fn run(blocks: &[u64]) -> Run {
    Run { base: blocks[0] * BLOCK, bytes: blocks.len() as u64 * BLOCK }
}

impl Memory for Core {
    type Error = &'static str;

    fn plugged(&self) -> u64 {
        self.plugged.len() as u64 * BLOCK
    }

    fn next_to_plug(&mut self, want: u64, limit: u64) -> Option<Run> {
        let free: Vec<u64> =
            (BASE / BLOCK..limit / BLOCK).filter(|block| !self.plugged.contains(block)).collect();
        let first = *free.first()?;
        let adjacent = free.iter().zip(first..).take_while(|(block, next)| *block == next).count();
        let count = adjacent.min((want / BLOCK) as usize).min(64);
        (count > 0).then(|| run(&free[..count]))
    }

    fn plug(&mut self, run: Run) -> Result<(), (Self::Error, Run)> {
        if self.refuse {
            return Err(("refused", run));
        }
        for block in blocks(run) {
            assert!(self.plugged.insert(block), "block {block} is plugged twice");
        }
        Ok(())
    }

    fn unplug_unused(&mut self, want: u64) -> ArrayVec<Run, MAX_RUNS> {
        let unused = self.plugged.iter().rev().filter(|block| !self.used.contains(block));
        let taken: Vec<u64> = unused.copied().take(((want / BLOCK) as usize).min(MAX_RUNS)).collect();
        taken.iter().for_each(|block| assert!(self.plugged.remove(block)));
        taken.iter().rev().map(|&block| run(&[block])).collect()
    }

    fn unplugged(&mut self, run: Run) {
        assert!(blocks(run).all(|block| !self.plugged.contains(&block)), "out of use since the request");
    }

    fn version(&self) -> u64 {
        self.version
    }
}
