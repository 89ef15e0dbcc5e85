//! Why memory stays, and why it does not come back: each reason with the numbers a person needs to act on it.
//!
//! `Display` is the sentence for the log and the shell. Neighbours: `remove` returns them, the kernel maps a
//! [`RemoveError`] to a code for `_OST`.

use core::fmt;

use crate::addr::Pfn;
use crate::hotplug::Step;
use crate::info::{DeviceId, Holder, ResourceId};

/// A block that stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The resource it lies in.
    pub resource: ResourceId,
    /// Its first frame.
    pub pfn: Pfn,
    /// Its frames.
    pub pages: u64,
    /// Who holds it.
    pub holder: Holder,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pinned { resource, pfn, pages, holder } = self;
        let s = if *pages == 1 { "" } else { "s" };
        write!(f, "resource {resource} has {pages} pinned frame{s} at frame {pfn}, held by ")?;
        match holder {
            Holder::None => f.write_str("the kernel"),
            Holder::Mapping(at) => write!(f, "the allocation mapped at {at}"),
            Holder::Boot(owner) => write!(f, "{owner} since boot"),
        }
    }
}

/// Why memory was not taken out of use. Everything is as before then; frames that were migrated stay where they
/// are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveError {
    /// The memory core has not been started.
    NotStarted,
    /// No resource belongs to the device.
    Unknown {
        /// The device.
        device: DeviceId,
    },
    /// Boot memory belongs to no device.
    Boot,
    /// Another removal is under way.
    UnderWay {
        /// The first resource that is leaving.
        resource: ResourceId,
    },
    /// Frames are allocated.
    InUse {
        /// The resource.
        resource: ResourceId,
        /// How many of its frames.
        pages: u64,
    },
    /// The step was told to fail (`fail`, tests).
    Injected {
        /// The step.
        step: Step,
    },
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RemoveError::NotStarted => write!(f, "the memory core is not started"),
            RemoveError::Unknown { .. } => write!(f, "no resource belongs to the device"),
            RemoveError::Boot => write!(f, "boot memory belongs to no device that could be removed"),
            RemoveError::UnderWay { resource } => {
                write!(f, "resource {resource} is being taken out of use; one at a time")
            }
            RemoveError::InUse { resource, pages } => {
                write!(f, "{pages} frames of resource {resource} are allocated")
            }
            RemoveError::Injected { step } => write!(f, "step {step} was told to fail"),
        }
    }
}

impl core::error::Error for RemoveError {}
