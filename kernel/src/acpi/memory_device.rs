//! Memory devices (PNP0C80): found in the namespace, evaluated, and added to the memory core.
//!
//! ```text
//!  evaluate_sta   _STA: absent, or present + enabled + functioning
//!  describe       _CRS: every memory range;  _PXM: the node
//!  scan           for each device that is present and not yet online: describe, hotplug::add
//!                 for each that is online and no longer present: hotplug::surprise_removed
//! ```
//!
//! The same scan serves DIMMs that are present at boot, bus checks and rescans. A device is known by the handle of its
//! AML object; paths are for display. Linux's counterpart is `drivers/acpi/acpi_memhotplug.c`.

use super::container;
use super::namespace::Namespace;
use crate::hotplug::{self, Description, HotplugError};
use crate::uevents;
use alloc::format;
use alloc::string::String;
use arrayvec::ArrayVec;
use carapace_acpi::ranges::{self, Range};
use carapace_acpi::srat::Srat;
use carapace_aml::{Handle, NameSeg, Value};
use carapace_mm::addr::{NodeId, PAGE_SIZE, PfnRange};
use carapace_mm::info::{DeviceId, ProbeEnd};
use log::{info, warn};

/// The hardware ID of a memory device, as text and as EISA ID.
const MEMORY_DEVICE: &str = "PNP0C80";
const MEMORY_DEVICE_EISA: u64 = 0x800c_d041;

const CID: NameSeg = NameSeg::literal(*b"_CID");
const CRS: NameSeg = NameSeg::literal(*b"_CRS");
const EJD: NameSeg = NameSeg::literal(*b"_EJD");
const OST: NameSeg = NameSeg::literal(*b"_OST");
const PXM: NameSeg = NameSeg::literal(*b"_PXM");
const STA: NameSeg = NameSeg::literal(*b"_STA");
const UID: NameSeg = NameSeg::literal(*b"_UID");

/// `_STA`: present, enabled and functioning (ACPI 6.5, section 6.3.7).
const PRESENT: u64 = 1 << 0;
const FUNCTIONING: u64 = 1 << 3;
const READY: u64 = PRESENT | 1 << 1 | FUNCTIONING;
/// The status of a device without `_STA`.
const ALL_BITS: u64 = 0xf;

/// Whether a device is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// Its slot is empty.
    Absent,
}

/// Registers all memory devices of the namespace, and the devices that enclose them as buses.
pub fn enumerate(namespace: &mut Namespace) {
    for device in namespace.devices().to_vec() {
        match is_memory(namespace, device) {
            Ok(true) => register(namespace, device),
            Ok(false) => {}
            Err(error) => warn!("{}: cannot identify the device: {error}", namespace.name(device)),
        }
    }
    let buses = &namespace.inbox.buses;
    info!("{} memory devices in {} scopes", hotplug::count(), buses.len());
}

/// Registers a memory device.
///
/// `_EJD` is followed: the device belongs to what it names, as to a container. `_DEP` is not: it names the devices whose
/// drivers provide an operation region to this one's methods (ACPI 6.5, section 6.5.8). The regions that the kernel has
/// work from the first evaluation on; a region that it does not have fails when it is accessed, and waiting for its driver
/// would keep the memory away for ever.
fn register(namespace: &mut Namespace, device: Handle) {
    let path = format!("{}", namespace.name(device));
    let uid = match namespace.evaluate_child(device, UID) {
        Ok(uid) => uid.and_then(text),
        Err(error) => {
            warn!("{path}: {error}");
            None
        }
    };
    let dock = dock(namespace, device);
    if let Some(dock) = dock {
        namespace.dependents.push((device, dock));
    }
    for bus in namespace.ancestors(device).into_iter().chain(dock) {
        if !namespace.inbox.buses.contains(&bus) {
            let moves = Some(bus) == dock || container::is_container(namespace, bus);
            namespace.inbox.buses.push(bus);
            namespace.inbox.containers.extend(moves.then_some(bus));
        }
    }
    if let Err(error) = hotplug::register(device, path.clone(), uid) {
        warn!("{path}: left out: {error}");
    }
}

/// The device with which `device` leaves, by its `_EJD`: a string with the absolute path.
fn dock(namespace: &mut Namespace, device: Handle) -> Option<Handle> {
    let path = match namespace.evaluate_child(device, EJD) {
        Ok(None) => return None,
        Ok(Some(Value::String(path) | Value::Reference(path))) => path,
        Ok(Some(_)) | Err(_) => String::new(),
    };
    let dock = namespace.find(&path);
    if dock.is_none() {
        warn!("{}: _EJD names no device ({path:?}); not followed", namespace.name(device));
    }
    dock
}

/// Whether the device is below `scope`, or leaves with it or with something below it.
pub fn is_below(namespace: &Namespace, id: DeviceId, scope: Handle) -> bool {
    let Some(device) = hotplug::handle(id) else { return false };
    let dock = namespace.dependents.iter().find(|&&(dependent, _)| dependent == device);
    namespace.ancestors(device).contains(&scope)
        || dock.is_some_and(|&(_, dock)| dock == scope || namespace.ancestors(dock).contains(&scope))
}

/// A `_UID` as text: firmware gives a number or a string.
fn text(uid: Value) -> Option<String> {
    match uid {
        Value::Integer(number) => Some(format!("{number}")),
        Value::String(string) => Some(string),
        _ => None,
    }
}

/// Whether `_HID` or `_CID` is that of a memory device.
fn is_memory(namespace: &mut Namespace, device: Handle) -> Result<bool, carapace_aml::Error> {
    if namespace.hardware_id(device)?.as_deref() == Some(MEMORY_DEVICE) {
        return Ok(true);
    }
    Ok(match namespace.evaluate_child(device, CID)? {
        Some(Value::Package(ids)) => ids.iter().any(is_memory_id),
        Some(id) => is_memory_id(&id),
        None => false,
    })
}

fn is_memory_id(id: &Value) -> bool {
    match id {
        Value::Integer(id) => *id == MEMORY_DEVICE_EISA,
        Value::String(id) => id == MEMORY_DEVICE,
        _ => false,
    }
}

/// Whether the device is present, by its `_STA` and those of the devices that enclose it: below a device that is
/// neither present nor functioning every device is absent (ACPI 6.5, section 6.3.7).
///
/// # Errors
///
/// The device is present but not ready, or AML fails.
pub fn evaluate_sta(namespace: &mut Namespace, device: Handle) -> Result<Presence, HotplugError> {
    for bus in namespace.ancestors(device) {
        if status(namespace, bus)? & (PRESENT | FUNCTIONING) == 0 {
            return Ok(Presence::Absent);
        }
    }
    let status = status(namespace, device)?;
    match status & READY {
        READY => Ok(Presence::Present),
        some if some & PRESENT == 0 => Ok(Presence::Absent),
        _ => Err(HotplugError::NotReady { status }),
    }
}

/// The value of `_STA`; all bits if there is none.
fn status(namespace: &mut Namespace, device: Handle) -> Result<u64, HotplugError> {
    match namespace.evaluate_child(device, STA)? {
        None => Ok(ALL_BITS),
        Some(Value::Integer(status)) => Ok(status),
        Some(_) => Err(HotplugError::BadValue { object: "_STA", expected: "an integer" }),
    }
}

/// The ranges and nodes of a device that is present. `start` is when its evaluation began.
fn describe(
    namespace: &mut Namespace,
    device: Handle,
    srat: Option<Srat<'_>>,
    start: u64,
) -> Result<Description, HotplugError> {
    let crs = namespace.evaluate_child(device, CRS)?.ok_or(HotplugError::Missing("_CRS"))?;
    let buffer = crs.as_buffer().ok_or(HotplugError::BadValue { object: "_CRS", expected: "a buffer" })?;
    let ranges = ranges::of(buffer).map_err(HotplugError::Ranges)?;
    let proximity = proximity(namespace, device)?;
    let node_of = |range: &Range| proximity.unwrap_or_else(|| node_by_address(srat, range));
    let nodes: ArrayVec<NodeId, _> = ranges.iter().map(node_of).collect();
    Ok(Description { ranges, nodes, aml_ns: hotplug::nanoseconds().saturating_sub(start) })
}

/// The `_PXM` of the device, or of the nearest enclosing device that has one (Linux: `acpi_get_pxm`).
fn proximity(namespace: &mut Namespace, device: Handle) -> Result<Option<NodeId>, HotplugError> {
    let enclosing = namespace.ancestors(device);
    for device in core::iter::once(device).chain(enclosing) {
        if let Some(value) = namespace.evaluate_child(device, PXM)? {
            let domain = value.as_integer().and_then(|domain| u32::try_from(domain).ok());
            let expected = HotplugError::BadValue { object: "_PXM", expected: "a proximity domain" };
            return domain.map(|domain| Some(NodeId(domain))).ok_or(expected);
        }
    }
    Ok(None)
}

/// The node that SRAT assigns to the range's first frame; node 0 without an entry.
fn node_by_address(srat: Option<Srat<'_>>, range: &Range) -> NodeId {
    let first = PfnRange::of(range.base.pfn(), range.size.min(PAGE_SIZE) / PAGE_SIZE);
    let mut node = NodeId(0);
    if let Some(srat) = srat {
        srat.split(first, &mut |_, found| node = found);
    }
    node
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The device was online before.
    Online,
    /// The device is new; its memory was added.
    New,
    /// The device was removed without an eject request; no allocated memory was lost.
    Gone,
    /// The slot is empty, as before.
    Empty,
}

/// Checks one device: adds it if it is present and not online, and drops its memory if it was removed. `end`: when the ends of
/// its ranges are probed.
///
/// # Errors
///
/// Why the device was refused, or what was lost; already recorded in the list and logged.
pub fn check(
    namespace: &mut Namespace,
    id: DeviceId,
    srat: Option<Srat<'_>>,
    end: ProbeEnd,
) -> Result<Found, HotplugError> {
    let Some(device) = hotplug::handle(id) else { return Ok(Found::Empty) };
    namespace.initialize(device);
    if hotplug::is_in_use(id) {
        // A device whose `_STA` fails is assumed to be unchanged.
        return match evaluate_sta(namespace, device) {
            Ok(Presence::Absent) => hotplug::surprise_removed(id).map(|()| Found::Gone),
            _ => Ok(Found::Online),
        };
    }
    let start = hotplug::nanoseconds();
    let described = match evaluate_sta(namespace, device) {
        Ok(Presence::Absent) => {
            hotplug::mark_absent(id);
            return Ok(Found::Empty);
        }
        Ok(Presence::Present) => describe(namespace, device, srat, start),
        Err(error) => Err(error),
    };
    match described {
        // `add` records and logs a refusal.
        Ok(description) => hotplug::add(id, &description, end).map(|_| Found::New),
        Err(error) => {
            hotplug::refuse(id, &error);
            Err(error)
        }
    }
}

/// Checks every device below `scope` (all devices for `None`) and returns how many were refused.
pub fn scan(
    namespace: &mut Namespace,
    scope: Option<Handle>,
    srat: Option<Srat<'_>>,
    end: ProbeEnd,
) -> usize {
    let mut refused = 0;
    for id in (0..hotplug::count()).map(DeviceId) {
        let is_meant = scope.is_none_or(|scope| is_below(namespace, id, scope));
        if is_meant && check(namespace, id, srat, end).is_err() {
            refused += 1;
        }
    }
    refused
}

/// Evaluates an empty slot's methods once and discards the result, to warm the caches and TCG's translation cache
/// (saves 3 of the 10 ms that the first DIMM takes under TCG).
pub fn warm_up(namespace: &mut Namespace, srat: Option<Srat<'_>>) {
    let empty = |id: &DeviceId| !hotplug::is_in_use(*id);
    let slot = (0..hotplug::count()).map(DeviceId).find(empty);
    if let Some(device) = slot.and_then(hotplug::handle) {
        let _ = describe(namespace, device, srat, 0);
    }
}

/// Answers a Notify: evaluates `_OST` with the Notify's value as the source. A device without `_OST` gets no answer.
pub fn answer(namespace: &mut Namespace, device: Handle, source: u64, code: u64) {
    let args = [Value::Integer(source), Value::Integer(code), Value::Buffer(alloc::vec::Vec::new())];
    let Some(method) = namespace.child(device, OST) else { return };
    match namespace.evaluate(method, &args) {
        Ok(_) => uevents::answered(&namespace.name(device), source, code),
        Err(error) => {
            let path = format!("{}", namespace.name(device));
            namespace.log_failure(format_args!("{path}: _OST({source:#x}, {code:#x}) failed: {error}"));
        }
    }
}
