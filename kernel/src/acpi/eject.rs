//! Giving a device back: from an eject request to `_EJ0`, as a task of its own.
//!
//! ```text
//!  Notify 3 ── request ──> (3, 0x84), the device is `Leaving`        notify, at once
//!                              |
//!  ejections (task) ──> hotplug::remove, in steps                    events and shell have their turns
//!                          |                |
//!                        given up        refused ──> (3, 0x82 or what the reason says), as before
//!                          |
//!                        _EJ0(1) ──> QEMU lets the DIMM go ──> (3, 0)
//! ```
//!
//! Invariants: of one device one removal is under way at a time; each request gets 0x84 at most once and one end,
//! except those that come while one is under way, which get 0x84 and share its end; `_EJ0` is evaluated
//! when nothing of the memory is mapped any more, and never before. Requests are served in the order
//! in which they came. Linux: `acpi_device_hotplug` and `acpi_scan_hot_remove` in `drivers/acpi/scan.c`.

use super::Acpi;
use super::memory_device::{self, Presence};
use super::namespace::{Namespace, child};
use crate::executor;
use crate::hotplug::{self, EjectRequest, HotplugError};
use crate::memory::heap;
use carapace_acpi::notify::OstStatus;
use carapace_aml::Value;
use carapace_mm::info::DeviceId;
use log::info;

/// The value of the Notify that asks for a device.
const EJECT_REQUEST: u64 = 3;

/// Somebody asks for the device back. What is answered now: that it is under way, or why it is not.
pub(super) fn request(
    namespace: &mut Namespace,
    id: DeviceId,
    path: &str,
) -> Result<OstStatus, HotplugError> {
    if !namespace.exists(&child(path, "_EJ0")) {
        return Err(HotplugError::EjectNotSupported);
    }
    match hotplug::leave(id) {
        EjectRequest::Queued | EjectRequest::Duplicate => {
            executor::wake();
            Ok(OstStatus::EjectInProgress)
        }
        EjectRequest::NoDevice => Err(HotplugError::NotReady { status: 0 }),
    }
}

/// Serves eject requests for ever: a task of the executor.
pub async fn ejections() {
    loop {
        match hotplug::next_leaving() {
            Some(id) => eject(id).await,
            None => executor::wait_for_event().await,
        }
    }
}

/// Gives one device back, or leaves it as it was, and tells the firmware which.
async fn eject(id: DeviceId) {
    // As for an addition: all of this may use the heap's reserve.
    let path = heap::with_reserve(|| hotplug::with(id, |device| device.path.clone()));
    let Some(path) = path else { return };
    let freed = hotplug::remove(id).await;
    super::with(|acpi| {
        heap::with_reserve(|| finish(acpi, id, &path, freed));
        acpi.namespace.settle();
    });
    hotplug::settle();
}

/// The memory is free, or stays: lets the device go, and gives the final answer.
fn finish(acpi: &mut Acpi, id: DeviceId, path: &str, freed: Result<(), HotplugError>) {
    let result = freed.and_then(|()| let_go(acpi, id, path));
    let status = match &result {
        Ok(()) => OstStatus::Success,
        Err(error) => {
            hotplug::stay(id, error);
            error.status()
        }
    };
    memory_device::answer(&mut acpi.namespace, path, EJECT_REQUEST, status.code());
}

/// Evaluates `_EJ0`. Where the device is still there afterwards, its memory is taken into use again.
fn let_go(acpi: &mut Acpi, id: DeviceId, path: &str) -> Result<(), HotplugError> {
    let ejected = acpi.namespace.evaluate(&child(path, "_EJ0"), &[Value::Integer(1)]);
    hotplug::vacate(id);
    let error = match (ejected, memory_device::look(&mut acpi.namespace, path)) {
        (Err(error), _) => HotplugError::Aml(error),
        // Another device may have come into the slot since: of that an event tells.
        (Ok(_), Ok(Presence::Present)) if !acpi.gpes.any_pending() => HotplugError::NotLetGo,
        (Ok(_), _) => {
            info!("{path}: ejected");
            return Ok(());
        }
    };
    // What is refused now is noted and logged there.
    let _ = memory_device::check(&mut acpi.namespace, id, acpi.srat);
    Err(error)
}
