//! The buddy against an eager model: a frame map from which the right free lists are computed anew.
//!
//! All run on [`Written`], a machine that has nothing but what was written: any read of a word that
//! was not written before panics with its address, which is stricter than memory full of junk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::address_space::direct;

/// A machine that knows only what was written.
struct Written {
    words: RefCell<HashMap<u64, u64>>,
}

impl Machine for Written {
    fn load(&self, at: VirtAddr) -> u64 {
        match self.words.borrow().get(&at.0) {
            Some(&word) => word,
            None => panic!("the word at {at} was never written"),
        }
    }

    fn store(&self, at: VirtAddr, value: u64) {
        self.words.borrow_mut().insert(at.0, value);
    }

    fn flush(&self, _at: VirtAddr) {}

    fn flush_all(&self) {}
}

/// A region on a [`Written`] machine and the model beside it.
struct Pair {
    machine: Written,
    summary: Summary,
    usable: PfnRange,
    /// The model: for each usable frame the head of the allocated block it is in.
    frames: Vec<Option<Pfn>>,
    /// The model: allocated blocks.
    blocks: Vec<(Pfn, Order)>,
}

impl Pair {
    fn new(usable: PfnRange) -> Pair {
        let pair = Pair {
            machine: Written { words: RefCell::new(HashMap::new()) },
            summary: Summary::new(),
            usable,
            frames: vec![None; usable.pages() as usize],
            blocks: Vec::new(),
        };
        pair.buddy().init();
        pair
    }

    fn buddy(&self) -> Buddy<'_, Written> {
        Buddy {
            machine: &self.machine,
            header: direct(Pfn(1).start()),
            usable: self.usable,
            max: max_order(self.usable),
            slot: SlotNr(7),
            summary: &self.summary,
        }
    }

    fn frame(&mut self, pfn: Pfn) -> &mut Option<Pfn> {
        &mut self.frames[(pfn.0 - self.usable.start.0) as usize]
    }

    fn is_free(&self, range: PfnRange) -> bool {
        self.usable.contains_range(range)
            && (range.start.0..range.end.0)
                .all(|pfn| self.frames[(pfn - self.usable.start.0) as usize].is_none())
    }

    /// The model takes a block; every frame of it must have been free.
    fn take(&mut self, head: Pfn, order: Order) {
        let range = PfnRange::of(head, order.pages());
        assert!(head.is_aligned(order), "{head:?} of {order:?}");
        assert!(self.is_free(range), "{range:?} was not free");
        (range.start.0..range.end.0).for_each(|pfn| *self.frame(Pfn(pfn)) = Some(head));
        self.blocks.push((head, order));
    }

    fn give(&mut self, place: usize) -> (Pfn, Order) {
        let (head, order) = self.blocks.swap_remove(place);
        (head.0..head.0 + order.pages()).for_each(|pfn| *self.frame(Pfn(pfn)) = None);
        (head, order)
    }

    /// The free blocks there must be: aligned, inside the run, maximal.
    fn expected(&self) -> Vec<(Pfn, Order)> {
        let mut blocks = Vec::new();
        let mut at = self.usable.start;
        while at < self.usable.end {
            let largest = (0..=Order::MAX.0).rev().map(Order).find(|&order| {
                order.pages() <= self.usable.end.0 - at.0
                    && at.is_aligned(order)
                    && self.is_free(PfnRange::of(at, order.pages()))
            });
            match largest {
                Some(order) => {
                    blocks.push((at, order));
                    at = at.offset(order.pages());
                }
                None => at = at.offset(1),
            }
        }
        blocks
    }

    /// Lists, counters and summary say exactly what the model says.
    fn compare(&self) {
        let buddy = self.buddy();
        let mut expected = self.expected();
        let mut listed = Vec::new();
        let mut orders = 0u64;
        for order in (0..=buddy.max.0).map(Order) {
            let before = listed.len();
            let mut next = buddy.first(order);
            while let Some(head) = next {
                listed.push((head, order));
                next = buddy.page(head).next();
            }
            assert_eq!(buddy.listed(order), (listed.len() - before) as u64, "{order:?}");
            orders |= u64::from(listed.len() > before) << order.0;
        }
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected);
        assert_eq!(buddy.summary.orders(), orders);
        let free: u64 = expected.iter().map(|(_, order)| order.pages()).sum();
        assert_eq!(buddy.summary.free(), free);
        let held = buddy.pages_in(State::Movable) + buddy.pages_in(State::Pinned);
        assert_eq!(held, self.usable.pages() - free);
    }

    /// The longest run of free frames.
    fn longest(&self) -> u64 {
        let runs = self.frames.split(|frame| frame.is_some());
        runs.map(|run| run.len() as u64).max().unwrap_or(0)
    }
}

/// One operation; the numbers pick among what is there.
#[derive(Clone, Debug)]
enum Op {
    Allocate(u8),
    UpTo(u8),
    Run(u64),
    Free(usize),
    Descend(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..11).prop_map(Op::Allocate),
        1 => (0u8..11).prop_map(Op::UpTo),
        2 => (1u64..700).prop_map(Op::Run),
        6 => any::<usize>().prop_map(Op::Free),
        2 => any::<u64>().prop_map(Op::Descend),
    ]
}

/// Starts and lengths that are awkward: any start, around powers of two, with odd ends.
fn usable() -> impl Strategy<Value = PfnRange> {
    (0u64..5000, 1u64..1400, any::<bool>()).prop_map(|(start, pages, high)| {
        let base = if high { 0x3_ffff_fc00 } else { 0x100 };
        PfnRange::of(Pfn(base + start), pages)
    })
}

fn run(pair: &mut Pair, op: &Op) {
    match *op {
        Op::Allocate(order) => {
            let order = Order(order);
            let fits = pair.expected().iter().any(|&(_, free)| free >= order);
            let got = pair.buddy().allocate(order, State::Movable, 1);
            assert_eq!(got.is_some(), fits, "{order:?}");
            if let Some(head) = got {
                pair.take(head, order);
            }
        }
        Op::UpTo(most) => {
            let largest = pair.expected().iter().map(|&(_, order)| order).max();
            let got = pair.buddy().allocate_up_to(Order(most), State::Pinned, 0);
            assert_eq!(got.map(|(_, order)| order), largest.map(|order| order.min(Order(most))));
            if let Some((head, order)) = got {
                pair.take(head, order);
            }
        }
        Op::Run(pages) => {
            let got = pair.buddy().find_run(pages);
            assert_eq!(got.is_some(), pair.longest() >= pages, "a run of {pages}");
            if let Some(start) = got {
                let run = PfnRange::of(start, pages);
                assert!(pair.is_free(run));
                pair.buddy().carve(run, State::Pinned, 2).unwrap();
                let mut at = run.start;
                while at < run.end {
                    let found = pair.buddy().find(at).unwrap();
                    assert_eq!((found.head, found.tag.state), (at, State::Pinned));
                    pair.take(at, found.tag.order);
                    at = found.range().end;
                }
                assert_eq!(at, run.end);
            }
        }
        Op::Free(place) if !pair.blocks.is_empty() => {
            let (head, order) = pair.give(place % pair.blocks.len());
            assert_eq!(pair.buddy().free(head), Ok(order));
        }
        Op::Free(_) => {}
        Op::Descend(place) => {
            let pfn = pair.usable.start.offset(place % pair.usable.pages());
            let found = pair.buddy().find(pfn).unwrap();
            assert!(found.range().contains(pfn));
            match *pair.frame(pfn) {
                Some(head) => {
                    assert_eq!(found.head, head);
                    assert!(pair.blocks.contains(&(head, found.tag.order)));
                }
                None => assert!(pair.expected().contains(&(found.head, found.tag.order))),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    /// Proves conditions 3 and 6: whatever is allocated, freed, carved and looked up, in regions of any
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
        while !pair.blocks.is_empty() {
            run(&mut pair, &Op::Free(0));
        }
        // Everything free again: exactly the first blocks.
        pair.compare();
        let first: Vec<_> = first_blocks(usable).collect();
        prop_assert_eq!(pair.expected(), first);
    }

    /// Proves conditions 1 and 2: first blocks tile the run in order, aligned, and none could be larger
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
            prop_assert_eq!(first_block_of(usable, Pfn(at.0 - 1)), (head, order));
        }
        prop_assert_eq!(at, usable.end);
        prop_assert!(of_order.iter().all(|&count| count <= 2));
    }
}

/// Proves condition 4 at both ends of a run whose outermost blocks have buddies outside: freeing them
/// reads no descriptor outside (the machine would panic) and merges nothing with it.
#[test]
fn merging_never_looks_outside_the_run() {
    for (start, end) in [(1, 8), (3, 5), (7, 9), (0x401, 0x800), (512, 1023), (1024, 65536)] {
        let mut pair = Pair::new(PfnRange::new(Pfn(start), Pfn(end)));
        while let Some(head) = pair.buddy().allocate(Order(0), State::Movable, 0) {
            pair.take(head, Order(0));
            if pair.blocks.len() > 2000 {
                break;
            }
        }
        while !pair.blocks.is_empty() {
            run(&mut pair, &Op::Free(0));
        }
        let first: Vec<_> = first_blocks(pair.usable).collect();
        assert_eq!(pair.expected(), first);
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
/// same order. Fails when `release` looks at the order alone.
#[test]
fn nothing_merges_across_states() {
    for state in [State::Cached, State::Isolated, State::Offline, State::Boot, State::Pinned] {
        let pair = Pair::new(PfnRange::new(Pfn(0), Pfn(2)));
        let buddy = pair.buddy();
        let one = buddy.allocate(Order(0), State::Movable, 0).unwrap();
        let other = buddy.allocate(Order(0), state, 0).unwrap();
        buddy.free(one).unwrap();
        assert_eq!(buddy.listed(Order(0)), 1);
        assert_eq!(buddy.listed(Order(1)), 0);
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
    pair.take(Pfn(0x900), Order(0));
    for (start, end) in [(0x8ff, 0x901), (0x900, 0x902), (0x800, 0xc00), (0x7ff, 0x801), (0xbff, 0xc01)] {
        let run = PfnRange::new(Pfn(start), Pfn(end));
        assert_eq!(pair.buddy().carve(run, State::Pinned, 0), None, "{run:?}");
        pair.compare();
    }
}
