//! Whether there is memory where the firmware says it is, asked before anything is built on the answer.
//!
//! An empty bus reads as all ones and forgets what is written: a page table put there would be
//! garbage, and the next walk over it the end of the kernel. So two patterns are written and read back
//! in the range's first and last frame and in each frame that is written before the add is complete: header,
//! page tables, and the groups that the buddy begins with. The cost does not grow with the range but with its
//! page tables, as mapping does; what lies between stays untouched, so that a huge DIMM takes no
//! memory of a host that gives it on demand. Nothing is restored: the memory is new.
//!
//! Neighbours: `hotplug` asks, the fixmap (`page_table`) is the way to frames that nothing maps yet.

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::buddy::MetadataLayout;
use crate::error::AddError;
use crate::layout::Layout;
use crate::machine::Machine;
use crate::memory::Memory;

/// What is written: each bit once 0 and once 1, neighbouring lines different, neither pattern what an
/// empty bus reads as.
const PATTERNS: [u64; 2] = [0x5555_aaaa_3333_cccc, !0x5555_aaaa_3333_cccc];
/// Where the last word of a page is.
const LAST_WORD: u64 = PAGE_SIZE - 8;

impl<M: Machine> Memory<M> {
    /// Asks the frames of a range that the add will write to, and its first and last one.
    pub(crate) fn probe(&self, layout: &Layout) -> Result<(), AddError> {
        frames(layout).try_for_each(|pfn| {
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

/// The frames to ask, some of them twice.
fn frames(layout: &Layout) -> impl Iterator<Item = Pfn> {
    let Layout { range, array, tables, .. } = *layout;
    let ends = [range.start, array.start, Pfn(range.end.0.saturating_sub(1))];
    let tables = (0..tables).filter_map(|n| layout.table_page(n));
    let words =
        MetadataLayout::first_written(layout.usable).map(move |at| array.start.offset(at >> PAGE_SHIFT));
    ends.into_iter().chain(tables).chain(words)
}

/// Writes to the first and the last word of the page at `at` in turn and reads both back, so that a bus
/// which just holds on to the last value does not pass for memory.
fn keeps_what_is_written<M: Machine>(machine: &M, at: VirtAddr) -> bool {
    let words = [at, at.offset(LAST_WORD)];
    [PATTERNS, [PATTERNS[1], PATTERNS[0]]].into_iter().all(|patterns| {
        words.iter().zip(patterns).for_each(|(&word, pattern)| machine.store(word, pattern));
        words.iter().zip(patterns).all(|(&word, pattern)| machine.load(word) == pattern)
    })
}
