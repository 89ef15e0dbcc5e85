//! Tests of free page reporting: what is reported, how often, and that nothing else has it meanwhile.

use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;
use crate::buddy::tests::random::Random;
use crate::hot_remove::RemoveError;
use crate::info::{Holder, PageState};
use crate::poison::Mode;
use crate::reporting::{Answer, MAX_RUNS};
use crate::vmalloc::VmallocArena;

const PIECE: u64 = 512;

/// The pieces that a run of frames overlaps.
fn pieces(run: PfnRange) -> impl Iterator<Item = u64> {
    run.start.0 / PIECE..run.end.0.div_ceil(PIECE)
}

/// Reports everything, in batches; the runs.
fn report(memory: &Memory<SimMachine>, pages: u64) -> Vec<PfnRange> {
    let mut all = Vec::new();
    let mut from = Pfn(0);
    loop {
        let runs = memory.isolate_unreported(&mut from, MAX_RUNS, pages);
        if runs.is_empty() {
            return all;
        }
        for run in &runs {
            let page = memory.page(run.start);
            assert_eq!((page.state, page.holder), (PageState::Pinned, Holder::Reported));
            assert!(run.start.0.is_multiple_of(PIECE) && run.pages().is_multiple_of(PIECE), "{run}");
        }
        assert_invariants(memory);
        memory.return_reported(&runs, Answer::Reported);
        all.extend(runs);
    }
}

/// Proves that boot memory is reported once, that a fresh DIMM is not reported at all, that after any allocations
/// and frees exactly the free pieces of 2 MiB that were in use since are reported, and a second time nothing, in batches of
/// any size. Fails when a split, a merge or a frame cache loses a bit, or a closed group forgets that it was reported.
#[test]
fn free_pieces_are_reported_once() {
    for (seed, gib) in [(1, 1), (2, 9), (3, 20)] {
        let memory = booted(Support::Yes);
        let free = memory.totals();
        assert!(!report(&memory, 128 * MIB).is_empty(), "boot memory");
        assert_eq!(report(&memory, 128 * MIB), []);
        assert_eq!(memory.totals(), free);
        let id = plug(&memory, 0x100000, gib * GIB - 2 * MIB, 7).ids[0];
        assert_eq!(report(&memory, 128 * MIB), [], "nobody has used it");
        let mut random = Random(seed);
        let (mut resident, mut blocks) = (BTreeSet::new(), Vec::new());
        for turn in 0..60 {
            for _ in 0..random.below(40) {
                if random.below(2) == 0 && !blocks.is_empty() {
                    memory
                        .free_block(blocks.swap_remove(random.below(blocks.len() as u64) as usize))
                        .unwrap();
                    continue;
                }
                let order = Order([0, 0, 3, 6, 7, 9, 9, 10, 13, 14, 17][random.below(11) as usize]);
                let node = (random.below(2) == 0).then_some(NodeId(7));
                if let Some(block) = memory.allocate_block(order, node, Mobility::Movable) {
                    resident.extend(pieces(block.range()));
                    blocks.push(block.head);
                }
            }
            if turn % 20 == 19 {
                blocks.drain(..).for_each(|head| memory.free_block(head).map(|_| ()).unwrap());
            }
            let before = memory.totals();
            let reported = report(&memory, [PIECE, 64 * MIB, 1024 * MIB][random.below(3) as usize]);
            assert_eq!(memory.totals(), before);
            let mut from_caches = 0;
            for run in reported {
                // A closed group of 64 MiB is reported as a whole.
                let was_used = pieces(run).filter(|piece| resident.remove(piece)).count() > 0;
                from_caches += if was_used { 0 } else { run.pages() };
            }
            assert!(from_caches <= 64 * MIB, "turn {turn}: {from_caches} frames that nobody has used");
            memory.blocks(id, &mut |block| {
                let is_large = block.order.is_some_and(|order| order >= Order(9));
                if block.state == PageState::Free && is_large {
                    let left = pieces(block.range).find(|piece| resident.contains(piece));
                    assert_eq!(left, None, "turn {turn}: {block:?}");
                }
            });
            assert_eq!(report(&memory, 64 * MIB), [], "turn {turn}");
            assert_invariants(&memory);
        }
    }
}

/// Proves that memory which the device has cannot be allocated, and keeps its DIMM from leaving; that a failed report
/// is due again; and that nothing is reported while freed memory is poisoned. Fails when the device can discard memory in
/// use.
#[test]
fn reported_memory_is_isolated() {
    let memory = booted(Support::Yes);
    plug(&memory, 0x100000, 256 * MIB, 7);
    let run = memory.allocate_run(64512, Some(NodeId(7)), Mobility::Movable).unwrap();
    memory.free_run(run).unwrap();
    memory.set_poison(Mode::On);
    let block = memory.allocate_block(Order(9), Some(NodeId(7)), Mobility::Movable).unwrap();
    memory.free_block(block.head).unwrap();
    let mut from = Pfn(0x100000);
    assert!(memory.isolate_unreported(&mut from, MAX_RUNS, GIB).is_empty());
    memory.set_poison(Mode::Off);
    let runs = memory.isolate_unreported(&mut from, MAX_RUNS, GIB);
    let taken: u64 = runs.iter().map(|run| run.pages()).sum();
    assert!(taken >= 240 * MIB, "{runs:?}");
    let left = memory.allocate_run(64512 - taken + 1, Some(NodeId(7)), Mobility::Movable);
    assert_eq!(left, None);
    let arena = VmallocArena::new();
    let mut removal = memory.begin_remove(DeviceId(3), &|| 0).unwrap();
    let refused = memory.remove_step(&arena, &mut removal, 1, &|| 0).map(|_| ());
    assert!(matches!(refused, Err(RemoveError::Pinned(pinned)) if pinned.holder == Holder::Reported));
    memory.return_reported(&runs, Answer::Unknown);
    let mut from = Pfn(0x100000);
    let again = memory.isolate_unreported(&mut from, MAX_RUNS, GIB);
    assert_eq!(again.iter().map(|run| run.pages()).sum::<u64>(), taken);
    memory.return_reported(&again, Answer::Reported);
    assert_invariants(&memory);
    let run = memory.allocate_run(64512, Some(NodeId(7)), Mobility::Movable).unwrap();
    memory.free_run(run).unwrap();
}
