//! Single cases: borders, counters, and refused operations.

use super::*;

/// Allocates single frames, then everything, and frees all of it; the free blocks are the first blocks again.
fn use_and_free(pair: &mut Pair, singles: usize) {
    for _ in 0..singles {
        let Some(head) = pair.buddy().allocate(Order(0), BlockState::Movable, 0) else { break };
        pair.model.take(head, Order(0));
    }
    pair.compare();
    while let Some((head, order)) = pair.buddy().allocate_up_to(Order::MAX, BlockState::Pinned, 0) {
        pair.model.take(head, order);
    }
    pair.compare();
    assert_eq!(pair.model.free_pages(), 0);
    while !pair.model.heads().is_empty() {
        run(pair, &Op::Free(pair.usable.pages() / 2));
    }
    let first: Vec<_> = initial_blocks(pair.usable).collect();
    assert_eq!(pair.model.free(), first);
    pair.compare();
}

/// Proves condition 4 at both ends of runs whose outermost blocks have buddies outside: freeing them
/// reads no word outside (the machine would panic) and merges with nothing outside. Fails when a merge does not stop at
/// the run's border.
#[test]
fn merging_stays_inside_the_run() {
    for (start, end) in [(1, 8), (3, 5), (7, 9), (0, 2), (0x401, 0x800), (512, 1023), (127, 129)] {
        let usable = PfnRange::new(Pfn(start), Pfn(end));
        use_and_free(&mut Pair::new(usable), usable.pages() as usize);
    }
}

/// Proves condition 2: after everything was allocated and freed, exactly the groups that `init` opened are
/// open. Fails when a group partly outside closes, or when another one stays open.
#[test]
fn freeing_all_restores_the_initial_state() {
    for (start, end) in [(1024, 65536), (0x100400, 0x110000), (0x3fff, 0x8001), (0x10000, 0x20000)] {
        let mut pair = Pair::new(PfnRange::new(Pfn(start), Pfn(end)));
        let groups = |pair: &Pair| {
            let (buddy, mut groups) = (pair.buddy(), Vec::new());
            for order in (0..=buddy.max.0).map(Order) {
                let mut next = buddy.first(order);
                while let Some(group) = next {
                    groups.push(group);
                    next = buddy.next(group);
                }
            }
            groups.sort();
            groups
        };
        let before = groups(&pair);
        use_and_free(&mut pair, 2000);
        assert_eq!(groups(&pair), before);
    }
}

/// Proves condition 8: header and groups do not overlap and fill exactly the bytes reserved for them, for any start
/// of the run. Fails when a level is counted one group short.
#[test]
fn groups_do_not_overlap() {
    for start in (0..400).chain(16_200..16_500) {
        let usable = PfnRange::of(Pfn(start), 40_000);
        let (layout, top) = (MetadataLayout::of(usable, HEADER), level_of(max_order(usable)));
        let mut words = std::collections::BTreeSet::new();
        let header = header_bytes(max_order(usable)) / 8;
        assert!((0..header).all(|word| words.insert(HEADER.offset(8 * word))));
        for level in 0..=top {
            let groups = usable.start.0 >> (7 * (level + 1))..=(usable.end.0 - 1) >> (7 * (level + 1));
            for nr in groups {
                let at = layout.group(Group { level, nr });
                let count = [5, 9, 9, 7, 7][level as usize];
                assert!((0..count).all(|word| words.insert(at.offset(8 * word))), "{start}: {nr} of {level}");
            }
        }
        assert_eq!(words.len() as u64 * 8, MetadataLayout::bytes(usable));
        assert_eq!(words.last(), Some(&HEADER.offset(MetadataLayout::bytes(usable) - 8)));
        let written: Vec<_> = MetadataLayout::first_written(usable).collect();
        assert!(written.iter().all(|&at| at < MetadataLayout::bytes(usable)));
    }
}

/// Proves condition 9: a held block split at any frame becomes proper held blocks, each with its own rmap,
/// and freeing them merges them again. Fails when a half is lost, or has a wrong state or rmap.
#[test]
fn held_blocks_split() {
    for at in [1u64, 64, 127, 128, 129, 5000, 16384, 16385, 32767] {
        let mut pair = Pair::new(PfnRange::new(Pfn(0x8000), Pfn(0x18000)));
        let head = pair.buddy().allocate(Order(15), BlockState::Movable, 0x8000).unwrap();
        assert_eq!(head, Pfn(0x8000));
        pair.model.take(head, Order(15));
        let pfn = head.offset(at);
        pair.buddy().split_at(pfn, |rmap, pages| rmap + pages);
        pair.model.split(pfn);
        for head in pair.model.heads() {
            let found = pair.buddy().find(head).unwrap();
            assert_eq!((found.head, found.tag.state), (head, BlockState::Movable));
            assert_eq!(pair.buddy().rmap(&found), head.0);
        }
        // Free blocks are not split.
        pair.buddy().split_at(Pfn(0x17fff), |_, _| 0);
        while !pair.model.heads().is_empty() {
            run(&mut pair, &Op::Free(0));
        }
        pair.compare();
    }
}

/// Proves condition 5: a former head that merged into a larger block, from either side, cannot be freed again. Fails
/// when `free` trusts the descriptor, which still reads as allocated.
#[test]
fn freeing_twice_is_refused() {
    let pair = Pair::new(PfnRange::new(Pfn(0x1000), Pfn(0x1010)));
    let buddy = pair.buddy();
    let heads: Vec<_> = (0..16).filter_map(|_| buddy.allocate(Order(0), BlockState::Movable, 0)).collect();
    assert_eq!(heads.len(), 16);
    for order in [[3usize, 0, 1, 2], [1, 2, 3, 0]] {
        for index in order {
            assert_eq!(buddy.free(heads[index]), Ok(Order(0)));
        }
        for index in order {
            assert_eq!(buddy.free(heads[index]), Err(PageState::Free), "{:?}", heads[index]);
        }
        for _ in 0..4 {
            assert!(buddy.allocate(Order(0), BlockState::Movable, 0).is_some());
        }
    }
    assert_eq!(buddy.free(Pfn(0xfff)), Err(PageState::Memmap));
}

/// Proves condition 6: a free block merges with no buddy of the same order that is held, in any state. Fails when a
/// held block leaves a free bit.
#[test]
fn nothing_merges_across_states() {
    for state in
        [BlockState::Cached, BlockState::Isolated, BlockState::Offline, BlockState::Boot, BlockState::Pinned]
    {
        let pair = Pair::new(PfnRange::new(Pfn(0), Pfn(2)));
        let buddy = pair.buddy();
        let one = buddy.allocate(Order(0), BlockState::Movable, 0).unwrap();
        let other = buddy.allocate(Order(0), state, 0).unwrap();
        buddy.free(one).unwrap();
        assert_eq!((buddy.free_blocks(Order(0)), buddy.free_blocks(Order(1))), (1, 0));
        assert_eq!(buddy.find(other).unwrap().tag.state, state);
    }
}

/// Proves condition 7 on a 256 MiB DIMM at 4 GiB: all 64512 usable frames, six blocks, form one run of
/// proper blocks, and merge to the same six when freed. Fails when a run stops at a block's border.
#[test]
fn a_fresh_dimm_is_one_run() {
    let usable = PfnRange::new(Pfn(0x100400), Pfn(0x110000));
    let orders = [10u8, 11, 12, 13, 14, 15].map(Order);
    let blocks: Vec<_> = initial_blocks(usable).map(|(_, order)| order).collect();
    assert_eq!(blocks, orders);
    let pair = Pair::new(usable);
    let buddy = pair.buddy();
    assert_eq!(buddy.find_run(64512), Some(usable.start));
    assert_eq!(buddy.find_run(64513), None);
    buddy.alloc_range(usable, BlockState::Movable, 0).unwrap();
    assert_eq!(buddy.summary.free(), 0);
    let mut at = usable.start;
    for order in orders {
        assert_eq!(buddy.free(at), Ok(order));
        at = at.offset(order.pages());
    }
    pair.compare();
}

/// Proves condition 7 on runs of odd length, which extend beyond a large block to one side: the search finds them,
/// aligned blocks tile them, the rest stays free, and freeing restores the original blocks. Fails when a run extends to
/// one side only, or when a block crosses its border.
#[test]
fn runs_grow_to_both_sides() {
    for (start, end) in [(0x8000, 0x1_0008), (0x7ff8, 0x1_0000), (0x7ff1, 0x1_000f)] {
        let usable = PfnRange::new(Pfn(start), Pfn(end));
        let mut pair = Pair::new(usable);
        assert_eq!(pair.buddy().find_run(usable.pages()), Some(usable.start));
        assert_eq!(pair.buddy().find_run(usable.pages() + 1), None);
        let run = PfnRange::new(Pfn(start + 3), Pfn(end - 5));
        pair.buddy().alloc_range(run, BlockState::Movable, 0).unwrap();
        let mut at = run.start;
        while at < run.end {
            let found = pair.buddy().find(at).unwrap();
            assert_eq!((found.head, found.tag.state), (at, BlockState::Movable));
            assert!(at.is_aligned(found.tag.order) && run.contains_range(found.range()));
            pair.model.take(at, found.tag.order);
            at = found.range().end;
        }
        pair.compare();
        while !pair.model.heads().is_empty() {
            super::run(&mut pair, &Op::Free(usable.pages() / 2));
        }
        pair.compare();
        assert_eq!(pair.buddy().find_run(usable.pages()), Some(usable.start));
    }
}

/// Proves that `alloc_range` refuses a run that is not completely free or not completely inside, and changes nothing.
/// Fails when it allocates blocks before it has checked all of them.
#[test]
fn alloc_range_is_all_or_nothing() {
    let mut pair = Pair::new(PfnRange::new(Pfn(0x800), Pfn(0xc00)));
    pair.buddy().alloc_range(PfnRange::new(Pfn(0x900), Pfn(0x901)), BlockState::Movable, 0).unwrap();
    pair.model.take(Pfn(0x900), Order(0));
    for (start, end) in [(0x8ff, 0x901), (0x900, 0x902), (0x800, 0xc00), (0x7ff, 0x801), (0xbff, 0xc01)] {
        let run = PfnRange::new(Pfn(start), Pfn(end));
        assert_eq!(pair.buddy().alloc_range(run, BlockState::Pinned, 0), None, "{run:?}");
        pair.compare();
    }
}
