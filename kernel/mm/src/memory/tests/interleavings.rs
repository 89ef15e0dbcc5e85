//! Every order of events around a DIMM, up to a bound: it comes, is asked for, goes on its way in steps, is given up,
//! torn out wherever it is on that way, while its neighbour leaves or an allocation in it is made, used by what can move
//! and by what cannot; a neighbour that shares its tables comes and goes; each step
//! fails. What is compared after each event is in `sim::model`.

use std::vec::Vec;

use super::*;
use crate::fault_injection::Step;
use crate::sim::model::{HandleUse, Model, NODES, Op, request};
use crate::vmalloc::Shape;

/// A DIMM of 62 MiB and one of 100 MiB in front of it, on the other node: in one section and GiB.
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

/// Runs every sequence of `length` possible events behind `before`; how many there are.
fn every(before: &[Op], length: usize) -> u64 {
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

/// Proves for every order of so many events that nothing is lost and that everything is as at first when all has gone.
/// Fails when some order of events leaves a table, a frame, an entry of a cache or a mark behind.
#[test]
fn every_order_of_events() {
    assert!(every(&[], 4) > 400);
    let plugged = [Op::Plug(NEIGHBOUR), Op::Plug(DIMM)];
    assert!(every(&plugged, 3) > 100);
}

/// Proves the same where a step fails, whichever it is, at the first event that takes it.
#[test]
fn every_order_of_events_with_each_step_failing() {
    for step in Step::ALL {
        let before = [Op::Plug(NEIGHBOUR), Op::Inject(step), Op::Plug(DIMM)];
        assert!(every(&before, 2) > 15, "{step}");
        let used = Op::Allocate(request(700, Some(NODES[DIMM % 2]), Mobility::Movable, Shape::Scattered));
        let before = [Op::Plug(DIMM), used, Op::Inject(step), Op::Remove(DIMM)];
        assert!(every(&before, 1) > 3, "{step}");
    }
}
