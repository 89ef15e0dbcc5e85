//! Handles a notification: adds the device, queues its removal, or refuses, and answers the firmware by `_OST`.
//!
//! | Notify             | device online         | present, refused  | empty slot | leaving   |
//! |--------------------|-----------------------|-------------------|------------|-----------|
//! | 0, 1 on a device   | (n, 0), no change     | add: (n, 0 or 1)  | (n, 1)     | (n, 0)    |
//! | ... absent by `_STA` | (n, 0), or (n, 1) if allocated memory is lost |    |            |           |
//! | 0, 1 on a bus      | scan below, (n, 0), or (n, 1) if a device was refused      |||           |
//! | 3 on a container   | (3, 0x84), final answer by `container`, or (3, 0x80) without `_EJ0` or with a processor |||||
//! | 3 on a device      | (3, 0x84), final answer by `eject` | (3, 0x84), likewise | (3, 1) | (3, 0x84) |
//! | ... without `_EJ0` | (3, 0x80)             | (3, 0x80)         | (3, 0x80)  |           |
//! | other              | (n, 1)                | (n, 1)            | (n, 1)     | (n, 1)    |
//!
//! Each notification gets exactly one answer here; (3, 0x84) is followed by exactly one final answer.

use super::memory_device::{self, Found};
use super::{Acpi, container, eject};
use crate::hotplug::{self, HotplugError};
use crate::uevents;
use alloc::format;
use carapace_acpi::notify::{Notification, NotifyKind, NotifyTarget, OstStatus};
use carapace_aml::Handle;
use carapace_mm::info::{DeviceId, ProbeEnd};
use log::Level;

/// Handles `notification` and answers it.
pub fn handle(acpi: &mut Acpi, notification: Notification) {
    let Notification { target, value } = notification;
    let device = match target {
        NotifyTarget::Device(number) => hotplug::handle(DeviceId(number)),
        // `events` has handled it.
        NotifyTarget::PowerButton => None,
        NotifyTarget::Bus(number) => acpi.namespace.inbox.buses.get(number as usize).copied(),
    };
    let Some(device) = device else { return };
    uevents::notified(&acpi.namespace.name(device), value);
    let result = match target {
        NotifyTarget::Device(number) => on_device(acpi, DeviceId(number), device, value),
        NotifyTarget::PowerButton => return,
        NotifyTarget::Bus(_) => on_bus(acpi, device, value),
    };
    let status = result.unwrap_or_else(|error| error.status());
    memory_device::answer(&mut acpi.namespace, device, value, status.code());
    hotplug::log_added();
}

/// Handles a notification of a device with memory devices below it.
fn on_bus(acpi: &mut Acpi, device: Handle, value: u64) -> Result<OstStatus, HotplugError> {
    if NotifyKind::of(value) == NotifyKind::EjectRequest {
        return container::request(acpi, device).inspect_err(|error| {
            let path = format!("{}", acpi.namespace.name(device));
            acpi.namespace.log_failure(format_args!("{path}: {error}"));
        });
    }
    acpi.namespace.initialize(device);
    match memory_device::scan(&mut acpi.namespace, Some(device), acpi.srat, ProbeEnd::AtFirstUse) {
        0 => Ok(OstStatus::Success),
        refused => Err(HotplugError::Below { refused }),
    }
}

/// Handles a notification of a memory device.
fn on_device(acpi: &mut Acpi, id: DeviceId, device: Handle, value: u64) -> Result<OstStatus, HotplugError> {
    let logged = |error: HotplugError| {
        hotplug::log_limited(id, Level::Warn, format_args!("{error}"));
        Err(error)
    };
    match NotifyKind::of(value) {
        NotifyKind::BusCheck | NotifyKind::DeviceCheck => {
            match memory_device::check(&mut acpi.namespace, id, acpi.srat, ProbeEnd::AtFirstUse)? {
                Found::New | Found::Gone => Ok(OstStatus::Success),
                Found::Online => {
                    hotplug::log_limited(id, Level::Info, format_args!("already online, no change"));
                    Ok(OstStatus::Success)
                }
                Found::Empty => logged(HotplugError::NotReady { status: 0 }),
            }
        }
        NotifyKind::EjectRequest => eject::request(acpi, id, device).or_else(logged),
        NotifyKind::Other => logged(HotplugError::UnknownEvent(value)),
    }
}
