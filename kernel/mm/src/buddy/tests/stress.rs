//! Stress test: a million random operations compared with the model, on runs of awkward size and start.
//!
//! `random` describes seed and length. Neighbours: `memory` has a stress test over many regions.

use std::println;

use super::random::{Random, setting};
use super::*;

/// The default number of operations.
const OPERATIONS: u64 = 1_000_000;
/// Operations on one usable run; then the test continues on another.
const PER_RUN: u64 = 20_000;
/// Operations between two full comparisons.
const COMPARE_EVERY: u64 = 1_000;

impl Random {
    /// Returns a run with any start, some near the border of a group, and a length of any magnitude up to 2^17 frames.
    fn usable(&mut self) -> PfnRange {
        let order = [0, 7, 14, 17][self.below(4) as usize];
        let start = ((self.below(8) + 1) << order) + self.below(300);
        let magnitude = self.below(17);
        PfnRange::of(Pfn(start), (1 << magnitude) + self.below(1 << magnitude))
    }

    /// Returns an operation, mostly on small blocks; `free` of 8 free a block.
    fn op(&mut self, free: u64) -> Op {
        let index = self.next();
        if self.below(8) < free {
            return Op::Free(index);
        }
        match self.below(64) {
            0 => Op::UpTo(self.below(18) as u8),
            1 => Op::Run(1 << self.below(16)),
            2 => Op::Run(1 + self.below(3000)),
            3 => Op::Split(index),
            4..12 => Op::Descend(index),
            _ => Op::Allocate(self.next().trailing_zeros().min(18) as u8),
        }
    }
}

/// Proves conditions 3 to 6 and 9 over long sequences, in which regions fill up, fragment into single frames and merge
/// again. Fails when a state that only thousands of operations reach breaks one.
#[test]
fn a_million_operations_match_the_eager_model() {
    let seed = setting("MM_SEED", std::process::id().into());
    let operations = setting("MM_OPERATIONS", OPERATIONS);
    println!("MM_SEED={seed} MM_OPERATIONS={operations}");
    let mut random = Random(seed);
    let mut done = 0;
    while done < operations {
        let usable = random.usable();
        println!("from operation {done} on: frames {usable}");
        let mut pair = Pair::new(usable);
        for n in 0..PER_RUN.min(operations - done) {
            // The run fills up, empties, and stays balanced, in turns.
            let free = [1, 7, 4, 4, 2, 6][(n / 3000 % 6) as usize];
            let op = random.op(free);
            run(&mut pair, &op);
            if n % COMPARE_EVERY == 0 {
                pair.compare();
            }
            done += 1;
        }
        pair.compare();
        while let Some(head) = pair.model.heads().first().copied() {
            run(&mut pair, &Op::Free(head.0 - usable.start.0));
        }
        let first: Vec<_> = initial_blocks(usable).collect();
        assert_eq!(pair.model.free(), first);
        pair.compare();
    }
}
