//! A notification, handled: the device is added, is on its way out, or not, and the firmware gets its answer.
//!
//! | Notify             | device online         | in its slot       | empty slot | leaving   |
//! |--------------------|-----------------------|-------------------|------------|-----------|
//! | 0, 1 on a device   | (n, 0), nothing changes | add: (n, 0 or 1) | (n, 1)     | (n, 0)    |
//! | ... whose `_STA` says it is gone | (n, 0), or (n, 1) if something is lost |      |    |           |
//! | 0, 1 on a bus      | scan below, (n, 0), or (n, 1) if a device was refused      |||           |
//! | 3 on a device      | (3, 0x84), the end by `eject` | (3, 0x84), likewise | (3, 1) | (3, 0x84) |
//! | ... without `_EJ0` | (3, 0x80)             | (3, 0x80)         | (3, 0x80)  |           |
//! | other              | (n, 1)                | (n, 1)            | (n, 1)     | (n, 1)    |
//!
//! Each gets exactly one answer here; (3, 0x84) is followed by exactly one end.

use super::eject;
use super::memory_device::{self, Found};
use super::namespace::Namespace;
use crate::hotplug::{self, HotplugError};
use crate::news;
use carapace_acpi::notify::{Notification, NotifyKind, NotifyTarget, OstStatus};
use carapace_acpi::srat::Srat;
use carapace_mm::info::DeviceId;
use log::Level;

/// Handles `notification` and answers it.
pub fn handle(namespace: &mut Namespace, srat: Option<Srat<'_>>, notification: Notification) {
    let (path, result) = match notification.target {
        NotifyTarget::Device(number) => {
            let id = DeviceId(number);
            let Some(path) = hotplug::with(id, |device| device.path.clone()) else { return };
            news::notified(&path, notification.value);
            let result = on_device(namespace, srat, id, &path, notification.value);
            (path, result)
        }
        NotifyTarget::Bus(number) => {
            let Some(path) = namespace.inbox.buses.get(number as usize).cloned() else { return };
            news::notified(&path, notification.value);
            let refused = memory_device::scan(namespace, Some(&path), srat);
            let result =
                if refused == 0 { Ok(OstStatus::Success) } else { Err(HotplugError::Below { refused }) };
            (path, result)
        }
    };
    let status = result.unwrap_or_else(|error| error.status());
    memory_device::answer(namespace, &path, notification.value, status.code());
    hotplug::announce();
}

/// What a notification does to a memory device.
fn on_device(
    namespace: &mut Namespace,
    srat: Option<Srat<'_>>,
    id: DeviceId,
    path: &str,
    value: u64,
) -> Result<OstStatus, HotplugError> {
    let told = |error: HotplugError| {
        hotplug::say(id, Level::Warn, format_args!("{error}"));
        Err(error)
    };
    match NotifyKind::of(value) {
        NotifyKind::BusCheck | NotifyKind::DeviceCheck => match memory_device::check(namespace, id, srat)? {
            Found::New | Found::Gone => Ok(OstStatus::Success),
            Found::Online => {
                hotplug::say(id, Level::Info, format_args!("online already, nothing changes"));
                Ok(OstStatus::Success)
            }
            Found::Empty => told(HotplugError::NotReady { status: 0 }),
        },
        NotifyKind::EjectRequest => eject::request(namespace, id, path).or_else(told),
        NotifyKind::Other => told(HotplugError::UnknownEvent(value)),
    }
}
