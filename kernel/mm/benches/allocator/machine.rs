//! This kernel's allocator, on the fast machine of the simulation.

use carapace_mm::addr::{Order, PAGE_SHIFT, Pfn};
use carapace_mm::sim::flat::FlatMachine;
use carapace_mm::{Memory, Mobility};

use crate::Frames;

/// Frames of all DIMMs together: 8 GiB.
pub const PAGES: u64 = (8 << 30) >> PAGE_SHIFT;

/// The allocator, as a CPU uses it.
#[derive(Clone, Copy)]
pub struct Carapace<'a>(pub &'a Memory<FlatMachine>);

/// The allocator's memory: `regions` DIMMs of the same size.
pub fn booted(regions: usize) -> Box<Memory<FlatMachine>> {
    Box::new(FlatMachine::booted(PAGES, regions as u64))
}

impl Frames for Carapace<'_> {
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
