//! Adding memory (and, later, taking it away): the steps, their order, their undoing.

use core::fmt;

/// A step of add, in the order they run; each can be made to fail.
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
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Step; 5] = [Step::Check, Step::DirectMap, Step::Vmemmap, Step::Region, Step::Online];

    /// The step's name, as `fail` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Check => "check",
            Step::DirectMap => "direct-map",
            Step::Vmemmap => "vmemmap",
            Step::Region => "region",
            Step::Online => "online",
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
