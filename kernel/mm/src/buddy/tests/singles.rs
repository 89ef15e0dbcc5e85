//! Single movable frames in bulk.

use super::*;

/// The single movable frames of a region, by the walk that visits every block.
fn by_blocks(buddy: &Buddy<'_, Shadow>) -> Vec<Pfn> {
    let mut heads = Vec::new();
    buddy.walk(buddy.usable, |found| {
        if (found.tag.state, found.tag.order) == (BlockState::Movable, Order(0)) {
            heads.push(found.head);
        }
        Walk::Continue
    });
    heads
}

/// The same by [`Buddy::walk_singles`], `budget` blocks at a time; other blocks are stepped over one by one.
fn in_bulk(buddy: &Buddy<'_, Shadow>, budget: u64) -> Vec<Pfn> {
    let (mut heads, mut at) = (Vec::new(), buddy.usable.start);
    while at < buddy.usable.end {
        let mut left = budget;
        let before = heads.len() as u64;
        at = buddy.walk_singles(PfnRange::new(at, buddy.usable.end), &mut left, |head| {
            heads.push(head);
            if head.0.is_multiple_of(5) { Walk::Stop } else { Walk::Continue }
        });
        assert!(heads.len() as u64 - before <= budget - left);
        if let Some(found) = buddy.find(at).filter(|found| found.tag.order > Order(0)) {
            at = found.range().end;
        } else if left == budget {
            at = at.offset(1);
        }
    }
    heads
}

/// Frees `heads`, of which those in the region come first. Returns how many were single movable frames in use.
fn free_together(buddy: &Buddy<'_, Shadow>, heads: &[Pfn]) -> usize {
    let mut freed = Vec::new();
    let seen = buddy.free_singles(heads.iter().copied(), |run| freed.extend(run.each()));
    assert_eq!(seen, heads.iter().filter(|&&head| buddy.usable.contains(head)).count());
    assert!(freed.iter().all(|head| heads.contains(head)), "{heads:?} {freed:?}");
    freed.len()
}

proptest! {
    /// Proves that the single movable frames allocated, found and freed together are those that the model says, with their
    /// rmap words, wherever the region's borders and other blocks lie; that a frame is freed once; and that what is not in
    /// use, or behind the region, is left alone. Fails when a frame is skipped, counted twice, or freed unclaimed.
    #[test]
    fn singles_match_the_model(
        usable in usable(),
        ops in proptest::collection::vec(op(), 0..40),
        wanted in 0usize..300,
        budget in 1u64..40,
        kept in any::<u64>(),
    ) {
        let mut pair = Pair::new(usable);
        ops.iter().for_each(|op| run(&mut pair, op));
        let (free, mut heads) = (pair.model.free_pages() as usize, Vec::new());
        let count = pair.buddy().alloc_singles(wanted, |head| {
            heads.push(head);
            head.0 << 12
        });
        prop_assert_eq!((count, heads.len()), (wanted.min(free), wanted.min(free)));
        heads.iter().for_each(|&head| pair.model.take(head, Order(0)));
        pair.compare();
        let buddy = pair.buddy();
        prop_assert!(heads.iter().all(|&head| buddy.page(head).rmap() == head.0 << 12));
        prop_assert_eq!(in_bulk(&buddy, budget), by_blocks(&buddy));

        let is_kept = |head: &Pfn| kept >> (head.0 % 64) & 1 == 1;
        let mut freed: Vec<Pfn> = heads.iter().copied().filter(|head| !is_kept(head)).collect();
        freed.sort_unstable();
        let middle = freed.len() / 3;
        freed[middle..].reverse();
        prop_assert_eq!(free_together(&buddy, &freed), freed.len());
        prop_assert_eq!(free_together(&buddy, &freed), 0);
        freed.iter().for_each(|&head| { pair.model.give(head); });
        pair.compare();
        let kept: Vec<Pfn> = heads.iter().copied().filter(is_kept).collect();
        let behind = [usable.end];
        let rest = freed.first().into_iter().chain(&kept).chain(kept.first()).chain(&behind);
        let rest: Vec<Pfn> = rest.copied().collect();
        prop_assert_eq!(free_together(&pair.buddy(), &rest), kept.len());
        kept.iter().for_each(|&head| { pair.model.give(head); });
        pair.compare();
    }
}

/// Proves that of frames freed together those in the isolated part become isolated and the others free. Fails when the
/// quick way is taken there, which merges them.
#[test]
fn singles_beside_an_isolated_part() {
    let pair = Pair::new(PfnRange::new(Pfn(1000), Pfn(3000)));
    let mut heads = Vec::new();
    pair.buddy().alloc_singles(2000, |head| {
        heads.push(head);
        0
    });
    heads.sort_unstable();
    let isolated = PfnRange::new(Pfn(1500), Pfn(2500));
    let buddy = Buddy { isolated, ..pair.buddy() };
    assert_eq!(free_together(&buddy, &heads), 2000);
    for pfn in heads {
        let state = buddy.find(pfn).unwrap().tag.state;
        assert_eq!(
            state,
            if isolated.contains(pfn) { BlockState::Isolated } else { BlockState::Free },
            "{pfn:?}"
        );
    }
    let pages = [BlockState::Free, BlockState::Isolated, BlockState::Movable, BlockState::Cached];
    assert_eq!(pages.map(|state| buddy.pages_in(state)), [1000, 1000, 0, 0]);
}
