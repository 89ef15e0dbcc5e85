//! Why memory hotplug refuses: the one place where an error turns into the firmware's answer, the log's line and
//! the shell's text.
//!
//! Neighbours: `hotplug` keeps the error of a device that was refused, `acpi` makes those that concern what
//! firmware says, crate `carapace-mm` makes those of adding and removing.

use super::MAX_DEVICES;
use crate::memory::window;
use carapace_acpi::notify::OstStatus;
use carapace_acpi::ranges::RangesError;
use carapace_mm::addr::PfnRange;
use carapace_mm::error::AddError;
use carapace_mm::hot_remove::{Pinned, RemoveError, Retry};
use carapace_mm::info::Holder;
use carapace_mm::vmalloc::AllocationId;
use core::fmt;

/// Why a memory device is not (or no longer) what the firmware wanted it to be.
#[derive(Clone, Debug)]
pub enum HotplugError {
    /// AML failed.
    Aml(carapace_aml::Error),
    /// The device has not got an object that it must have.
    Missing(&'static str),
    /// An object has another value than its kind must have.
    BadValue {
        /// The object.
        object: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// `_STA` does not say that the device is present, enabled and functioning.
    NotReady {
        /// What it says.
        status: u64,
    },
    /// The memory ranges cannot be told.
    Ranges(RangesError),
    /// Some of it is in use as something else: a firmware table, or registers.
    InUse(PfnRange),
    /// The memory core refuses.
    Add(AddError),
    /// The memory core does not give it up.
    Remove(Why),
    /// It went away by itself, and took something along that was in use.
    Lost {
        /// Frames that were allocated.
        pages: u64,
        /// Allocations that they belonged to.
        allocations: u64,
    },
    /// The device has no way to be ejected.
    EjectNotSupported,
    /// `_EJ0` was evaluated, and the device is still there.
    NotLetGo,
    /// A Notify with a value that means nothing for memory.
    UnknownEvent(u64),
    /// Some devices below a bus were refused.
    Below {
        /// How many.
        refused: usize,
    },
    /// There are more memory devices than are kept.
    TooManyDevices,
}

impl HotplugError {
    /// What `_OST` tells the firmware.
    pub const fn status(&self) -> OstStatus {
        match self {
            HotplugError::EjectNotSupported => OstStatus::EjectNotSupported,
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
            | HotplugError::NotLetGo
            | HotplugError::TooManyDevices => OstStatus::Failure,
        }
    }
}

/// Why the memory core gives memory up neither to its device nor for `offline`, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Why {
    error: RemoveError,
    /// The allocation that holds the frame in question.
    allocation: Option<AllocationId>,
}

/// The refusal with its owner, as far as that is known now.
pub fn why(error: RemoveError) -> Why {
    let allocation = match error {
        RemoveError::Pinned(Pinned { holder: Holder::Mapping(at), .. }) => window().holding(at),
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
            HotplugError::BadValue { object, wanted } => write!(f, "{object} is not {wanted}"),
            HotplugError::NotReady { status } => {
                write!(f, "_STA is {status:#x}: not present, enabled and functioning")
            }
            HotplugError::Ranges(error) => error.fmt(f),
            HotplugError::InUse(frames) => {
                write!(f, "frames {frames} hold a firmware table, or what AML uses as registers")
            }
            HotplugError::Add(error) => error.fmt(f),
            HotplugError::Remove(why) => why.fmt(f),
            HotplugError::Lost { pages, allocations } => {
                let s = if *allocations == 1 { "" } else { "s" };
                write!(
                    f,
                    "{pages} frames that were in use are lost, and with them {allocations} allocation{s}"
                )
            }
            HotplugError::EjectNotSupported => {
                f.write_str("asked for back, but the device has no _EJ0: it cannot be ejected")
            }
            HotplugError::NotLetGo => f.write_str("_EJ0 was evaluated, and the device is still there"),
            HotplugError::UnknownEvent(value) => {
                write!(f, "nothing is known of a Notify with value {value:#x}")
            }
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
