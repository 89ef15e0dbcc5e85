//! The measured rows, each a preparation and a loop of operations, by one thread or by several at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use carapace_mm::machine::CpuNr;
use carapace_mm::sim::run_as;

use crate::Frames;

/// Single frames per round, of all threads together: half of all.
const SINGLES: usize = 1 << 20;
/// Blocks of order 9 per round, of all threads together: most of the 4096.
const LARGE: usize = 3500;
/// Pairs of a thread in a round, and operations of the random mix.
const PAIRS: usize = 1 << 20;
/// Repetitions of a round of order 9, which is short.
const LARGE_REPEATS: usize = 64;
/// About the number of blocks that the random mixes of all threads hold.
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

/// Nanoseconds per operation in round `nr`, whose random numbers are the same for every allocator. Each handle is used by a
/// thread of its own, which is a CPU of its own to the allocator; all begin the measured loop together. The figure is the
/// mean of the threads.
pub fn round<F: Frames + Send>(row: &Row, handles: Vec<F>, nr: usize) -> f64 {
    let threads = handles.len();
    let start = Barrier::new(threads);
    let times: Vec<f64> = thread::scope(|scope| {
        let start = &start;
        let run = |(cpu, frames): (usize, F)| {
            let random = Random(((nr * threads + cpu + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut worker = Worker { frames, random, start, threads };
            let cpu = CpuNr::new(cpu).expect("not more threads than CPUs");
            scope.spawn(move || run_as(cpu, || worker.round(row)))
        };
        let running: Vec<_> = handles.into_iter().enumerate().map(run).collect();
        running.into_iter().map(|thread| thread.join().expect("the row can be measured")).collect()
    });
    times.iter().sum::<f64>() / threads as f64
}

/// One of the threads.
struct Worker<'a, F> {
    frames: F,
    random: Random,
    /// Where the threads wait for each other.
    start: &'a Barrier,
    threads: usize,
}

impl<F: Frames> Worker<'_, F> {
    /// Nanoseconds per operation of this thread.
    fn round(&mut self, row: &Row) -> f64 {
        match (row.part, row.order) {
            (Part::Mix, _) | (_, None) => self.mix(),
            (part, Some(0)) => self.uniform(part, 0, SINGLES / self.threads),
            (part, Some(order)) => {
                let blocks = LARGE / self.threads;
                let times = (0..LARGE_REPEATS).map(|_| self.uniform(part, order, blocks));
                times.sum::<f64>() / LARGE_REPEATS as f64
            }
        }
    }

    /// One round of blocks of one order. Everything is free before and after.
    fn uniform(&mut self, part: Part, order: u8, blocks: usize) -> f64 {
        match part {
            Part::PairEmpty => return self.pairs(order, PAIRS / if order == 0 { 1 } else { LARGE_REPEATS }),
            Part::PairHalfUsed => return self.half_used(order),
            _ => {}
        }
        // Written once: the first write to a page of the host costs more than many operations.
        let mut held = vec![u64::MAX; blocks];
        held.clear();
        if let Part::InARow = part {
            let allocated = self.timed(blocks, |frames| take(frames, order, blocks, &mut held));
            self.free_all(order, &held);
            return allocated;
        }
        self.start.wait();
        take(&mut self.frames, order, blocks, &mut held);
        if let Part::FreeAtRandom | Part::AllocateAfterRandom = part {
            self.random.shuffle(&mut held);
        }
        if let Part::AllocateAfterRandom = part {
            self.start.wait();
            self.free_all(order, &held);
            held.clear();
            let again = self.timed(blocks, |frames| take(frames, order, blocks, &mut held));
            self.free_all(order, &held);
            return again;
        }
        self.timed(blocks, |frames| held.iter().for_each(|&frame| frames.free(frame, order)))
    }

    fn free_all(&mut self, order: u8, held: &[u64]) {
        held.iter().for_each(|&frame| self.frames.free(frame, order));
    }

    fn pairs(&mut self, order: u8, pairs: usize) -> f64 {
        self.timed(pairs, |frames| {
            for _ in 0..pairs {
                let frame = frames.allocate(order).expect("enough frames are free");
                frames.free(black_box(frame), order);
            }
        })
    }

    /// Pairs while a random half of the frames is in use.
    fn half_used(&mut self, order: u8) -> f64 {
        let mut held = Vec::new();
        while let Some(frame) = self.frames.allocate(order) {
            held.push(frame);
        }
        // No thread frees before every thread has found that all frames are in use.
        self.start.wait();
        self.random.shuffle(&mut held);
        let half = held.len() / 2;
        held.drain(half..).for_each(|frame| self.frames.free(frame, order));
        let time = self.pairs(order, PAIRS);
        self.free_all(order, &held);
        time
    }

    /// As many allocations as frees, of orders 0 to 9, each half as often as the order below.
    fn mix(&mut self) -> f64 {
        let blocks = MIX_HELD / self.threads;
        let mut held: Vec<(u64, u8)> = Vec::with_capacity(2 * blocks);
        let mut random = Random(self.random.next());
        let mut step = |frames: &mut F, held: &mut Vec<(u64, u8)>, allocate: bool| {
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
        (0..blocks).for_each(|_| step(&mut self.frames, &mut held, true));
        let time = self.timed(PAIRS, |frames| (0..PAIRS).for_each(|op| step(frames, &mut held, op % 2 == 0)));
        held.iter().for_each(|&(frame, order)| self.frames.free(frame, order));
        time
    }

    /// Waits for the other threads, and measures `work`.
    fn timed(&mut self, operations: usize, work: impl FnOnce(&mut F)) -> f64 {
        self.start.wait();
        let start = Instant::now();
        measured(&mut self.frames, work);
        start.elapsed().as_nanos() as f64 / operations as f64
    }
}

/// The measured operations and nothing else, in a function of its own: so a profiler can count them alone.
#[inline(never)]
fn measured<F>(frames: &mut F, work: impl FnOnce(&mut F)) {
    work(frames);
}

fn take<F: Frames>(frames: &mut F, order: u8, blocks: usize, held: &mut Vec<u64>) {
    held.extend((0..blocks).map(|_| frames.allocate(order).expect("half of the frames are free")));
}
