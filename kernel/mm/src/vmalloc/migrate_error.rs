//! Why a migration fails, each with the numbers of that moment.
//!
//! Neighbours: `migrate`, `migrate_contiguous` and `batch` return these; `hot_remove::error` has them in its own.

use core::fmt;

use crate::addr::VirtAddr;
use crate::vmalloc::AllocationId;

use crate::fault_injection::Step;

/// No free run fits a contiguous allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRun {
    /// The allocation.
    pub id: AllocationId,
    /// Its size in frames.
    pub pages: u64,
    /// The longest run of free frames elsewhere.
    pub longest: u64,
}

impl fmt::Display for NoRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoRun { id, pages, longest } = self;
        write!(
            f,
            "allocation {id} needs a run of {pages} frames, but the longest free run elsewhere has {longest}"
        )
    }
}

/// An error of a migration. The block or allocation stays where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MigrateError {
    /// The memory core owns no page tables yet.
    NotStarted,
    /// Too few free frames for page tables.
    NoTables {
        /// Frames needed.
        needed: u64,
        /// Frames available.
        free: u64,
    },
    /// No run is long enough for a contiguous allocation.
    NoRun(NoRun),
    /// The page tables contradict the descriptors.
    Corrupt {
        /// The mapping's address.
        at: VirtAddr,
    },
    /// A fault was injected at the step.
    Injected {
        /// The step.
        step: Step,
    },
}
