//! Chunks: memory that a device plugs piece by piece (virtio-mem), each at most a GiB with its own memmap in its first
//! pieces. No kernel of this kind has the memmap of such memory in that memory for more than 128 MiB at a time.
//!
//! ```text
//!  the device's region   |   chunk (GiB)   |   chunk (GiB)   | ...         cut at absolute GiB borders
//!                           |
//!             memmap of section 0, 1, .. 7 (2 MiB each) | section 0 | section 1 | ...
//!
//!  plug      next_to_plug, plug   which pieces to ask the device for; probe, map, free: the first run makes the region
//!  map       -                    entries and kept tables of a run, made and cleared
//!  unplug    unplug_unused        whole chunks without content leave; then free pieces from the highest chunk down
//!  evacuate  to_evacuate          where migration makes pieces unused       (then offline, unplug_unused, online)
//! ```
//!
//! A chunk is a `Region` with the layout of any resource. Its pieces that are not plugged are blocks in the state
//! `Unplugged`: held, neither mapped nor touched, known by the region's `PieceMap` and not by
//! a descriptor. The piece of the memmap that describes a section is plugged with the section's first piece.
//!
//! Invariants: plugging takes no frame of existing memory and no heap; an error leaves every frame as it was; after
//! `unplug_unused` no CPU has a translation of what it returns. Each function holds the hotplug lock. Neighbours: `pieces`
//! decides what to plug, `hot_add` has the checks and `publish`, `hot_remove` takes whole chunks away.

mod evacuate;
mod map;
mod plug;
mod unplug;

use arrayvec::ArrayVec;

use crate::addr::{NodeId, PAGE_SHIFT, Pfn, PfnRange};
use crate::descriptor::BlockState;
use crate::info::{AddStats, DeviceId, MAX_DEVICE_RANGES, ResourceId};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::pieces::{PIECE_PAGES, Shape};
use crate::region::{IndexEntry, Region};

pub use crate::layout::GIB_PAGES;
pub use evacuate::OfflineRuns;

/// The most runs that one call of [`Memory::unplug_unused`] takes.
pub const MAX_RUNS: usize = 32;
/// The largest unit of a device, in frames.
pub const MAX_UNIT: u64 = GIB_PAGES;

/// A device that plugs pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkDevice {
    /// Its number.
    pub device: DeviceId,
    /// The node of its memory.
    pub node: NodeId,
    /// The frames where it can ever plug memory.
    range: PfnRange,
    /// Frames of a unit.
    unit: u64,
}

impl ChunkDevice {
    /// A device with memory in the `bytes` bytes from `base` on, plugged by `block` bytes. The range is rounded inward to
    /// units. `None` when the block is no power of two or larger than a GiB, or no unit is left.
    pub fn new(device: DeviceId, node: NodeId, base: u64, bytes: u64, block: u64) -> Option<ChunkDevice> {
        let unit = (block >> PAGE_SHIFT).max(PIECE_PAGES);
        if !block.is_power_of_two() || unit > MAX_UNIT {
            return None;
        }
        let end = base.checked_add(bytes)? >> PAGE_SHIFT;
        let start = (base.div_ceil(1 << PAGE_SHIFT)).checked_next_multiple_of(unit)?;
        let end = end / unit * unit;
        let range = PfnRange::new(Pfn(start), Pfn(end));
        (start < end).then_some(ChunkDevice { device, node, range, unit })
    }

    /// The frames where it can ever plug memory.
    pub const fn range(&self) -> PfnRange {
        self.range
    }

    /// Frames of a unit, the least that can be plugged.
    pub const fn unit(&self) -> u64 {
        self.unit
    }

    /// The chunk that contains `pfn`.
    fn chunk_of(&self, pfn: Pfn) -> PfnRange {
        PfnRange::of(Pfn(pfn.0 / GIB_PAGES * GIB_PAGES), GIB_PAGES).intersection(self.range)
    }
}

/// Memory that was plugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plugged {
    /// The chunk's resource.
    pub resource: ResourceId,
    /// Whether the run is the chunk's first one.
    pub is_new: bool,
    /// Frames that can be allocated now, or are offline by the policy.
    pub usable_pages: u64,
    /// The cost.
    pub stats: AddStats,
}

/// Memory taken out of use, to be unplugged by the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unplugged {
    /// Its runs, ascending, not adjacent.
    pub runs: ArrayVec<PfnRange, MAX_RUNS>,
    /// The resources that are gone.
    pub gone: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
}

impl Unplugged {
    /// Frames of all runs.
    pub fn pages(&self) -> u64 {
        self.runs.iter().map(|run| run.pages()).sum()
    }

    /// Adds a run and merges it with its neighbours. `false` when the list is full.
    fn push(&mut self, run: PfnRange) -> bool {
        let at = self.runs.partition_point(|other| other.start < run.start);
        if let Some(next) = self.runs.get_mut(at).filter(|next| next.start == run.end) {
            next.start = run.start;
        } else if self.runs.try_insert(at, run).is_err() {
            let before = at.checked_sub(1).and_then(|before| self.runs.get_mut(before));
            let Some(before) = before.filter(|before| before.end == run.start) else { return false };
            before.end = run.end;
            return true;
        }
        if at > 0 && self.runs[at - 1].end == self.runs[at].start {
            self.runs[at - 1].end = self.runs[at].end;
            self.runs.remove(at);
        }
        true
    }
}

/// The sums over a device's chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkTotals {
    /// Plugged frames, those of the memmap included.
    pub plugged: u64,
    /// Frames of allocations.
    pub used: u64,
    /// Chunks with a plugged piece.
    pub chunks: u64,
}

impl<M: Machine> Memory<M> {
    /// The sums over a device's chunks.
    pub fn chunk_totals(&self, device: &ChunkDevice) -> ChunkTotals {
        let mut totals = ChunkTotals::default();
        for entry in self.descending(device) {
            if self.region(entry).is_some_and(|region| region.device == device.device) {
                totals.plugged += self.plugged_in(entry);
                totals.used += self.used_in(entry);
                totals.chunks += 1;
            }
        }
        totals
    }

    /// A number that changes when memory is freed or allocated: then a shrink that could not go on may be possible.
    pub fn free_version(&self) -> u64 {
        self.free_everywhere()
    }

    /// The index entries in a device's range, from the highest down: its cost does not grow with what is not plugged.
    fn descending(&self, device: &ChunkDevice) -> impl Iterator<Item = IndexEntry> {
        let mut below = device.range.end;
        let range = device.range;
        core::iter::from_fn(move || {
            let index = self.index.read();
            let at = index.entries().partition_point(|entry| entry.range.start < below);
            let entry = at.checked_sub(1).and_then(|at| index.entries().get(at)).copied()?;
            below = entry.range.start;
            (entry.range.start >= range.start).then_some(entry)
        })
    }

    /// The region of an entry that is a device's chunk and is not going offline.
    fn chunk_at(&self, device: &ChunkDevice, entry: IndexEntry) -> Option<(IndexEntry, Region, Shape)> {
        let region = self.region(entry)?;
        let shape = region.chunk.filter(|_| region.device == device.device && region.isolated.is_empty())?;
        Some((entry, region, shape))
    }

    /// Frames of a chunk that are allocated.
    fn used_in(&self, entry: IndexEntry) -> u64 {
        let cached = self.caches.pages_of(entry.slot);
        let used = self.with_region(entry, |_, buddy| {
            let held = buddy.pages_in(BlockState::Movable).wrapping_add(buddy.pages_in(BlockState::Cached));
            held.saturating_sub(cached) + buddy.pages_in(BlockState::Pinned)
        });
        used.unwrap_or(0)
    }

    fn plugged_in(&self, entry: IndexEntry) -> u64 {
        let pieces = &self.slots[entry.slot.0 as usize].summary.pieces;
        entry.range.pages() - pieces.unplugged_pages(entry.range)
    }
}
