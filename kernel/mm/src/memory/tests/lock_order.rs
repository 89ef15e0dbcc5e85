//! The order of the core's own locks, which debug builds check.
#![cfg(debug_assertions)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// A lock of the core, taken for as long as `inner` runs.
type Taken = fn(&Memory<SimMachine>, &dyn Fn());

/// The core's locks in the order of [`carapace_lock::Rank`], a region of two twice, and how each is taken.
const LOCKS: [(&str, usize, Taken); 7] = [
    ("hotplug", 0, |memory, inner| {
        let _hotplug = memory.hotplug.lock();
        inner();
    }),
    ("page tables", 1, |memory, inner| {
        memory.with_tables(|_, _| inner());
    }),
    ("index, read", 2, |memory, inner| {
        let _index = memory.index.read();
        inner();
    }),
    ("index, written", 2, |memory, inner| {
        let _index = memory.index.write();
        inner();
    }),
    ("first region", 3, |memory, inner| {
        memory.locked(SlotNr(0), |_, _| inner());
    }),
    ("second region", 3, |memory, inner| {
        memory.locked(SlotNr(1), |_, _| inner());
    }),
    ("poison", 4, |memory, inner| memory.poison.while_locked(inner)),
];

/// Proves for every pair of the core's locks that the second may be taken under the first exactly when it comes later
/// in the order: two regions at a time panic, and so does the index under a region, or hotplug under the page tables.
/// Fails when one of the core's locks has the wrong rank, or none.
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
