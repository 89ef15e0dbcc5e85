//! Work on many pages, in stripes that several CPUs take ([`Machine::run_parallel`]).
//!
//! Invariant: the work on a page takes no lock. Neighbours: `vmalloc` fills, verifies and copies by it, `poison` fills and
//! compares.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::machine::Machine;

/// Pages of a stripe: some ten microseconds of work, much more than taking it costs.
pub(crate) const STRIPE: u64 = 32;
/// The most stripes whose results are kept at a time.
const RESULTS: usize = 64;

/// Calls `work` with each number below `pages`, on any CPUs.
pub(crate) fn each_page<M: Machine>(machine: &M, pages: u64, work: &(dyn Fn(&M, u64) + Sync)) {
    machine.run_parallel(pages.div_ceil(STRIPE), &|machine, stripe| {
        pages_of(stripe, pages).for_each(|page| work(machine, page));
    });
}

/// Calls `work` with first page and number of pages of each stripe of `pages`, on any CPUs.
pub(crate) fn each_stripe<M: Machine>(machine: &M, pages: u64, work: &(dyn Fn(&M, u64, u64) + Sync)) {
    machine.run_parallel(pages.div_ceil(STRIPE), &|machine, stripe| {
        let pages = pages_of(stripe, pages);
        work(machine, pages.start, pages.end - pages.start);
    });
}

/// Looks at a page.
type Look<'a, M> = dyn Fn(&M, u64) -> Option<(u64, u64)> + Sync + 'a;

/// The first page below `pages` for which `look` returns something, which it found on one of the CPUs: a result of two
/// words. Pages behind it may not be looked at.
pub(crate) fn first<M: Machine>(machine: &M, pages: u64, look: &Look<M>) -> Option<(u64, (u64, u64))> {
    let mut from = 0;
    while from < pages {
        let round = (pages - from).min(STRIPE * RESULTS as u64);
        // A stripe writes its own result: page + 1, and the words.
        let results = [const { [const { AtomicU64::new(0) }; 3] }; RESULTS];
        machine.run_parallel(round.div_ceil(STRIPE), &|machine, stripe| {
            let found = pages_of(stripe, round).find_map(|page| Some((page, look(machine, from + page)?)));
            if let (Some((page, (one, two))), Some(result)) = (found, results.get(stripe as usize)) {
                let words = [page + 1, one, two];
                result.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
            }
        });
        // Relaxed: `run_parallel` orders them.
        let read = |result: &[AtomicU64; 3]| result.each_ref().map(|word| word.load(Ordering::Relaxed));
        if let Some([page, one, two]) = results.iter().map(read).find(|[page, ..]| *page != 0) {
            return Some((from + page - 1, (one, two)));
        }
        from += round;
    }
    None
}

fn pages_of(stripe: u64, pages: u64) -> core::ops::Range<u64> {
    stripe * STRIPE..((stripe + 1) * STRIPE).min(pages)
}
