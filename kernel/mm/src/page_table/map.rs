//! Mapping, all or nothing. Leaves are stored in existing tables; a missing table is built with its whole subtree
//! through the fixmap and linked when it is complete. So is one that replaces a table in lost memory.
//!
//! Neighbours: `fixmap` gives access to unlinked tables, `unmap` undoes a failed mapping.

use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::machine::Machine;
use crate::page_table::entry::{Entry, EntryKind, Level, VaRange};
use crate::page_table::walk::entry_addr;
use crate::page_table::{
    FlushBatch, FrameSource, LeafSize, Lifetime, MapError, MapStats, Mapping, NoFrames, PageTables,
};

/// The state of one call of `map`.
struct Job<'a> {
    mapping: &'a Mapping,
    /// The largest leaf that both the request and the CPU allow.
    largest: LeafSize,
    frames: &'a mut dyn FrameSource,
    stats: MapStats,
    /// Every address below is mapped; an undo unmaps up to here.
    done: VirtAddr,
}

/// Consecutive leaves in one table that map contiguous memory: nearly all entries of a DIMM's mapping.
struct LeafRun {
    first: Entry,
    size: LeafSize,
    count: u64,
}

impl LeafRun {
    /// Stores the leaves, starting with the entry at `addr`.
    fn store<M: Machine>(&self, machine: &M, addr: VirtAddr) {
        let mut word = self.first.0;
        for number in 0..self.count {
            machine.store(addr.offset(number * 8), word);
            word += self.size.bytes();
        }
    }

    /// Stores the leaves up to the first entry in use. Returns how many it stored.
    fn store_where_absent<M: Machine>(&self, machine: &M, addr: VirtAddr) -> u64 {
        let mut word = self.first.0;
        for number in 0..self.count {
            let addr = addr.offset(number * 8);
            if Entry(machine.load(addr)).is_used() {
                return number;
            }
            machine.store(addr, word);
            word += self.size.bytes();
        }
        self.count
    }
}

/// Zeroes the words in `from..to`.
fn zero<M: Machine>(machine: &M, from: VirtAddr, to: VirtAddr) {
    (from.0..to.0).step_by(8).for_each(|at| machine.store(VirtAddr(at), 0));
}

impl Job<'_> {
    /// Returns the leaves of `level` at the start of `rest`, which lies in one table of that level.
    fn leaf_run(&self, rest: VaRange, level: Level) -> Option<LeafRun> {
        let size = level.leaf().filter(|size| *size <= self.largest)?;
        let count = rest.pages / level.entry_pages();
        let aligned = (rest.virt.0 | rest.phys.0).is_multiple_of(size.bytes());
        let first = Entry::leaf(rest.phys, size, self.mapping.rights, self.mapping.caching);
        (aligned && count > 0).then_some(LeafRun { first, size, count })
    }
}

impl PageTables {
    /// Makes `mapping` with the largest leaves that fit; new tables come from `frames`. All or nothing: an error leaves
    /// every entry unchanged and frees all new tables to `frames`.
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
        let range = VaRange { virt: mapping.virt, phys: mapping.phys, pages: mapping.pages };
        let result = self.map_linked(machine, self.root, Level::Pml4, range, &mut job);
        self.clear_slots(machine);
        match result {
            Ok(()) => Ok(job.stats),
            Err(error) => {
                let done = VaRange::between(mapping.virt, job.done);
                self.clear_and_flush(machine, done, job.frames);
                Err(error)
            }
        }
    }

    /// Links a new table of `level` for `at`, in the frame `new_frame`, in place of the linked one, which is lost and is
    /// not read. `each_mapping` calls its argument with what the new one maps, by leaves of `level`. One store changes
    /// from the old table to the complete new one, so no page that both map is unmapped in between. Until `flush` has
    /// run, CPUs may walk the old table.
    pub(crate) fn replace_lost_table<M: Machine>(
        &mut self,
        machine: &M,
        (at, level): (VirtAddr, Level),
        new_frame: Pfn,
        each_mapping: impl FnOnce(&mut dyn FnMut(Mapping)),
        flush: &mut FlushBatch,
    ) {
        let Some((link, _)) = self.removable_link(machine, at, level) else { return };
        let view = self.map_unlinked(machine, new_frame, level);
        zero(machine, view, view.offset(PAGE_SIZE));
        each_mapping(&mut |mapping| {
            let range = VaRange { virt: mapping.virt, phys: mapping.phys, pages: mapping.pages };
            let (largest, stats) = (mapping.largest.min(self.largest_leaf()), MapStats::default());
            let job = Job { mapping: &mapping, largest, frames: &mut NoFrames, stats, done: mapping.virt };
            let leaves = job.leaf_run(range, level);
            debug_assert!(
                leaves.as_ref().is_some_and(|leaves| leaves.count * level.entry_pages() == mapping.pages),
                "the table's leaves map all of it"
            );
            if let Some(leaves) = leaves {
                leaves.store(machine, view.offset(level.index(mapping.virt) * 8));
            }
        });
        machine.store(link, Entry::table(new_frame, Lifetime::UntilEmpty).0);
        self.clear_slots(machine);
        flush.everything();
    }

    /// Maps `range` below the linked `table` of `level`.
    fn map_linked<M: Machine>(
        &self,
        machine: &M,
        table: Pfn,
        level: Level,
        range: VaRange,
        job: &mut Job<'_>,
    ) -> Result<(), MapError> {
        let mut rest = range;
        loop {
            if let Some(leaves) = job.leaf_run(rest, level) {
                let written = leaves.store_where_absent(machine, entry_addr(table, level, rest.virt));
                job.stats.entries_written += written;
                rest = rest.skip_pages(written * level.entry_pages());
                job.done = job.done.max(rest.virt);
            }
            // The rest starts with a partial leaf or a present entry.
            let Some(part) = rest.first_entry(level) else { return Ok(()) };
            let addr = entry_addr(table, level, part.virt);
            match (Entry(machine.load(addr)).kind(level), level.below()) {
                (EntryKind::Table(next), Some(below)) => self.map_linked(machine, next, below, part, job)?,
                (EntryKind::Absent, _) => {
                    let link = self.link_for(machine, level, part, job)?;
                    machine.store(addr, link.0);
                    job.stats.entries_written += 1;
                    job.done = part.end();
                }
                _ => return Err(MapError::AlreadyMapped { at: part.virt }),
            }
            rest = rest.skip_pages(part.pages);
        }
    }

    /// Builds a complete table that maps `part`, which is smaller than a leaf of `level` or cannot be one. Returns the
    /// link to store in the absent entry of `level`.
    fn link_for<M: Machine>(
        &self,
        machine: &M,
        level: Level,
        part: VaRange,
        job: &mut Job<'_>,
    ) -> Result<Entry, MapError> {
        // Unreachable for a PT: pages and frames are multiples of 4 KiB, so each of its entries can be a leaf.
        let below = level.below().ok_or(MapError::Unaligned { at: part.virt })?;
        let table = self.build(machine, below, part, job)?;
        Ok(Entry::table(table, job.mapping.tables))
    }

    /// Builds a table of `level` that maps `range`, and does not link it.
    fn build<M: Machine>(
        &self,
        machine: &M,
        level: Level,
        range: VaRange,
        job: &mut Job<'_>,
    ) -> Result<Pfn, MapError> {
        let table = job.frames.alloc_frame().ok_or(MapError::OutOfFrames { at: range.virt })?;
        let view = self.map_unlinked(machine, table, level);
        job.stats.tables += 1;
        let entry = |at: VirtAddr| view.offset(level.index(at) * 8);
        let end = view.offset(PAGE_SIZE);
        zero(machine, view, entry(range.virt));
        let mut rest = range;
        let next = loop {
            if let Some(leaves) = job.leaf_run(rest, level) {
                leaves.store(machine, entry(rest.virt));
                job.stats.entries_written += leaves.count;
                rest = rest.skip_pages(leaves.count * level.entry_pages());
            }
            let Some(part) = rest.first_entry(level) else { break entry(range.last()).offset(8) };
            match self.link_for(machine, level, part, job) {
                Ok(link) => machine.store(entry(part.virt), link.0),
                Err(error) => {
                    zero(machine, entry(part.virt), end);
                    // The table was never linked, so its reuse needs no flush.
                    self.free_unlinked(machine, table, level, job.frames);
                    return Err(error);
                }
            }
            job.stats.entries_written += 1;
            rest = rest.skip_pages(part.pages);
        };
        zero(machine, next, end);
        Ok(table)
    }
}
