//! Why a hotplug operation fails: the one place where an error becomes an `_OST` status, a log line and the shell's text.
//!
//! Neighbours: `hotplug` stores the error of a refused device, `acpi` returns those about AML and firmware data, crate
//! `carapace-mm` those of adding and removing memory.

use super::MAX_DEVICES;
use crate::memory::arena;
use carapace_acpi::notify::OstStatus;
use carapace_acpi::ranges::RangesError;
use carapace_mm::addr::PfnRange;
use carapace_mm::error::AddError;
use carapace_mm::hot_remove::{Pinned, RemoveError, Retry};
use carapace_mm::info::Holder;
use carapace_mm::vmalloc::AllocationId;
use core::fmt;

/// Why a memory device was not added or not removed.
#[derive(Clone, Debug)]
pub enum HotplugError {
    /// AML failed.
    Aml(carapace_aml::Error),
    /// The device lacks a required object.
    Missing(&'static str),
    /// An object has a value of the wrong type.
    BadValue {
        /// The object.
        object: &'static str,
        /// The required type.
        expected: &'static str,
    },
    /// The device is not present, enabled and functioning.
    NotReady {
        /// The value of `_STA`.
        status: u64,
    },
    /// The memory ranges are unusable.
    Ranges(RangesError),
    /// A part of the memory is mapped as a firmware table or as registers.
    InUse(PfnRange),
    /// The memory core refuses to add it.
    Add(AddError),
    /// The memory core refuses to remove it.
    Remove(Why),
    /// It was surprise-removed, and allocated memory is lost.
    Lost {
        /// Allocated frames.
        pages: u64,
        /// Allocations that they belonged to.
        allocations: u64,
    },
    /// The device has no `_EJ0`.
    EjectNotSupported,
    /// The container has a processor, which would leave with it.
    HoldsProcessors,
    /// `_EJ0` was evaluated, and the device is still present.
    EjectNoEffect,
    /// A Notify with a value that is not defined for memory devices.
    UnknownEvent(u64),
    /// Devices below a bus were refused.
    Below {
        /// How many.
        refused: usize,
    },
    /// There are more memory devices than can be registered.
    TooManyDevices,
}

impl HotplugError {
    /// The status code for `_OST`.
    pub const fn status(&self) -> OstStatus {
        match self {
            HotplugError::EjectNotSupported | HotplugError::HoldsProcessors => OstStatus::EjectNotSupported,
            HotplugError::Remove(why) => match why.error.retry() {
                Retry::Never => OstStatus::EjectNotSupported,
                Retry::Later => OstStatus::EjectBusy,
                Retry::Failed => OstStatus::Failure,
            },
            HotplugError::Aml(_)
            | HotplugError::Missing(_)
            | HotplugError::BadValue { .. }
            | HotplugError::NotReady { .. }
            | HotplugError::Ranges(_)
            | HotplugError::InUse(_)
            | HotplugError::Add(_)
            | HotplugError::Lost { .. }
            | HotplugError::UnknownEvent(_)
            | HotplugError::Below { .. }
            | HotplugError::EjectNoEffect
            | HotplugError::TooManyDevices => OstStatus::Failure,
        }
    }
}

/// Why the memory core refuses to remove memory or to take it offline, and which allocation pins it.
#[derive(Clone, Copy, Debug)]
pub struct Why {
    error: RemoveError,
    /// The allocation that pins the frame in question.
    allocation: Option<AllocationId>,
}

/// The refusal with the pinning allocation, if it can be found.
pub fn why(error: RemoveError) -> Why {
    let allocation = match error {
        RemoveError::Pinned(Pinned { holder: Holder::Mapping(at), .. }) => arena().holding(at),
        _ => None,
    };
    Why { error, allocation: allocation.map(|allocation| allocation.id) }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.error, self.allocation) {
            (RemoveError::Pinned(Pinned { resource, pfn, pages, .. }), Some(id)) => {
                let s = if pages == 1 { "" } else { "s" };
                write!(
                    f,
                    "resource {resource} has {pages} pinned frame{s} at frame {pfn}, held by allocation {id}"
                )
            }
            (error, _) => error.fmt(f),
        }
    }
}

impl fmt::Display for HotplugError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HotplugError::Aml(error) => error.fmt(f),
            HotplugError::Missing(object) => write!(f, "the device has no {object}"),
            HotplugError::BadValue { object, expected } => write!(f, "{object} is not {expected}"),
            HotplugError::NotReady { status } => {
                write!(f, "_STA is {status:#x}: not present, enabled and functioning")
            }
            HotplugError::Ranges(error) => error.fmt(f),
            HotplugError::InUse(frames) => {
                write!(f, "frames {frames} are mapped as a firmware table or as registers")
            }
            HotplugError::Add(error) => error.fmt(f),
            HotplugError::Remove(why) => why.fmt(f),
            HotplugError::Lost { pages, allocations } => {
                let s = if *allocations == 1 { "" } else { "s" };
                write!(f, "{pages} allocated frames of {allocations} allocation{s} are lost")
            }
            HotplugError::EjectNotSupported => f.write_str("cannot be ejected: the device has no _EJ0"),
            HotplugError::HoldsProcessors => {
                f.write_str("cannot be ejected: it holds a processor, and processors cannot leave")
            }
            HotplugError::EjectNoEffect => f.write_str("_EJ0 had no effect, the device is still present"),
            HotplugError::UnknownEvent(value) => write!(f, "unknown Notify value {value:#x}"),
            HotplugError::Below { refused } => {
                write!(f, "{refused} of the memory devices below were refused")
            }
            HotplugError::TooManyDevices => write!(f, "more than {MAX_DEVICES} memory devices"),
        }
    }
}

impl From<carapace_aml::Error> for HotplugError {
    fn from(error: carapace_aml::Error) -> Self {
        HotplugError::Aml(error)
    }
}
