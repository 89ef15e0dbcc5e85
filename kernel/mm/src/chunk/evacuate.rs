//! What keeps a device from shrinking: the frames whose content should migrate, and the blocks that cannot.
//!
//! Neighbours: `hot_remove::offline` migrates, then `unplug` takes the frames.

use arrayvec::ArrayVec;

use crate::addr::{Pfn, PfnRange};
use crate::buddy::Walk;
use crate::descriptor::BlockState;
use crate::hot_remove::Pinned;
use crate::info::ResourceId;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::pieces::Plug;
use crate::rmap::RmapEntry;

use super::ChunkDevice;

/// Runs of offline frames, ascending.
pub type OfflineRuns = ArrayVec<PfnRange, 64>;

impl<M: Machine> Memory<M> {
    /// The frames whose content should migrate so that `want` more can be unplugged: of the chunk with least content that
    /// has movable content and is not in `tried`, up to the highest pinned block. Returns the chunk and the frames.
    pub fn to_evacuate(
        &self,
        device: &ChunkDevice,
        want: u64,
        tried: &dyn Fn(ResourceId) -> bool,
    ) -> Option<(ResourceId, PfnRange)> {
        let chunks = self.descending(device).filter_map(|entry| self.chunk_at(device, entry));
        let (entry, region, shape) = chunks
            .filter(|(entry, ..)| !tried(entry.id) && self.used_in(*entry) > 0)
            .min_by_key(|(entry, ..)| self.used_in(*entry))?;
        let mut run = PfnRange::new(region.layout.usable.start, region.layout.usable.start);
        let mut best = PfnRange::default();
        let pieces = &self.slots[entry.slot.0 as usize].summary.pieces;
        let units = |run: PfnRange| {
            let start = run.start.0.next_multiple_of(shape.unit).min(run.end.0);
            let start = if run.start == region.layout.usable.start { run.start } else { Pfn(start) };
            PfnRange::new(start, Pfn(run.end.0 / shape.unit * shape.unit).max(start))
        };
        let is_better = |run: PfnRange| pieces.next_run(units(run), Plug::In).is_some();
        self.with_region(entry, |region, buddy| {
            buddy.walk(region.layout.usable, |found| {
                let rmap = || RmapEntry::of(buddy.rmap(found));
                let stays = found.tag.state == BlockState::Pinned
                    && !matches!(rmap(), RmapEntry::Table(..) | RmapEntry::Reserve);
                if stays {
                    best = if is_better(run) { units(run) } else { best };
                    run.start = found.range().end;
                }
                run.end = found.range().end;
                Walk::Continue
            });
        })?;
        best = if is_better(run) { units(run) } else { best };
        // From the top down, as much as is wanted.
        let (mut at, mut plugged) = (best.end, 0);
        while at > best.start && plugged < want {
            at = Pfn(at.0.saturating_sub(shape.unit)).max(best.start);
            plugged += if pieces.is_unplugged(at) { 0 } else { shape.unit };
        }
        let part = PfnRange::new(at, best.end);
        (!part.is_empty()).then_some((entry.id, part))
    }

    /// The offline frames of `part`, from the top down, as far as the list has a place; the part above the first that
    /// has none.
    pub fn offline_in(&self, part: PfnRange) -> (PfnRange, OfflineRuns) {
        let (mut runs, mut start) = (OfflineRuns::new(), part.start);
        let entry = self.index.read().find(part.start).copied();
        let Some(entry) = entry else { return (part, runs) };
        self.with_region(entry, |_, buddy| {
            buddy.walk(part, |found| {
                let frames = found.range().intersection(part);
                if found.tag.state == BlockState::Offline {
                    match runs.last_mut().filter(|run: &&mut PfnRange| run.end == frames.start) {
                        Some(run) => run.end = frames.end,
                        None => {
                            if runs.is_full() {
                                start = runs.remove(0).end;
                            }
                            runs.push(frames);
                        }
                    }
                }
                Walk::Continue
            });
        });
        (PfnRange::new(start, part.end), runs)
    }

    /// A device's chunk with a block that cannot migrate, and that block.
    pub fn pinned_in_chunks(&self, device: &ChunkDevice) -> Option<Pinned> {
        let chunks = self.descending(device).filter_map(|entry| self.chunk_at(device, entry));
        chunks.filter_map(|(entry, ..)| self.first_pinned(entry.id)).next()
    }
}
