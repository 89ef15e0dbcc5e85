//! The mapped allocations of `stress`: other CPUs read them while they migrate, and each one that is freed asks all CPUs
//! to drop translations.
//!
//! Invariants: one CPU at a time works here ([`TURN`]), so that the others do not queue for the vmalloc lock. An
//! allocation is in a place or in that CPU's hands. Neighbour: `carapace_mm::vmalloc`.

use super::Part;
use crate::cpus::idle::Worked;
use crate::executor;
use crate::memory::{arena, core};
use crate::sync::{Mutex, Rank};
use ::core::sync::atomic::{AtomicBool, Ordering};
use carapace_mm::Mobility;
use carapace_mm::vmalloc::{AllocError, Allocation, Amount, Request, Shape};

/// Places for allocations.
const PLACES: usize = 8;
/// The most pages of an allocation: some have 2 MiB leaves.
const PAGES: u64 = 600;
/// Pages filled or verified at once, with the vmalloc lock held.
const STEP: u64 = 64;

static TURN: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: [Mutex<Option<Allocation>>; PLACES] = [const { Mutex::new(Rank::Stress, None) }; PLACES];

/// One operation, unless another CPU is at one.
pub(super) fn operate(part: &Part, random: u64) -> Worked {
    if TURN.swap(true, Ordering::Acquire) {
        return Worked::No;
    }
    let place = &ALLOCATIONS[random as usize % PLACES];
    let allocation = place.lock().take();
    match allocation {
        Some(allocation) => end(part, &allocation),
        None => {
            // Most are small.
            let pages = if (random / 8).is_multiple_of(8) { PAGES } else { 16 };
            *place.lock() = allocate(1 + random / 64 % pages);
        }
    }
    TURN.store(false, Ordering::Release);
    Worked::Yes
}

/// Frees what is left.
pub(super) async fn free_all(part: &Part) {
    for place in &ALLOCATIONS {
        let allocation = place.lock().take();
        if let Some(allocation) = allocation {
            end(part, &allocation);
            executor::yield_now().await;
        }
    }
}

fn allocate(pages: u64) -> Option<Allocation> {
    let request = Request {
        amount: Amount::Pages(pages),
        node: None,
        mobility: Mobility::Movable,
        shape: Shape::Scattered,
    };
    let allocation = arena().allocate(core(), &request).ok()?;
    let filled = (0..pages)
        .step_by(STEP as usize)
        .try_for_each(|page| arena().fill(core(), allocation.id, page, STEP.min(pages - page)));
    // An error is that of the next operation on it as well.
    let _ = filled;
    Some(allocation)
}

/// Verifies an allocation and frees it. The shell may have freed it already.
fn end(part: &Part, allocation: &Allocation) {
    let (id, mut page) = (allocation.id, 0);
    while page < allocation.pages {
        match arena().verify(core(), id, page, STEP.min(allocation.pages - page)) {
            Ok(verified) => {
                part.found(u64::from(verified.bad.is_some()), "a mapped allocation");
                page += verified.pages.max(1);
            }
            Err(AllocError::Lost { .. }) => {
                part.count(&part.lost_pages, allocation.pages);
                break;
            }
            Err(_) => break,
        }
    }
    let _ = arena().free(core(), id);
}
