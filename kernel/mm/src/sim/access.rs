//! Accesses to simulated memory: those of the core, which is the machine's side of [`Machine`], and those of programs.
//!
//! ```text
//!  Machine::load, store, copy_pages -> translate on this thread's CPU -> frames     a fault panics
//!  try_load, try_store -------------> the same                                      a fault is the result
//!  flush, fence_all ----------------> the caches of all CPUs
//! ```
//!
//! Invariants: an access holds the machine's lock from its translation to its end, so that it is one step for all CPUs.
//! Each one is a point where the tests' schedule may switch to another CPU (`interleave`, `carapace_lock::schedule`).
//! Neighbours: `tlb` translates, `memory` holds the words.

use core::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::MutexGuard;

use carapace_lock::schedule;

use super::tlb::{Access, Fault, Tlb};
use super::{CPU, SimMachine, State, interleave, run_as};
use crate::addr::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use crate::address_space::VMEMMAP;
use crate::machine::{CpuNr, MAX_CPUS, Machine};

impl SimMachine {
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

    /// The state, and the physical address of an access of the core, for which no fault is right.
    fn access(&self, at: VirtAddr, access: Access) -> (MutexGuard<'_, State>, PhysAddr) {
        let mut state = self.state();
        match state.translate(self.root, at, access) {
            Ok(phys) => (state, phys),
            Err(fault) => panic!("{fault} at {at}"),
        }
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

    fn sharing(&self) -> u64 {
        1 + self.helpers.load(Ordering::Relaxed) as u64
    }

    fn cpu(&self) -> CpuNr {
        CPU.get()
    }
}

impl State {
    fn translate(&mut self, root: Pfn, at: VirtAddr, access: Access) -> Result<PhysAddr, Fault> {
        assert!(at.0.is_multiple_of(8), "unaligned access at {at}");
        self.tlbs[CPU.get().index()].translate(&mut self.memory, root, at, access)
    }

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
