//! Tests of the lock order of the memory core, which debug builds check.
#![cfg(debug_assertions)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::vmalloc::VmallocArena;

static ARENA: VmallocArena = VmallocArena::new();

/// Takes a lock and runs `inner`.
type Locked = fn(&Memory<SimMachine>, &dyn Fn());

/// The core's locks in the order of [`carapace_lock::Rank`], two regions among them: name, rank, and how to take each.
const LOCKS: [(&str, usize, Locked); 9] = [
    ("hotplug", 0, |memory, inner| {
        let _hotplug = memory.hotplug.lock();
        inner();
    }),
    ("migration", 1, |_, inner| ARENA.while_migrating(inner)),
    ("vmalloc arena", 2, |_, inner| ARENA.while_locked(inner)),
    ("page tables", 3, |memory, inner| {
        memory.with_tables(|_, _| inner());
    }),
    ("index, read", 4, |memory, inner| {
        let _index = memory.index.read();
        inner();
    }),
    ("index, written", 4, |memory, inner| {
        let _index = memory.index.write();
        inner();
    }),
    ("first region", 5, |memory, inner| {
        memory.locked(SlotNr(0), |_, _| inner());
    }),
    ("second region", 5, |memory, inner| {
        memory.locked(SlotNr(1), |_, _| inner());
    }),
    ("poison", 6, |memory, inner| memory.poison.while_locked(inner)),
];

/// Proves for every pair of locks that taking the second under the first panics unless it ranks later: two regions at a
/// time panic, as does the index under a region, or hotplug under the page tables. Fails when a lock has the wrong rank,
/// or none.
#[test]
fn an_inverted_order_panics() {
    let memory = booted(Support::Yes);
    for (first, outer_rank, outer) in LOCKS {
        for (second, inner_rank, inner) in LOCKS {
            let both = || outer(&memory, &|| inner(&memory, &|| {}));
            let result = catch_unwind(AssertUnwindSafe(both));
            assert_eq!(result.is_ok(), outer_rank < inner_rank, "{second} under {first}");
        }
    }
    assert_invariants(&memory);
}
