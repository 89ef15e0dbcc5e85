//! Tests of the arena on the simulated machine, with a minimal provider: a set of free frames, first fit. The tests
//! of `memory` use the memory core itself as provider.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::addr::{Block, Order, Pfn, PfnRange};
use crate::address_space::direct;
use crate::boot_alloc::{BootAllocator, Occupied, Owner};
use crate::machine::{Machine, Support};
use crate::page_table::{LeafSize, Level, Mapping, NoFrames, PageTables};
use crate::sim::SimMachine;

/// The provider's memory: 32 MiB starting at 32 MiB, already in the direct map.
const FRAMES: PfnRange = PfnRange { start: Pfn(0x2000), end: Pfn(0x4000) };

struct Simple {
    sim: SimMachine,
    tables: RefCell<PageTables>,
    free: RefCell<BTreeSet<Pfn>>,
    blocks: RefCell<BTreeMap<Pfn, Order>>,
    owners: RefCell<BTreeMap<Pfn, VirtAddr>>,
    page_tables: RefCell<BTreeSet<Pfn>>,
    table_owners: RefCell<BTreeMap<Pfn, (VirtAddr, Level)>>,
    /// The number of further blocks and tables that it provides.
    budget: Cell<u64>,
}

impl Simple {
    fn new() -> Simple {
        let sim = SimMachine::boot(5, Support::No, &[PfnRange::new(Pfn(0x100), FRAMES.end)]);
        let boot = PfnRange::new(Pfn(0x100), FRAMES.start);
        let mut early =
            BootAllocator::new(&[boot], &[Occupied { range: sim.boot_tables(), owner: Owner::PageTables }]);
        let mut tables = PageTables::new(sim.root(), sim.features());
        tables.prepare_hotplug(&sim, PfnRange::default(), &mut early).unwrap();
        Simple {
            sim,
            tables: RefCell::new(tables),
            free: RefCell::new((FRAMES.start.0..FRAMES.end.0).map(Pfn).collect()),
            blocks: RefCell::default(),
            owners: RefCell::default(),
            page_tables: RefCell::default(),
            table_owners: RefCell::default(),
            budget: Cell::new(u64::MAX),
        }
    }

    fn spend(&self) -> Option<()> {
        self.budget.set(self.budget.get().checked_sub(1)?);
        Some(())
    }

    fn is_free(&self, range: PfnRange) -> bool {
        self.free.borrow().range(range.start..range.end).count() as u64 == range.pages()
    }

    fn take(&self, block: Block) {
        let taken =
            (block.range().start.0..block.range().end.0).all(|pfn| self.free.borrow_mut().remove(&Pfn(pfn)));
        assert!(taken);
        self.blocks.borrow_mut().insert(block.head, block.order);
    }

    /// The state that an allocation followed by its free must restore.
    fn state(&self) -> (BTreeSet<Pfn>, usize, usize, Vec<crate::sim::SimLeaf>) {
        let counts = (self.blocks.borrow().len(), self.page_tables.borrow().len());
        (self.free.borrow().clone(), counts.0, counts.1, self.sim.leaves())
    }

    /// Asserts that every block is mapped whole at the address in its rmap, and that every page table is the one that its
    /// rmap says.
    fn check_owners(&self) {
        let tables = self.tables.borrow();
        for (&frame, &(at, level)) in self.table_owners.borrow().iter() {
            assert_eq!(tables.linked_table(&self.sim, at, level), Some(frame));
        }
        for (head, order) in self.blocks.borrow().iter() {
            if self.page_tables.borrow().contains(head) {
                continue;
            }
            let at = self.owners.borrow()[head];
            for page in 0..order.pages() {
                let found = tables.translate(&self.sim, at.offset(page * PAGE_SIZE)).unwrap();
                assert_eq!(found.phys, head.offset(page).start());
            }
        }
    }
}

impl FrameProvider for Simple {
    type Machine = SimMachine;

    fn machine(&self) -> &SimMachine {
        &self.sim
    }

    fn with_tables<T>(&self, work: impl FnOnce(&mut PageTables, &SimMachine) -> T) -> Option<T> {
        Some(work(&mut self.tables.borrow_mut(), &self.sim))
    }

    fn alloc_block(&self, most: Order, node: Option<NodeId>, _kind: Mobility) -> Option<Block> {
        assert_eq!(node, None);
        self.spend()?;
        let fits = |order: u8| {
            let heads = (FRAMES.start.0..FRAMES.end.0).step_by(1 << order).map(Pfn);
            heads.map(|head| Block { head, order: Order(order) }).find(|block| self.is_free(block.range()))
        };
        let block = (0..=most.0.min(13)).rev().find_map(fits)?;
        self.take(block);
        Some(block)
    }

    fn alloc_run(&self, pages: u64, _node: Option<NodeId>, _kind: Mobility) -> Option<PfnRange> {
        self.spend()?;
        let last = FRAMES.end.0.checked_sub(pages)?;
        let run = (FRAMES.start.0..=last)
            .map(|start| PfnRange::of(Pfn(start), pages))
            .find(|run| self.is_free(*run))?;
        let mut at = run.start;
        while at < run.end {
            let fits = |order: &u8| at.is_aligned(Order(*order)) && at.offset(1 << order) <= run.end;
            let order = Order((0..14).rev().find(fits).unwrap());
            self.take(Block { head: at, order });
            at = at.offset(order.pages());
        }
        Some(run)
    }

    fn block_at(&self, head: Pfn) -> Option<Block> {
        self.blocks.borrow().get(&head).map(|order| Block { head, order: *order })
    }

    fn set_owner(&self, run: PfnRange, at: VirtAddr) {
        let blocks = self.blocks.borrow();
        let heads = blocks.range(run.start..run.end).map(|(head, _)| *head);
        self.owners
            .borrow_mut()
            .extend(heads.map(|head| (head, at.offset((head.0 - run.start.0) * PAGE_SIZE))));
    }

    fn split_at(&self, border: Pfn) {
        let crosses = |(head, order): (&Pfn, &Order)| {
            let block = Block { head: *head, order: *order };
            (block.head < border && block.range().contains(border)).then_some(block)
        };
        while let Some(block) = { self.blocks.borrow().iter().find_map(crosses) } {
            let half = Order(block.order.0 - 1);
            let middle = block.head.offset(half.pages());
            self.blocks.borrow_mut().extend([(block.head, half), (middle, half)]);
            let at = self.owners.borrow()[&block.head];
            self.owners.borrow_mut().insert(middle, at.offset(half.pages() * PAGE_SIZE));
        }
    }

    fn free_owned(&self, run: PfnRange) {
        let mut head = run.start;
        while head < run.end {
            let order = self.blocks.borrow_mut().remove(&head).expect("only allocated blocks are freed");
            self.owners.borrow_mut().remove(&head);
            let mut free = self.free.borrow_mut();
            assert!((0..order.pages()).all(|page| free.insert(head.offset(page))));
            head = head.offset(order.pages());
        }
        assert_eq!(head, run.end);
    }

    fn alloc_table(&self) -> Option<Pfn> {
        let block = self.alloc_block(Order(0), None, Mobility::Pinned)?;
        self.page_tables.borrow_mut().insert(block.head);
        Some(block.head)
    }

    fn set_table_owner(&self, frame: Pfn, at: VirtAddr, level: Level) {
        assert!(self.page_tables.borrow().contains(&frame));
        self.table_owners.borrow_mut().insert(frame, (at, level));
    }

    fn free_table(&self, frame: Pfn) {
        assert!(self.page_tables.borrow_mut().remove(&frame));
        self.table_owners.borrow_mut().remove(&frame);
        self.free_owned(PfnRange::of(frame, 1));
    }

    fn free_pages(&self, _node: Option<NodeId>, _kind: Mobility) -> u64 {
        self.free.borrow().len() as u64
    }
}

fn request(amount: Amount, shape: Shape) -> Request {
    Request { amount, node: None, mobility: Mobility::Movable, shape }
}

fn faults(access: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(access)).is_err()
}

/// Proves that `verify` accepts filled pages, detects a changed word and two swapped pages, and does not count
/// unfilled pages; after `free` the frames are free and the addresses fault. Fails when the pattern does not depend on
/// the page or the offset, or when `free` leaves a mapping.
#[test]
fn fill_and_verify() {
    let (memory, arena) = (Simple::new(), VmallocArena::new());
    let before = memory.state();
    let one = arena.allocate(&memory, &request(Amount::Pages(1000), Shape::Scattered)).unwrap();
    let two = arena.allocate(&memory, &request(Amount::Pages(10), Shape::Scattered)).unwrap();
    arena.fill(&memory, one.id, 0, 400).unwrap();
    arena.fill(&memory, one.id, 400, 300).unwrap();
    arena.fill(&memory, two.id, 0, 10).unwrap();
    let clean = |pages| Ok(Verified { pages, bad: None });
    assert_eq!(arena.verify(&memory, one.id, 0, 1000), clean(700));
    assert_eq!(arena.verify(&memory, one.id, 650, 350), clean(50));
    assert_eq!(arena.verify(&memory, one.id, 700, 1), clean(0));
    assert_eq!(arena.get(one.id).unwrap().filled, 700);
    let at = one.start.offset(699 * PAGE_SIZE + 511 * 8);
    let word = memory.sim.load(at);
    memory.sim.store(at, !word);
    let verified = arena.verify(&memory, one.id, 0, 1000).unwrap();
    let bad = BadWord { page: 699, at, expected: word, found: !word };
    assert_eq!(verified, Verified { pages: 700, bad: Some(bad) });
    memory.sim.store(at, word);
    for word in 0..512 {
        let (a, b) = (two.start.offset(word * 8), two.start.offset(3 * PAGE_SIZE + word * 8));
        let (old_a, old_b) = (memory.sim.load(a), memory.sim.load(b));
        memory.sim.store(a, old_b);
        memory.sim.store(b, old_a);
    }
    assert_eq!(arena.verify(&memory, two.id, 0, 10).unwrap().bad.unwrap().page, 0);
    assert_eq!(arena.verify(&memory, one.id, 0, 1000), clean(700));
    arena.free(&memory, one.id).unwrap();
    assert!(faults(|| {
        memory.sim.load(one.start);
    }));
    arena.free(&memory, two.id).unwrap();
    assert_eq!(memory.state(), before);
    assert_eq!(arena.get(one.id), None);
}

/// Proves that an allocation that runs out of frames at any step, for either shape, leaks nothing and leaves nothing
/// mapped. Fails when one error path forgets a block, a table or a leaf.
#[test]
fn running_out_at_each_step_undoes_everything() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, arena) = (Simple::new(), VmallocArena::new());
        // A hole, so that blocks of several orders are needed.
        let hole = memory.alloc_block(Order(3), None, Mobility::Pinned).unwrap();
        memory.page_tables.borrow_mut().insert(hole.head);
        let before = memory.state();
        let request = request(Amount::Pages(1805), shape);
        let mut steps = 0;
        loop {
            memory.budget.set(steps);
            match arena.allocate(&memory, &request) {
                Ok(done) => {
                    memory.check_owners();
                    arena.free(&memory, done.id).unwrap();
                    break;
                }
                Err(error) => assert_eq!(memory.state(), before, "{shape:?} after {steps}: {error}"),
            }
            steps += 1;
        }
        assert!(steps >= 7, "{shape:?} took {steps}");
        assert_eq!(memory.state(), before);
    }
}

/// Proves that a contiguous allocation gets one run of frames and 2 MiB leaves even when the run starts at an unaligned
/// frame. Fails when the address is not chosen congruent to the run.
#[test]
fn a_run_is_contiguous_and_congruent() {
    let (memory, arena) = (Simple::new(), VmallocArena::new());
    memory.take(Block { head: FRAMES.start, order: Order(4) });
    memory.page_tables.borrow_mut().insert(FRAMES.start);
    let done = arena.allocate(&memory, &request(Amount::Pages(3000), Shape::Contiguous)).unwrap();
    let tables = memory.tables.borrow();
    let first = tables.translate(&memory.sim, done.start).unwrap().phys;
    let mut large = 0;
    tables.for_each_leaf(&memory.sim, done.start, done.pages, &mut |leaf| {
        assert_eq!(leaf.phys.0 - first.0, leaf.virt.0 - done.start.0);
        large += u64::from(leaf.size == LeafSize::M2);
    });
    assert!(large >= 4);
    drop(tables);
    memory.check_owners();
    let refused = arena.allocate(&memory, &request(Amount::Pages(6000), Shape::Contiguous));
    assert!(matches!(refused, Err(AllocError::NotEnough { .. })), "{refused:?}");
}

/// Proves that `Amount::All` uses every free frame, as page or as table, and that all of them come back. Fails when
/// frames reserved for tables are left over.
#[test]
fn all_takes_every_frame() {
    let (memory, arena) = (Simple::new(), VmallocArena::new());
    let before = memory.state();
    let done = arena.allocate(&memory, &request(Amount::All, Shape::Scattered)).unwrap();
    let tables = memory.page_tables.borrow().len() as u64;
    assert_eq!(memory.free.borrow().len(), 0);
    assert_eq!(done.pages + tables, FRAMES.pages());
    assert!(tables <= 16 + 1, "{tables} tables");
    memory.check_owners();
    let more = arena.allocate(&memory, &request(Amount::All, Shape::Scattered));
    assert_eq!(more, Err(AllocError::Empty));
    arena.free(&memory, done.id).unwrap();
    assert_eq!(memory.state(), before);
}

/// Proves that an allocation cannot be used or freed while it grows or is being freed, and that cancelling it after any
/// step frees everything. Fails when a step leaves a frame unrecorded.
#[test]
fn growing_can_be_cancelled_at_any_step() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        for steps in 0.. {
            let (memory, arena) = (Simple::new(), VmallocArena::new());
            let before = memory.state();
            let mut growing = arena.begin(&memory, &request(Amount::Pages(1700), shape)).unwrap();
            let id = growing.id();
            let busy = Err(AllocError::Busy { id });
            let mut done = Progress::More;
            for _ in 0..steps {
                done = arena.grow(&memory, &mut growing, 100).unwrap();
            }
            assert_eq!(arena.fill(&memory, id, 0, 1), busy);
            assert_eq!(arena.free_step(&memory, id, 1), Err(AllocError::Busy { id }));
            if done == Progress::Done {
                arena.finish(&memory, growing).unwrap();
                while arena.free_step(&memory, id, 70).unwrap() == Progress::More {
                    assert_eq!(arena.fill(&memory, id, 0, 1), busy);
                }
                assert_eq!(memory.state(), before);
                break;
            }
            arena.cancel(&memory, growing).unwrap();
            assert_eq!(memory.state(), before, "{shape:?} after {steps} steps");
            assert_eq!(arena.get(id), None);
        }
    }
}

/// Proves that addresses are reserved first fit, without overlap, at the requested offset; that ids are never reused;
/// and that a full list is an error. Fails when `reserve` misplaces an area or reuses an id.
#[test]
fn addresses_are_first_fit() {
    let mut areas = AreaTree::new();
    let start = |areas: &mut AreaTree, id| areas.area(id).unwrap().allocation.start.0 - ALLOC.start.0;
    let one = areas.reserve(3, 1, 0, Shape::Scattered).unwrap();
    let two = areas.reserve(512, 512, 5, Shape::Scattered).unwrap();
    let three = areas.reserve(2, 1, 0, Shape::Scattered).unwrap();
    assert_eq!(start(&mut areas, one), 0);
    assert_eq!(start(&mut areas, two), 5 << 12);
    assert_eq!(start(&mut areas, three), 3 << 12);
    assert_eq!(
        areas.reserve(ALLOC.size >> 12, 1, 0, Shape::Scattered),
        Err(AllocError::NoAddresses { pages: ALLOC.size >> 12 })
    );
    assert_eq!(
        areas.reserve(u64::MAX, 1, 0, Shape::Scattered),
        Err(AllocError::NoAddresses { pages: u64::MAX })
    );
    for _ in 3..MAX_ALLOCATIONS {
        areas.reserve(1, 1, 0, Shape::Scattered).unwrap();
    }
    assert_eq!(areas.reserve(1, 1, 0, Shape::Scattered), Err(AllocError::TooManyAllocations));
    let index = areas.index(one).unwrap();
    areas.list.remove(index);
    assert_eq!(areas.reserve(1, 1, 0, Shape::Scattered), Ok(AllocationId(MAX_ALLOCATIONS as u64 + 1)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// Proves for random allocations and frees of all sizes and shapes that contents stay intact, that each block is
    /// mapped at the address in its rmap, and that at the end every frame and table is free. Fails when an
    /// allocation overwrites or leaks a frame.
    #[test]
    fn random_allocations(steps in prop::collection::vec((1u64..1400, any::<bool>(), any::<prop::sample::Index>()), 1..16)) {
        let (memory, arena) = (Simple::new(), VmallocArena::new());
        let before = memory.state();
        let mut live: Vec<Allocation> = Vec::new();
        for (pages, contiguous, pick) in steps {
            let shape = if contiguous { Shape::Contiguous } else { Shape::Scattered };
            let state = memory.state();
            match arena.allocate(&memory, &request(Amount::Pages(pages), shape)) {
                Ok(done) => {
                    prop_assert_eq!(done.pages, pages);
                    arena.fill(&memory, done.id, 0, pages.min(40)).unwrap();
                    live.push(done);
                }
                Err(_) => prop_assert_eq!(memory.state(), state),
            }
            memory.check_owners();
            if pages % 3 == 0 && !live.is_empty() {
                let gone = live.swap_remove(pick.index(live.len()));
                arena.free(&memory, gone.id).unwrap();
            }
            for one in &live {
                let pages = one.pages.min(40);
                prop_assert_eq!(arena.verify(&memory, one.id, 0, one.pages), Ok(Verified { pages, bad: None }));
            }
        }
        for one in live {
            arena.free(&memory, one.id).unwrap();
        }
        prop_assert_eq!(memory.state(), before);
    }
}

/// Proves that a page of an allocation and its frame in the direct map are the same memory, and that the page's address
/// cannot be mapped again. Fails when a page maps another frame than its leaf states.
#[test]
fn a_page_is_one_frame_at_two_addresses() {
    let (memory, arena) = (Simple::new(), VmallocArena::new());
    let done = arena.allocate(&memory, &request(Amount::Pages(1), Shape::Scattered)).unwrap();
    memory.sim.store(done.start, 77);
    let phys = memory.tables.borrow().translate(&memory.sim, done.start).unwrap().phys;
    assert_eq!(memory.sim.load(direct(phys)), 77);
    let mapping = Mapping::data(done.start, phys, 1);
    assert!(memory.tables.borrow_mut().map(&memory.sim, &mapping, &mut NoFrames).is_err());
}
