//! What may be done with memory: what `carapace_mm::protection` sees in the page tables, with this kernel's guard pages, and the
//! CPU's switches.
//!
//! ```text
//!  stacks       the page below each is absent
//!  heap         so are the pages in front of, between and behind its two parts
//!  CPU          what it has of NX, WP, SMEP, SMAP and UMIP is on
//! ```
//!
//! Invariant: nothing here changes anything. Neighbours: the loader made the image's leaves and the direct map of
//! boot memory, `carapace_mm::page_table` everything else; `check` and `ptdump` ask.

use super::{core, heap};
use crate::arch::{cpu, stacks};
use ::core::fmt;
use carapace_mm::addr::VirtAddr;
use carapace_mm::page_table::Leaf;
use carapace_mm::protection;

/// A protection that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprotected {
    /// Some memory's.
    Memory(protection::Unprotected),
    /// A protection that the CPU has is off.
    Off(&'static str),
}

impl fmt::Display for Unprotected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unprotected::Memory(missing) => missing.fmt(f),
            Unprotected::Off(name) => write!(f, "the CPU has {name}, and it is off"),
        }
    }
}

/// Calls `each` with the next `most` leaves from `from` on; where the one behind them is, if there is one. There is
/// none before boot memory was taken over.
pub fn leaves(from: VirtAddr, most: usize, each: &mut dyn FnMut(Leaf)) -> Option<VirtAddr> {
    core().leaves(from, most, each)
}

/// Looks at the next `most` leaves from `from` on; how many there were, and where the one behind them is, if there is
/// one.
pub fn verify_leaves(
    from: VirtAddr,
    most: usize,
    tell: &mut dyn FnMut(Unprotected),
) -> (u64, Option<VirtAddr>) {
    core().verify_leaves(from, most, &mut |missing| tell(Unprotected::Memory(missing)))
}

/// Looks at what there is beside leaves, and at the CPU's switches; how many things of memory were looked at.
pub fn verify_rest(tell: &mut dyn FnMut(Unprotected)) -> u64 {
    let guards = stacks::guard_pages().chain(heap::guard_pages());
    let looked = core().verify_rest(guards, &mut |missing| tell(Unprotected::Memory(missing)));
    cpu::switched_off(&mut |name| tell(Unprotected::Off(name)));
    looked
}
