//! Ejecting a device: from an eject request to `_EJ0`, as a task of its own.
//!
//! ```text
//!  Notify 3 ── request ──> (3, 0x84), the device is `Leaving`        notify, at once
//!                              |
//!  ejections (task) ──> hotplug::remove, in steps                    events and the shell run in between
//!                          |                |
//!                       removed          refused ──> (3, 0x82 or the reason's code), nothing has changed
//!                          |
//!                        _EJ0(1) ──> QEMU unplugs the DIMM ──> (3, 0)
//! ```
//!
//! Invariants: at most one removal of a device is under way. Each request gets 0x84 at most once and one final answer,
//! except that a request made during a removal gets 0x84 and shares that removal's final answer. `_EJ0` is evaluated
//! only after all memory of the device is unmapped. Requests are served in the order in which they were made. Linux:
//! `acpi_device_hotplug` and `acpi_scan_hot_remove` in `drivers/acpi/scan.c`.

use super::memory_device::{self, Presence};
use super::{Acpi, container};
use crate::executor;
use crate::hotplug::{self, EjectRequest, HotplugError};
use crate::memory::heap;
use alloc::format;
use carapace_acpi::notify::OstStatus;
use carapace_aml::{Handle, NameSeg, Value};
use carapace_mm::info::{DeviceId, ProbeEnd};
use log::Level;

/// The value of a Notify that requests ejection.
pub(super) const EJECT_REQUEST: u64 = 3;

const EJ0: NameSeg = NameSeg::literal(*b"_EJ0");

/// Handles an eject request. Returns the immediate answer: the removal is under way, or why not.
pub(super) fn request(acpi: &mut Acpi, id: DeviceId, device: Handle) -> Result<OstStatus, HotplugError> {
    if acpi.namespace.child(device, EJ0).is_none() {
        return Err(HotplugError::EjectNotSupported);
    }
    match hotplug::request_eject(id) {
        outcome @ (EjectRequest::Queued | EjectRequest::Duplicate) => {
            if outcome == EjectRequest::Duplicate {
                acpi.containers.also_requested(id);
            }
            executor::wake();
            Ok(OstStatus::EjectInProgress)
        }
        EjectRequest::NoDevice => Err(HotplugError::NotReady { status: 0 }),
    }
}

/// The task that serves eject requests; it never ends.
pub async fn ejections() {
    loop {
        match hotplug::next_leaving() {
            Some(id) => eject(id).await,
            None if container::eject_next().await => {}
            None => executor::wait_for_event().await,
        }
    }
}

/// Removes one device's memory and ejects the device, or leaves both unchanged; gives the final answer.
async fn eject(id: DeviceId) {
    let Some(device) = hotplug::handle(id) else { return };
    let removed = hotplug::remove(id).await;
    super::with(|acpi| {
        // As for an addition, all of this may use the heap's reserve.
        heap::with_reserve(|| finish(acpi, id, device, removed));
        acpi.namespace.flush_suppressed();
    });
    hotplug::flush_suppressed();
}

/// After the removal: ejects the device if its memory is removed, and gives the final answer.
fn finish(acpi: &mut Acpi, id: DeviceId, device: Handle, removed: Result<(), HotplugError>) {
    let result = removed.and_then(|()| eject_device(acpi, id, device));
    let status = match &result {
        Ok(()) => OstStatus::Success,
        Err(error) => {
            hotplug::eject_failed(id, error);
            error.status()
        }
    };
    memory_device::answer(&mut acpi.namespace, device, EJECT_REQUEST, status.code());
}

/// Evaluates `_EJ0`. If the device is still present afterwards, its memory is added again.
fn eject_device(acpi: &mut Acpi, id: DeviceId, device: Handle) -> Result<(), HotplugError> {
    let ejected = match acpi.namespace.child(device, EJ0) {
        Some(method) => acpi.namespace.evaluate(method, &[Value::Integer(1)]),
        None => return Err(HotplugError::EjectNotSupported),
    };
    hotplug::mark_absent(id);
    let error = match (ejected, memory_device::evaluate_sta(&mut acpi.namespace, device)) {
        (Err(error), _) => HotplugError::Aml(error),
        // With an event pending, another device may have been plugged into the slot; the event handler adds it.
        (Ok(_), Ok(Presence::Present)) if !acpi.gpes.any_pending() => HotplugError::EjectNoEffect,
        (Ok(_), _) => {
            acpi.namespace.initialize(device);
            let path = format!("{}", acpi.namespace.name(device));
            hotplug::log_device(Level::Info, &path, format_args!("ejected"));
            return Ok(());
        }
    };
    // `check` records and logs a refusal.
    let _ = memory_device::check(&mut acpi.namespace, id, acpi.srat, ProbeEnd::AtFirstUse);
    Err(error)
}
