//! A fast machine for threads: the words of DIMMs' descriptors and headers are atomic words of one flat array, as they
//! are of memory in the kernel; the rest is simulated.
//!
//! The simulation's page walk on every access would hide the allocator's cost, and its lock would order all accesses.
//! The allocator's hot words, descriptors and headers, are in the DIMMs' vmemmap, which is the array. Page tables and
//! boot memory, which only boot, adds and removals access, are simulated.
//!
//! With [`Jittery`] a thread now and then gives way before an access, so that another one comes in between two accesses
//! that belong together.
//!
//! Neighbours: the benchmark of the allocator, and the tests with threads.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicU64, compiler_fence, fence};
use std::vec::Vec;

use rustix::thread::{MembarrierCommand, membarrier};

use crate::Memory;
use crate::addr::{NodeId, PAGE_SHIFT, Pfn, PfnRange, VirtAddr};
use crate::address_space::{DESCRIPTOR_SIZE, descriptor};
use crate::boot_alloc::{BootAllocator, Occupied, Owner};
use crate::info::{AddRequest, BootRange, DeviceId};
use crate::machine::{CpuNr, Machine, Support};
use crate::memory::BootMemory;
use crate::sim::SimMachine;

/// The first frame of the DIMMs.
pub const FIRST: Pfn = Pfn(0x10_0000);

/// How a thread's accesses follow each other.
pub trait Pace {
    /// Called before each access.
    fn pause();
}

/// At full speed.
#[derive(Debug)]
pub struct Steady;

impl Pace for Steady {
    #[inline(always)]
    fn pause() {}
}

/// With pauses at random.
#[derive(Debug)]
pub struct Jittery;

std::thread_local! {
    static RANDOM: Cell<u32> = const { Cell::new(0x9e37_79b9) };
}

impl Pace for Jittery {
    fn pause() {
        // xorshift32; a new thread differs from the others by its time, soon enough.
        let mut random = RANDOM.get();
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        RANDOM.set(random);
        if random.is_multiple_of(251) {
            std::thread::yield_now();
        }
    }
}

/// The machine. Its CPUs are threads that [`run_as`](crate::sim::run_as) them.
#[derive(Debug)]
pub struct FlatMachine<P = Steady> {
    pace: PhantomData<P>,
    words: Vec<AtomicU64>,
    /// Whether the host's kernel makes all threads execute a barrier at once. If not, each `fence_light` is a whole one.
    membarrier: AtomicBool,
    rest: SimMachine,
}

impl<P: Pace> FlatMachine<P> {
    /// Boots 64 MiB of boot memory and adds `pages` frames in `regions` DIMMs of the same size.
    ///
    /// # Panics
    /// When the DIMMs cannot be added.
    pub fn booted(pages: u64, regions: u64) -> Memory<FlatMachine<P>> {
        let boot = PfnRange::new(Pfn(0x100), Pfn(0x4000));
        let rest = SimMachine::boot(1, Support::Yes, &[boot]);
        let words = (0..pages * DESCRIPTOR_SIZE / 8).map(|_| AtomicU64::new(0x5a5a_5a5a_5a5a_5a5a)).collect();
        let (root, features, tables) = (rest.root(), rest.features(), rest.boot_tables());
        let registered = membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
        let membarrier = AtomicBool::new(registered);
        let memory = Memory::new(FlatMachine { pace: PhantomData, words, membarrier, rest });
        let occupied = [Occupied { range: tables, owner: Owner::PageTables }];
        let known = BootMemory {
            root,
            features,
            ranges: &[BootRange { range: boot, node: NodeId(0) }],
            occupied: &occupied,
            hotplug: &[PfnRange::of(FIRST, pages)],
        };
        let mut early = BootAllocator::new(&[boot], &occupied);
        super::boot_any(&memory, known, &mut early, &mut |_| {}).expect("boot succeeds");
        for nr in 0..regions {
            let range = PfnRange::of(FIRST.offset(nr * (pages / regions)), pages / regions);
            memory.machine().rest.plug(range);
            let size = range.pages() << PAGE_SHIFT;
            let request = AddRequest { base: range.start.start(), size, node: NodeId(0) };
            memory.add(DeviceId(nr as u32), &[request], &|| 0).expect("the add succeeds");
        }
        memory
    }

    /// The array's word at `at`, if it is one of a DIMM's descriptors.
    #[inline]
    fn descriptor_word(&self, at: VirtAddr) -> Option<&AtomicU64> {
        P::pause();
        self.words.get((at.0.wrapping_sub(descriptor(FIRST).0) / 8) as usize)
    }

    #[cold]
    fn load_elsewhere(&self, at: VirtAddr) -> u64 {
        self.rest.load(at)
    }

    #[cold]
    fn store_elsewhere(&self, at: VirtAddr, value: u64) {
        self.rest.store(at, value);
    }
}

#[expect(unsafe_code, reason = "an implementation of the trait: no unsafe block")]
// SAFETY: its words are in a vector, found by checked look-ups, or in the simulated machine, so no address can harm
// anything.
unsafe impl<P: Pace> Machine for FlatMachine<P> {
    #[inline]
    fn load(&self, at: VirtAddr) -> u64 {
        match self.descriptor_word(at) {
            Some(word) => word.load(Acquire),
            None => self.load_elsewhere(at),
        }
    }

    #[inline]
    fn store(&self, at: VirtAddr, value: u64) {
        match self.descriptor_word(at) {
            Some(word) => word.store(value, Release),
            None => self.store_elsewhere(at, value),
        }
    }

    #[inline]
    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64 {
        match self.descriptor_word(at) {
            Some(word) => word.fetch_or(bits, SeqCst),
            None => self.rest.fetch_or(at, bits),
        }
    }

    #[inline]
    fn fetch_xor(&self, at: VirtAddr, bits: u64) -> u64 {
        match self.descriptor_word(at) {
            Some(word) => word.fetch_xor(bits, SeqCst),
            None => self.rest.fetch_xor(at, bits),
        }
    }

    #[inline]
    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64 {
        match self.descriptor_word(at) {
            Some(word) => word.fetch_and(bits, SeqCst),
            None => self.rest.fetch_and(at, bits),
        }
    }

    #[inline]
    fn prefetch(&self, at: VirtAddr) {
        #[cfg(target_arch = "x86_64")]
        if let Some(word) = self.descriptor_word(at) {
            // SAFETY: a hint: it accesses no memory and faults on no address.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(core::ptr::from_ref(word).cast()) }
        }
    }

    fn flush(&self, pages: &[VirtAddr]) {
        self.rest.flush(pages);
    }

    fn flush_all(&self) {
        self.rest.flush_all();
    }

    fn flush_local(&self, at: VirtAddr) {
        self.rest.flush_local(at);
    }

    fn fence_all(&self) {
        self.rest.fence_all();
        if self.membarrier.load(Relaxed) {
            // It was registered, so it cannot fail.
            let _ = membarrier(MembarrierCommand::PrivateExpedited);
        }
    }

    #[inline(always)]
    fn fence_light(&self) {
        P::pause();
        if self.membarrier.load(Relaxed) {
            compiler_fence(SeqCst);
        } else {
            fence(SeqCst);
        }
    }

    #[inline(always)]
    fn cpu(&self) -> CpuNr {
        self.rest.cpu()
    }
}
