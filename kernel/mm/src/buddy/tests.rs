//! The buddy against an eager model ([`model`]), on a machine that checks every read.
//!
//! All run on [`Shadow`], a machine that has nothing but what was written: any read of a word that
//! was not written before panics with its address, which is stricter than memory full of junk.

mod long;
mod model;

use std::cell::Cell;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::address_space::{DESCRIPTOR_SIZE, descriptor, direct};
use model::Model;

/// Where the header lies: a page of its own.
const HEADER: VirtAddr = direct(Pfn(1).start());

/// The descriptors of one run and a header, with a shadow that tells which words were written.
struct Shadow {
    first: VirtAddr,
    words: Vec<Cell<u64>>,
    written: Vec<Cell<bool>>,
}

impl Shadow {
    fn new(usable: PfnRange) -> Shadow {
        let words = 512 + (usable.pages() * DESCRIPTOR_SIZE / 8) as usize;
        Shadow {
            first: descriptor(usable.start),
            words: vec![Cell::new(0x6a6a_6a6a_6a6a_6a6a); words],
            written: vec![Cell::new(false); words],
        }
    }

    /// The place of a word: the header's page, then the descriptors of the run. There is nothing else.
    fn place(&self, at: VirtAddr) -> usize {
        let (header, descriptor) = (at.0.wrapping_sub(HEADER.0) / 8, at.0.wrapping_sub(self.first.0) / 8);
        let place = if header < 512 { header } else { 512 + descriptor } as usize;
        assert!(place < self.words.len(), "{at} is no word of the region");
        place
    }
}

impl Machine for Shadow {
    fn load(&self, at: VirtAddr) -> u64 {
        let place = self.place(at);
        assert!(self.written[place].get(), "the word at {at} was never written");
        self.words[place].get()
    }

    fn store(&self, at: VirtAddr, value: u64) {
        let place = self.place(at);
        self.words[place].set(value);
        self.written[place].set(true);
    }

    fn flush(&self, _at: VirtAddr) {}

    fn flush_all(&self) {}
}

/// A region on a [`Shadow`] machine and the model beside it.
struct Pair {
    machine: Shadow,
    summary: Summary,
    usable: PfnRange,
    model: Model,
}

impl Pair {
    fn new(usable: PfnRange) -> Pair {
        let pair =
            Pair { machine: Shadow::new(usable), summary: Summary::new(), usable, model: Model::new(usable) };
        let written = pair.buddy().init();
        assert!(written <= 2 * LEVELS as u64, "{written} descriptors");
        pair
    }

    fn buddy(&self) -> Buddy<'_, Shadow> {
        Buddy {
            machine: &self.machine,
            header: HEADER,
            usable: self.usable,
            max: max_order(self.usable),
            slot: SlotNr(7),
            summary: &self.summary,
            isolated: PfnRange::default(),
        }
    }

    /// Lists, counters and summary say exactly what the model says.
    fn compare(&self) {
        let buddy = self.buddy();
        let mut listed = Vec::new();
        for order in (0..=buddy.max.0).map(Order) {
            let mut next = buddy.first(order);
            assert_eq!(next.is_some(), buddy.summary.orders() >> order.0 & 1 == 1, "{order:?}");
            while let Some(group) = next {
                assert!(buddy.belongs(group, order), "{group:?} in the list of {order:?}");
                listed.extend(buddy.free_blocks_of(group));
                next = buddy.next(group);
            }
            assert_eq!(buddy.listed(order), self.model.blocks()[order.0 as usize], "{order:?}");
        }
        listed.sort();
        assert_eq!(listed, self.model.free());
        for at in self.model.heads().into_iter().chain(listed.into_iter().map(|(head, _)| head)) {
            assert_eq!(buddy.find(at).map(|found| found.head), Some(at));
        }
        assert_eq!(buddy.summary.highest(), self.model.highest());
        assert_eq!(buddy.summary.free(), self.model.free_pages());
        let held = [State::Movable, State::Pinned, State::Offline].map(|state| buddy.pages_in(state));
        assert_eq!(held.iter().sum::<u64>(), self.usable.pages() - self.model.free_pages());
    }
}

/// One operation; the numbers pick among what is there.
#[derive(Clone, Debug)]
enum Op {
    Allocate(u8),
    UpTo(u8),
    Run(u64),
    Free(u64),
    Split(u64),
    Descend(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..16).prop_map(Op::Allocate),
        1 => (0u8..16).prop_map(Op::UpTo),
        2 => (0u32..15, any::<u64>()).prop_map(|(order, more)| Op::Run((1 << order) + more % (1 << order))),
        6 => any::<u64>().prop_map(Op::Free),
        1 => any::<u64>().prop_map(Op::Split),
        2 => any::<u64>().prop_map(Op::Descend),
    ]
}

/// A frame number near a multiple of what a group has, or any.
fn border() -> impl Strategy<Value = u64> {
    let beside = |order: u32| {
        (0u64..4, 0u64..300).prop_map(move |(n, off)| (((n + 1) << order) + off).saturating_sub(150))
    };
    prop_oneof![0u64..60_000, beside(7), beside(14), beside(15)]
}

/// Runs that are awkward: from any frame to any other, at the very bottom and at the very top of memory.
fn usable() -> impl Strategy<Value = PfnRange> {
    (border(), border(), any::<bool>()).prop_map(|(one, other, high)| {
        let (start, end) = (one.min(other), one.max(other) + 1);
        let top = crate::addr::MAX_PFN.0;
        if high {
            PfnRange::new(Pfn(top - end), Pfn(top - start))
        } else {
            PfnRange::new(Pfn(start), Pfn(end))
        }
    })
}

fn run(pair: &mut Pair, op: &Op) {
    match *op {
        Op::Allocate(order) => {
            let order = Order(order);
            let fits = pair.model.highest().is_some_and(|highest| highest >= order);
            let got = pair.buddy().allocate(order, State::Movable, 1);
            assert_eq!(got.is_some(), fits, "{order:?}");
            if let Some(head) = got {
                pair.model.take(head, order);
            }
        }
        Op::UpTo(most) => {
            let largest = pair.model.highest().map(|order| order.min(Order(most)));
            let got = pair.buddy().allocate_up_to(Order(most), State::Pinned, 0);
            assert_eq!(got.map(|(_, order)| order), largest);
            if let Some((head, order)) = got {
                pair.model.take(head, order);
            }
        }
        Op::Run(pages) => {
            let got = pair.buddy().find_run(pages);
            assert_eq!(got.is_some(), pair.model.longest() >= pages, "a run of {pages}");
            if let Some(start) = got {
                let run = PfnRange::of(start, pages);
                pair.buddy().carve(run, State::Offline, 2).unwrap();
                let mut at = run.start;
                while at < run.end {
                    let found = pair.buddy().find(at).unwrap();
                    assert_eq!((found.head, found.tag.state), (at, State::Offline));
                    pair.model.take(at, found.tag.order);
                    at = found.range().end;
                }
                assert_eq!(at, run.end);
            }
        }
        Op::Free(place) => {
            let pfn = pair.usable.start.offset(place % pair.usable.pages());
            let Some(head) = pair.model.head_near(pfn) else { return };
            let state = pair.buddy().find(head).unwrap().tag.state;
            let order = pair.model.give(head);
            if state == State::Offline {
                assert_eq!(pair.buddy().free(head), Err(PageState::Offline));
                assert_eq!(pair.buddy().release_held(head), Ok(order));
            } else {
                assert_eq!(pair.buddy().free(head), Ok(order));
            }
        }
        Op::Split(place) => {
            let pfn = pair.usable.start.offset(place % pair.usable.pages());
            let before = pair.buddy().find(pfn).unwrap();
            pair.buddy().split_at(pfn, |holder, pages| holder + pages);
            if before.tag.state != State::Free {
                pair.model.split(pfn);
                let found = pair.buddy().find(pfn).unwrap();
                assert_eq!((found.head, found.tag.state), (pfn, before.tag.state));
                let holder = |head| pair.buddy().page(head).holder();
                assert_eq!(holder(pfn) - holder(before.head), pfn.0 - before.head.0);
            }
        }
        Op::Descend(place) => {
            let pfn = pair.usable.start.offset(place % pair.usable.pages());
            let found = pair.buddy().find(pfn).unwrap();
            let is_free = found.tag.state == State::Free;
            let block = if is_free { pair.model.free_at(pfn) } else { pair.model.held_at(pfn) };
            assert_eq!(block, Some((found.head, found.tag.order)), "{pfn:?}");
        }
    }
}

proptest! {
    /// Proves conditions 3 and 6: whatever is allocated, freed, carved, split and looked up, in regions of any
    /// start and length, lists and counters are those of the eager model, and no word is read that
    /// was not written. Fails when a split forgets a half, a merge is missed, or a list breaks.
    #[test]
    fn random_operations_match_the_eager_model(
        usable in usable(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut pair = Pair::new(usable);
        pair.compare();
        for op in &ops {
            run(&mut pair, op);
            pair.compare();
        }
    }

    /// Proves condition 1: first blocks tile the run in order, aligned, and none could be larger
    /// where it starts; at most two of each order. Fails when an order is capped or alignment lost.
    #[test]
    fn first_blocks_are_greedy_and_maximal(start in 0u64..1 << 34, pages in 1u64..1 << 33) {
        let usable = PfnRange::of(Pfn(start), pages);
        let mut at = usable.start;
        let mut of_order = [0; Order::COUNT];
        for (head, order) in first_blocks(usable) {
            prop_assert_eq!(head, at);
            prop_assert!(head.is_aligned(order));
            at = head.offset(order.pages());
            prop_assert!(at <= usable.end);
            let larger = Order(order.0 + 1);
            prop_assert!(!head.is_aligned(larger) || larger.pages() > usable.end.0 - head.0);
            of_order[order.0 as usize] += 1;
        }
        prop_assert_eq!(at, usable.end);
        prop_assert!(of_order.iter().all(|&count| count <= 2));
    }
}

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
    let first: Vec<_> = first_blocks(pair.usable).collect();
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
            groups.sort_by_key(|group| group.home());
            groups
        };
        let before = groups(&pair);
        use_and_free(&mut pair, 2000);
        assert_eq!(groups(&pair), before);
    }
}

/// Proves condition 8: homes are usable frames, and no two open groups share one, for any start of the run.
/// Fails when a home leaves its group or a level's home falls onto another's.
#[test]
fn homes_are_usable_and_apart() {
    for start in (0..400).chain(16_200..16_500) {
        let usable = PfnRange::of(Pfn(start), 40_000);
        let machine = Shadow::new(PfnRange::of(Pfn(0), 1));
        let (max, summary) = (max_order(usable), Summary::new());
        let buddy = Buddy {
            machine: &machine,
            header: HEADER,
            usable,
            max,
            slot: SlotNr(0),
            summary: &summary,
            isolated: PfnRange::default(),
        };
        let mut homes = std::collections::BTreeSet::new();
        for level in 0..=buddy.top() {
            let child = Order(level * 7).pages();
            let first = (usable.start.0.next_multiple_of(child)..usable.end.0).step_by(128 * child as usize);
            let border = (level == 0).then_some(usable.start.0);
            let mut groups: Vec<_> =
                border.into_iter().chain(first).map(|at| buddy.group(Pfn(at), level)).collect();
            groups.dedup();
            for group in groups {
                let span = PfnRange::of(group.start(), 128 * child);
                assert!(usable.contains(group.home()) && span.contains(group.home()), "{start}: {group:?}");
                assert!(homes.insert(group.home()), "{start}: {group:?} is not alone");
            }
        }
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
            assert_eq!(pair.buddy().page(head).holder(), head.0);
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
    let blocks: Vec<_> = first_blocks(usable).map(|(_, order)| order).collect();
    assert_eq!(blocks, orders);
    let pair = Pair::new(usable);
    let buddy = pair.buddy();
    assert_eq!(buddy.find_run(64512), Some(usable.start));
    assert_eq!(buddy.find_run(64513), None);
    buddy.carve(usable, State::Movable, 0).unwrap();
    assert_eq!(buddy.summary.free(), 0);
    let mut at = usable.start;
    for order in orders {
        assert_eq!(buddy.free(at), Ok(order));
        at = at.offset(order.pages());
    }
    pair.compare();
}

/// Proves that carving refuses a run that is not wholly free or not wholly inside, changing nothing.
/// Fails when it takes blocks before it has looked at all of them.
#[test]
fn carving_is_all_or_nothing() {
    let mut pair = Pair::new(PfnRange::new(Pfn(0x800), Pfn(0xc00)));
    pair.buddy().carve(PfnRange::new(Pfn(0x900), Pfn(0x901)), State::Movable, 0).unwrap();
    pair.model.take(Pfn(0x900), Order(0));
    for (start, end) in [(0x8ff, 0x901), (0x900, 0x902), (0x800, 0xc00), (0x7ff, 0x801), (0xbff, 0xc01)] {
        let run = PfnRange::new(Pfn(start), Pfn(end));
        assert_eq!(pair.buddy().carve(run, State::Pinned, 0), None, "{run:?}");
        pair.compare();
    }
}
