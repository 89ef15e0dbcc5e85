//! Checks that memory answers where the firmware announces it, before the add relies on it.
//!
//! An empty bus reads as all ones, or as zeroes like memory that nothing has written, and drops writes. A page table
//! placed there would be garbage, and the next walk through it would crash the kernel. So the probe writes and reads back
//! two patterns in the range's first and last frame and in each frame that the add itself will write: header, page tables,
//! and the initial buddy groups. Its cost grows with the number of page tables, not with the range; the frames between
//! stay untouched, so a huge DIMM does not fault in host memory. The old contents are not restored: the memory is new.
//!
//! The last frame costs a host a page that the add does not need, of 2 MiB if it uses huge ones. Only a write tells whether
//! the range is as long as announced: QEMU reads zeroes both where there is no memory and where it is untouched.
//!
//! Neighbours: `hot_add` calls it; it reaches unmapped frames through the fixmap (`page_table`).

use crate::addr::{PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::error::AddError;
use crate::layout::Layout;
use crate::machine::Machine;
use crate::memory::Memory;

/// The test patterns: every bit is once 0 and once 1, adjacent data lines differ, and neither pattern equals the value
/// of an empty bus.
const PATTERNS: [u64; 2] = [0x5555_aaaa_3333_cccc, !0x5555_aaaa_3333_cccc];
/// Offset of the last word of a page.
const LAST_WORD: u64 = PAGE_SIZE - 8;

impl<M: Machine> Memory<M> {
    /// Probes the first and last frame of a range and the frames that the add will write.
    pub(crate) fn probe(&self, layout: &Layout) -> Result<(), AddError> {
        self.probe_run(layout, layout.range)
    }

    /// Probes the first and last frame of a run of pieces, and of those that `layout` needs the ones that lie in it.
    pub(crate) fn probe_run(&self, layout: &Layout, run: PfnRange) -> Result<(), AddError> {
        let written = layout.written().filter(|&pfn| run.contains(pfn));
        let last = Pfn(run.end.0.saturating_sub(1));
        [run.start].into_iter().chain(written).chain([last]).try_for_each(|pfn| {
            let answers = self.with_tables(|tables, machine| {
                tables.view_uncached(machine, pfn, |page| keeps_what_is_written(machine, page))
            });
            match answers {
                Some(true) => Ok(()),
                Some(false) => Err(AddError::NoMemoryBehind { pfn }),
                None => Err(AddError::NotStarted),
            }
        })
    }
}

/// Writes to the first and the last word of the page at `at` in turn and reads both back, so that a bus that merely
/// holds its last value does not pass as memory.
fn keeps_what_is_written<M: Machine>(machine: &M, at: VirtAddr) -> bool {
    let words = [at, at.offset(LAST_WORD)];
    [PATTERNS, [PATTERNS[1], PATTERNS[0]]].into_iter().all(|patterns| {
        words.iter().zip(patterns).for_each(|(&word, pattern)| machine.store(word, pattern));
        words.iter().zip(patterns).all(|(&word, pattern)| machine.load(word) == pattern)
    })
}
