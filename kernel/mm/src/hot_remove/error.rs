//! The reasons why memory cannot be removed, taken offline or brought online, each with the numbers that a person
//! needs to act on it.
//!
//! `Display` is the message in log and shell. Neighbours: `hot_remove` returns them, the kernel maps a
//! [`RemoveError`] to a code for `_OST`.

use core::fmt;

use crate::addr::{Pfn, PfnRange, VirtAddr};
use crate::error::AddError;
use crate::fault_injection::Step;
use crate::info::{DeviceId, Holder, ResourceId, Zone};
use crate::vmalloc::{AllocationId, MigrateError, NoRun};

/// A block that cannot be migrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The resource that contains it.
    pub resource: ResourceId,
    /// The first frame.
    pub pfn: Pfn,
    /// The number of frames.
    pub pages: u64,
    /// The owner.
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
            Holder::Reported => f.write_str("while it is reported to the host as free"),
            Holder::Boot(owner) => write!(f, "since boot ({owner})"),
        }
    }
}

/// The reason why memory was not removed or taken offline. It is in use as before; migrated blocks stay at their new
/// frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveError {
    /// The memory core is not started.
    NotStarted,
    /// No resource belongs to the device.
    Unknown {
        /// The device.
        device: DeviceId,
    },
    /// Boot memory cannot be removed: it belongs to no device.
    Boot,
    /// A surprise removal took the memory before the end.
    SurpriseRemoved,
    /// Another removal or offlining is under way.
    UnderWay {
        /// The first resource of that one.
        resource: ResourceId,
    },
    /// No resource has this id.
    NoResource {
        /// The id.
        resource: ResourceId,
    },
    /// None of the frames is present and usable.
    Absent {
        /// The frames.
        range: PfnRange,
    },
    /// A block cannot be migrated.
    Pinned(Pinned),
    /// The used frames do not fit elsewhere.
    NotEnoughFree {
        /// Frames to migrate and frames for the page tables that this needs.
        needed: u64,
        /// Free frames elsewhere.
        free: u64,
    },
    /// The page tables do not fit elsewhere; they may not lie in a movable zone.
    NotEnoughForTables {
        /// Frames needed for page tables.
        needed: u64,
        /// Free frames elsewhere outside of movable zones.
        free: u64,
    },
    /// No free run fits a contiguous allocation.
    NoRun(NoRun),
    /// An allocation with frames there is growing or being freed.
    Busy {
        /// The allocation.
        id: AllocationId,
    },
    /// Frames are still allocated at the end of the evacuation.
    InUse {
        /// The resource.
        resource: ResourceId,
        /// The number of allocated frames.
        pages: u64,
    },
    /// Page tables and descriptors contradict each other: memory is corrupted.
    Corrupt {
        /// The address.
        at: VirtAddr,
    },
    /// A fault was injected at the step (command `fail`, tests).
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
            MigrateError::NoRun(missing) => RemoveError::NoRun(missing),
            MigrateError::Corrupt { at } => RemoveError::Corrupt { at },
            MigrateError::Injected { step } => RemoveError::Injected { step },
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RemoveError::NotStarted => write!(f, "the memory core is not started"),
            RemoveError::Unknown { .. } => write!(f, "no resource belongs to the device"),
            RemoveError::Boot => write!(f, "boot memory cannot be removed: it belongs to no device"),
            RemoveError::SurpriseRemoved => write!(f, "the memory was surprise-removed"),
            RemoveError::UnderWay { resource } => {
                write!(f, "resource {resource} is being taken out of use; one at a time")
            }
            RemoveError::NoResource { resource } => write!(f, "there is no resource {resource}"),
            RemoveError::Absent { range } => write!(f, "none of the frames {range} is present and usable"),
            RemoveError::Pinned(pinned) => pinned.fmt(f),
            RemoveError::NotEnoughFree { needed, free } => {
                let missing = needed.saturating_sub(free);
                write!(
                    f,
                    "{needed} frames must migrate, but only {free} are free elsewhere: {missing} are missing"
                )
            }
            RemoveError::NotEnoughForTables { needed, free } => write!(
                f,
                "{needed} frames are needed for page tables, but only {free} are free elsewhere outside of movable zones"
            ),
            RemoveError::NoRun(missing) => missing.fmt(f),
            RemoveError::Busy { id } => {
                write!(f, "allocation {id}, which has frames there, is being made or freed")
            }
            RemoveError::Corrupt { at } => write!(f, "the page tables are corrupted at {at}"),
            RemoveError::InUse { resource, pages } => {
                write!(f, "{pages} frames of resource {resource} are still allocated")
            }
            RemoveError::Injected { step } => write!(f, "fault injected at {step}"),
        }
    }
}

impl core::error::Error for RemoveError {}

/// The reason why memory was not brought online. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineError {
    /// The memory core is not started.
    NotStarted,
    /// No resource has this id.
    NoResource {
        /// The id.
        resource: ResourceId,
    },
    /// None of the frames is present and usable.
    Absent {
        /// The frames.
        range: PfnRange,
    },
    /// A removal or offlining is under way.
    UnderWay {
        /// The first resource of it.
        resource: ResourceId,
    },
    /// Other frames of the resource are online in another zone.
    OtherZone {
        /// The resource.
        resource: ResourceId,
        /// The resource's zone.
        zone: Zone,
    },
    /// The last frame of a resource does not return what is written to it: see [`AddError::NoMemoryBehind`].
    NoMemoryBehind {
        /// The frame.
        pfn: Pfn,
    },
}

impl fmt::Display for OnlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            OnlineError::NotStarted => write!(f, "the memory core is not started"),
            OnlineError::NoResource { resource } => write!(f, "there is no resource {resource}"),
            OnlineError::Absent { range } => write!(f, "none of the frames {range} is present and usable"),
            OnlineError::UnderWay { resource } => {
                write!(f, "resource {resource} is being taken out of use")
            }
            OnlineError::OtherZone { resource, zone } => {
                write!(
                    f,
                    "resource {resource} is online in zone {zone}; take all of it offline to change the zone"
                )
            }
            OnlineError::NoMemoryBehind { pfn } => AddError::NoMemoryBehind { pfn }.fmt(f),
        }
    }
}

impl core::error::Error for OnlineError {}
