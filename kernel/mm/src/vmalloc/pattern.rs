//! A test pattern for allocations: each word encodes allocation, page and offset, so that verification detects lost,
//! duplicated and swapped pages. Several CPUs fill, verify and copy (`parallel`). Neighbours: the shell's `alloc` fills,
//! `verify` verifies, `memspeed` times all three.

use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::machine::Machine;
use crate::parallel::{self, each_page};
use crate::vmalloc::{AllocError, AllocationId, Area, FrameProvider, VmallocArena};

const WORDS: u64 = 512;
/// 2^64 divided by the golden ratio, odd: all words of a page differ.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A word that differs from the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord {
    /// The index of the page in the allocation.
    pub page: u64,
    /// The word's address.
    pub at: VirtAddr,
    /// The word of the pattern.
    pub expected: u64,
    /// The word in memory.
    pub found: u64,
}

/// The result of one verification step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The pages compared: the filled pages of the requested range.
    pub pages: u64,
    /// The first wrong word, where the comparison stopped.
    pub bad: Option<BadWord>,
}

/// Returns the first word of a page: the finalizer of SplitMix64 over id and page.
fn first_word(id: AllocationId, page: u64) -> u64 {
    let mix = |value: u64| {
        let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    };
    mix(mix(id.0.wrapping_add(STRIDE)) ^ page)
}

impl VmallocArena {
    /// Fills `pages` pages of allocation `id`, starting at page `from`.
    ///
    /// # Errors
    /// When the allocation is unknown, not ready, or too short.
    pub fn fill<P: FrameProvider>(
        &self,
        provider: &P,
        id: AllocationId,
        from: u64,
        pages: u64,
    ) -> Result<(), AllocError> {
        let mut areas = self.lock_for(id);
        let area = areas.ready(id)?;
        check_pages(area, from, pages)?;
        let start = area.page(from);
        each_page(provider.machine(), pages, &|machine, page| {
            let (at, first) = (start.offset(page * PAGE_SIZE), first_word(id, from + page));
            for word in 0..WORDS {
                machine.store(at.offset(word * 8), first.wrapping_add(word.wrapping_mul(STRIDE)));
            }
        });
        if from <= area.allocation.filled {
            area.allocation.filled = area.allocation.filled.max(from + pages);
        }
        Ok(())
    }

    /// Compares `pages` pages of allocation `id`, starting at page `from`, with the pattern. Skips pages that were
    /// never filled.
    ///
    /// # Errors
    /// When the allocation is unknown, not ready, or too short.
    pub fn verify<P: FrameProvider>(
        &self,
        provider: &P,
        id: AllocationId,
        from: u64,
        pages: u64,
    ) -> Result<Verified, AllocError> {
        let mut areas = self.lock_for(id);
        let area = areas.ready(id)?;
        check_pages(area, from, pages)?;
        let end = area.allocation.filled.min(from + pages);
        let pages = end.saturating_sub(from);
        let start = area.page(from);
        let word_of = |page, word: u64| first_word(id, from + page).wrapping_add(word.wrapping_mul(STRIDE));
        let bad = parallel::first(provider.machine(), pages, &|machine, page| {
            let (at, first) = (start.offset(page * PAGE_SIZE), word_of(page, 0));
            (0..WORDS).find_map(|word| {
                let found = machine.load(at.offset(word * 8));
                (found != first.wrapping_add(word.wrapping_mul(STRIDE))).then_some((word, found))
            })
        });
        let Some((page, (word, found))) = bad else { return Ok(Verified { pages, bad: None }) };
        let at = start.offset(page * PAGE_SIZE + word * 8);
        let bad = BadWord { page: from + page, at, expected: word_of(page, word), found };
        Ok(Verified { pages: page + 1, bad: Some(bad) })
    }

    /// Copies `pages` pages of one allocation, from a page on, to another one, which counts as not filled then. Source and
    /// target are an allocation and a page.
    ///
    /// # Errors
    /// When an allocation is unknown, not ready, or too short.
    pub fn copy<P: FrameProvider>(
        &self,
        provider: &P,
        source: (AllocationId, u64),
        target: (AllocationId, u64),
        pages: u64,
    ) -> Result<(), AllocError> {
        let mut areas = self.lock_for_all(&[source.0, target.0]);
        let mut start_of = |(id, from)| -> Result<VirtAddr, AllocError> {
            let area = areas.ready(id)?;
            check_pages(area, from, pages)?;
            if id == target.0 {
                area.allocation.filled = 0;
            }
            Ok(area.page(from))
        };
        let starts = [start_of(source)?, start_of(target)?];
        if source.0 != target.0 {
            parallel::each_stripe(provider.machine(), pages, &|machine, first, pages| {
                let [source, target] = starts.map(|start| start.offset(first * PAGE_SIZE));
                machine.copy_pages(source, target, pages);
            });
        }
        Ok(())
    }
}

fn check_pages(area: &Area, from: u64, pages: u64) -> Result<(), AllocError> {
    let allocation = &area.allocation;
    match from.checked_add(pages) {
        Some(end) if end <= allocation.pages => Ok(()),
        _ => Err(AllocError::OutOfRange { id: allocation.id, pages: allocation.pages }),
    }
}
