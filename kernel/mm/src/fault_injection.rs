//! The steps of adding and removing memory, by name: each can be made to fail, so that every undo is tested.
//!
//! Neighbours: `hotplug` and `remove` take them, `memory` counts how often one is to fail, the shell's `fail` names them.

use core::fmt;

/// A step of add or of remove, in the order they run; each can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// The checks, before anything changes.
    Check,
    /// The direct map of the range.
    DirectMap,
    /// The vmemmap of the range.
    Vmemmap,
    /// The header and the first blocks.
    Region,
    /// Making the resource known, which puts it online.
    Online,
    /// Of a removal: the memory off its node's list.
    Isolate,
    /// What is in use moved elsewhere.
    Migrate,
    /// Page tables that others use out of the memory that leaves.
    HandOver,
    /// The vmemmap cleared of the resources.
    UnmapVmemmap,
    /// The direct map cleared of the resources.
    UnmapDirectMap,
    /// Forgetting them, when nothing leads there any more.
    Remove,
}

impl Step {
    /// All steps, in their order: those of add, then those of remove.
    pub const ALL: [Step; 11] = [
        Step::Check,
        Step::DirectMap,
        Step::Vmemmap,
        Step::Region,
        Step::Online,
        Step::Isolate,
        Step::Migrate,
        Step::HandOver,
        Step::UnmapVmemmap,
        Step::UnmapDirectMap,
        Step::Remove,
    ];

    /// What the step is a part of.
    pub const fn operation(self) -> &'static str {
        if (self as u8) < Step::Isolate as u8 { "add" } else { "remove" }
    }

    /// The step's name, as `fail` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Check => "check",
            Step::DirectMap => "direct-map",
            Step::Vmemmap => "vmemmap",
            Step::Region => "region",
            Step::Online => "online",
            Step::Isolate => "isolate",
            Step::Migrate => "migrate",
            Step::HandOver => "hand-over",
            Step::UnmapVmemmap => "unmap-vmemmap",
            Step::UnmapDirectMap => "unmap-direct-map",
            Step::Remove => "remove",
        }
    }

    /// The step of that name.
    pub fn named(name: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.name() == name)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
