//! The steps of adding and removing memory. Each can be made to fail by name, so that every rollback is tested (Linux:
//! fault-injection).
//!
//! Neighbours: `hot_add` and `hot_remove` run the steps, `memory` counts the requested failures, the shell's `fail`
//! sets them.

use core::fmt;

/// A step of an add or a removal, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Add: the checks, before anything changes.
    Check,
    /// Add: mapping the range in the direct map.
    DirectMap,
    /// Add: mapping the range's descriptors in the vmemmap.
    Vmemmap,
    /// Add: writing the header and the initial groups.
    Region,
    /// Add: publishing the resource.
    Online,
    /// Remove: taking the memory off its node's list.
    Isolate,
    /// Remove: migrating allocations away.
    Migrate,
    /// Remove: copying a batch of frames, whose pages are inaccessible meanwhile.
    Copy,
    /// Remove: handing over page tables that neighbours share.
    HandOver,
    /// Remove: clearing the vmemmap.
    UnmapVmemmap,
    /// Remove: clearing the direct map.
    UnmapDirectMap,
    /// Remove: dropping the resources, which are unreachable by now.
    Remove,
}

impl Step {
    /// All steps in order: those of add, then those of remove.
    pub const ALL: [Step; 12] = [
        Step::Check,
        Step::DirectMap,
        Step::Vmemmap,
        Step::Region,
        Step::Online,
        Step::Isolate,
        Step::Migrate,
        Step::Copy,
        Step::HandOver,
        Step::UnmapVmemmap,
        Step::UnmapDirectMap,
        Step::Remove,
    ];

    /// The operation that the step belongs to.
    pub const fn operation(self) -> &'static str {
        if (self as u8) < Step::Isolate as u8 { "add" } else { "remove" }
    }

    /// The name that `fail` accepts.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Check => "check",
            Step::DirectMap => "direct-map",
            Step::Vmemmap => "vmemmap",
            Step::Region => "region",
            Step::Online => "online",
            Step::Isolate => "isolate",
            Step::Migrate => "migrate",
            Step::Copy => "copy",
            Step::HandOver => "hand-over",
            Step::UnmapVmemmap => "unmap-vmemmap",
            Step::UnmapDirectMap => "unmap-direct-map",
            Step::Remove => "remove",
        }
    }

    /// The step with that name.
    pub fn named(name: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.name() == name)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
