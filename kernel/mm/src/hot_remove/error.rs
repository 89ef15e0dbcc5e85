//! Why memory stays, and why it does not come back: each reason with the numbers a person needs to act on it.
//!
//! `Display` is the sentence for the log and the shell. Neighbours: `remove` returns them, the kernel maps a
//! [`RemoveError`] to a code for `_OST`.

use core::fmt;

use crate::addr::{Pfn, PfnRange, VirtAddr};
use crate::fault_injection::Step;
use crate::info::{DeviceId, Holder, ResourceId, Zone};
use crate::vmalloc::{AllocationId, MigrateError};

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
        write!(f, "resource {resource} has {pages} pinned frame{s} at frame {pfn}, held ")?;
        match holder {
            Holder::None => f.write_str("by the kernel"),
            Holder::Mapping(at) => write!(f, "by the allocation mapped at {at}"),
            Holder::Table(at) => write!(f, "by a page table for {at}"),
            Holder::Boot(owner) => write!(f, "since boot ({owner})"),
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
    /// The memory went away meanwhile, without waiting for the end.
    SurpriseRemoved,
    /// Another removal is under way.
    UnderWay {
        /// The first resource that is leaving.
        resource: ResourceId,
    },
    /// There is no resource of that number.
    NoResource {
        /// The number.
        resource: ResourceId,
    },
    /// None of the frames is present and usable.
    Absent {
        /// The frames.
        range: PfnRange,
    },
    /// A block stays where it is.
    Pinned(Pinned),
    /// What would have to move has no room elsewhere.
    NotEnoughFree {
        /// Frames to move, with the page tables that it takes.
        needed: u64,
        /// Free frames elsewhere.
        free: u64,
    },
    /// Page tables, which may not lie in a movable zone, have no room elsewhere.
    NotEnoughForTables {
        /// Frames for page tables.
        needed: u64,
        /// Free frames elsewhere that they may have.
        free: u64,
    },
    /// A contiguous allocation has nowhere to go.
    NoRun {
        /// The allocation.
        id: AllocationId,
        /// Its frames.
        pages: u64,
        /// The longest run of free frames elsewhere.
        longest: u64,
    },
    /// An allocation with frames there is being made or freed.
    Busy {
        /// The allocation.
        id: AllocationId,
    },
    /// Frames are allocated, though the evacuation was to be over.
    InUse {
        /// The resource.
        resource: ResourceId,
        /// How many of its frames.
        pages: u64,
    },
    /// The page tables or the descriptors do not hold what they must: memory is corrupted.
    Corrupt {
        /// Where.
        at: VirtAddr,
    },
    /// The step was told to fail (`fail`, tests).
    Injected {
        /// The step.
        step: Step,
    },
}

impl From<MigrateError> for RemoveError {
    fn from(error: MigrateError) -> RemoveError {
        match error {
            MigrateError::NotStarted => RemoveError::NotStarted,
            MigrateError::NoTables { needed, free } => RemoveError::NotEnoughForTables { needed, free },
            MigrateError::NoRun { id, pages, longest } => RemoveError::NoRun { id, pages, longest },
            MigrateError::Corrupt { at } => RemoveError::Corrupt { at },
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RemoveError::NotStarted => write!(f, "the memory core is not started"),
            RemoveError::Unknown { .. } => write!(f, "no resource belongs to the device"),
            RemoveError::Boot => write!(f, "boot memory belongs to no device that could be removed"),
            RemoveError::SurpriseRemoved => write!(f, "the memory went away meanwhile"),
            RemoveError::UnderWay { resource } => {
                write!(f, "resource {resource} is being taken out of use; one at a time")
            }
            RemoveError::NoResource { resource } => write!(f, "there is no resource {resource}"),
            RemoveError::Absent { range } => write!(f, "none of the frames {range} is there to be used"),
            RemoveError::Pinned(pinned) => pinned.fmt(f),
            RemoveError::NotEnoughFree { needed, free } => {
                let missing = needed.saturating_sub(free);
                write!(f, "{needed} frames must move and {free} are free elsewhere: {missing} are missing")
            }
            RemoveError::NotEnoughForTables { needed, free } => write!(
                f,
                "{needed} frames are needed for page tables and {free} are free elsewhere outside of movable zones"
            ),
            RemoveError::NoRun { id, pages, longest } => write!(
                f,
                "allocation {id} needs a run of {pages} frames, the longest free one elsewhere has {longest}"
            ),
            RemoveError::Busy { id } => {
                write!(f, "allocation {id}, which has frames there, is being made or freed")
            }
            RemoveError::Corrupt { at } => write!(f, "the page tables are corrupted at {at}"),
            RemoveError::InUse { resource, pages } => {
                write!(f, "{pages} frames of resource {resource} are allocated")
            }
            RemoveError::Injected { step } => write!(f, "fault injected at step {step}"),
        }
    }
}

impl core::error::Error for RemoveError {}

/// Why memory did not come back into use. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineError {
    /// The memory core has not been started.
    NotStarted,
    /// There is no resource of that number.
    NoResource {
        /// The number.
        resource: ResourceId,
    },
    /// None of the frames is present and usable.
    Absent {
        /// The frames.
        range: PfnRange,
    },
    /// A removal is under way.
    UnderWay {
        /// The first resource that is leaving.
        resource: ResourceId,
    },
    /// Other frames of the resource are in use in another zone.
    OtherZone {
        /// The resource.
        resource: ResourceId,
        /// The zone that it is.
        zone: Zone,
    },
}

impl fmt::Display for OnlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            OnlineError::NotStarted => write!(f, "the memory core is not started"),
            OnlineError::NoResource { resource } => write!(f, "there is no resource {resource}"),
            OnlineError::Absent { range } => write!(f, "none of the frames {range} is there to be used"),
            OnlineError::UnderWay { resource } => {
                write!(f, "resource {resource} is being taken out of use")
            }
            OnlineError::OtherZone { resource, zone } => {
                write!(
                    f,
                    "resource {resource} is online in the zone {zone}; only as a whole it can change it"
                )
            }
        }
    }
}

impl core::error::Error for OnlineError {}
