//! Free page reporting: the queue of a balloon device by which a driver tells which memory is free (virtio 1.3, section
//! 5.5.6.7).
//!
//! ```text
//!  page   0 descriptors (32 of 16 bytes) | 1024 available ring | 2048 used ring
//!         a batch is one chain: run -> run -> ... -> run, each "written" by the device, which discards it
//! ```
//!
//! One batch is in flight. Invariant: the device never gets a run that the driver did not pass to [`ReportQueue::submit`],
//! and a batch ends by the device's use of exactly its chain. Neighbours: `queue` has the page; the kernel's
//! `virtio::reporting` isolates the memory.

use crate::mem::Run;
use crate::queue::{Page, put, word};

/// The virtio device id of a balloon.
pub const DEVICE_ID: u16 = 5;
/// Feature: the device has a queue for statistics.
pub const STATS_QUEUE: u64 = 1 << 1;
/// Feature: the device has a queue for hints.
pub const FREE_PAGE_HINT: u64 = 1 << 3;
/// Feature: the device has a queue for reports.
pub const REPORTING: u64 = 1 << 5;

/// The most runs of a batch, and entries of the queue.
pub const MAX_RUNS: u16 = 32;
/// Offsets in the page.
pub const DESCRIPTORS: u16 = 0;
/// The available ring.
pub const AVAILABLE: u16 = 1024;
/// The used ring.
pub const USED: u16 = 2048;
const HAS_NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;

/// The features to accept of those that a device offers, and the number of its queue for reports. `None` when it has none.
///
/// The queues for inflating and deflating come first. A device that offers statistics or hints has a queue for each before
/// the one for reports. Statistics are accepted, so that the numbers are those of the standard; no buffer is ever given.
pub fn queue_of(offered: u64) -> Option<(u64, u16)> {
    let has = |feature: u64| u16::from(offered & feature != 0);
    let number = has(STATS_QUEUE).saturating_add(has(FREE_PAGE_HINT)).saturating_add(2);
    let accepted = offered & (STATS_QUEUE | REPORTING);
    (offered & REPORTING != 0).then_some((accepted, number))
}

/// The answer to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// The device is done with it.
    Done,
    /// The used ring cannot be: what the device did is unknown. It must be reset.
    Garbage,
}

/// The driver's end of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportQueue {
    size: u16,
    available: u16,
    used: u16,
    in_flight: bool,
}

impl ReportQueue {
    /// Writes an empty queue into the page. The device's queue has `size` entries, a power of two.
    pub fn new<P: Page>(page: &mut P, size: u16) -> ReportQueue {
        put(page, AVAILABLE, &[0; 128]);
        put(page, USED, &[0; 512]);
        ReportQueue { size: size.min(MAX_RUNS), ..ReportQueue::default() }
    }

    /// The most runs of a batch.
    pub fn capacity(&self) -> u16 {
        self.size
    }

    /// Makes a batch available. The caller then notifies the device. Does nothing, and returns `false`, while one is in
    /// flight, for an empty batch, and for one that is too large.
    pub fn submit<P: Page>(&mut self, page: &mut P, runs: &[Run]) -> bool {
        let count = u16::try_from(runs.len()).unwrap_or(u16::MAX);
        let fits = |run: &Run| u32::try_from(run.bytes).is_ok_and(|bytes| bytes > 0);
        if self.in_flight || count == 0 || count > self.size || !runs.iter().all(fits) {
            return false;
        }
        for (entry, run) in (0u16..).zip(runs) {
            let place = DESCRIPTORS.saturating_add(entry.saturating_mul(16));
            let next = entry.saturating_add(1);
            let (flags, next) =
                if next < count { (DEVICE_WRITES | HAS_NEXT, next) } else { (DEVICE_WRITES, 0) };
            put(page, place, &run.base.to_le_bytes());
            put(page, place.saturating_add(8), &(run.bytes as u32).to_le_bytes());
            put(page, place.saturating_add(12), &flags.to_le_bytes());
            put(page, place.saturating_add(14), &next.to_le_bytes());
        }
        let index = self.available.checked_rem(self.size).unwrap_or(0);
        let slot = AVAILABLE.saturating_add(4).saturating_add(index.saturating_mul(2));
        page.write_u16(slot, 0);
        self.available = self.available.wrapping_add(1);
        page.write_u16(AVAILABLE.saturating_add(2), self.available);
        self.in_flight = true;
        true
    }

    /// The answer to the batch in flight, once.
    pub fn take<P: Page>(&mut self, page: &P) -> Option<Used> {
        let index = page.read_u16(USED.saturating_add(2));
        if index == self.used {
            return None;
        }
        let expected = self.used.wrapping_add(1);
        let slot = self.used.checked_rem(self.size).unwrap_or(0);
        let slot = USED.saturating_add(4).saturating_add(slot.saturating_mul(8));
        let was_in_flight = core::mem::replace(&mut self.in_flight, false);
        self.used = index;
        let is_ours = was_in_flight && index == expected && word(page, slot) == 0;
        Some(if is_ours { Used::Done } else { Used::Garbage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::tests::Bytes;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Proves that the queue's number follows what the device offers: QEMU always offers statistics. Fails when reports
    /// would go to the queue for statistics.
    #[test]
    fn the_queue_of_reports() {
        assert_eq!(queue_of(0x39000002), None);
        assert_eq!(queue_of(REPORTING), Some((REPORTING, 2)));
        assert_eq!(queue_of(REPORTING | STATS_QUEUE | 1 << 32), Some((REPORTING | STATS_QUEUE, 3)));
        let all = REPORTING | STATS_QUEUE | FREE_PAGE_HINT;
        assert_eq!(queue_of(all), Some((REPORTING | STATS_QUEUE, 4)));
    }

    fn answer(page: &mut Bytes, turn: u16, size: u16, id: u8) {
        let slot = USED + 4 + (turn % size) * 8;
        page.0[slot as usize..][..8].copy_from_slice(&[id, 0, 0, 0, 0, 0, 0, 0]);
        page.write_u16(USED + 2, turn.wrapping_add(1));
    }

    /// Proves that batches of all lengths go around rings of all sizes, as chains of exactly their runs, and are answered
    /// once; and that batches that do not fit are refused. Fails when a chain is too long or an index wraps wrongly.
    #[test]
    fn batches_go_around() {
        for size in [1, 2, 16, 32] {
            let mut page = Bytes([0xee; 4096]);
            let mut queue = ReportQueue::new(&mut page, size);
            let run = |n: u16| Run { base: u64::from(n) << 21, bytes: 2 << 20 };
            assert!(!queue.submit(&mut page, &[]));
            assert!(!queue.submit(&mut page, &(0..=size).map(run).collect::<Vec<_>>()));
            assert!(!queue.submit(&mut page, &[Run { base: 0, bytes: 4 << 30 }]));
            for turn in 0..=u16::MAX {
                let count = turn % size + 1;
                assert!(queue.submit(&mut page, &(0..count).map(run).collect::<Vec<_>>()));
                assert!(!queue.submit(&mut page, &[run(0)]));
                for entry in 0..count {
                    let (at, last) = (usize::from(entry) * 16, entry + 1 == count);
                    let flags = if last { [2, 0, 0, 0] } else { [3, 0, entry as u8 + 1, 0] };
                    assert_eq!(page.0[at..at + 8], run(entry).base.to_le_bytes());
                    assert_eq!(page.0[at + 8..at + 12], (2u32 << 20).to_le_bytes());
                    assert_eq!(page.0[at + 12..at + 16], flags);
                }
                assert_eq!(queue.take(&page), None);
                answer(&mut page, turn, size, 0);
                assert_eq!((queue.take(&page), queue.take(&page)), (Some(Used::Done), None));
            }
            assert!(queue.submit(&mut page, &[run(0)]));
            answer(&mut page, 0, size, 1);
            assert_eq!(queue.take(&page), Some(Used::Garbage), "another chain");
        }
    }

    proptest! {
        /// Proves that no content of the page makes the queue panic. Fails when an index is used unchecked.
        #[test]
        fn any_page_is_harmless(page in proptest::collection::vec(any::<u8>(), 4096), turns in 0u16..20, size in 0u16..99) {
            let mut page = Bytes(page.try_into().unwrap());
            let mut queue = ReportQueue::new(&mut page, size);
            for _ in 0..turns {
                queue.submit(&mut page, &[Run { base: 1, bytes: 2 }]);
                let _ = queue.take(&page);
                page.write_u16(USED + 2, page.read_u16(USED + 2).wrapping_mul(3).wrapping_add(turns));
            }
        }
    }
}
