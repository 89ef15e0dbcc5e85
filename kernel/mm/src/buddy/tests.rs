//! The buddy allocator compared with an eager model ([`model`]), on a machine that checks every read.
//!
//! All tests run on [`Shadow`], which panics with the address on every read of an unwritten word:
//! stricter than memory full of junk.

mod apart;
mod cases;
mod claim;
mod every;
pub(crate) mod model;
mod owner;
pub(crate) mod random;
mod singles;
mod stress;

use std::cell::Cell;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::addr::VirtAddr;
use crate::address_space::{DESCRIPTOR_SIZE, descriptor, direct};
use crate::machine::CpuNr;
use group::LEVELS;
use model::Model;

/// The address of header and groups: in separate pages.
const HEADER: VirtAddr = direct(Pfn(1).start());

/// The descriptors of one run, header and groups, with a record of the words that were written.
struct Shadow {
    first: VirtAddr,
    /// The number of words of header and groups.
    metadata: u64,
    words: Vec<Cell<u64>>,
    /// The last address of [`Machine::prefetch`].
    hint: Cell<Option<VirtAddr>>,
    /// The CPU that runs.
    cpu: Cell<CpuNr>,
    /// For each cache line, the CPU that wrote to it last, and how often another one accessed it then.
    lines: Vec<Cell<(CpuNr, usize)>>,
    written: Vec<Cell<bool>>,
}

impl Shadow {
    fn new(usable: PfnRange) -> Shadow {
        let metadata = MetadataLayout::bytes(usable) / 8;
        let words = (metadata + usable.pages() * DESCRIPTOR_SIZE / 8) as usize;
        Shadow {
            first: descriptor(usable.start),
            metadata,
            hint: Cell::new(None),
            cpu: Cell::new(CpuNr::FIRST),
            lines: vec![Cell::new((CpuNr::FIRST, 0)); words / 8 + 1],
            words: vec![Cell::new(0x6a6a_6a6a_6a6a_6a6a); words],
            written: vec![Cell::new(false); words],
        }
    }

    fn access_line(&self, word: usize, writes: bool) {
        let (line, cpu) = (&self.lines[word / 8], self.cpu.get());
        let (writer, transfers) = line.get();
        line.set((if writes { cpu } else { writer }, transfers + usize::from(writer != cpu)));
    }

    /// Returns the index of a word: header and groups first, then the descriptors of the run.
    fn index_of(&self, at: VirtAddr) -> usize {
        let (header, descriptor) = (at.0.wrapping_sub(HEADER.0) / 8, at.0.wrapping_sub(self.first.0) / 8);
        let index = if header < self.metadata { header } else { self.metadata + descriptor } as usize;
        assert!(index < self.words.len(), "{at} is not a word of the region");
        index
    }
}

#[expect(unsafe_code, reason = "an implementation of the trait: no unsafe block")]
// SAFETY: its words are entries of collections of the host, found by checked look-ups: no address harms anything.
unsafe impl Machine for Shadow {
    fn load(&self, at: VirtAddr) -> u64 {
        let index = self.index_of(at);
        assert!(self.written[index].get(), "read of the unwritten word at {at}");
        self.access_line(index, false);
        self.words[index].get()
    }

    fn store(&self, at: VirtAddr, value: u64) {
        let index = self.index_of(at);
        self.access_line(index, true);
        self.words[index].set(value);
        self.written[index].set(true);
    }

    fn prefetch(&self, at: VirtAddr) {
        self.hint.set(Some(at));
    }

    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64 {
        let word = self.load(at);
        self.store(at, word | bits);
        word
    }

    fn fetch_xor(&self, at: VirtAddr, bits: u64) -> u64 {
        let word = self.load(at);
        self.store(at, word ^ bits);
        word
    }

    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64 {
        let word = self.load(at);
        self.store(at, word & bits);
        word
    }

    fn flush(&self, _pages: &[VirtAddr]) {}

    fn flush_all(&self) {}

    fn flush_local(&self, _at: VirtAddr) {}

    fn fence_all(&self) {}

    fn fence_light(&self) {}

    fn cpu(&self) -> CpuNr {
        self.cpu.get()
    }
}

/// A region on a [`Shadow`] machine and its model.
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
        assert!(written <= 2 * LEVELS as u64, "{written} groups");
        pair
    }

    fn buddy(&self) -> Buddy<'_, Shadow> {
        Buddy {
            machine: &self.machine,
            metadata: MetadataLayout::of(self.usable, HEADER),
            usable: self.usable,
            max: max_order(self.usable),
            slot: SlotNr(7),
            summary: &self.summary,
            isolated: PfnRange::default(),
        }
    }

    /// Asserts that lists, counters and summary equal those of the model.
    fn compare(&self) {
        let buddy = self.buddy();
        let mut listed = Vec::new();
        for order in (0..=buddy.max.0).map(Order) {
            let mut next = buddy.first(order);
            assert_eq!(next.is_some(), buddy.summary.orders() >> order.0 & 1 == 1, "{order:?}");
            while let Some(group) = next {
                assert!(buddy.is_in_right_list(group, order), "{group:?} in the list of {order:?}");
                listed.extend(buddy.free_blocks_of(group));
                next = buddy.next(group);
            }
            assert_eq!(buddy.free_blocks(order), self.model.blocks()[order.0 as usize], "{order:?}");
        }
        listed.sort();
        assert_eq!(listed, self.model.free());
        for at in self.model.heads().into_iter().chain(listed.into_iter().map(|(head, _)| head)) {
            assert_eq!(buddy.find(at).map(|found| found.head), Some(at));
        }
        assert_eq!(buddy.summary.highest(), self.model.highest());
        assert_eq!(buddy.summary.free(), self.model.free_pages());
        let held =
            [BlockState::Movable, BlockState::Pinned, BlockState::Offline].map(|state| buddy.pages_in(state));
        assert_eq!(held.iter().sum::<u64>(), self.usable.pages() - self.model.free_pages());
    }
}

/// One operation; the numbers select among the existing blocks or frames.
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

/// A frame number near the border of a group, or any.
fn border() -> impl Strategy<Value = u64> {
    let beside = |order: u32| {
        (0u64..4, 0u64..300).prop_map(move |(n, off)| (((n + 1) << order) + off).saturating_sub(150))
    };
    prop_oneof![0u64..60_000, beside(7), beside(14), beside(15)]
}

/// Awkward runs: from any frame to any other, at the bottom and at the top of memory.
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
            let got = pair.buddy().allocate(order, BlockState::Movable, 1);
            assert_eq!(got.is_some(), fits, "{order:?}");
            if let Some(head) = got {
                pair.model.take(head, order);
            }
        }
        Op::UpTo(most) => {
            let largest = pair.model.highest().map(|order| order.min(Order(most)));
            let got = pair.buddy().allocate_up_to(Order(most), BlockState::Pinned, 0);
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
                pair.buddy().alloc_range(run, BlockState::Offline, 2).unwrap();
                let mut at = run.start;
                while at < run.end {
                    let found = pair.buddy().find(at).unwrap();
                    assert_eq!((found.head, found.tag.state), (at, BlockState::Offline));
                    pair.model.take(at, found.tag.order);
                    at = found.range().end;
                }
                assert_eq!(at, run.end);
            }
        }
        Op::Free(index) => {
            let pfn = pair.usable.start.offset(index % pair.usable.pages());
            let Some(head) = pair.model.head_near(pfn) else { return };
            let state = pair.buddy().find(head).unwrap().tag.state;
            let order = pair.model.give(head);
            if state == BlockState::Offline {
                assert_eq!(pair.buddy().free(head), Err(PageState::Offline));
                assert_eq!(pair.buddy().free_held(head), Ok(order));
            } else {
                assert_eq!(pair.buddy().free(head), Ok(order));
            }
        }
        Op::Split(index) => {
            let pfn = pair.usable.start.offset(index % pair.usable.pages());
            let before = pair.buddy().find(pfn).unwrap();
            pair.buddy().split_at(pfn, |rmap, pages| rmap + pages);
            if before.tag.state != BlockState::Free {
                pair.model.split(pfn);
                let found = pair.buddy().find(pfn).unwrap();
                assert_eq!((found.head, found.tag.state), (pfn, before.tag.state));
                let first = pair.buddy().find(before.head).unwrap();
                let holder = |found| pair.buddy().rmap(found);
                // What is not in use has no rmap.
                let in_use = before.tag.state.is_allocated() || before.tag.state == BlockState::Boot;
                let apart = if in_use { pfn.0 - before.head.0 } else { 0 };
                assert_eq!(holder(&found) - holder(&first), apart, "{before:?}");
            }
        }
        Op::Descend(index) => {
            let pfn = pair.usable.start.offset(index % pair.usable.pages());
            let found = pair.buddy().find(pfn).unwrap();
            let is_free = found.tag.state == BlockState::Free;
            let block = if is_free { pair.model.free_at(pfn) } else { pair.model.held_at(pfn) };
            assert_eq!(block, Some((found.head, found.tag.order)), "{pfn:?}");
        }
    }
}

proptest! {
    /// Proves conditions 3 and 6: after random allocations, frees, splits and look-ups, in regions of any
    /// start and length, lists and counters equal those of the eager model, and no unwritten word
    /// is read. Fails when a split loses a half, a merge is missed, or a list breaks.
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

    /// Proves condition 1: the first blocks tile the run, aligned and in order, each as large as
    /// possible, at most two of each order. Fails when an order is capped or alignment is lost.
    #[test]
    fn first_blocks_are_greedy_and_maximal(start in 0u64..1 << 34, pages in 1u64..1 << 33) {
        let usable = PfnRange::of(Pfn(start), pages);
        let mut at = usable.start;
        let mut of_order = [0; Order::COUNT];
        for (head, order) in initial_blocks(usable) {
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
