//! Containers: devices with memory devices below them that come and go as one (module devices and generic containers:
//! ACPI0004, PNP0A05, PNP0A06; and docks that `_EJD` names).
//!
//! ```text
//!  Notify 0, 1 ──> the memory devices below are checked                               notify
//!  Notify 3 ─── request ──> (3, 0x84)                                                 notify, at once
//!                  |
//!  eject (task ejections) ──> each device below: hotplug::remove, in steps
//!                  |                     |
//!             all removed           one refused ──> the others are added again ──> (3, 0x82 or the reason's code)
//!                  |
//!              _EJ0(1) of the container ──> (3, 0)
//! ```
//!
//! Invariants: all memory below a container leaves, or none; a device that appears below it meanwhile leaves, too. Each
//! request gets one final answer; so does each request for a device below, with the container's outcome. Only the
//! container's `_EJ0` is evaluated, as in Linux (`acpi_scan_hot_remove`). A container with a processor that is present is
//! refused: the kernel does not take processors offline. Neighbours: `eject` ejects single devices and has the task.

use super::memory_device::{self, Presence};
use super::namespace::Namespace;
use super::{Acpi, eject};
use crate::executor;
use crate::hotplug::{self, HotplugError};
use crate::memory::heap;
use alloc::format;
use alloc::vec::Vec;
use carapace_acpi::notify::OstStatus;
use carapace_aml::{Handle, NameSeg, Value};
use carapace_mm::info::{DeviceId, ProbeEnd};
use log::Level;

const CID: NameSeg = NameSeg::literal(*b"_CID");
const EJ0: NameSeg = NameSeg::literal(*b"_EJ0");

/// The hardware IDs of containers, as text and as EISA IDs.
const CONTAINERS: [(&str, Option<u64>); 3] =
    [("ACPI0004", None), ("PNP0A05", Some(0x050a_d041)), ("PNP0A06", Some(0x060a_d041))];
/// The hardware ID of a processor that is a device.
const PROCESSOR: &str = "ACPI0007";

/// The eject requests for containers.
#[derive(Debug, Default)]
pub struct Requests {
    /// Containers to be ejected, oldest request first.
    waiting: Vec<Handle>,
    under_way: Option<UnderWay>,
}

/// The ejection that is under way.
#[derive(Debug)]
struct UnderWay {
    container: Handle,
    /// The devices whose memory is removed.
    removed: Vec<DeviceId>,
    /// The devices below that were requested themselves meanwhile.
    requested: Vec<DeviceId>,
}

impl Requests {
    /// Takes note of an eject request for a device whose removal is part of a container's.
    pub(super) fn also_requested(&mut self, id: DeviceId) {
        if let Some(under_way) = &mut self.under_way
            && !under_way.requested.contains(&id)
        {
            under_way.requested.push(id);
        }
    }
}

/// Whether the device is a container by its `_HID` or `_CID`.
pub(super) fn is_container(namespace: &mut Namespace, device: Handle) -> bool {
    let id = namespace.hardware_id(device).ok().flatten();
    if CONTAINERS.iter().any(|&(name, _)| id.as_deref() == Some(name)) {
        return true;
    }
    let is_id = |value: &Value| match value {
        Value::Integer(id) => CONTAINERS.iter().any(|&(_, eisa)| eisa == Some(*id)),
        Value::String(id) => CONTAINERS.iter().any(|&(name, _)| name == id),
        _ => false,
    };
    match namespace.evaluate_child(device, CID) {
        Ok(Some(Value::Package(ids))) => ids.iter().any(is_id),
        Ok(Some(id)) => is_id(&id),
        _ => false,
    }
}

/// Handles an eject request. Returns the immediate answer: the removal is under way, or why not.
pub(super) fn request(acpi: &mut Acpi, container: Handle) -> Result<OstStatus, HotplugError> {
    if acpi.namespace.child(container, EJ0).is_none() {
        return Err(HotplugError::EjectNotSupported);
    }
    if memory_device::evaluate_sta(&mut acpi.namespace, container)? == Presence::Absent {
        return Err(HotplugError::NotReady { status: 0 });
    }
    if has_processor(&mut acpi.namespace, container) {
        return Err(HotplugError::HoldsProcessors);
    }
    let Requests { waiting, under_way } = &mut acpi.containers;
    let is_known = under_way.iter().any(|one| one.container == container) || waiting.contains(&container);
    if !is_known {
        waiting.push(container);
        executor::wake();
    }
    Ok(OstStatus::EjectInProgress)
}

/// Whether a processor below the container is present. One whose `_STA` fails counts.
fn has_processor(namespace: &mut Namespace, container: Handle) -> bool {
    let objects = namespace.processors();
    for device in objects.iter().copied().chain(namespace.devices().to_vec()) {
        let is_processor = namespace.ancestors(device).contains(&container)
            && (objects.contains(&device)
                || namespace.hardware_id(device).ok().flatten().as_deref() == Some(PROCESSOR));
        if is_processor && !matches!(memory_device::evaluate_sta(namespace, device), Ok(Presence::Absent)) {
            return true;
        }
    }
    false
}

/// Serves the oldest request; `false` if there is none.
pub(super) async fn eject_next() -> bool {
    let next = |acpi: &mut Acpi| {
        let container = (!acpi.containers.waiting.is_empty()).then(|| acpi.containers.waiting.remove(0))?;
        acpi.containers.under_way = Some(UnderWay { container, removed: Vec::new(), requested: Vec::new() });
        Some(container)
    };
    let Some(container) = super::with(next).flatten() else { return false };
    let removed = remove_below(container).await;
    super::with(|acpi| {
        // As for an addition, all of this may use the heap's reserve.
        heap::with_reserve(|| finish(acpi, removed));
        acpi.namespace.flush_suppressed();
    });
    hotplug::flush_suppressed();
    true
}

/// Removes the memory of every device below, until there is none.
async fn remove_below(container: Handle) -> Result<(), HotplugError> {
    while let Some(id) = super::with(|acpi| next_below(acpi, container)).flatten() {
        if hotplug::request_eject(id) == hotplug::EjectRequest::Duplicate {
            super::with(|acpi| acpi.containers.also_requested(id));
        }
        if let Err(error) = hotplug::remove(id).await {
            hotplug::eject_failed(id, &error);
            return Err(error);
        }
        super::with(|acpi| acpi.containers.under_way.iter_mut().for_each(|one| one.removed.push(id)));
    }
    Ok(())
}

/// A device below the container whose memory is still to be removed.
fn next_below(acpi: &Acpi, container: Handle) -> Option<DeviceId> {
    let removed = acpi.containers.under_way.as_ref().map_or(&[][..], |one| &one.removed);
    let mut devices = (0..hotplug::count()).map(DeviceId);
    devices.find(|id| {
        hotplug::is_in_use(*id)
            && !removed.contains(id)
            && memory_device::is_below(&acpi.namespace, *id, container)
    })
}

/// After the removal: ejects the container if all memory below is removed, else adds that again which was; gives the final
/// answers.
fn finish(acpi: &mut Acpi, removed: Result<(), HotplugError>) {
    let Some(UnderWay { container, removed: devices, requested }) = acpi.containers.under_way.take() else {
        return;
    };
    let result = removed.and_then(|()| eject_container(&mut acpi.namespace, container));
    for &id in &devices {
        hotplug::mark_absent(id);
    }
    let path = format!("{}", acpi.namespace.name(container));
    let status = match &result {
        Ok(()) => {
            // Those without memory in use go with it.
            for id in (0..hotplug::count()).map(DeviceId) {
                if memory_device::is_below(&acpi.namespace, id, container) {
                    hotplug::mark_absent(id);
                }
            }
            acpi.namespace.initialize(container);
            hotplug::log_device(Level::Info, &path, format_args!("ejected"));
            OstStatus::Success
        }
        Err(error) => {
            hotplug::log_device(Level::Warn, &path, format_args!("not ejected: {error}"));
            for &id in &devices {
                // `check` records and logs a refusal.
                let _ = memory_device::check(&mut acpi.namespace, id, acpi.srat, ProbeEnd::AtFirstUse);
            }
            hotplug::log_added();
            error.status()
        }
    };
    let handles = requested.into_iter().filter_map(hotplug::handle);
    for device in handles.chain([container]) {
        memory_device::answer(&mut acpi.namespace, device, eject::EJECT_REQUEST, status.code());
    }
}

/// Evaluates the container's `_EJ0`.
fn eject_container(namespace: &mut Namespace, container: Handle) -> Result<(), HotplugError> {
    let method = namespace.child(container, EJ0).ok_or(HotplugError::EjectNotSupported)?;
    namespace.evaluate(method, &[Value::Integer(1)])?;
    match memory_device::evaluate_sta(namespace, container)? {
        Presence::Absent => Ok(()),
        Presence::Present => Err(HotplugError::EjectNoEffect),
    }
}
