//! Allocations whose memory went away with its device: what is left of them is given back, and they say that they
//! are lost until they are freed.
//!
//! The page tables cannot be asked for the blocks: some of them may be gone as well. But every block that is left
//! knows the address it was mapped at (the reverse map), and every page table which one it was: so one walk over the
//! blocks of all memory that is there finds what belongs to the lost. Neighbours: `remove::forget` asks.

use arrayvec::ArrayVec;

use crate::addr::{PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::descriptor::State;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::Hole;
use crate::rmap::RmapEntry;
use crate::vmalloc::provider::Returning;
use crate::vmalloc::{AllocationState, Area, FrameProvider, Pending, VmallocArena};

/// Leaves that are unmapped together.
const LEAVES: usize = 64;

/// What was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Pages whose frames are gone.
    pub(crate) pages: u64,
    /// Allocations that had some of them, or whose page tables are gone.
    pub(crate) allocations: u64,
}

impl VmallocArena {
    /// Ends every allocation with something in frames for which `gone` holds, and gives back what is left of it.
    pub(crate) fn lose<M: Machine>(&self, memory: &Memory<M>, gone: &dyn Fn(Pfn) -> bool) -> Lost {
        let mut areas = self.areas.lock();
        let mut lost = Lost::default();
        for place in &mut areas.list {
            let (mut holes, start, reserved) = (0, place.allocation.start, place.reserved);
            memory.with_tables(|tables, machine| {
                tables.cut_out(machine, start, reserved, gone, &mut |hole| {
                    holes += 1;
                    if let Hole::Frames { pages, .. } = hole {
                        lost.pages += pages;
                    }
                });
            });
            let unmapped = place.lose_pending(gone);
            lost.pages += unmapped;
            if holes > 0 || unmapped > 0 {
                lost.allocations += end_lost(memory, place);
            }
        }
        // A table that was shared by two allocations makes a hole in the first: the second has none, and no pages.
        for place in &mut areas.list {
            if !is_mapped(memory, place) {
                lost.allocations += end_lost(memory, place);
            }
        }
        let list = &areas.list;
        memory.give_stranded(&|at| {
            let holds = |place: &&Area| place.allocation.start <= at && at.0 < place.end();
            list.iter().find(holds).is_some_and(|place| place.allocation.state == AllocationState::Lost)
        });
        lost
    }
}

impl Area {
    /// Forgets frames for which `gone` holds among those that are not mapped. Returns how many frames of its content
    /// there were: without them it cannot be made. What is in reserve or only to be moved to can be had elsewhere.
    fn lose_pending(&mut self, gone: &dyn Fn(Pfn) -> bool) -> u64 {
        self.pending.reserve.retain(|frame| !gone(*frame));
        // A run and a block lie in one resource: all of it is gone, or none.
        let run = self.pending.run.take_if(|run| gone(run.start)).map_or(0, PfnRange::pages);
        let block = self.pending.block.take_if(|(block, _)| gone(block.head));
        self.moving.take_if(|moving| moving.is_untouched() && gone(moving.new));
        run + block.map_or(0, |(block, mapped)| block.order.pages() - mapped)
    }
}

/// Ends an allocation that lost memory, once: unmaps what is left of it. Its blocks are freed by the reverse map, what
/// it has taken and not mapped among them. Returns 1 unless it was lost before.
fn end_lost<M: Machine>(memory: &Memory<M>, place: &mut Area) -> u64 {
    if place.allocation.state == AllocationState::Lost {
        return 0;
    }
    unmap_rest(memory, place);
    place.moving = None;
    place.pending.reserve.drain(..).for_each(|frame| memory.free_table(frame));
    place.pending = Pending::new();
    place.allocation.state = AllocationState::Lost;
    1
}

/// Whether every page that should be mapped is.
fn is_mapped<M: Machine>(memory: &Memory<M>, place: &Area) -> bool {
    let (first, pages) = (place.page(place.freed), place.allocation.pages - place.freed);
    let mut at = first;
    memory.with_tables(|tables, machine| {
        tables.leaves(machine, first, pages, &mut |leaf| {
            if leaf.virt <= at {
                at = leaf.virt.offset(leaf.size.bytes());
            }
        });
    });
    at >= first.offset(pages * PAGE_SIZE)
}

/// Unmaps what is still mapped of a place.
fn unmap_rest<M: Machine>(memory: &Memory<M>, place: &Area) {
    loop {
        let mut leaves: ArrayVec<(VirtAddr, u64), LEAVES> = ArrayVec::new();
        memory.with_tables(|tables, machine| {
            tables.leaves(machine, place.allocation.start, place.allocation.pages, &mut |leaf| {
                // The rest comes in the next round.
                let _ = leaves.try_push((leaf.virt, leaf.size.pages()));
            });
        });
        if leaves.is_empty() {
            return;
        }
        for (at, pages) in leaves {
            let unmapped = memory
                .with_tables(|tables, machine| tables.unmap(machine, at, pages, &mut Returning(memory)));
            if !matches!(unmapped, Some(Ok(_))) {
                return;
            }
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Frees the blocks that are mapped at addresses for which `lost` holds, and page tables that nothing links any
    /// more; counts the page tables that are left.
    fn give_stranded(&self, lost: &dyn Fn(VirtAddr) -> bool) {
        let mut tables = 0;
        self.each_entry(|entry| {
            let mut at = entry.range.start;
            while let Some(block) = self.block_from(entry, &mut at) {
                match (block.state, block.word) {
                    (State::Movable | State::Pinned, RmapEntry::Mapping(virt)) if lost(virt) => {
                        self.free_owned(block.head);
                    }
                    (State::Pinned, RmapEntry::Table(virt, level)) => {
                        let linked =
                            self.with_tables(|tables, machine| tables.table_of(machine, virt, level));
                        if linked.flatten() == Some(block.head) {
                            tables += block.pages;
                        } else {
                            self.free_owned(block.head);
                        }
                    }
                    (State::Pinned, RmapEntry::Reserve) => tables += block.pages,
                    (State::Boot, RmapEntry::Owner(crate::boot_alloc::Owner::PageTables)) => {
                        tables += block.pages
                    }
                    _ => {}
                }
            }
        });
        self.page_tables.store(tables, core::sync::atomic::Ordering::Relaxed);
    }
}
