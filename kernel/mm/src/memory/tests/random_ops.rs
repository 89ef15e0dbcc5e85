//! Random sequences of operations: DIMMs of awkward sizes are added, removed and surprise-removed while memory is in use.
//! `sim::model` checks the core after each operation. `MM_CASES=n` runs more sequences than CI does.

use std::vec;

use proptest::prelude::*;

use super::*;
use crate::buddy::tests::random::setting;
use crate::sim::model::{DIMMS, HandleUse, Model, NODES, Op, request};
use crate::vmalloc::{Amount, Request, Shape};

fn any_request() -> impl Strategy<Value = Request> {
    let mobility = prop_oneof![9 => Just(Mobility::Movable), 1 => Just(Mobility::Pinned)];
    let shape = prop_oneof![2 => Just(Shape::Scattered), 1 => Just(Shape::Contiguous)];
    let pages = prop_oneof![1u64..600, 500u64..20_000];
    let node = prop_oneof![Just(None), prop::sample::select(&NODES).prop_map(Some)];
    (pages, node, mobility, shape)
        .prop_map(|(pages, node, mobility, shape)| request(pages, node, mobility, shape))
}

fn op() -> impl Strategy<Value = Op> {
    let number = || 0..DIMMS;
    let zone = prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(&[Zone::Any, Zone::Movable, Zone::Kernel]).prop_map(Some),
    ];
    let pages = || prop_oneof![Just(64u64), Just(700), Just(9000)];
    let order = prop_oneof![3 => 0u8..10, 1 => 10u8..17];
    let node = prop_oneof![Just(None), prop::sample::select(&NODES).prop_map(Some)];
    let block = (order, prop_oneof![3 => Just(Mobility::Movable), 1 => Just(Mobility::Pinned)], node);
    prop_oneof![
        60 => number().prop_map(Op::Plug),
        40 => number().prop_map(Op::Remove),
        20 => (number(), 0u64..3).prop_map(|(number, section)| Op::Offline(number, section)),
        20 => (number(), 0u64..30_000, 1u64..40_000).prop_map(|(n, from, pages)| Op::OfflineFrames(n, from, pages)),
        80 => (1u8..20, pages()).prop_map(|(steps, pages)| Op::Steps(steps, pages)),
        10 => Just(Op::Abort),
        5 => Just(Op::Finish),
        10 => prop::sample::select(&HandleUse::ALL).prop_map(Op::Stale),
        20 => (number(), zone).prop_map(|(number, zone)| Op::Online(number, zone)),
        5 => prop::sample::select(&Policy::ALL).prop_map(Op::Policy),
        10 => prop::sample::select(&Step::ALL).prop_map(Op::Inject),
        12 => number().prop_map(Op::SurpriseRemove),
        80 => any_request().prop_map(Op::Allocate),
        15 => any_request().prop_map(Op::BeginAllocate),
        20 => pages().prop_map(Op::Grow),
        3 => Just(Op::CancelGrowing),
        3 => Just(Op::FinishGrowing),
        3 => Just(Op::ExhaustBoot),
        50 => any::<usize>().prop_map(Op::Free),
        10 => block.prop_map(|(order, mobility, node)| Op::AllocateBlock(Order(order), mobility, node)),
        15 => any::<usize>().prop_map(Op::FreeBlock),
        30 => prop_oneof![1u64..3000, 1u64..300_000].prop_map(Op::PlugPieces),
        30 => prop_oneof![1u64..3000, 1u64..300_000].prop_map(Op::UnplugPieces),
        10 => Just(Op::Verify),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: setting("MM_CASES", 60) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Proves that over any sequence of adds, removals, offlinings, surprise removals, allocations and frees, finished,
    /// aborted, refused or failed, an allocation loses only bytes in surprise-removed memory, every frame is accounted
    /// for, `check` finds nothing, and each refusal is justified. When everything is freed and removed, leaves, tables,
    /// totals and boot memory's blocks are as at the start. Fails when a removal touches or leaves anything it should
    /// not: accesses to removed memory panic.
    #[test]
    fn nothing_is_lost(
        gib_leaves in prop_oneof![Just(Support::No), Just(Support::Yes)],
        ops in prop::collection::vec(op(), 1..70),
    ) {
        let mut model = Model::new(booted(gib_leaves));
        ops.iter().for_each(|op| model.run(op));
        model.finish();
    }
}

/// Proves that a block which had no descriptor, freed into memory that goes offline, has none that is read when other memory
/// is torn out. Fails when its tag counts as a whole descriptor: its rmap word was never written.
#[test]
fn a_block_freed_while_isolated_has_no_owner() {
    let request = Request {
        amount: Amount::Pages(7927),
        node: Some(NodeId(7)),
        mobility: Mobility::Movable,
        shape: Shape::Scattered,
    };
    let ops = [
        Op::Plug(6),
        Op::Plug(0),
        Op::Plug(2),
        Op::Allocate(request),
        Op::Steps(1, 64),
        Op::PlugPieces(54784),
        Op::AllocateBlock(Order(4), Mobility::Movable, None),
        Op::Offline(3, 0),
        Op::FreeBlock(0),
        Op::SurpriseRemove(6),
    ];
    let mut model = Model::new(booted(Support::No));
    ops.iter().for_each(|op| model.run(op));
    model.finish();
}
