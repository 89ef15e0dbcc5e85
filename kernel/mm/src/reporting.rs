//! Free page reporting: free memory with host pages behind it is taken out of the allocator, reported to the host, and
//! put back. Corresponds to Linux `mm/page_reporting.c`.
//!
//! ```text
//!  allocated --> touched (`buddy::touched`) --> free, 2 MiB and more --isolate_unreported--> pinned, `Reported`
//!                                                    ^                                          |
//!                                                    '-- return_reported, not touched any more -'
//! ```
//!
//! Invariants: while a device may discard a block, nothing else can allocate, migrate or remove it; a block that was
//! reported is not reported again before it was allocated; allocating it is like allocating any other. Nothing is
//! reported while freed memory is poisoned: the host would discard the poison. Neighbours: `buddy` has the bits and the
//! blocks; the kernel's `virtio::reporting` has the device.

use arrayvec::ArrayVec;

use crate::addr::{Pfn, PfnRange};
use crate::buddy::Walk;
use crate::descriptor::BlockState;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::rmap::RmapEntry;

/// The most runs of one batch.
pub const MAX_RUNS: usize = 32;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The host has the report.
    Reported,
    /// It may not have it: the same blocks are due again.
    Unknown,
}

impl<M: Machine> Memory<M> {
    /// Whether free memory may have to be reported. Costs a load for each region.
    pub fn has_unreported(&self) -> bool {
        let index = self.index.read();
        index.entries().iter().any(|entry| self.slots[entry.slot.0 as usize].summary.has_unreported())
    }

    /// Takes touched free memory at or above `from` out of the allocator: at most `most` runs of some 64 MiB together
    /// `pages` frames. Moves `from` behind them. Empty when nothing is left above `from`. Frame caches are drained first.
    pub fn isolate_unreported(
        &self,
        from: &mut Pfn,
        most: usize,
        pages: u64,
    ) -> ArrayVec<PfnRange, MAX_RUNS> {
        let (mut runs, mut left) = (ArrayVec::new(), pages);
        while runs.len() < most.min(MAX_RUNS) && left > 0 && self.poison.info().watched_pages == 0 {
            let entry = self.index.read().entries().iter().find(|entry| entry.range.end > *from).copied();
            let Some(entry) = entry else { break };
            let summary = &self.slots[entry.slot.0 as usize].summary;
            if *from <= entry.range.start {
                if !summary.has_unreported() {
                    *from = entry.range.end;
                    continue;
                }
                summary.set_unreported(false);
                if self.caches.pages_of(entry.slot) > 0 {
                    self.drain(entry.slot);
                }
            }
            let run = self.with_region(entry, |region, buddy| {
                if !region.isolated.is_empty() {
                    // Later.
                    summary.set_unreported(true);
                    return None;
                }
                let run = buddy.next_touched(*from, left)?;
                buddy.alloc_range(run, BlockState::Pinned, RmapEntry::Reported.encode())?;
                buddy.untouch(run);
                Some(run)
            });
            match run.flatten() {
                Some(run) => {
                    *from = run.end;
                    left = left.saturating_sub(run.pages());
                    runs.push(run);
                }
                None => *from = entry.range.end,
            }
        }
        runs
    }

    /// Puts memory of [`Memory::isolate_unreported`] back. What was torn out meanwhile is forgotten.
    pub fn return_reported(&self, runs: &[PfnRange], answer: Answer) {
        for &run in runs {
            let entry = self.index.read().find(run.start).copied();
            let Some(entry) = entry else { continue };
            self.with_region(entry, |_, buddy| {
                if answer == Answer::Unknown {
                    buddy.touch_again(run);
                }
                buddy.walk(run, |found| {
                    let is_ours = found.tag.state == BlockState::Pinned
                        && RmapEntry::of(buddy.rmap(found)) == RmapEntry::Reported;
                    if is_ours {
                        let freed = buddy.free(found.head);
                        debug_assert!(freed.is_ok(), "it is allocated: {freed:?}");
                    }
                    Walk::Continue
                });
            });
        }
    }
}
