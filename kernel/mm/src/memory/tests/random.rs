//! Random allocations in several regions, compared with a list of what is allocated.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    /// Adds a DIMM of this many 2 MiB units on this node.
    Add(u64, u32),
    Block(u8, Mobility),
    Run(u64, Mobility),
    Free(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let mobility = prop_oneof![Just(Mobility::Movable), Just(Mobility::Pinned)];
    let other = prop_oneof![Just(Mobility::Movable), Just(Mobility::Pinned)];
    prop_oneof![
        1 => (1u64..70, 0u32..3).prop_map(|(units, node)| Op::Add(units, node)),
        8 => (0u8..14, mobility).prop_map(|(order, mobility)| Op::Block(order, mobility)),
        4 => (1u64..40_000, other).prop_map(|(pages, mobility)| Op::Run(pages, mobility)),
        9 => any::<usize>().prop_map(Op::Free),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    /// Proves that over any sequence of adds, allocations and frees no frame is allocated twice, the free frames are all
    /// frames less the allocated ones, `check` finds nothing, and everything can be freed at the end. Fails when regions
    /// are confused, or an unwritten descriptor is read.
    #[test]
    fn nothing_is_lost(ops in prop::collection::vec(op(), 1..150)) {
        let memory = booted(Support::No);
        let mut whole = memory.totals().free_pages;
        let mut next = 0x100000;
        let mut held: Vec<PfnRange> = Vec::new();
        for op in ops {
            let got = match op {
                Op::Add(units, node) => {
                    let added = plug(&memory, next, units * 2 * MIB, node);
                    next += units * 2 * MIB;
                    whole += added.usable_pages;
                    prop_assert_eq!(added.stats.existing_pages_used, 0);
                    None
                }
                Op::Block(order, mobility) => {
                    memory.allocate_block(Order(order), None, mobility).map(|block| block.range())
                }
                Op::Run(pages, mobility) => memory.allocate_run(pages, None, mobility),
                Op::Free(index) if !held.is_empty() => {
                    let run = held.swap_remove(index % held.len());
                    memory.free_run(run).unwrap();
                    None
                }
                Op::Free(_) => None,
            };
            if let Some(run) = got {
                prop_assert!(!held.iter().any(|other| other.overlaps(run)));
                held.push(run);
            }
            let out: u64 = held.iter().map(|run| run.pages()).sum();
            prop_assert_eq!(memory.totals().free_pages, whole - out);
        }
        assert_invariants(&memory);
        held.into_iter().for_each(|run| memory.free_run(run).unwrap());
        assert_invariants(&memory);
        prop_assert_eq!(memory.totals().free_pages, whole);
        let mut all_free = true;
        memory.resources(&mut |info| all_free &= info.free_pages == info.usable_pages);
        prop_assert!(all_free);
    }
}
