//! Two CPUs that allocate single frames in turns.

use super::*;
use crate::frame_cache::{FrameCache, SizeClass};
use crate::info::ResourceId;

/// Allocates `count` frames by each of two CPUs, one frame at a time in turns. Returns the frames of each, and how
/// often one accessed a line of level 0 that the other one had written to last.
fn in_turns(pair: &Pair, count: usize) -> ([Vec<Pfn>; 2], usize) {
    let caches = [const { FrameCache::new() }; 2];
    let mut frames = [const { Vec::new() }; 2];
    for turn in 0..2 * count {
        let (cache, buddy) = (&caches[turn % 2], pair.buddy());
        pair.machine.cpu.set(CpuNr::new(turn % 2).unwrap());
        let pop = || cache.popped(&pair.machine, SizeClass::Single);
        let refill = || cache.refilled(ResourceId(0), &buddy, SizeClass::Single).then(pop).flatten();
        frames[turn % 2].push(pop().or_else(refill).unwrap());
    }
    let groups = pair.buddy().metadata;
    let line = |pfn| pair.machine.index_of(groups.group(Group::of(pfn, 0))) / 8;
    let lines = &pair.machine.lines[line(pair.usable.start)..=line(pair.usable.last())];
    (frames, lines.iter().map(|line| line.get().1).sum())
}

/// Proves that two CPUs which allocate frames in turns seldom access the same lines of the groups' words: each goes on
/// in a cluster of its own, while there are clusters. Fails when one of them opens the group beside the other's, as the
/// smallest free block is.
#[test]
fn two_cpus_open_groups_apart() {
    let pair = Pair::new(PfnRange::new(Pfn(1 << 14), Pfn(1 << 16)));
    let count = 64 * 128;
    let (frames, transfers) = in_turns(&pair, count);
    assert!(transfers < count / 20, "{transfers} for {count} frames of each");
    let cluster = |pfn: Pfn| pfn.0 >> 10;
    let [one, other] =
        frames.map(|frames| frames.into_iter().map(cluster).collect::<std::collections::BTreeSet<_>>());
    assert!(one.intersection(&other).count() <= 2, "{one:?} {other:?}");
    assert!(one.len() + other.len() <= 2 * count / 1024 + 4, "clusters are used up");
}

/// Proves that all frames are found when whole clusters have run out, and that one CPU alone uses the smallest free
/// blocks, as without clusters. Fails when a CPU insists on a cluster.
#[test]
fn opening_apart_wastes_nothing() {
    let usable = PfnRange::of(Pfn((1 << 14) + 5), 22 * 128);
    let (frames, _) = in_turns(&Pair::new(usable), 11 * 128);
    let all: std::collections::BTreeSet<Pfn> = frames.into_iter().flatten().collect();
    assert_eq!(all.len(), 22 * 128);
    let pair = Pair::new(PfnRange::new(Pfn(1 << 14), Pfn(1 << 16)));
    let cache = FrameCache::new();
    for order in [7, 8, 9] {
        assert!(cache.refilled(ResourceId(0), &pair.buddy(), SizeClass::Single));
        while cache.popped(&pair.machine, SizeClass::Single).is_some() {}
        assert!(pair.buddy().allocate(Order(order), BlockState::Movable, 0).is_some());
    }
    let left = pair.buddy().summary.highest();
    assert_eq!(left, Some(Order(15)), "the first 2^14 frames suffice");
}
