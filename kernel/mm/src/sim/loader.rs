//! The loader of a simulated machine: a direct map of its memory, built without `page_table`, so that an error there
//! does not hide itself.
//!
//! Neighbours: [`SimMachine::boot`](super::SimMachine::boot) calls it; `tlb` has the format of entries.

use super::memory::Memory;
use super::tlb;
use crate::addr::{Pfn, PfnRange, PhysAddr, VirtAddr};
use crate::address_space::direct;

/// Maps `ranges` with 2 MiB and 4 KiB leaves. The tables lie from `root` on. Returns their frames.
pub(super) fn map_directly(memory: &mut Memory, root: Pfn, ranges: &[PfnRange]) -> PfnRange {
    let mut loader = Loader { memory, root, next: root.offset(1) };
    loader.memory.zero(root);
    ranges.iter().for_each(|range| loader.map_direct(*range));
    PfnRange::new(root, loader.next)
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
