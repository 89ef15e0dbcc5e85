//! The pattern that proves an allocation's bytes: each word tells its allocation, page and place, so that a
//! page that was lost, doubled or swapped shows. Neighbours: the shell's `alloc` fills, `verify` verifies.

use crate::addr::VirtAddr;
use crate::machine::Machine;
use crate::vmalloc::{AllocError, AllocationId, Area, FrameProvider, VmallocArena};

const WORDS: u64 = 512;
/// 2^64 divided by the golden ratio, odd: the words of a page differ.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A word that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWord {
    /// The page of the allocation.
    pub page: u64,
    /// The word's address.
    pub at: VirtAddr,
    /// What should be there.
    pub expected: u64,
    /// What is there.
    pub found: u64,
}

/// What a step of verifying found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Pages that were looked at: the part of those asked for that had been filled.
    pub pages: u64,
    /// The first wrong word; nothing behind it was looked at.
    pub bad: Option<BadWord>,
}

/// The first word of a page (the finalizer of SplitMix64 over both numbers).
fn first_word(id: AllocationId, page: u64) -> u64 {
    let mix = |value: u64| {
        let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    };
    mix(mix(id.0.wrapping_add(STRIDE)) ^ page)
}

impl VmallocArena {
    /// Fills `pages` pages of allocation `id`, from page `from` on.
    ///
    /// # Errors
    /// When the allocation is unknown or busy, or has not so many pages.
    pub fn fill<P: FrameProvider>(
        &self,
        provider: &P,
        id: AllocationId,
        from: u64,
        pages: u64,
    ) -> Result<(), AllocError> {
        let mut areas = self.areas.lock();
        let place = areas.ready(id)?;
        check_pages(place, from, pages)?;
        for page in from..from + pages {
            let (at, first) = (place.page(page), first_word(id, page));
            for word in 0..WORDS {
                provider.machine().store(at.offset(word * 8), first.wrapping_add(word.wrapping_mul(STRIDE)));
            }
        }
        if from <= place.allocation.filled {
            place.allocation.filled = place.allocation.filled.max(from + pages);
        }
        Ok(())
    }

    /// Compares `pages` pages of allocation `id`, from page `from` on, with what was filled in. Pages that
    /// were not filled are left out.
    ///
    /// # Errors
    /// When the allocation is unknown or busy, or has not so many pages.
    pub fn verify<P: FrameProvider>(
        &self,
        provider: &P,
        id: AllocationId,
        from: u64,
        pages: u64,
    ) -> Result<Verified, AllocError> {
        let mut areas = self.areas.lock();
        let place = areas.ready(id)?;
        check_pages(place, from, pages)?;
        let end = place.allocation.filled.min(from + pages);
        for page in from..end {
            let (start, first) = (place.page(page), first_word(id, page));
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

fn check_pages(place: &Area, from: u64, pages: u64) -> Result<(), AllocError> {
    let allocation = &place.allocation;
    match from.checked_add(pages) {
        Some(end) if end <= allocation.pages => Ok(()),
        _ => Err(AllocError::OutOfRange { id: allocation.id, pages: allocation.pages }),
    }
}
