//! Handles a notification: adds the device, queues its removal, or refuses, and answers the firmware by `_OST`.
//!
//! | Notify             | device online         | present, refused  | empty slot | leaving   |
//! |--------------------|-----------------------|-------------------|------------|-----------|
//! | 0, 1 on a device   | (n, 0), no change     | add: (n, 0 or 1)  | (n, 1)     | (n, 0)    |
//! | ... absent by `_STA` | (n, 0), or (n, 1) if allocated memory is lost |    |            |           |
//! | 0, 1 on a bus      | scan below, (n, 0), or (n, 1) if a device was refused      |||           |
//! | 3 on a device      | (3, 0x84), final answer by `eject` | (3, 0x84), likewise | (3, 1) | (3, 0x84) |
//! | ... without `_EJ0` | (3, 0x80)             | (3, 0x80)         | (3, 0x80)  |           |
//! | other              | (n, 1)                | (n, 1)            | (n, 1)     | (n, 1)    |
//!
//! Each notification gets exactly one answer here; (3, 0x84) is followed by exactly one final answer.

use super::eject;
use super::memory_device::{self, Found};
use super::namespace::Namespace;
use crate::hotplug::{self, HotplugError};
use crate::uevents;
use carapace_acpi::notify::{Notification, NotifyKind, NotifyTarget, OstStatus};
use carapace_acpi::srat::Srat;
use carapace_aml::Handle;
use carapace_mm::info::DeviceId;
use log::Level;

/// Handles `notification` and answers it.
pub fn handle(namespace: &mut Namespace, srat: Option<Srat<'_>>, notification: Notification) {
    let Notification { target, value } = notification;
    let device = match target {
        NotifyTarget::Device(number) => hotplug::handle(DeviceId(number)),
        // `events` has handled it.
        NotifyTarget::PowerButton => None,
        NotifyTarget::Bus(number) => namespace.inbox.buses.get(number as usize).copied(),
    };
    let Some(device) = device else { return };
    uevents::notified(&namespace.name(device), value);
    let result = match target {
        NotifyTarget::Device(number) => on_device(namespace, srat, DeviceId(number), device, value),
        NotifyTarget::PowerButton => return,
        NotifyTarget::Bus(_) => match memory_device::scan(namespace, Some(device), srat) {
            0 => Ok(OstStatus::Success),
            refused => Err(HotplugError::Below { refused }),
        },
    };
    let status = result.unwrap_or_else(|error| error.status());
    memory_device::answer(namespace, device, value, status.code());
    hotplug::log_added();
}

/// Handles a notification of a memory device.
fn on_device(
    namespace: &mut Namespace,
    srat: Option<Srat<'_>>,
    id: DeviceId,
    device: Handle,
    value: u64,
) -> Result<OstStatus, HotplugError> {
    let logged = |error: HotplugError| {
        hotplug::log_limited(id, Level::Warn, format_args!("{error}"));
        Err(error)
    };
    match NotifyKind::of(value) {
        NotifyKind::BusCheck | NotifyKind::DeviceCheck => match memory_device::check(namespace, id, srat)? {
            Found::New | Found::Gone => Ok(OstStatus::Success),
            Found::Online => {
                hotplug::log_limited(id, Level::Info, format_args!("already online, no change"));
                Ok(OstStatus::Success)
            }
            Found::Empty => logged(HotplugError::NotReady { status: 0 }),
        },
        NotifyKind::EjectRequest => eject::request(namespace, id, device).or_else(logged),
        NotifyKind::Other => logged(HotplugError::UnknownEvent(value)),
    }
}
