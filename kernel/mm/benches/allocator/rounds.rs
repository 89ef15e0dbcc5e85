//! The measured rows, each a preparation and a loop of operations.

use std::hint::black_box;
use std::time::Instant;

use crate::Frames;

/// Measured rounds, after one to warm up.
const ROUNDS: usize = 9;
/// Single frames per round: half of all.
const SINGLES: usize = 1 << 20;
/// Blocks of order 9 per round: most of the 4096.
const LARGE: usize = 3500;
/// Pairs in a round, and operations of the random mix.
const PAIRS: usize = 1 << 20;
/// Repetitions of a round of order 9, which is short.
const LARGE_REPEATS: usize = 64;
/// About the number of blocks that the random mix holds.
const MIX_HELD: usize = 100_000;

/// A row of the table.
pub struct Row {
    /// The printed name.
    pub name: &'static str,
    /// The order of all its blocks. `None` for mixed orders.
    pub order: Option<u8>,
    /// The measured operations.
    part: Part,
}

/// The measured operations of a row.
#[derive(Clone, Copy)]
enum Part {
    /// Allocating many blocks.
    InARow,
    /// Freeing them in the order of their allocation.
    FreeInOrder,
    /// Freeing them in random order.
    FreeAtRandom,
    /// Allocating as many again afterwards.
    AllocateAfterRandom,
    /// An allocation and its free, with all other memory free.
    PairEmpty,
    /// The same with a random half of the blocks in use.
    PairHalfUsed,
    /// Allocations and frees of random orders.
    Mix,
}

const fn single(name: &'static str, part: Part) -> Row {
    Row { name, order: Some(0), part }
}

const fn large(name: &'static str, part: Part) -> Row {
    Row { name, order: Some(9), part }
}

/// All rows.
pub const ROWS: [Row; 10] = [
    single("order 0, 1M allocs in a row", Part::InARow),
    single("free in order", Part::FreeInOrder),
    single("free in random order", Part::FreeAtRandom),
    single("alloc after random free", Part::AllocateAfterRandom),
    single("repeat pair, empty", Part::PairEmpty),
    single("repeat pair, half used at random", Part::PairHalfUsed),
    large("order 9, allocs in a row", Part::InARow),
    large("order 9, free at random", Part::FreeAtRandom),
    large("order 9, repeat pair, empty", Part::PairEmpty),
    Row { name: "random mix of orders 0..9, geometric, per op", order: None, part: Part::Mix },
];

/// A small generator of random numbers (xorshift64*), the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        (1..all.len()).rev().for_each(|at| all.swap(at, self.below(at + 1)));
    }
}

/// Nanoseconds per operation, for each round.
pub fn measure<F: Frames>(row: &Row, frames: &mut F) -> Vec<f64> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut round = || match (row.part, row.order) {
        (Part::Mix, _) | (_, None) => mix(frames, &mut random),
        (part, Some(0)) => uniform(frames, &mut random, part, 0, SINGLES),
        (part, Some(order)) => {
            let times = (0..LARGE_REPEATS).map(|_| uniform(frames, &mut random, part, order, LARGE));
            times.sum::<f64>() / LARGE_REPEATS as f64
        }
    };
    round();
    (0..ROUNDS).map(|_| round()).collect()
}

/// One round of blocks of one order. Everything is free before and after.
fn uniform<F: Frames>(frames: &mut F, random: &mut Random, part: Part, order: u8, blocks: usize) -> f64 {
    match part {
        Part::PairEmpty => return pairs(frames, order, PAIRS / if order == 0 { 1 } else { LARGE_REPEATS }),
        Part::PairHalfUsed => return half_used(frames, random, order),
        _ => {}
    }
    let mut held = Vec::with_capacity(blocks);
    let allocated = timed(blocks, || take(frames, order, blocks, &mut held));
    if let Part::InARow = part {
        held.iter().for_each(|&frame| frames.free(frame, order));
        return allocated;
    }
    if let Part::FreeAtRandom | Part::AllocateAfterRandom = part {
        random.shuffle(&mut held);
    }
    let freed = timed(blocks, || held.iter().for_each(|&frame| frames.free(frame, order)));
    if let Part::AllocateAfterRandom = part {
        held.clear();
        let again = timed(blocks, || take(frames, order, blocks, &mut held));
        held.iter().for_each(|&frame| frames.free(frame, order));
        return again;
    }
    freed
}

fn take<F: Frames>(frames: &mut F, order: u8, blocks: usize, held: &mut Vec<u64>) {
    held.extend((0..blocks).map(|_| frames.allocate(order).expect("half of the frames are free")));
}

fn pairs<F: Frames>(frames: &mut F, order: u8, pairs: usize) -> f64 {
    timed(pairs, || {
        for _ in 0..pairs {
            let frame = frames.allocate(order).expect("enough frames are free");
            frames.free(black_box(frame), order);
        }
    })
}

/// Pairs while a random half of the frames is in use.
fn half_used<F: Frames>(frames: &mut F, random: &mut Random, order: u8) -> f64 {
    let mut held = Vec::new();
    while let Some(frame) = frames.allocate(order) {
        held.push(frame);
    }
    random.shuffle(&mut held);
    let half = held.len() / 2;
    held.drain(half..).for_each(|frame| frames.free(frame, order));
    let time = pairs(frames, order, PAIRS);
    held.iter().for_each(|&frame| frames.free(frame, order));
    time
}

/// As many allocations as frees, of orders 0 to 9, each half as often as the order below.
fn mix<F: Frames>(frames: &mut F, random: &mut Random) -> f64 {
    let mut held: Vec<(u64, u8)> = Vec::with_capacity(2 * MIX_HELD);
    let mut step = |held: &mut Vec<(u64, u8)>, allocate: bool| {
        if allocate {
            let order = (random.next() | 1 << 9).trailing_zeros() as u8;
            if let Some(frame) = frames.allocate(order) {
                held.push((frame, order));
            }
        } else if !held.is_empty() {
            let (frame, order) = held.swap_remove(random.below(held.len()));
            frames.free(frame, order);
        }
    };
    (0..MIX_HELD).for_each(|_| step(&mut held, true));
    let time = timed(PAIRS, || (0..PAIRS).for_each(|op| step(&mut held, op % 2 == 0)));
    held.iter().for_each(|&(frame, order)| frames.free(frame, order));
    time
}

fn timed(operations: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / operations as f64
}
