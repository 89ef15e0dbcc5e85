//! Mapping, all or nothing: leaves go into tables that exist, and where one is missing the whole subtree
//! is built out of sight, through the fixmap, and linked when it is complete.
//!
//! Neighbours: `fixmap` gives the view of a table that is not linked, `unmap` serves as the undo.

use crate::addr::{Pfn, VirtAddr};
use crate::machine::Machine;
use crate::page_table::entry::{Entry, Kind, Level, Piece};
use crate::page_table::walk::{entry_of, slot_of};
use crate::page_table::{FrameSource, LeafSize, MapError, MapStats, Mapping, PageTables};

/// A call of `map` under way.
struct Job<'a> {
    mapping: &'a Mapping,
    /// The largest leaf the wish and the CPU allow.
    largest: LeafSize,
    frames: &'a mut dyn FrameSource,
    stats: MapStats,
    /// Everything below is mapped; what an undo has to take out.
    done: VirtAddr,
}

impl Job<'_> {
    /// The leaf that maps `part`, all that one entry of `level` is to cover, if one can.
    fn leaf(&self, part: Piece, level: Level) -> Option<Entry> {
        let size = level.leaf().filter(|size| *size <= self.largest)?;
        let fits = part.is_whole_entry(level) && part.phys.0.is_multiple_of(size.bytes());
        fits.then(|| Entry::leaf(part.phys, size, self.mapping.rights, self.mapping.caching))
    }
}

impl PageTables {
    /// Maps what `mapping` asks for, by the largest leaves that fit; new tables come from `frames`. All or
    /// nothing: after an error every entry is as before and `frames` has all its frames back.
    ///
    /// # Errors
    /// See [`MapError`].
    pub fn map<M: Machine>(
        &mut self,
        machine: &M,
        mapping: &Mapping,
        frames: &mut dyn FrameSource,
    ) -> Result<MapStats, MapError> {
        mapping.check()?;
        let largest = mapping.largest.min(self.largest_leaf());
        let stats = MapStats::default();
        let mut job = Job { mapping, largest, frames, stats, done: mapping.virt };
        let piece = Piece { virt: mapping.virt, phys: mapping.phys, pages: mapping.pages };
        let result = self.map_linked(machine, self.root, Level::Pml4, piece, &mut job);
        self.clear_slots(machine);
        match result {
            Ok(()) => Ok(job.stats),
            Err(error) => {
                let done = Piece::between(mapping.virt, job.done);
                self.take_out(machine, done, job.frames);
                Err(error)
            }
        }
    }

    /// Maps `piece` below the linked `table` of `level`.
    fn map_linked<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        piece: Piece,
        job: &mut Job<'_>,
    ) -> Result<(), MapError> {
        for part in piece.entries(level) {
            let old = entry_of(machine, table, level, part.virt).kind(level);
            match (old, level.below()) {
                (Kind::Table(next), Some(below)) => {
                    self.map_linked(machine, next, below, part, job)?;
                    continue;
                }
                (Kind::Absent, _) => {}
                _ => return Err(MapError::AlreadyMapped { at: part.virt }),
            }
            let entry = self.entry_for(machine, level, part, job)?;
            machine.store(slot_of(table, level, part.virt), entry.0);
            job.stats.entries_written += 1;
            job.done = part.end();
        }
        Ok(())
    }

    /// What an absent entry of `level` becomes to map `part`: a leaf, or a link to a new table that is
    /// complete.
    fn entry_for<M: Machine>(
        &self,
        machine: &M,
        level: Level,
        part: Piece,
        job: &mut Job<'_>,
    ) -> Result<Entry, MapError> {
        if let Some(leaf) = job.leaf(part, level) {
            return Ok(leaf);
        }
        // A PT's entries are always leaves: pages and frames are aligned to 4 KiB.
        let below = level.below().ok_or(MapError::Unaligned { at: part.virt })?;
        let table = self.build(machine, below, part, job)?;
        Ok(Entry::table(table, job.mapping.tables))
    }

    /// Builds a table of `level` that maps `piece` and links it nowhere.
    fn build<M: Machine>(
        &self,
        machine: &M,
        level: Level,
        piece: Piece,
        job: &mut Job<'_>,
    ) -> Result<Pfn, MapError> {
        let table = job.frames.take().ok_or(MapError::OutOfFrames { at: piece.virt })?;
        let view = self.unlinked(machine, table, level);
        machine.zero_page(view);
        job.stats.tables += 1;
        for part in piece.entries(level) {
            match self.entry_for(machine, level, part, job) {
                Ok(entry) => machine.store(view.offset(level.index(part.virt) * 8), entry.0),
                Err(error) => {
                    // Never linked, so no flush stands between it and its next use.
                    self.give_back_all(machine, table, level, job.frames);
                    return Err(error);
                }
            }
            job.stats.entries_written += 1;
        }
        Ok(table)
    }
}
