//! Memory that migrates while another CPU reads and writes it, between any two steps: that CPU keeps every translation
//! until it is flushed, and tries an access again when a fault tells it to.

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicBool, Ordering};
use std::boxed::Box;
use std::rc::Rc;
use std::thread;
use std::vec::Vec;

use carapace_lock::{Rank, exchange};

use super::hot_remove::insert;
use super::migrate::{DIMM, allocate, leaves_of};
use super::*;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::fault::Fault;
use crate::fault_injection::Step;
use crate::hot_remove::{RemoveError, Target};
use crate::info::DeviceId;
use crate::machine::{CpuNr, Machine};
use crate::page_table::LeafSize;
use crate::poison::Mode;
use crate::sim::{interleave, run_as};
use crate::vmalloc::{AllocError, Allocation, Progress, Shape, VmallocArena};

/// The words of each page that the other CPU writes: the first, one in the middle, the last.
const WORDS: [u64; 3] = [0, 255, 511];

/// What the other CPU has done.
#[derive(Default)]
struct Done {
    /// The address of each word, and what it last wrote there.
    words: Vec<(VirtAddr, u64)>,
    next: usize,
    /// The place of a word whose access faulted and has not succeeded since.
    faulted: Option<usize>,
    faults: u64,
    stores: u64,
}

/// A program on CPU 1 that reads and writes words, in turn.
struct Other {
    memory: Rc<Memory<SimMachine>>,
    done: RefCell<Done>,
}

fn cpu() -> CpuNr {
    CpuNr::new(1).unwrap()
}

impl Other {
    /// Writes each word of `pages` once, so that CPU 1 has a translation of each page.
    fn start(memory: &Rc<Memory<SimMachine>>, pages: &[VirtAddr]) -> Rc<Other> {
        let words = pages.iter().flat_map(|page| WORDS.map(|word| (page.offset(word * 8), 0))).collect();
        let other = Other { memory: memory.clone(), done: RefCell::new(Done { words, ..Done::default() }) };
        let count = other.done.borrow().words.len();
        run_as(cpu(), || (0..count).for_each(|number| assert!(other.store(number))));
        Rc::new(other)
    }

    /// Between two steps: a load and a store of the next words, and of the one that faulted.
    fn step(&self) {
        let (next, faulted) = {
            let mut done = self.done.borrow_mut();
            let next = done.next;
            // Coprime with the number of words of a page, so that each comes to be at any time.
            done.next = (next + 7) % done.words.len();
            (next, done.faulted)
        };
        for number in faulted.into_iter().chain([next]) {
            let succeeded = self.load(number) && self.store(number);
            let mut done = self.done.borrow_mut();
            match succeeded {
                true if done.faulted == Some(number) => done.faulted = None,
                false => done.faulted = Some(number),
                true => {}
            }
        }
    }

    /// Loads a word: it is what was last stored there. Returns whether the access succeeded; else it is to be retried,
    /// for as long as it faults.
    fn load(&self, number: usize) -> bool {
        let (at, expected) = self.done.borrow().words[number];
        match self.memory.machine().try_load(at) {
            Some(word) => assert_eq!(word, expected, "{at}: not what was stored there last"),
            None => return self.fault(at),
        }
        true
    }

    /// Stores a new word. Returns as [`Other::load`].
    fn store(&self, number: usize) -> bool {
        let (at, old) = self.done.borrow().words[number];
        let new = old + 1 + number as u64;
        if !self.memory.machine().try_store(at, new) {
            return self.fault(at);
        }
        let mut done = self.done.borrow_mut();
        done.words[number].1 = new;
        done.stores += 1;
        true
    }

    fn fault(&self, at: VirtAddr) -> bool {
        self.done.borrow_mut().faults += 1;
        for _ in 0..3 {
            assert_eq!(self.memory.fault(at), Fault::Retry, "{at} migrates");
        }
        false
    }

    /// Every word is there, also for CPU 0, and an access succeeds.
    fn check(&self) {
        let words = self.done.borrow().words.clone();
        for (number, (at, expected)) in words.into_iter().enumerate() {
            assert_eq!(self.memory.machine().load(at), expected, "{at}: a store is lost");
            run_as(cpu(), || assert!(self.load(number) && self.store(number)));
        }
    }
}

/// The addresses of an allocation's first pages.
fn pages(one: &Allocation) -> impl Iterator<Item = VirtAddr> {
    let start = one.start;
    (0..one.pages).map(move |page| start.offset(page * PAGE_SIZE))
}

/// A machine whose memory and arena other programs share. Both are large.
fn shared() -> (Rc<Memory<SimMachine>>, Box<VmallocArena>) {
    (Rc::new(booted(Support::No)), Box::default())
}

/// Allocations of `shape` in a new DIMM: several of more than 2 MiB.
fn in_use(shape: Shape) -> (Rc<Memory<SimMachine>>, Box<VmallocArena>, Vec<Allocation>) {
    let (memory, window) = shared();
    // What is freed is filled with poison at once, and a store to it is found.
    memory.set_poison(Mode::On);
    insert(&memory, 1, DIMM, 7);
    let all = [700, 3, 1200, 520, 5]
        .map(|pages| allocate(&memory, &window, pages, Some(7), Mobility::Movable, shape).unwrap());
    (memory, window, Vec::from(all))
}

/// As [`in_use`], in frames none of which has a free neighbour: 4 KiB leaves only. Returns the DIMM too.
fn in_single_frames() -> (Rc<Memory<SimMachine>>, Box<VmallocArena>, Vec<Allocation>, PfnRange) {
    let (memory, window) = shared();
    let dimm = PfnRange::of(DIMM.start, 4 * MIB);
    insert(&memory, 1, dimm, 7);
    let one = |pages| allocate(&memory, &window, pages, Some(7), Mobility::Movable, Shape::Scattered);
    let mut singles = Vec::new();
    loop {
        match one(1) {
            Ok(single) => singles.push(single),
            Err(AllocError::NotEnough { .. } | AllocError::RanOut { .. } | AllocError::Empty) => break,
            Err(error) => panic!("{error}"),
        }
    }
    singles.sort_by_key(|single| memory.translate(single.start).unwrap().phys);
    let mut kept = Vec::new();
    for (number, single) in singles.into_iter().enumerate() {
        match number % 2 {
            0 => kept.push(single),
            _ => window.free(&*memory, single.id).unwrap(),
        }
    }
    let free = memory.resource(memory.resource_of(dimm.start).unwrap()).unwrap().free_pages;
    let large = one(free).unwrap();
    assert_eq!(leaves_of(&memory, &large, LeafSize::K4) as u64, free);
    kept.push(large);
    (memory, window, kept, dimm)
}

/// Removes device 1 while CPU 1 runs.
fn remove_in_use(
    memory: &Rc<Memory<SimMachine>>,
    window: &VmallocArena,
    other: &Rc<Other>,
    step: u64,
) -> Result<u64, RemoveError> {
    let program = other.clone();
    interleave::between_steps(cpu(), Rc::new(move || program.step()), || {
        let mut removal = memory.begin_remove(DeviceId(1), &|| 0)?;
        while memory.remove_step(window, &mut removal, step, &|| 0)? == Progress::More {}
        memory.finish_remove(window, removal, &|| 0).map(|removed| removed.stats.migrated_pages)
    })
}

/// Proves that memory migrates while another CPU reads and writes it: every load gives what was last stored, every store
/// is there afterwards, accesses that fault are retried for as long as they fault and then succeed, and no translation to
/// the old frames is left. For large and small leaves, scattered and contiguous allocations. Fails when the flush is left
/// out (a store is lost), when an old block is freed or copied before it (a load gives poison, a store is lost), and
/// when the migrating addresses are not published (the fault is called real).
#[test]
fn another_cpu_reads_and_writes_what_migrates() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, window, all) = in_use(shape);
        let addresses: Vec<_> = all.iter().flat_map(pages).collect();
        let other = Other::start(&memory, &addresses);
        let migrated = remove_in_use(&memory, &window, &other, 512).unwrap();
        assert_eq!(migrated, addresses.len() as u64);
        memory.machine().unplug(DIMM);
        other.check();
        assert!(other.done.borrow().faults > 100 && other.done.borrow().stores > 10_000);
        all.iter().for_each(|one| window.free(&*memory, one.id).unwrap());
        assert_invariants(&memory);
    }
}

/// Proves the same for single frames, which migrate many in a batch.
#[test]
fn another_cpu_reads_and_writes_single_frames() {
    let (memory, window, all, dimm) = in_single_frames();
    let addresses: Vec<_> = all.iter().flat_map(pages).collect();
    let other = Other::start(&memory, &addresses);
    remove_in_use(&memory, &window, &other, 512).unwrap();
    memory.machine().unplug(dimm);
    other.check();
    assert!(other.done.borrow().faults > 100);
    assert_invariants(&memory);
}

/// Proves that a batch that fails after the copy is undone while another CPU writes: its stores are there, nothing of the
/// targets is left allocated, and the removal then succeeds. Fails when the leaves are not as before, or a store that
/// was made meanwhile is lost.
#[test]
fn a_failed_copy_is_undone_under_the_other_cpu() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, window, all) = in_use(shape);
        let addresses: Vec<_> = all.iter().flat_map(pages).collect();
        let other = Other::start(&memory, &addresses);
        let (free, leaves) = (memory.totals().free_pages, memory.machine().leaves().len());
        memory.inject(Step::Copy, 1);
        let refused = remove_in_use(&memory, &window, &other, 512);
        assert_eq!(refused, Err(RemoveError::Injected { step: Step::Copy }));
        assert_eq!((memory.totals().free_pages, memory.machine().leaves().len()), (free, leaves));
        other.check();
        assert_invariants(&memory);
        remove_in_use(&memory, &window, &other, 512).unwrap();
        memory.machine().unplug(DIMM);
        other.check();
        assert_invariants(&memory);
    }
}

/// Proves that frames migrate with at most one request to the other CPUs for 512 of them, and one more for each walk over
/// the memory: single frames, 2 MiB leaves, contiguous allocations. Fails when a block, a split or a table has a flush
/// of its own.
#[test]
fn one_request_for_512_frames() {
    let frames = |requests: u64, migrated: u64| {
        // The two walks' last batches, and the removal's own request.
        assert!(requests <= migrated / 512 + 3, "{requests} requests for {migrated} frames");
    };
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, window, all) = in_use(shape);
        let other = Other::start(&memory, &[all[0].start]);
        let before = memory.machine().counts().requests;
        let migrated = remove_in_use(&memory, &window, &other, 512).unwrap();
        frames(memory.machine().counts().requests - before, migrated);
    }
    let (memory, window, all, _) = in_single_frames();
    let other = Other::start(&memory, &[all[0].start]);
    let before = memory.machine().counts().requests;
    let migrated = remove_in_use(&memory, &window, &other, 512).unwrap();
    assert!(migrated > 900);
    frames(memory.machine().counts().requests - before, migrated);
}

/// Proves that an evacuation waits for a movable block without an owner, whose owner another CPU is about to set, and that
/// it goes on when the block is gone. Fails when it takes the block for pinned at once.
#[test]
fn a_block_without_an_owner_is_waited_for() {
    let (memory, window) = shared();
    insert(&memory, 1, DIMM, 7);
    let block = memory.allocate_block(Order(3), Some(NodeId(7)), Mobility::Movable).unwrap();
    let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
    for _ in 0..3 {
        assert_eq!(memory.remove_step(&window, &mut removal, 512, &|| 0), Ok(Progress::More));
        let Some(RemoveError::Pinned(waited_for)) = removal.waiting() else { panic!() };
        assert_eq!((waited_for.pfn, waited_for.pages), (block.head, 8));
    }
    memory.free_block(block.head).unwrap();
    while memory.remove_step(&window, &mut removal, 512, &|| 0).unwrap() == Progress::More {
        assert_eq!(removal.waiting(), None);
    }
    memory.finish_remove(&window, removal, &|| 0).unwrap();
}

/// Proves that another CPU allocates, fills, verifies and frees while a batch is flushed and copied: between any two steps
/// at which the CPU that migrates holds no lock beyond that of the batch. Fails when a batch holds the arena's lock, or the
/// tables', while it copies.
#[test]
fn other_allocations_are_used_during_a_batch() {
    for shape in [Shape::Scattered, Shape::Contiguous] {
        let (memory, window, all) = in_use(shape);
        let window: Rc<VmallocArena> = window.into();
        let kept = allocate(&memory, &window, 20, Some(0), Mobility::Movable, Shape::Scattered).unwrap();
        let free = memory.totals().free_pages;
        let rounds = Rc::new(Cell::new(0));
        let program = {
            let (memory, window, rounds) = (memory.clone(), window.clone(), rounds.clone());
            move || {
                let held = exchange(0);
                let in_batch = 1 << Rank::Migration as u64;
                if held & in_batch != 0 && held < in_batch << 1 {
                    assert_eq!(window.verify(&*memory, kept.id, 0, 20).unwrap().bad, None);
                    let one =
                        allocate(&memory, &window, 3, Some(0), Mobility::Movable, Shape::Scattered).unwrap();
                    assert_eq!(window.verify(&*memory, one.id, 0, 3).unwrap().bad, None);
                    window.free(&*memory, one.id).unwrap();
                    rounds.set(rounds.get() + 1);
                }
                exchange(held);
            }
        };
        interleave::between_steps(cpu(), Rc::new(program), || {
            let mut removal = memory.begin_remove(DeviceId(1), &|| 0).unwrap();
            while memory.remove_step(&window, &mut removal, 512, &|| 0).unwrap() == Progress::More {}
            memory.finish_remove(&window, removal, &|| 0).unwrap();
        });
        memory.machine().unplug(DIMM);
        let pages: u64 = all.iter().map(|one| one.pages).sum();
        assert!(rounds.get() >= pages, "{} rounds while {pages} pages migrated", rounds.get());
        assert!(memory.totals().free_pages < free);
        assert_contents(&memory, &window);
        assert_invariants(&memory);
    }
}

/// Sets a flag when it is dropped, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Proves with three threads that memory goes offline and comes online while a CPU allocates, fills, verifies and frees
/// there, and another one reads and writes what migrates: no store is lost, every fault is retried, and the evacuation
/// finds no contradiction, only allocations to wait for. Fails when the evacuation takes what changes for pinned or
/// corrupted, or when a fault of a migration that has just ended is called real.
#[test]
fn three_cpus_at_once() {
    let (memory, window) = (Box::new(booted(Support::No)), Box::<VmallocArena>::default());
    let (memory, window) = (&*memory, &*window);
    insert(memory, 1, DIMM, 7);
    let used = allocate(memory, window, 1100, Some(7), Mobility::Movable, Shape::Scattered).unwrap();
    let ended = AtomicBool::new(false);
    let ended = &ended;
    let run = |number: usize, work: &dyn Fn(u64)| {
        run_as(CpuNr::new(number).unwrap(), || {
            (0..).take_while(|_| !ended.load(Ordering::Relaxed)).for_each(work);
        });
    };
    let use_allocations = |round: u64| {
        let shape = if round.is_multiple_of(5) { Shape::Contiguous } else { Shape::Scattered };
        let pages = 1 + round * 37 % 90;
        let Ok(one) = allocate(memory, window, pages, Some(7), Mobility::Movable, shape) else { return };
        assert_eq!(window.verify(memory, one.id, 0, pages).unwrap().bad, None);
        window.free(memory, one.id).unwrap();
    };
    let retry = |at: VirtAddr, access: &dyn Fn() -> bool| {
        while !access() {
            assert_eq!(memory.fault(at), Fault::Retry, "{at} migrates");
            thread::yield_now();
        }
    };
    let use_words = |round: u64| {
        let at = used.start.offset(round * 13 % used.pages * PAGE_SIZE);
        retry(at, &|| memory.machine().try_store(at, round));
        retry(at, &|| memory.machine().try_load(at).is_some_and(|word| word == round));
    };
    thread::scope(|threads| {
        let _ends = Ends(ended);
        threads.spawn(|| run(1, &use_allocations));
        threads.spawn(|| run(2, &use_words));
        let id = memory.resource_of(DIMM.start).unwrap();
        for _ in 0..12 {
            let mut offlining = memory.begin_offline(Target::Resource(id), &|| 0).unwrap();
            while memory.offline_step(window, &mut offlining, 512, &|| 0).unwrap() == Progress::More {}
            memory.finish_offline(window, offlining).unwrap();
            memory.online(Target::Resource(id), None).unwrap();
            thread::yield_now();
        }
    });
    assert_invariants(memory);
}
