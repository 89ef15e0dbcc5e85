//! Unplugging what is unused: chunks without content as a whole, then free or offline units from the highest chunk down,
//! and the memmap of sections that become empty.
//!
//! Neighbours: `map` clears the entries, `hot_remove` takes whole chunks away, `evacuate` makes more units unused.

use arrayvec::ArrayVec;

use crate::addr::{Order, Pfn, PfnRange};
use crate::buddy::{Buddy, Walk};
use crate::descriptor::BlockState;
use crate::hot_remove::RemoveStats;
use crate::info::MAX_DEVICE_RANGES;
use crate::layout::Layout;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::FlushBatch;
use crate::pieces::{Plug, Shape};
use crate::region::IndexEntry;
use crate::rmap::RmapEntry;

use super::{ChunkDevice, MAX_RUNS, Unplugged};

impl<M: Machine> Memory<M> {
    /// Takes at most `want` unused frames of a device out of use: chunks without content as a whole, memmap included;
    /// then free or offline units, from the highest chunk down. Nothing of them is mapped any more, and no CPU has a
    /// translation of them. Nothing while an offlining is under way.
    pub fn unplug_unused(&self, device: &ChunkDevice, want: u64) -> Unplugged {
        let mut taken = Unplugged::default();
        let mut hotplug = self.hotplug.lock();
        if hotplug.as_mut().is_none_or(|hotplug| hotplug.underway.is_some()) {
            return taken;
        }
        self.unplug_whole(device, want, &mut taken);
        let mut flush = FlushBatch::new();
        for entry in self.descending(device) {
            let left = want - taken.pages();
            if left < device.unit {
                break;
            }
            if let Some((entry, region, shape)) = self.chunk_at(device, entry) {
                self.unplug_units(entry, &region.layout, &shape, left, &mut taken, &mut flush);
            }
        }
        flush.run(&self.machine);
        taken
    }

    /// Removes chunks without content that are not larger than what is wanted.
    fn unplug_whole(&self, device: &ChunkDevice, want: u64, taken: &mut Unplugged) {
        loop {
            let mut left = want - taken.pages();
            let mut leaving = ArrayVec::<IndexEntry, MAX_DEVICE_RANGES>::new();
            let mut runs = Unplugged { runs: taken.runs.clone(), ..Unplugged::default() };
            for entry in self.descending(device) {
                let Some((entry, region, _)) = self.chunk_at(device, entry) else { continue };
                let plugged = self.plugged_in(entry);
                if leaving.is_full() || left < device.unit {
                    break;
                }
                if plugged > left || self.used_in(entry) > 0 {
                    continue;
                }
                let pieces = &self.slots[entry.slot.0 as usize].summary.pieces;
                let mut with = Unplugged { runs: runs.runs.clone(), ..Unplugged::default() };
                if !pieces.runs(entry.range, Plug::In).all(|run| with.push(run)) {
                    continue;
                }
                self.isolate(entry, region.layout.usable);
                if self.used_in(entry) > 0 {
                    self.reattach(entry);
                    continue;
                }
                runs = with;
                left -= plugged;
                leaving.push(entry);
            }
            if leaving.is_empty() {
                return;
            }
            let mut stats = RemoveStats::default();
            if self.unmap_isolated(&mut stats).is_err() {
                self.rollback();
                return;
            }
            taken.runs = runs.runs;
            for entry in &leaving {
                // Full: the caller learns the rest by the resources.
                let _ = taken.gone.try_push(entry.id);
            }
            if leaving.len() < leaving.capacity() {
                return;
            }
        }
    }

    /// Ends the isolation of a chunk that is in use after all.
    fn reattach(&self, entry: IndexEntry) {
        self.with_region(entry, |region, _| {
            region.isolated = PfnRange::default();
            self.attach(entry.slot, region);
        });
    }

    /// Takes unused units of a chunk out of use, from the top down, and the memmap of sections that become empty.
    fn unplug_units(
        &self,
        entry: IndexEntry,
        layout: &Layout,
        shape: &Shape,
        left: u64,
        taken: &mut Unplugged,
        flush: &mut FlushBatch,
    ) {
        if self.caches.pages_of(entry.slot) > 0 {
            self.drain(entry.slot);
        }
        let mut runs = ArrayVec::<PfnRange, MAX_RUNS>::new();
        self.with_region(entry, |_, buddy| {
            let mut left = left;
            let mut take = |unit: PfnRange, left: &mut u64| {
                let fits = unit.pages() <= *left && taken.runs.len() < MAX_RUNS - 1 && !runs.is_full();
                if !fits || !take_unit(buddy, unit.intersection(layout.usable)) {
                    return;
                }
                buddy.summary.pieces.set(unit, Plug::Out);
                taken.push(unit);
                match runs.last_mut().filter(|run| run.start == unit.end) {
                    Some(run) => run.start = unit.start,
                    None => runs.push(unit),
                }
                *left -= unit.pages();
            };
            let may_have = buddy.summary.highest() >= Some(Order(shape.unit.trailing_zeros() as u8))
                || buddy.pages_in(BlockState::Offline) > 0;
            for index in (0..shape.metadata_units()).rev() {
                let memmap = shape.metadata_unit(index);
                if left < shape.unit || buddy.is_unplugged(memmap.start) {
                    continue;
                }
                let opened = shape.opened_by(index);
                let mut at = opened.end;
                while may_have && at > opened.start && left >= shape.unit {
                    at = Pfn(at.0 - shape.unit);
                    if !buddy.is_unplugged(at) {
                        take(PfnRange::of(at, shape.unit), &mut left);
                    }
                }
                let is_empty = buddy.summary.pieces.next_run(opened, Plug::In).is_none();
                if index > 0 && is_empty {
                    take(memmap, &mut left);
                }
            }
        });
        for run in runs {
            self.poison.removed(run);
            self.unlink_run(layout, run, flush);
        }
    }
}

/// Takes the usable frames of a unit out of the allocator if all of them are free or offline.
fn take_unit<M: Machine>(buddy: &Buddy<'_, M>, frames: PfnRange) -> bool {
    if frames.is_empty() {
        return true;
    }
    let (mut all, mut offline) = (true, false);
    let end = buddy.walk(frames, |found| {
        all = matches!(found.tag.state, BlockState::Free | BlockState::Offline);
        offline |= found.tag.state == BlockState::Offline;
        if all { Walk::Continue } else { Walk::Stop }
    });
    if !all || end < frames.end {
        return false;
    }
    if offline {
        for border in [frames.start, frames.end] {
            if buddy.find(border).is_some_and(|found| found.tag.state == BlockState::Offline) {
                buddy.split_at(border, RmapEntry::after);
            }
        }
        buddy.free_all(frames, BlockState::Offline);
    }
    buddy.alloc_range(frames, BlockState::Unplugged, 0).is_some()
}
