//! Exhaustive sequences of operations on a DIMM, up to a length: plug, begin the removal, run steps, abort,
//! surprise-remove at any of these points, while its neighbour, which shares page tables, comes and goes, allocations of
//! both mobilities are made in it, and each step fails. `sim::model` checks the core after each operation.

use std::vec::Vec;

use super::*;
use crate::fault_injection::Step;
use crate::sim::model::{HandleUse, Model, NODES, Op, request};
use crate::vmalloc::Shape;

/// A DIMM of 62 MiB, and one of 100 MiB in front of it on the other node. They share a section and a GiB.
const DIMM: usize = 2;
const NEIGHBOUR: usize = 1;

fn events() -> Vec<Op> {
    let node = Some(NODES[DIMM % 2]);
    Vec::from([
        Op::Plug(DIMM),
        Op::Plug(NEIGHBOUR),
        Op::Remove(DIMM),
        Op::Steps(1, 64),
        Op::Steps(u8::MAX, 9000),
        Op::Abort,
        Op::SurpriseRemove(DIMM),
        Op::SurpriseRemove(NEIGHBOUR),
        Op::Offline(NEIGHBOUR, 0),
        Op::Stale(HandleUse::Finish),
        Op::BeginAllocate(request(300, node, Mobility::Movable, Shape::Contiguous)),
        Op::Grow(100),
        Op::Allocate(request(700, node, Mobility::Movable, Shape::Contiguous)),
        Op::Allocate(request(1, node, Mobility::Pinned, Shape::Scattered)),
        Op::Free(0),
    ])
}

/// Runs `before` and then every sequence of `length` possible operations. Returns the number of sequences.
fn run_all(before: &[Op], length: usize) -> u64 {
    let events = events();
    let mut sequences = 0;
    let mut pending = Vec::from([before.to_vec()]);
    while let Some(sequence) = pending.pop() {
        let mut model = Model::small(Support::No);
        sequence.iter().for_each(|op| model.run(op));
        if sequence.len() < before.len() + length {
            let next = events.iter().filter(|op| model.is_possible(op));
            pending.extend(next.map(|&op| [&sequence[..], &[op]].concat()));
            continue;
        }
        model.finish();
        sequences += 1;
    }
    sequences
}

/// Proves that after every sequence of these operations no byte is lost, and that the machine is as at the start once
/// everything is removed. Fails when some sequence leaves a table, a frame, a cached entry or a mark behind.
#[test]
fn every_order_of_events() {
    assert!(run_all(&[], 4) > 400);
    let plugged = [Op::Plug(NEIGHBOUR), Op::Plug(DIMM)];
    assert!(run_all(&plugged, 3) > 100);
}

/// Proves the same with each step failing at the first operation that runs it. Fails when a step's undo is incomplete
/// in some sequence.
#[test]
fn every_order_of_events_with_each_step_failing() {
    for step in Step::ALL {
        let before = [Op::Plug(NEIGHBOUR), Op::Inject(step), Op::Plug(DIMM)];
        assert!(run_all(&before, 2) > 15, "{step}");
        let used = Op::Allocate(request(700, Some(NODES[DIMM % 2]), Mobility::Movable, Shape::Scattered));
        let before = [Op::Plug(DIMM), used, Op::Inject(step), Op::Remove(DIMM)];
        assert!(run_all(&before, 1) > 3, "{step}");
    }
}
