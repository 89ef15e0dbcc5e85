//! Every sequence of operations on small runs: all states that can be reached, and every operation in each of them.
//!
//! ```text
//!  fresh --every op--> states of one op --every op--> states of two --...--> nothing new
//! ```
//!
//! Two sequences lead to the same state when the same blocks are held, for the same purpose, and the lists name the same
//! free blocks in the same order: all that the next operation depends on. Descriptors that say nothing any more
//! (condition 5) may differ. Each state is reached again by its own sequence, so a failure names one that is shortest.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use super::*;

/// What the next operation depends on.
type Known = (Vec<(Pfn, Order, u64)>, Vec<Vec<(Pfn, Order)>>);

fn known(pair: &Pair) -> Known {
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

/// All that can be done in a state: blocks of `orders`, a run of each of `runs` pages, each held block freed, and
/// split at each multiple of the smallest order.
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

/// Tries everything; how many states there are.
fn every(usable: PfnRange, orders: &[u8], runs: &[u64]) -> usize {
    let mut seen = BTreeSet::from([known(&Pair::new(usable))]);
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
            refuses(&pair);
            if seen.insert(known(&pair)) {
                border.push([&path[..], &[op]].concat());
            }
        }
    }
    seen.len()
}

/// What headed a block once, and does not now, cannot be freed.
fn refuses(pair: &Pair) {
    let held: BTreeSet<Pfn> = pair.model.heads().into_iter().collect();
    for pfn in (pair.usable.start.0..pair.usable.end.0).map(Pfn) {
        let was_head = pair.machine.written[pair.machine.place(descriptor(pfn))].get();
        if was_head && !held.contains(&pfn) {
            assert!(pair.buddy().free(pfn).is_err(), "{pfn:?} was freed twice");
        }
    }
}

/// Proves for runs of 4 to 12 frames, aligned and not, across the borders of groups of every level, at the bottom and at
/// the top of memory, that in every state that any sequence of allocations, frees and splits reaches, every operation
/// does what the eager model says. The numbers of states are those of the free and held blocks that there can be: 2 for
/// a frame, and for a block one more than the square of its half's. Fails when a merge, a split or a list is wrong
/// anywhere in them.
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

/// Proves the same for large blocks, over two levels of groups, and with runs of odd sizes that are held apart.
#[test]
fn every_sequence_of_large_blocks_and_runs() {
    assert!(every(PfnRange::of(Pfn(64), 448), &[6, 7, 8, 9], &[]) >= 2 * 5 * 26);
    assert!(every(PfnRange::of(Pfn(126), 5), &[0, 1, 2], &[2, 3]) >= 100);
}
