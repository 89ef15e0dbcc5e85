//! A test pattern for allocations: each word encodes allocation, page and offset, so that verification detects lost,
//! duplicated and swapped pages. Neighbours: the shell's `alloc` fills, `verify` verifies.

use crate::addr::VirtAddr;
use crate::machine::Machine;
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
        let mut areas = self.areas.lock();
        let area = areas.ready(id)?;
        check_pages(area, from, pages)?;
        for page in from..from + pages {
            let (at, first) = (area.page(page), first_word(id, page));
            for word in 0..WORDS {
                provider.machine().store(at.offset(word * 8), first.wrapping_add(word.wrapping_mul(STRIDE)));
            }
        }
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
        let mut areas = self.areas.lock();
        let area = areas.ready(id)?;
        check_pages(area, from, pages)?;
        let end = area.allocation.filled.min(from + pages);
        for page in from..end {
            let (start, first) = (area.page(page), first_word(id, page));
            for word in 0..WORDS {
                let at = start.offset(word * 8);
                let expected = first.wrapping_add(word.wrapping_mul(STRIDE));
                let found = provider.machine().load(at);
                if found != expected {
                    let bad = BadWord { page, at, expected, found };
                    return Ok(Verified { pages: page + 1 - from, bad: Some(bad) });
                }
            }
        }
        Ok(Verified { pages: end.saturating_sub(from), bad: None })
    }
}

fn check_pages(area: &Area, from: u64, pages: u64) -> Result<(), AllocError> {
    let allocation = &area.allocation;
    match from.checked_add(pages) {
        Some(end) if end <= allocation.pages => Ok(()),
        _ => Err(AllocError::OutOfRange { id: allocation.id, pages: allocation.pages }),
    }
}
