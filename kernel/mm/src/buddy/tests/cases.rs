//! Single cases: borders, counters, and what is refused.

use super::*;

/// Single frames and then all blocks come back, and what is free is the first blocks again.
fn use_and_free(pair: &mut Pair, singles: usize) {
    for _ in 0..singles {
        let Some(head) = pair.buddy().allocate(Order(0), State::Movable, 0) else { break };
        pair.model.take(head, Order(0));
    }
    pair.compare();
    while let Some((head, order)) = pair.buddy().allocate_up_to(Order::MAX, State::Pinned, 0) {
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

/// Proves condition 4 at both ends of a run whose outermost blocks have buddies outside: freeing them
/// reads no descriptor outside (the machine would panic) and merges nothing with it.
#[test]
fn merging_never_looks_outside_the_run() {
    for (start, end) in [(1, 8), (3, 5), (7, 9), (0, 2), (0x401, 0x800), (512, 1023), (127, 129)] {
        let usable = PfnRange::new(Pfn(start), Pfn(end));
        use_and_free(&mut Pair::new(usable), usable.pages() as usize);
    }
}

/// Proves condition 2: with everything held and everything free again the groups that were opened first are
/// open still, and nothing is open but them. Fails when a group closes that is partly outside, or one stays.
#[test]
fn everything_comes_back() {
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

/// Proves condition 8: the words of no two groups meet, nor any the header, and all lie in the room, for any start
/// of the run. Fails when a level is counted one group short.
#[test]
fn groups_lie_apart_in_their_room() {
    for start in (0..400).chain(16_200..16_500) {
        let usable = PfnRange::of(Pfn(start), 40_000);
        let (room, top) = (MetadataLayout::of(usable, HEADER), level_of(max_order(usable)));
        let mut words = std::collections::BTreeSet::new();
        let header = header_bytes(max_order(usable)) / 8;
        assert!((0..header).all(|word| words.insert(HEADER.offset(8 * word))));
        for level in 0..=top {
            let groups = usable.start.0 >> (7 * (level + 1))..=(usable.end.0 - 1) >> (7 * (level + 1));
            for nr in groups {
                let at = room.group(Group { level, nr });
                let many = if level == 0 { 5 } else { 7 };
                assert!((0..many).all(|word| words.insert(at.offset(8 * word))), "{start}: {nr} of {level}");
            }
        }
        assert_eq!(words.len() as u64 * 8, MetadataLayout::bytes(usable));
        assert_eq!(words.last(), Some(&HEADER.offset(MetadataLayout::bytes(usable) - 8)));
        let written: Vec<_> = MetadataLayout::first_written(usable).collect();
        assert!(written.iter().all(|&at| at < MetadataLayout::bytes(usable)));
    }
}

/// Proves condition 9: a held block split at any frame is made of proper held blocks with holders of their own,
/// and they come back as one. Fails when a half is lost, or has the state or the holder of nobody.
#[test]
fn held_blocks_split() {
    for at in [1u64, 64, 127, 128, 129, 5000, 16384, 16385, 32767] {
        let mut pair = Pair::new(PfnRange::new(Pfn(0x8000), Pfn(0x18000)));
        let head = pair.buddy().allocate(Order(15), State::Movable, 0x8000).unwrap();
        assert_eq!(head, Pfn(0x8000));
        pair.model.take(head, Order(15));
        let pfn = head.offset(at);
        pair.buddy().split_at(pfn, |holder, pages| holder + pages);
        pair.model.split(pfn);
        for head in pair.model.heads() {
            let found = pair.buddy().find(head).unwrap();
            assert_eq!((found.head, found.tag.state), (head, State::Movable));
            assert_eq!(pair.buddy().page(head).rmap(), head.0);
        }
        // What is free is left as it is.
        pair.buddy().split_at(Pfn(0x17fff), |_, _| 0);
        while !pair.model.heads().is_empty() {
            run(&mut pair, &Op::Free(0));
        }
        pair.compare();
    }
}

/// Proves condition 5: a head that merged into a larger block, from either side, is not taken for
/// an allocated one. Fails when a free leaves "allocated" in the descriptor of what it merged.
#[test]
fn freeing_twice_is_refused() {
    let pair = Pair::new(PfnRange::new(Pfn(0x1000), Pfn(0x1010)));
    let buddy = pair.buddy();
    let heads: Vec<_> = (0..16).filter_map(|_| buddy.allocate(Order(0), State::Movable, 0)).collect();
    assert_eq!(heads.len(), 16);
    for order in [[3usize, 0, 1, 2], [1, 2, 3, 0]] {
        for place in order {
            assert_eq!(buddy.free(heads[place]), Ok(Order(0)));
        }
        for place in order {
            assert_eq!(buddy.free(heads[place]), Err(PageState::Free), "{:?}", heads[place]);
        }
        for _ in 0..4 {
            assert!(buddy.allocate(Order(0), State::Movable, 0).is_some());
        }
    }
    assert_eq!(buddy.free(Pfn(0xfff)), Err(PageState::Memmap));
}

/// Proves condition 6: a free block does not merge with a buddy in any state but free, though that has the
/// same order. Fails when what is held leaves a free bit.
#[test]
fn nothing_merges_across_states() {
    for state in [State::Cached, State::Isolated, State::Offline, State::Boot, State::Pinned] {
        let pair = Pair::new(PfnRange::new(Pfn(0), Pfn(2)));
        let buddy = pair.buddy();
        let one = buddy.allocate(Order(0), State::Movable, 0).unwrap();
        let other = buddy.allocate(Order(0), state, 0).unwrap();
        buddy.free(one).unwrap();
        assert_eq!((buddy.listed(Order(0)), buddy.listed(Order(1))), (1, 0));
        assert_eq!(buddy.find(other).unwrap().tag.state, state);
    }
}

/// Proves condition 7 on the proposal's DIMM: all 64512 usable frames, six blocks, come as one run of
/// proper blocks, and go back to the same six. Fails when a run stops at a block's border.
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
    buddy.alloc_range(usable, State::Movable, 0).unwrap();
    assert_eq!(buddy.summary.free(), 0);
    let mut at = usable.start;
    for order in orders {
        assert_eq!(buddy.free(at), Ok(order));
        at = at.offset(order.pages());
    }
    pair.compare();
}

/// Proves condition 7 on runs of odd size, which only the blocks to one side of the large one complete: they are found
/// where they are, consist of blocks aligned to their size that tile them, leave the rest free, and come back as what
/// was there. Fails when a run grows to one side only, or has a block across its border.
#[test]
fn runs_grow_to_both_sides() {
    for (start, end) in [(0x8000, 0x1_0008), (0x7ff8, 0x1_0000), (0x7ff1, 0x1_000f)] {
        let usable = PfnRange::new(Pfn(start), Pfn(end));
        let mut pair = Pair::new(usable);
        assert_eq!(pair.buddy().find_run(usable.pages()), Some(usable.start));
        assert_eq!(pair.buddy().find_run(usable.pages() + 1), None);
        let run = PfnRange::new(Pfn(start + 3), Pfn(end - 5));
        pair.buddy().alloc_range(run, State::Movable, 0).unwrap();
        let mut at = run.start;
        while at < run.end {
            let found = pair.buddy().find(at).unwrap();
            assert_eq!((found.head, found.tag.state), (at, State::Movable));
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

/// Proves that carving refuses a run that is not wholly free or not wholly inside, changing nothing.
/// Fails when it takes blocks before it has looked at all of them.
#[test]
fn carving_is_all_or_nothing() {
    let mut pair = Pair::new(PfnRange::new(Pfn(0x800), Pfn(0xc00)));
    pair.buddy().alloc_range(PfnRange::new(Pfn(0x900), Pfn(0x901)), State::Movable, 0).unwrap();
    pair.model.take(Pfn(0x900), Order(0));
    for (start, end) in [(0x8ff, 0x901), (0x900, 0x902), (0x800, 0xc00), (0x7ff, 0x801), (0xbff, 0xc01)] {
        let run = PfnRange::new(Pfn(start), Pfn(end));
        assert_eq!(pair.buddy().alloc_range(run, State::Pinned, 0), None, "{run:?}");
        pair.compare();
    }
}
