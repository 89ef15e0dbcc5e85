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
//! Here are the machine, its plugs and its counts; `loader` builds the first tables, `access` has loads, stores and
//! flushes, `inspect` compares states. Neighbours: the tests of every module of this crate; `model` is a machine under
//! load.

mod access;
pub mod flat;
mod inspect;
pub mod interleave;
mod loader;
mod memory;
pub mod model;
mod tlb;

use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use crate::addr::{Pfn, PfnRange, PhysAddr};
use crate::boot_alloc::BootAllocator;
use crate::error::BootError;
use crate::machine::{CpuFeatures, CpuNr, MAX_CPUS, Machine, Support};
use crate::memory::BootMemory;
use memory::Memory;
use tlb::Tlb;

pub use inspect::SimLeaf;

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
        let root = largest.start.offset(16);
        let boot_tables = loader::map_directly(&mut memory, root, ranges);
        assert!(largest.contains_range(boot_tables), "the loader's tables do not fit");
        SimMachine {
            root,
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

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that failed a test poisons the lock; the others shall fail with their own message.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
