//! Exhaustive test of small runs: every reachable state, and every operation in each state.
//!
//! ```text
//!  new --every op--> states after one op --every op--> states after two --...--> no new state
//! ```
//!
//! Two sequences lead to the same state when the same blocks are held in the same states, and the lists hold the same
//! free blocks in the same order: the next operation depends on nothing else. Stale descriptors (condition 5) may
//! differ. The test replays each state by its own sequence.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use super::*;

/// Everything that the next operation depends on: the held blocks and the lists.
type Observable = (Vec<(Pfn, Order, u64)>, Vec<Vec<(Pfn, Order)>>);

fn observable(pair: &Pair) -> Observable {
    let buddy = pair.buddy();
    let held = pair.model.heads().into_iter().map(|head| {
        let tag = buddy.find(head).unwrap().tag;
        (head, tag.order, tag.state as u64)
    });
    let chain = |order| {
        let (mut blocks, mut next) = (Vec::new(), buddy.first(order));
        while let Some(group) = next {
            blocks.extend(buddy.free_blocks_of(group));
            next = buddy.next(group);
        }
        blocks
    };
    (held.collect(), (0..=buddy.max.0).map(|order| chain(Order(order))).collect())
}

/// Returns all operations of a state: allocate a block of each of `orders` and a run of each of `runs` pages; free each
/// held block, and split it at each multiple of the smallest order.
fn possible(pair: &Pair, orders: &[u8], runs: &[u64]) -> Vec<Op> {
    let mut ops: Vec<Op> = orders.iter().copied().map(Op::Allocate).collect();
    ops.extend(runs.iter().copied().map(Op::Run));
    let offset = |pfn: Pfn| pfn.0 - pair.usable.start.0;
    for head in pair.model.heads() {
        let (_, order) = pair.model.held_at(head).unwrap();
        ops.push(Op::Free(offset(head)));
        let step = 1 << orders[0];
        ops.extend((step..order.pages()).step_by(step as usize).map(|at| Op::Split(offset(head) + at)));
    }
    ops
}

/// Runs every operation in every state. Returns the number of states.
fn every(usable: PfnRange, orders: &[u8], runs: &[u64]) -> usize {
    let mut seen = BTreeSet::from([observable(&Pair::new(usable))]);
    let mut border = vec![Vec::new()];
    while let Some(path) = border.pop() {
        let reach = || {
            let mut pair = Pair::new(usable);
            path.iter().for_each(|op| run(&mut pair, op));
            pair
        };
        for op in possible(&reach(), orders, runs) {
            let mut pair = reach();
            run(&mut pair, &op);
            pair.compare();
            assert_former_heads_are_refused(&pair);
            if seen.insert(observable(&pair)) {
                border.push([&path[..], &[op]].concat());
            }
        }
    }
    seen.len()
}

/// Asserts that no former head can be freed.
fn assert_former_heads_are_refused(pair: &Pair) {
    let held: BTreeSet<Pfn> = pair.model.heads().into_iter().collect();
    for pfn in (pair.usable.start.0..pair.usable.end.0).map(Pfn) {
        let was_head = pair.machine.written[pair.machine.index_of(descriptor(pfn))].get();
        if was_head && !held.contains(&pfn) {
            assert!(pair.buddy().free(pfn).is_err(), "{pfn:?} was freed twice");
        }
    }
}

/// Proves that every operation matches the eager model in every state that allocations, frees and splits can reach, for
/// runs of 5 to 9 frames, aligned and not, across the borders of groups of several levels, and at both ends of memory.
/// The expected number of states: 2 for a frame; for a block, one more than the square of its half's number. Fails when
/// any merge, split or list operation is wrong.
#[test]
fn every_sequence_on_small_runs() {
    let orders = [0, 1, 2, 3, 4];
    let run = |start, pages| PfnRange::of(Pfn(start), pages);
    assert_eq!(every(run(8, 8), &orders, &[]), 677);
    // Blocks of 1, 4 and 4 frames.
    assert_eq!(every(run(3, 9), &orders, &[]), 2 * 26 * 26);
    let top = crate::addr::MAX_PFN.0;
    assert_eq!(every(run(top - 5, 5), &orders, &[]), 2 * 26);
    for border in [1 << 7, 1 << 14, 1 << 21] {
        assert!(every(run(border - 3, 6), &orders, &[]) >= 2 * 5 * 5 * 2, "at {border:#x}");
    }
}

/// Proves the same for large blocks over two levels of groups, and with runs of odd length. Fails when a run's blocks or
/// a group one level up are wrong.
#[test]
fn every_sequence_of_large_blocks_and_runs() {
    assert!(every(PfnRange::of(Pfn(64), 448), &[6, 7, 8, 9], &[]) >= 2 * 5 * 26);
    assert!(every(PfnRange::of(Pfn(126), 5), &[0, 1, 2], &[2, 3]) >= 100);
}
