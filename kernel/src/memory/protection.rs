//! Verifies memory protection: the page tables by `carapace_mm::protection`, this kernel's guard pages, and the CPU's
//! features.
//!
//! ```text
//!  stacks       the page below each is unmapped
//!  heap         the pages in front of, between and behind its two parts are unmapped
//!  CPU          those of NX, WP, SMEP, SMAP and UMIP that it supports are enabled
//! ```
//!
//! Invariant: read-only. Neighbours: the loader mapped the image and the direct map of boot memory,
//! `carapace_mm::page_table` everything else; the commands `check` and `ptdump` call this module.

use super::{core, heap};
use crate::arch::stacks;
use crate::cpus;
use ::core::fmt;
use carapace_mm::addr::VirtAddr;
use carapace_mm::machine::CpuNr;
use carapace_mm::page_table::Leaf;
use carapace_mm::protection;

/// A missing protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprotected {
    /// Of memory.
    Memory(protection::Unprotected),
    /// A feature that a CPU supports is disabled.
    Off {
        /// The CPU.
        cpu: CpuNr,
        /// The feature.
        name: &'static str,
    },
}

impl fmt::Display for Unprotected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unprotected::Memory(missing) => missing.fmt(f),
            Unprotected::Off { cpu, name } => {
                write!(f, "CPU {} supports {name}, but it is disabled", cpu.index())
            }
        }
    }
}

/// Calls `each` with the next `most` leaves from `from` on. Returns the address of the leaf after them, if any.
pub fn leaves(from: VirtAddr, most: usize, each: &mut dyn FnMut(Leaf)) -> Option<VirtAddr> {
    core().leaves(from, most, each)
}

/// Verifies the next `most` leaves from `from` on. Returns their number and the address of the leaf after them, if any.
pub fn verify_leaves(
    from: VirtAddr,
    most: usize,
    report: &mut dyn FnMut(Unprotected),
) -> (u64, Option<VirtAddr>) {
    core().verify_leaves(from, most, &mut |missing| report(Unprotected::Memory(missing)))
}

/// Verifies aliases, guard pages, and the CPU's features. Returns the number of checks of memory.
pub fn verify_rest(report: &mut dyn FnMut(Unprotected)) -> u64 {
    let guards = stacks::guard_pages().chain(heap::guard_pages());
    let checked = core().verify_rest(guards, &mut |missing| report(Unprotected::Memory(missing)));
    cpus::switched_off(&mut |cpu, name| report(Unprotected::Off { cpu, name }));
    checked
}
