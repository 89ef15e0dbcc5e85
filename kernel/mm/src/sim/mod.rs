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

mod memory;
pub mod model;
mod tlb;

use core::cell::{Cell, RefCell};
use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange, PhysAddr, VirtAddr};
use crate::address_space::{VMEMMAP, direct};
use crate::boot_alloc::BootAllocator;
use crate::error::BootError;
use crate::machine::{CpuFeatures, CpuNr, Machine, Support};
use crate::memory::BootMemory;
use memory::Memory;
use tlb::{Access, Tlb};

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
    memory: RefCell<Memory>,
    tlb: RefCell<Tlb>,
    counts: Cell<SimCounts>,
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
            memory: RefCell::new(memory),
            tlb: RefCell::new(Tlb::default()),
            counts: Cell::new(SimCounts::default()),
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
        self.memory.borrow_mut().add(range);
    }

    /// Makes `range` a hole in present memory: reads return all ones and writes are dropped, as on a bus where
    /// firmware announces memory that does not exist.
    pub fn make_hole(&self, range: PfnRange) {
        self.memory.borrow_mut().make_hole(range);
    }

    /// Unplugs memory and drops its contents. Later accesses panic. Panics at once when a cached translation or table
    /// is in `range`, since a CPU may use it at any time.
    pub fn unplug(&self, range: PfnRange) {
        assert!(
            !self.tlb.borrow().refers_to(range),
            "frames {range} are unplugged, but a translation cache still refers to them"
        );
        self.memory.borrow_mut().remove(range);
    }

    /// Unplugs memory without notice: like [`SimMachine::unplug`], but cached translations are allowed.
    pub fn surprise_remove(&self, range: PfnRange) {
        self.memory.borrow_mut().remove(range);
    }

    /// Unplugs memory, which has its contents again when it is plugged again. Accesses in between panic.
    pub fn unplug_keeping(&self, range: PfnRange) {
        self.memory.borrow_mut().remove_keeping(range);
    }

    /// Fills `range` with new junk.
    pub fn junk(&self, range: PfnRange) {
        self.memory.borrow_mut().junk(range);
    }

    /// The word at a physical address, without translation. Not counted.
    pub fn physical(&self, at: PhysAddr) -> u64 {
        self.memory.borrow_mut().load(at)
    }

    /// The frames with a written word, ascending.
    pub fn written(&self) -> Vec<Pfn> {
        self.memory.borrow().written()
    }

    /// The accesses so far.
    pub fn counts(&self) -> SimCounts {
        self.counts.get()
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
        let memory = self.memory.borrow();
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
            let mut memory = self.memory.borrow_mut();
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

    fn translate(&self, at: VirtAddr, access: Access) -> PhysAddr {
        assert!(at.0.is_multiple_of(8), "unaligned access at {at}");
        self.tlb.borrow_mut().translate(&mut self.memory.borrow_mut(), self.root, at, access)
    }

    fn count(&self, change: impl FnOnce(&mut SimCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

#[expect(unsafe_code, reason = "an implementation of the trait: no unsafe block")]
// SAFETY: its words are in collections of the host, found by checked look-ups, so no address can harm anything.
unsafe impl Machine for SimMachine {
    fn load(&self, at: VirtAddr) -> u64 {
        self.count(|counts| counts.loads += 1);
        let phys = self.translate(at, Access::Load);
        let mut memory = self.memory.borrow_mut();
        if VMEMMAP.contains(at) {
            assert!(
                memory.was_written(phys),
                "read of an unwritten descriptor: word {} of {:?}",
                (at.0 >> 3) & 7,
                Pfn((at.0 - VMEMMAP.start.0) >> 6)
            );
        }
        memory.load(phys)
    }

    fn store(&self, at: VirtAddr, value: u64) {
        self.count(|counts| counts.stores += 1);
        let phys = self.translate(at, Access::Store);
        self.memory.borrow_mut().store(phys, value);
    }

    fn copy_pages(&self, from: VirtAddr, to: VirtAddr, pages: u64) {
        for page in 0..pages {
            let from = self.translate(from.offset(page * PAGE_SIZE), Access::Load);
            let to = self.translate(to.offset(page * PAGE_SIZE), Access::Store);
            self.memory.borrow_mut().copy(from.pfn(), to.pfn());
        }
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

    fn flush(&self, pages: &[VirtAddr]) {
        self.count(|counts| {
            counts.flushes += pages.len() as u64;
            counts.requests += 1;
        });
        pages.iter().for_each(|&at| self.tlb.borrow_mut().flush(at));
    }

    fn flush_all(&self) {
        self.count(|counts| {
            counts.full_flushes += 1;
            counts.requests += 1;
        });
        self.tlb.borrow_mut().flush_all();
    }

    fn flush_local(&self, at: VirtAddr) {
        self.tlb.borrow_mut().flush(at);
    }

    fn fence_all(&self) {
        self.count(|counts| counts.requests += 1);
    }

    fn cpu(&self) -> CpuNr {
        CpuNr::FIRST
    }
}

/// [`Memory::boot`](crate::Memory::boot) on a simulated machine, where it is safe.
///
/// # Errors
/// Those of [`Memory::boot`](crate::Memory::boot).
#[expect(unsafe_code, reason = "a simulated machine has nothing to harm")]
pub fn boot(
    memory: &crate::Memory<SimMachine>,
    boot: BootMemory<'_>,
    early: &mut BootAllocator,
    left_out: &mut dyn FnMut(PfnRange),
) -> Result<(), BootError> {
    // SAFETY: a wrong root or range makes the simulation panic or the core's checks fail. Simulated memory gives no
    // access to memory of the host program.
    unsafe { memory.boot(boot, early, left_out) }
}

/// Builds a loader's direct map: 2 MiB and 4 KiB leaves, writable, not executable.
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
