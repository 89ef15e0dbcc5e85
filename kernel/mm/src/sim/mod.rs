//! A simulated machine for host tests: sparse physical memory, a page walk on every access through the
//! tables in that memory, and translation caches that keep every entry until it is flushed.
//!
//! ```text
//!  load / store (virtual) -> caches (tlb) -> walk of the tables from the root -> frames (memory)
//! ```
//!
//! It is stricter than hardware, so that every bug shows, and at once:
//!
//! - An unwritten frame holds junk computed from the seed, as a re-plugged DIMM does.
//! - Reading an unwritten descriptor word (vmemmap) panics.
//! - Leaves and links between tables stay cached until flushed, so a missing flush shows as an access to the old
//!   frame.
//! - It panics with the address on: an access without a present entry, a write through a read-only leaf, a table or
//!   a leaf in absent memory, a reserved bit.
//! - It sets accessed and dirty bits in the entries, as hardware does.
//!
//! [`SimMachine::boot`] builds the loader's tables without `page_table`, so that an error there does not hide itself.
//! Neighbours: the tests of every module of this crate; `model` is a machine under load.

pub mod flat;
pub mod interleave;
mod memory;
pub mod model;
mod tlb;

use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange, PhysAddr, VirtAddr};
use crate::address_space::{VMEMMAP, direct};
use crate::boot_alloc::BootAllocator;
use crate::error::BootError;
use crate::machine::{CpuFeatures, CpuNr, MAX_CPUS, Machine, Support};
use crate::memory::BootMemory;
use carapace_lock::schedule;
use memory::Memory;
use tlb::{Access, Fault, Tlb};

/// A leaf found by the simulation's page walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimLeaf {
    /// The first virtual address.
    pub virt: VirtAddr,
    /// The first physical address.
    pub phys: PhysAddr,
    /// The size in bytes.
    pub bytes: u64,
    /// The entry without its address, accessed and dirty bits.
    pub flags: u64,
}

/// Counts of accesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimCounts {
    /// Words loaded by the core.
    pub loads: u64,
    /// Words stored by the core.
    pub stores: u64,
    /// Single pages flushed.
    pub flushes: u64,
    /// Full flushes.
    pub full_flushes: u64,
    /// Requests to the other CPUs: flushes of any number of pages, and barriers.
    pub requests: u64,
}

/// The machine. `Memory<&SimMachine>` leaves the caller with access to it.
pub struct SimMachine {
    root: Pfn,
    boot_tables: PfnRange,
    features: CpuFeatures,
    /// Threads that help with parallel work, and how much of it they did.
    helpers: AtomicUsize,
    helped: AtomicUsize,
    state: Mutex<State>,
}

/// What changes. One lock, so that an access is one step for all CPUs, its translation included; a flush waits for it,
/// as hardware's does for the acknowledgement.
struct State {
    memory: Memory,
    /// Each CPU's translation caches.
    tlbs: Vec<Tlb>,
    counts: SimCounts,
}

std::thread_local! {
    static CPU: Cell<CpuNr> = const { Cell::new(CpuNr::FIRST) };
}

/// Runs `work` as the CPU `cpu`: this CPU makes all its accesses to simulated machines. Other threads are CPU 0 until
/// they call this too. At most one thread at a time may be a given CPU.
pub fn run_as<T>(cpu: CpuNr, work: impl FnOnce() -> T) -> T {
    let before = CPU.replace(cpu);
    let result = work();
    CPU.set(before);
    result
}

impl fmt::Debug for SimMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimMachine").field("root", &self.root).field("counts", &self.counts()).finish()
    }
}

impl SimMachine {
    /// A machine with 46 address bits, memory `ranges`, and a loader's direct map of them (2 MiB and 4 KiB leaves).
    /// The loader's tables start 16 frames into the largest range: [`SimMachine::boot_tables`].
    pub fn boot(seed: u64, gib_leaves: Support, ranges: &[PfnRange]) -> SimMachine {
        let largest = ranges.iter().max_by_key(|range| range.pages()).expect("a machine needs memory");
        let mut memory = Memory::new(seed);
        ranges.iter().for_each(|range| memory.add(*range));
        let first = largest.start.offset(16);
        let mut loader = Loader { memory: &mut memory, root: first, next: first.offset(1) };
        loader.memory.zero(first);
        ranges.iter().for_each(|range| loader.map_direct(*range));
        let boot_tables = PfnRange::new(first, loader.next);
        assert!(largest.contains_range(boot_tables), "the loader's tables do not fit");
        SimMachine {
            root: first,
            boot_tables,
            features: CpuFeatures { gib_leaves, phys_bits: 46 },
            helpers: AtomicUsize::new(0),
            helped: AtomicUsize::new(0),
            state: Mutex::new(State {
                memory,
                tlbs: (0..MAX_CPUS).map(|_| Tlb::default()).collect(),
                counts: SimCounts::default(),
            }),
        }
    }

    /// The frame of the root table.
    pub fn root(&self) -> Pfn {
        self.root
    }

    /// The frames of the loader's tables, including the root.
    pub fn boot_tables(&self) -> PfnRange {
        self.boot_tables
    }

    /// The CPU's features.
    pub fn features(&self) -> CpuFeatures {
        self.features
    }

    /// Plugs memory. It holds junk, and nothing maps it.
    pub fn plug(&self, range: PfnRange) {
        self.state().memory.add(range);
    }

    /// Makes `range` a hole in present memory: reads return all ones and writes are dropped, as on a bus where
    /// firmware announces memory that does not exist.
    pub fn make_hole(&self, range: PfnRange) {
        self.state().memory.make_hole(range);
    }

    /// Fills all holes with memory.
    pub fn fill_holes(&self) {
        self.state().memory.fill_holes();
    }

    /// Lets so many further CPUs, with the highest numbers, help with parallel work: each is a thread for a job.
    pub fn set_helpers(&self, count: usize) {
        self.helpers.store(count, Ordering::Relaxed);
    }

    /// Numbers that the helpers have worked on.
    pub fn helped(&self) -> usize {
        self.helped.load(Ordering::Relaxed)
    }

    /// Unplugs memory and drops its contents. Later accesses panic. Panics at once when a cached translation or table
    /// is in `range`, since a CPU may use it at any time.
    pub fn unplug(&self, range: PfnRange) {
        assert!(
            !self.state().tlbs.iter().any(|tlb| tlb.refers_to(range)),
            "frames {range} are unplugged, but a translation cache still refers to them"
        );
        self.state().memory.remove(range);
    }

    /// Unplugs memory without notice: like [`SimMachine::unplug`], but cached translations are allowed.
    pub fn surprise_remove(&self, range: PfnRange) {
        self.state().memory.remove(range);
    }

    /// Unplugs memory, which has its contents again when it is plugged again. Accesses in between panic.
    pub fn unplug_keeping(&self, range: PfnRange) {
        self.state().memory.remove_keeping(range);
    }

    /// Fills `range` with new junk.
    pub fn junk(&self, range: PfnRange) {
        self.state().memory.junk(range);
    }

    /// The word at a physical address, without translation. Not counted.
    pub fn physical(&self, at: PhysAddr) -> u64 {
        self.state().memory.load(at)
    }

    /// The frames with a written word, ascending.
    pub fn written(&self) -> Vec<Pfn> {
        self.state().memory.written()
    }

    /// The accesses so far.
    pub fn counts(&self) -> SimCounts {
        self.state().counts
    }

    /// Every leaf of the tables in memory, ascending. Ignores the translation caches.
    pub fn leaves(&self) -> Vec<SimLeaf> {
        let mut leaves = Vec::new();
        self.walk_tables(self.root, 4, 0, &mut |leaf| leaves.push(leaf), &mut |_| {});
        leaves
    }

    /// The frames of all linked tables.
    pub fn tables(&self) -> BTreeSet<Pfn> {
        let mut tables = BTreeSet::new();
        self.walk_tables(self.root, 4, 0, &mut |_| {}, &mut |table| {
            tables.insert(table);
        });
        tables
    }

    /// The contents of all written frames outside of `except`, to compare two states. Page tables without accessed and
    /// dirty bits.
    pub fn snapshot(&self, except: &[PfnRange]) -> BTreeMap<Pfn, Vec<u64>> {
        let tables = self.tables();
        let memory = &self.state().memory;
        let mask = |frame: &Pfn| if tables.contains(frame) { !(tlb::ACCESSED | tlb::DIRTY) } else { !0 };
        let frames = memory.written().into_iter();
        let frames = frames.filter(|frame| !except.iter().any(|range| range.contains(*frame)));
        frames
            .map(|frame| {
                let words = memory.page(frame).iter().map(|word| word & mask(&frame));
                (frame, words.collect())
            })
            .collect()
    }

    fn walk_tables(
        &self,
        table: Pfn,
        level: u32,
        virt: u64,
        leaf: &mut dyn FnMut(SimLeaf),
        each_table: &mut dyn FnMut(Pfn),
    ) {
        each_table(table);
        let words: Vec<u64> = {
            let memory = &mut self.state().memory;
            (0..512).map(|index| memory.load(PhysAddr(table.start().0 + index * 8))).collect()
        };
        for (index, entry) in (0u64..).zip(words) {
            let shift = tlb::shift(level);
            let sign = if level == 4 && index >= 256 { 0xffff_0000_0000_0000 } else { 0 };
            let virt = sign | virt | index << shift;
            if entry & tlb::PRESENT == 0 {
                continue;
            }
            if level > 1 && entry & tlb::LARGE == 0 {
                self.walk_tables(tlb::table_of(entry), level - 1, virt, leaf, each_table);
            } else {
                let flags = entry & !(tlb::ADDRESS | tlb::ACCESSED | tlb::DIRTY);
                let phys = PhysAddr(entry & tlb::ADDRESS);
                leaf(SimLeaf { virt: VirtAddr(virt), phys, bytes: 1 << shift, flags });
            }
        }
    }

    /// Loads a word as a program on the running CPU does. `None` when nothing is mapped there: a page fault.
    pub fn try_load(&self, at: VirtAddr) -> Option<u64> {
        let mut state = self.state();
        let phys = state.translate(self.root, at, Access::Load).ok()?;
        Some(state.memory.load(phys))
    }

    /// Stores a word as a program on the running CPU does. `false` when nothing is mapped there, or read-only: a page
    /// fault.
    pub fn try_store(&self, at: VirtAddr, value: u64) -> bool {
        let mut state = self.state();
        let phys = state.translate(self.root, at, Access::Store);
        phys.map(|phys| state.memory.store(phys, value)).is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that failed a test poisons the lock; the others shall fail with their own message.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, and the physical address of an access of the core, for which no fault is right.
    fn access(&self, at: VirtAddr, access: Access) -> (MutexGuard<'_, State>, PhysAddr) {
        let mut state = self.state();
        match state.translate(self.root, at, access) {
            Ok(phys) => (state, phys),
            Err(fault) => panic!("{fault} at {at}"),
        }
    }
}

impl State {
    fn translate(&mut self, root: Pfn, at: VirtAddr, access: Access) -> Result<PhysAddr, Fault> {
        assert!(at.0.is_multiple_of(8), "unaligned access at {at}");
        self.tlbs[CPU.get().index()].translate(&mut self.memory, root, at, access)
    }
}

#[expect(unsafe_code, reason = "an implementation of the trait: no unsafe block")]
// SAFETY: its words are in collections of the host, found by checked look-ups, so no address can harm anything.
unsafe impl Machine for SimMachine {
    fn load(&self, at: VirtAddr) -> u64 {
        schedule::step();
        let (mut state, phys) = self.access(at, Access::Load);
        state.load(at, phys)
    }

    fn store(&self, at: VirtAddr, value: u64) {
        interleave::step();
        let (mut state, phys) = self.access(at, Access::Store);
        state.store(phys, value);
    }

    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        for page in 0..pages {
            interleave::step();
            let from = self.access(from.offset(page * PAGE_SIZE), Access::Load).1;
            let (mut state, to) = self.access(to.offset(page * PAGE_SIZE), Access::Store);
            state.memory.copy(from.pfn(), to.pfn());
        }
    }

    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64 {
        interleave::step();
        let (mut state, phys) = self.access(at, Access::Store);
        let word = state.load(at, phys);
        state.store(phys, word | bits);
        word
    }

    fn fetch_xor(&self, at: VirtAddr, bits: u64) -> u64 {
        interleave::step();
        let (mut state, phys) = self.access(at, Access::Store);
        let word = state.load(at, phys);
        state.store(phys, word ^ bits);
        word
    }

    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64 {
        interleave::step();
        let (mut state, phys) = self.access(at, Access::Store);
        let word = state.load(at, phys);
        state.store(phys, word & bits);
        word
    }

    fn flush(&self, pages: &[VirtAddr]) {
        interleave::step();
        let mut state = self.state();
        state.counts.flushes += pages.len() as u64;
        state.counts.requests += 1;
        state.tlbs.iter_mut().for_each(|tlb| pages.iter().for_each(|&at| tlb.flush(at)));
    }

    fn flush_all(&self) {
        interleave::step();
        let mut state = self.state();
        state.counts.full_flushes += 1;
        state.counts.requests += 1;
        state.tlbs.iter_mut().for_each(Tlb::flush_all);
    }

    fn flush_local(&self, at: VirtAddr) {
        self.state().tlbs[CPU.get().index()].flush(at);
    }

    fn fence_all(&self) {
        interleave::step();
        self.state().counts.requests += 1;
        fence(Ordering::SeqCst);
    }

    fn fence_light(&self) {
        schedule::step();
        // The host's threads cannot be interrupted, so each half of the barrier is a whole one.
        fence(Ordering::SeqCst);
    }

    fn run_parallel(&self, count: u64, work: &(dyn Fn(&Self, u64) + Sync)) {
        let helpers = self.helpers.load(Ordering::Relaxed);
        if helpers == 0 {
            return (0..count).for_each(|number| work(self, number));
        }
        let next = AtomicU64::new(0);
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count);
        std::thread::scope(|scope| {
            for cpu in (MAX_CPUS - helpers..MAX_CPUS).filter_map(CpuNr::new) {
                scope.spawn(move || {
                    run_as(cpu, || {
                        while let Some(number) = take() {
                            work(self, number);
                            self.helped.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                });
            }
            while let Some(number) = take() {
                work(self, number);
                std::thread::yield_now();
            }
        });
    }

    fn cpu(&self) -> CpuNr {
        CPU.get()
    }
}

impl State {
    fn load(&mut self, at: VirtAddr, phys: PhysAddr) -> u64 {
        self.counts.loads += 1;
        if VMEMMAP.contains(at) {
            assert!(
                self.memory.was_written(phys),
                "read of an unwritten descriptor: word {} of {:?}",
                (at.0 >> 3) & 7,
                Pfn((at.0 - VMEMMAP.start.0) >> 6)
            );
        }
        self.memory.load(phys)
    }

    fn store(&mut self, phys: PhysAddr, value: u64) {
        self.counts.stores += 1;
        self.memory.store(phys, value);
    }
}

/// [`Memory::boot`](crate::Memory::boot) on a simulated machine, where it is safe.
///
/// # Errors
/// Those of [`Memory::boot`](crate::Memory::boot).
pub fn boot(
    memory: &crate::Memory<SimMachine>,
    boot: BootMemory<'_>,
    early: &mut BootAllocator,
    left_out: &mut dyn FnMut(PfnRange),
) -> Result<(), BootError> {
    boot_any(memory, boot, early, left_out)
}

/// The same for each machine of this module.
#[expect(unsafe_code, reason = "a simulated machine has nothing to harm")]
fn boot_any<M: Machine>(
    memory: &crate::Memory<M>,
    boot: BootMemory<'_>,
    early: &mut BootAllocator,
    left_out: &mut dyn FnMut(PfnRange),
) -> Result<(), BootError> {
    // SAFETY: `M` is a machine of this module. A wrong root or range makes the simulation panic or the core's checks
    // fail. Simulated memory gives no access to memory of the host's program.
    unsafe { memory.boot(boot, early, left_out) }
}

struct Loader<'a> {
    memory: &'a mut Memory,
    root: Pfn,
    next: Pfn,
}

impl Loader<'_> {
    fn map_direct(&mut self, range: PfnRange) {
        let mut frame = range.start;
        while frame < range.end {
            let large = frame.0.is_multiple_of(512) && frame.0 + 512 <= range.end.0;
            let (level, flags) = if large { (2, tlb::LARGE) } else { (1, 0) };
            let entry = frame.start().0 | flags | tlb::PRESENT | tlb::WRITABLE | tlb::NO_EXECUTE;
            let address = self.entry_address(direct(frame.start()), level);
            self.memory.store(address, entry);
            frame = frame.offset(if large { 512 } else { 1 });
        }
    }

    /// The physical address of the entry of `level` for `at`. Creates missing tables above it.
    fn entry_address(&mut self, at: VirtAddr, level: u32) -> PhysAddr {
        let mut table = self.root;
        let mut here = 4;
        loop {
            let address = PhysAddr(table.start().0 + (at.0 >> tlb::shift(here)) % 512 * 8);
            if here == level {
                return address;
            }
            if self.memory.load(address) & tlb::PRESENT == 0 {
                self.memory.zero(self.next);
                self.memory.store(address, self.next.start().0 | tlb::PRESENT | tlb::WRITABLE);
                self.next = self.next.offset(1);
            }
            table = tlb::table_of(self.memory.load(address));
            here -= 1;
        }
    }
}

const _: () = assert!(PAGE_SIZE == 1 << PAGE_SHIFT);
