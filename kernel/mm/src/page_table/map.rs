//! Mapping, all or nothing: leaves go into tables that exist, and where one is missing the whole subtree
//! is built out of sight, through the fixmap, and linked when it is complete.
//!
//! Neighbours: `fixmap` gives the view of a table that is not linked, `unmap` serves as the undo.

use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::machine::Machine;
use crate::page_table::entry::{Entry, Kind, Level, VaRange};
use crate::page_table::walk::slot_of;
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

/// Neighbouring entries of one table, leaves that map neighbouring memory: nearly all that mapping a DIMM
/// writes.
struct Leaves {
    first: Entry,
    size: LeafSize,
    count: u64,
}

impl Leaves {
    /// Stores them from the entry at `slot` on.
    fn store<M: Machine>(&self, machine: &M, slot: VirtAddr) {
        let mut word = self.first.0;
        for number in 0..self.count {
            machine.store(slot.offset(number * 8), word);
            word += self.size.bytes();
        }
    }

    /// Stores them up to the first entry that is present; how many that were.
    fn store_where_absent<M: Machine>(&self, machine: &M, slot: VirtAddr) -> u64 {
        let mut word = self.first.0;
        for number in 0..self.count {
            let slot = slot.offset(number * 8);
            if Entry(machine.load(slot)).is_present() {
                return number;
            }
            machine.store(slot, word);
            word += self.size.bytes();
        }
        self.count
    }
}

/// Zeroes the words from `from` to `to`.
fn zero<M: Machine>(machine: &M, from: VirtAddr, to: VirtAddr) {
    (from.0..to.0).step_by(8).for_each(|at| machine.store(VirtAddr(at), 0));
}

impl Job<'_> {
    /// The leaves of `level` that `rest`, in one table of that level, begins with.
    fn leaves(&self, rest: VaRange, level: Level) -> Option<Leaves> {
        let size = level.leaf().filter(|size| *size <= self.largest)?;
        let count = rest.pages / level.entry_pages();
        let aligned = (rest.virt.0 | rest.phys.0).is_multiple_of(size.bytes());
        let first = Entry::leaf(rest.phys, size, self.mapping.rights, self.mapping.caching);
        (aligned && count > 0).then_some(Leaves { first, size, count })
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
        let piece = VaRange { virt: mapping.virt, phys: mapping.phys, pages: mapping.pages };
        let result = self.map_linked(machine, self.root, Level::Pml4, piece, &mut job);
        self.clear_slots(machine);
        match result {
            Ok(()) => Ok(job.stats),
            Err(error) => {
                let done = VaRange::between(mapping.virt, job.done);
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
        piece: VaRange,
        job: &mut Job<'_>,
    ) -> Result<(), MapError> {
        let mut rest = piece;
        loop {
            if let Some(leaves) = job.leaves(rest, level) {
                let written = leaves.store_where_absent(machine, slot_of(table, level, rest.virt));
                job.stats.entries_written += written;
                rest = rest.behind(written * level.entry_pages());
                job.done = job.done.max(rest.virt);
            }
            // What is left begins with no whole leaf, or with an entry that is present.
            let Some(part) = rest.first_entry(level) else { return Ok(()) };
            let slot = slot_of(table, level, part.virt);
            match (Entry(machine.load(slot)).kind(level), level.below()) {
                (Kind::Table(next), Some(below)) => self.map_linked(machine, next, below, part, job)?,
                (Kind::Absent, _) => {
                    let link = self.link_for(machine, level, part, job)?;
                    machine.store(slot, link.0);
                    job.stats.entries_written += 1;
                    job.done = part.end();
                }
                _ => return Err(MapError::AlreadyMapped { at: part.virt }),
            }
            rest = rest.behind(part.pages);
        }
    }

    /// What an absent entry of `level` becomes to map `part`, which is no leaf: a link to a new table that is
    /// complete.
    fn link_for<M: Machine>(
        &self,
        machine: &M,
        level: Level,
        part: VaRange,
        job: &mut Job<'_>,
    ) -> Result<Entry, MapError> {
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
        piece: VaRange,
        job: &mut Job<'_>,
    ) -> Result<Pfn, MapError> {
        let table = job.frames.alloc_frame().ok_or(MapError::OutOfFrames { at: piece.virt })?;
        let view = self.unlinked(machine, table, level);
        job.stats.tables += 1;
        let entry = |at: VirtAddr| view.offset(level.index(at) * 8);
        let end = view.offset(PAGE_SIZE);
        zero(machine, view, entry(piece.virt));
        let mut rest = piece;
        let next = loop {
            if let Some(leaves) = job.leaves(rest, level) {
                leaves.store(machine, entry(rest.virt));
                job.stats.entries_written += leaves.count;
                rest = rest.behind(leaves.count * level.entry_pages());
            }
            let Some(part) = rest.first_entry(level) else { break entry(piece.last()).offset(8) };
            match self.link_for(machine, level, part, job) {
                Ok(link) => machine.store(entry(part.virt), link.0),
                Err(error) => {
                    zero(machine, entry(part.virt), end);
                    // Never linked, so no flush stands between it and its next use.
                    self.give_back_all(machine, table, level, job.frames);
                    return Err(error);
                }
            }
            job.stats.entries_written += 1;
            rest = rest.behind(part.pages);
        };
        zero(machine, next, end);
        Ok(table)
    }
}
