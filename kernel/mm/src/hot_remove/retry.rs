//! Whether a refused removal may succeed later: the basis of a memory manager's decision and of the firmware's status
//! codes. Neighbours: `error` lists the reasons, the kernel's `hotplug::error` maps [`Retry`] to `_OST`.

use super::RemoveError;

/// Whether the same removal may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It can never succeed.
    Never,
    /// It may succeed once memory is freed, or another removal or allocation has ended.
    Later,
    /// The removal failed; another attempt is expected to fail as well.
    Failed,
}

impl RemoveError {
    /// Whether the same removal may succeed later.
    pub const fn retry(&self) -> Retry {
        match self {
            RemoveError::Boot | RemoveError::Unknown { .. } => Retry::Never,
            RemoveError::UnderWay { .. }
            | RemoveError::Pinned(_)
            | RemoveError::NotEnoughFree { .. }
            | RemoveError::NotEnoughForTables { .. }
            | RemoveError::NoRun(_)
            | RemoveError::Busy { .. }
            | RemoveError::InUse { .. } => Retry::Later,
            RemoveError::NotStarted
            | RemoveError::NoResource { .. }
            | RemoveError::Absent { .. }
            | RemoveError::SurpriseRemoved
            | RemoveError::Corrupt { .. }
            | RemoveError::Injected { .. } => Retry::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Pfn, PfnRange, VirtAddr};
    use crate::hot_remove::Pinned;
    use crate::info::{DeviceId, Holder, ResourceId};
    use crate::vmalloc::{AllocationId, NoRun};

    // Proves the class of every reason: `Later` where the same request may succeed later, `Never` where it
    // cannot, `Failed` after a failure. QEMU and its managers act on the codes derived from it. Fails when a
    // reason is in the wrong class.
    #[test]
    fn refused_removals_are_classified() {
        let resource = ResourceId(1);
        let id = AllocationId(1);
        let (needed, free, pages) = (2, 1, 1);
        let pinned = Pinned { resource, pfn: Pfn(1), pages, holder: Holder::None };
        for error in [
            RemoveError::UnderWay { resource },
            RemoveError::Pinned(pinned),
            RemoveError::NotEnoughFree { needed, free },
            RemoveError::NotEnoughForTables { needed, free },
            RemoveError::NoRun(NoRun { id, pages, longest: 0 }),
            RemoveError::Busy { id },
            RemoveError::InUse { resource, pages },
        ] {
            assert_eq!(error.retry(), Retry::Later, "{error}");
        }
        for error in [RemoveError::Boot, RemoveError::Unknown { device: DeviceId(1) }] {
            assert_eq!(error.retry(), Retry::Never, "{error}");
        }
        for error in [
            RemoveError::NotStarted,
            RemoveError::NoResource { resource },
            RemoveError::Absent { range: PfnRange::of(Pfn(1), 1) },
            RemoveError::SurpriseRemoved,
            RemoveError::Corrupt { at: VirtAddr(0) },
        ] {
            assert_eq!(error.retry(), Retry::Failed, "{error}");
        }
    }
}
