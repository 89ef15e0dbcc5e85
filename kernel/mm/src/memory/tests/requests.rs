//! What memory that comes and goes asks of the other CPUs, in requests: a flush of any number of pages is one, a barrier
//! on every CPU too.

use super::hot_remove::{insert, remove};
use super::*;
use crate::info::DeviceId;
use crate::vmalloc::VmallocArena;

/// DIMMs of every mix of leaves, in MiB: 4 KiB leaves of the vmemmap only, 2 MiB ones, 1 GiB ones of the direct map, and
/// each with a rest that shares tables with a neighbour.
const SIZES: [u64; 7] = [2, 62, 130, 1024, 1024 + 62, 3 * 1024 + 2, 64 * 1024];

/// Proves that an add sends no request to other CPUs, and that the removal of an unused DIMM of any size sends one, also
/// when it hands over tables shared with a neighbour. Fails if an add flushes absent entries, or if a mapping, a table
/// or a step of a removal has a separate flush.
#[test]
fn an_add_sends_no_request_and_a_removal_one() {
    for gib_leaves in [Support::No, Support::Yes] {
        for (neighbour, size) in SIZES.into_iter().flat_map(|size| [(false, size), (true, size)]) {
            let (memory, window) = (booted(gib_leaves), VmallocArena::new());
            let dimm = PfnRange::of(Pfn(0x100000), size * MIB);
            let requests = || memory.machine().counts().requests;
            memory.machine().plug(dimm);
            let before = requests();
            memory.add(DeviceId(1), &[request(dimm.start.0, dimm.pages(), 7)], &|| 0).unwrap();
            assert_eq!(requests() - before, 0, "add of {size} MiB");
            if neighbour {
                insert(&memory, 2, PfnRange::of(dimm.end, 62 * MIB), 7);
            }
            let before = requests();
            let removed = remove(&memory, &window, 1).unwrap();
            assert_eq!(
                requests() - before,
                1,
                "removal of {size} MiB, {gib_leaves:?}, neighbour {neighbour}"
            );
            assert_eq!(removed.pages, dimm.pages());
            memory.machine().unplug(dimm);
            assert_invariants(&memory);
        }
    }
}

/// Proves that a surprise removal makes at most two requests, whatever shared tables it rebuilds: one for the memory,
/// one for the allocations that lost some. Fails when each table or allocation is flushed for itself.
#[test]
fn a_surprise_removal_asks_twice() {
    let (memory, window) = (booted(Support::No), VmallocArena::new());
    let dimm = PfnRange::of(Pfn(0x100000), 130 * MIB);
    insert(&memory, 1, dimm, 7);
    insert(&memory, 2, PfnRange::of(dimm.end, 62 * MIB), 7);
    memory.machine().surprise_remove(dimm);
    let before = memory.machine().counts().requests;
    memory.surprise_remove(&window, DeviceId(1)).unwrap();
    assert!(memory.machine().counts().requests - before <= 2);
    assert_invariants(&memory);
}
