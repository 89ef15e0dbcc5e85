//! Checks that memory answers where the firmware announces it, before the kernel relies on it.
//!
//! An empty bus reads as all ones, or as zeroes like memory that nothing has written, and drops writes. A page table
//! placed there would be garbage, and the next walk through it would crash the kernel. So a probe writes and reads back two
//! patterns. The old contents are not restored: the memory is new.
//!
//! ```text
//!  before an add       the first frame, and each that the add itself will write: header, page tables, initial groups
//!  at once, or before  the last frame: whether the range is as long as announced
//!  the first use
//! ```
//!
//! Its cost grows with the number of page tables, not with the range; the frames between stay untouched, so a huge DIMM
//! does not fault in host memory. The last frame costs a host a page that the add does not need, of 2 MiB if it uses huge
//! ones, and only a write tells: QEMU reads zeroes both where there is no memory and where it is untouched. So the probe of
//! a hot-plugged range's last frame waits for the first allocation from the range, which costs the host pages anyway
//! ([`ProbeEnd`]). When it fails, nothing was allocated from the range yet: all of it goes offline, the allocation takes
//! other memory, [`Memory::next_missing_end`] has the reason, and onlining repeats the probe.
//!
//! A virtio-mem device has answered each request to plug: the ends of a run are not probed, or each gigabyte would cost
//! a host two huge pages.
//!
//! Invariants: no frame of a region is allocated while its end is [`End::Unknown`] or missing; the end changes under the
//! region's lock. Neighbours: `hot_add` and `chunk` probe unmapped frames, through the fixmap (`page_table`); `memory` probes
//! the last frame when it offers a region to an allocation, `hot_remove::offline` when it brings memory online.

use core::sync::atomic::Ordering;

use crate::addr::{PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::address_space::direct;
use crate::buddy::{Buddy, End};
use crate::descriptor::{BlockState, SlotNr};
use crate::error::AddError;
use crate::info::{MissingEnd, ProbeEnd};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::region::{MAX_REGIONS, Region};

/// The test patterns: every bit is once 0 and once 1, adjacent data lines differ, and neither pattern equals the value
/// of an empty bus.
const PATTERNS: [u64; 2] = [0x5555_aaaa_3333_cccc, !0x5555_aaaa_3333_cccc];
/// Offset of the last word of a page.
const LAST_WORD: u64 = PAGE_SIZE - 8;

impl<M: Machine> Memory<M> {
    /// Probes the first frame of a range, the frames that the add will write, and, if at once, the last frame.
    pub(crate) fn probe(&self, layout: &Layout, end: ProbeEnd) -> Result<(), AddError> {
        let last = (end == ProbeEnd::AtOnce).then(|| layout.range.last());
        let first = Some(layout.range.start);
        first.into_iter().chain(layout.written()).chain(last).try_for_each(|pfn| self.probe_unmapped(pfn))
    }

    /// Probes those frames of a run of pieces that an add of `layout` writes.
    pub(crate) fn probe_run(&self, layout: &Layout, run: PfnRange) -> Result<(), AddError> {
        let mut written = layout.written().filter(|&pfn| run.contains(pfn));
        written.try_for_each(|pfn| self.probe_unmapped(pfn))
    }

    fn probe_unmapped(&self, pfn: Pfn) -> Result<(), AddError> {
        let answers = self.with_tables(|tables, machine| {
            tables.view_uncached(machine, pfn, |page| keeps_what_is_written(machine, page))
        });
        match answers {
            Some(true) => Ok(()),
            Some(false) => Err(AddError::NoMemoryBehind { pfn }),
            None => Err(AddError::NotStarted),
        }
    }

    /// Probes the last frame of a region that nothing was allocated from yet. When no memory answers, takes all of its free
    /// memory offline. Returns whether memory answers. The region's lock is held; the fixmap, whose lock comes before a
    /// region's, is not needed, since the region is mapped.
    #[cold]
    #[inline(never)]
    pub(crate) fn probe_end(&self, region: &Region, buddy: &Buddy<'_, M>) -> bool {
        if keeps_what_is_written(&self.machine, direct(region.layout.range.last().start())) {
            buddy.summary.set_end(End::Answers);
            return true;
        }
        if buddy.summary.end() == End::Unknown {
            buddy.summary.set_end(End::Missing);
            self.missing_ends.fetch_add(1, Ordering::Relaxed);
        }
        buddy.alloc_free_blocks(region.layout.usable, BlockState::Offline);
        false
    }

    /// Takes the next unreported resource that went offline because its last frame does not answer. Costs one load while
    /// there is none.
    pub fn next_missing_end(&self) -> Option<MissingEnd> {
        if self.missing_ends.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.missing_ends.store(0, Ordering::Relaxed);
        let next = (0..MAX_REGIONS as u16).find_map(|slot| {
            self.locked(SlotNr(slot), |region, buddy| {
                (buddy.summary.end() == End::Missing).then(|| {
                    buddy.summary.set_end(End::Reported);
                    MissingEnd { resource: region.id, pfn: region.layout.range.last() }
                })
            })?
        });
        if next.is_some() {
            // There may be more.
            self.missing_ends.fetch_add(1, Ordering::Relaxed);
        }
        next
    }
}

/// Writes to the first and the last word of the page at `at` in turn and reads both back, so that a bus that merely
/// holds its last value does not pass as memory, nor does a cache in front of it.
fn keeps_what_is_written<M: Machine>(machine: &M, at: VirtAddr) -> bool {
    let words = [at, at.offset(LAST_WORD)];
    [PATTERNS, [PATTERNS[1], PATTERNS[0]]].into_iter().all(|patterns| {
        words.iter().zip(patterns).for_each(|(&word, pattern)| machine.store(word, pattern));
        words.iter().for_each(|&word| machine.write_back(word));
        words.iter().zip(patterns).all(|(&word, pattern)| machine.load(word) == pattern)
    })
}
