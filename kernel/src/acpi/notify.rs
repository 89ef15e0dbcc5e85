//! A notification, handled: the device is added, or not, and the firmware gets exactly one final answer.
//!
//! | Notify             | device online | in its slot         | empty slot |
//! |--------------------|---------------|---------------------|------------|
//! | 0, 1 on a device   | (n, 0)        | add: (n, 0 or 1)    | (n, 1)     |
//! | 0, 1 on a bus      | scan below, (n, 0), or (n, 1) if a device was refused  |||
//! | 3 on a device      | (3, 0x80)     | (3, 0x80)           | (3, 0x80)  |
//! | other              | (n, 1)        | (n, 1)              | (n, 1)     |

use super::memory_device::{self, Presence};
use super::namespace::Namespace;
use crate::hotplug::{self, HotplugError};
use firmware::notify::{Event, Notification, Status, Target};
use firmware::srat::Srat;
use log::Level;
use mm::info::DeviceId;

/// Handles `notification` and answers it.
pub fn handle(namespace: &mut Namespace, srat: Option<Srat<'_>>, notification: Notification) {
    let (path, result) = match notification.target {
        Target::Device(number) => {
            let id = DeviceId(number);
            let Some(path) = hotplug::with(id, |device| device.path.clone()) else { return };
            (path, on_device(namespace, srat, id, notification.value))
        }
        Target::Bus(number) => {
            let Some(path) = namespace.inbox.buses.get(number as usize).cloned() else { return };
            let refused = memory_device::scan(namespace, Some(&path), srat);
            let result = if refused == 0 { Ok(()) } else { Err(HotplugError::Below { refused }) };
            (path, result)
        }
    };
    let status = result.map_or_else(|error| error.status(), |()| Status::Success);
    memory_device::answer(namespace, &path, notification.value, status.code());
}

/// What a notification does to a memory device.
fn on_device(
    namespace: &mut Namespace,
    srat: Option<Srat<'_>>,
    id: DeviceId,
    value: u64,
) -> Result<(), HotplugError> {
    let told = |error: HotplugError| {
        hotplug::say(id, Level::Warn, format_args!("{error}"));
        Err(error)
    };
    match Event::of(value) {
        Event::BusCheck | Event::DeviceCheck if hotplug::is_online(id) => {
            hotplug::say(id, Level::Info, format_args!("online already, nothing changes"));
            Ok(())
        }
        Event::BusCheck | Event::DeviceCheck => match memory_device::check(namespace, id, srat)? {
            Presence::Present => Ok(()),
            Presence::Absent => told(HotplugError::NotReady { status: 0 }),
        },
        Event::EjectRequest => told(HotplugError::EjectNotSupported),
        Event::Other => told(HotplugError::UnknownEvent(value)),
    }
}
