//! The memory core on a fast machine: descriptors in a flat array, the rest simulated.
//!
//! The simulation's page walk on every access would hide the allocator's cost. The allocator's hot words, descriptors
//! and headers, are in the DIMMs' vmemmap, which is an array here. Page tables and boot memory, which only boot and add
//! access, are simulated.

use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicU64, compiler_fence};

use carapace_mm::Memory;
use carapace_mm::Mobility;
use carapace_mm::addr::{NodeId, Order, PAGE_SHIFT, Pfn, PfnRange, VirtAddr};
use carapace_mm::address_space::{DESCRIPTOR_SIZE, descriptor};
use carapace_mm::boot_alloc::{BootAllocator, Occupied, Owner};
use carapace_mm::info::{AddRequest, BootRange, DeviceId};
use carapace_mm::machine::{CpuNr, Machine, Support};
use carapace_mm::memory::BootMemory;
use carapace_mm::sim::SimMachine;

use crate::Frames;

/// The first frame of the DIMMs.
const FIRST: Pfn = Pfn(0x10_0000);
/// Frames of all DIMMs together: 8 GiB.
pub const PAGES: u64 = (8 << 30) >> PAGE_SHIFT;

struct FlatMachine {
    words: Vec<AtomicU64>,
    rest: SimMachine,
}

impl FlatMachine {
    /// The array's word at `at`, if it is one of a DIMM's descriptors.
    #[inline]
    fn descriptor_word(&self, at: VirtAddr) -> Option<&AtomicU64> {
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

// SAFETY: its words are in a vector, found by checked look-ups, or in the simulated machine, so no address can harm
// anything.
unsafe impl Machine for FlatMachine {
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

    fn flush(&self, pages: &[VirtAddr]) {
        self.rest.flush(pages);
    }

    fn flush_all(&self) {
        self.rest.flush_all();
    }

    fn flush_local(&self, at: VirtAddr) {
        self.rest.flush_local(at);
    }

    fn fence_all(&self) {}

    #[inline(always)]
    fn fence_light(&self) {
        compiler_fence(SeqCst);
    }

    #[inline]
    fn cpu(&self) -> CpuNr {
        CpuNr::FIRST
    }
}

/// This kernel's allocator.
pub struct Carapace(Memory<FlatMachine>);

impl Carapace {
    /// 64 MiB of boot memory, and 8 GiB in `regions` DIMMs of the same size.
    pub fn new(regions: usize) -> Carapace {
        let boot = PfnRange::new(Pfn(0x100), Pfn(0x4000));
        let rest = SimMachine::boot(1, Support::Yes, &[boot]);
        let words = (0..PAGES * DESCRIPTOR_SIZE / 8).map(|_| AtomicU64::new(0x5a5a_5a5a_5a5a_5a5a)).collect();
        let (root, features, tables) = (rest.root(), rest.features(), rest.boot_tables());
        let memory = Memory::new(FlatMachine { words, rest });
        let occupied = [Occupied { range: tables, owner: Owner::PageTables }];
        let known = BootMemory {
            root,
            features,
            ranges: &[BootRange { range: boot, node: NodeId(0) }],
            occupied: &occupied,
            hotplug: &[PfnRange::of(FIRST, PAGES)],
        };
        let mut early = BootAllocator::new(&[boot], &occupied);
        // SAFETY: a simulated machine has nothing to harm.
        unsafe { memory.boot(known, &mut early, &mut |_| {}) }.expect("boot succeeds");
        let pages = PAGES / regions as u64;
        for nr in 0..regions as u64 {
            let range = PfnRange::of(FIRST.offset(nr * pages), pages);
            memory.machine().rest.plug(range);
            let request =
                AddRequest { base: range.start.start(), size: pages << PAGE_SHIFT, node: NodeId(0) };
            memory.add(DeviceId(nr as u32), &[request], &|| 0).expect("the add succeeds");
        }
        Carapace(memory)
    }
}

impl Frames for Carapace {
    #[inline]
    fn allocate(&mut self, order: u8) -> Option<u64> {
        self.0.allocate_block(Order(order), None, Mobility::Movable).map(|block| block.head.0)
    }

    #[inline]
    fn free(&mut self, frame: u64, _order: u8) {
        let freed = self.0.free_block(Pfn(frame));
        assert!(freed.is_ok(), "a block that was allocated can be freed");
    }
}
