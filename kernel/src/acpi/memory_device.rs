//! Memory devices (PNP0C80): found in the namespace, asked what they are, and added.
//!
//! ```text
//!  look       _STA: absent, or present + enabled + functioning
//!  describe   _CRS: every memory range;  _PXM: the node
//!  scan       for each device that is there and not yet online: describe, hotplug::add
//!             for each that is online and no longer there: hotplug::lose
//! ```
//!
//! The same scan serves DIMMs that were there at boot, bus checks and rescans. Linux's counterpart is
//! `drivers/acpi/acpi_memhotplug.c`.

use super::namespace::{Namespace, child, parent};
use crate::hotplug::{self, Description, HotplugError};
use crate::news;
use alloc::format;
use alloc::string::{String, ToString};
use arrayvec::ArrayVec;
use carapace_acpi::ranges;
use carapace_acpi::srat::Srat;
use carapace_aml::Value;
use carapace_mm::addr::{NodeId, PAGE_SIZE, PfnRange};
use carapace_mm::info::DeviceId;
use log::{info, warn};

/// The hardware ID of a memory device, as text and as EISA ID.
const MEMORY_DEVICE: &str = "PNP0C80";
const MEMORY_DEVICE_EISA: u64 = 0x800c_d041;

/// `_STA`: present, enabled and functioning (ACPI 6.5, section 6.3.7).
const PRESENT: u64 = 1 << 0;
const FUNCTIONING: u64 = 1 << 3;
const READY: u64 = PRESENT | 1 << 1 | FUNCTIONING;
/// What a device without `_STA` is.
const ALL_BITS: u64 = 0xf;

/// Whether a device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// Its slot is empty.
    Absent,
}

/// Puts all memory devices of the namespace into the list, and what they lie in into the inbox.
pub fn enumerate(namespace: &mut Namespace) {
    for path in namespace.devices().to_vec() {
        match is_memory(namespace, &path) {
            Ok(true) => enlist(namespace, path),
            Ok(false) => {}
            Err(error) => warn!("{path}: cannot tell what it is: {error}"),
        }
    }
    let buses = &namespace.inbox.buses;
    info!("{} memory devices in {} scopes", hotplug::count(), buses.len());
}

fn enlist(namespace: &mut Namespace, path: String) {
    let uid = match namespace.evaluate_of(&path, "_UID") {
        Ok(uid) => uid.and_then(text),
        Err(error) => {
            warn!("{path}: {error}");
            None
        }
    };
    let mut above = parent(&path);
    while let Some(bus) = above {
        if !namespace.inbox.buses.iter().any(|known| known == bus) {
            namespace.inbox.buses.push(bus.to_string());
        }
        above = parent(bus);
    }
    if let Err(error) = hotplug::register(path.clone(), uid) {
        warn!("{path}: left out: {error}");
    }
}

/// A `_UID` as it is printed: firmware gives a number or a string.
fn text(uid: Value) -> Option<String> {
    match uid {
        Value::Integer(number) => Some(format!("{number}")),
        Value::String(string) => Some(string),
        _ => None,
    }
}

/// Whether `_HID` or `_CID` says that it is a memory device.
fn is_memory(namespace: &mut Namespace, path: &str) -> Result<bool, carapace_aml::Error> {
    if namespace.hardware_id(path)?.as_deref() == Some(MEMORY_DEVICE) {
        return Ok(true);
    }
    Ok(match namespace.evaluate_of(path, "_CID")? {
        Some(Value::Package(ids)) => ids.iter().any(names_memory),
        Some(id) => names_memory(&id),
        None => false,
    })
}

fn names_memory(id: &Value) -> bool {
    match id {
        Value::Integer(id) => *id == MEMORY_DEVICE_EISA,
        Value::String(id) => id == MEMORY_DEVICE,
        _ => false,
    }
}

/// Whether the device is there, by its `_STA` and those of what it lies in: below a device that is neither
/// present nor functioning nothing is there (ACPI 6.5, section 6.3.7).
///
/// # Errors
///
/// When it is there, but not ready; and when AML fails.
pub fn look(namespace: &mut Namespace, path: &str) -> Result<Presence, HotplugError> {
    let mut above = parent(path);
    while let Some(bus) = above {
        if status(namespace, bus)? & (PRESENT | FUNCTIONING) == 0 {
            return Ok(Presence::Absent);
        }
        above = parent(bus);
    }
    let status = status(namespace, path)?;
    match status & READY {
        READY => Ok(Presence::Present),
        some if some & PRESENT == 0 => Ok(Presence::Absent),
        _ => Err(HotplugError::NotReady { status }),
    }
}

/// What `_STA` says, all bits where there is none.
fn status(namespace: &mut Namespace, path: &str) -> Result<u64, HotplugError> {
    match namespace.evaluate_of(path, "_STA")? {
        None => Ok(ALL_BITS),
        Some(Value::Integer(status)) => Ok(status),
        Some(_) => Err(HotplugError::BadValue { object: "_STA", wanted: "an integer" }),
    }
}

/// What a device that is there has, and where it belongs.
fn describe(
    namespace: &mut Namespace,
    path: &str,
    srat: Option<Srat<'_>>,
    start: u64,
) -> Result<Description, HotplugError> {
    let crs = namespace.evaluate_of(path, "_CRS")?.ok_or(HotplugError::Missing("_CRS"))?;
    let buffer = crs.as_buffer().ok_or(HotplugError::BadValue { object: "_CRS", wanted: "a buffer" })?;
    let ranges = ranges::of(buffer).map_err(HotplugError::Ranges)?;
    let proximity = proximity(namespace, path)?;
    let node_of = |range: &ranges::Range| proximity.unwrap_or_else(|| by_address(srat, range));
    let nodes: ArrayVec<NodeId, _> = ranges.iter().map(node_of).collect();
    Ok(Description { ranges, nodes, aml_ns: hotplug::nanoseconds().saturating_sub(start) })
}

/// The `_PXM` of the device, or of the nearest it lies in that has one (Linux: `acpi_get_pxm`).
fn proximity(namespace: &mut Namespace, path: &str) -> Result<Option<NodeId>, HotplugError> {
    let mut at = Some(path);
    while let Some(path) = at {
        if let Some(value) = namespace.evaluate_of(path, "_PXM")? {
            let domain = value.as_integer().and_then(|domain| u32::try_from(domain).ok());
            let wanted = HotplugError::BadValue { object: "_PXM", wanted: "a proximity domain" };
            return domain.map(|domain| Some(NodeId(domain))).ok_or(wanted);
        }
        at = parent(path);
    }
    Ok(None)
}

/// The node that SRAT gives the range's first frame; 0 where it says nothing.
fn by_address(srat: Option<Srat<'_>>, range: &ranges::Range) -> NodeId {
    let first = PfnRange::of(range.base.pfn(), range.size.min(PAGE_SIZE) / PAGE_SIZE);
    let mut node = NodeId(0);
    if let Some(srat) = srat {
        srat.split(first, &mut |_, found| node = found);
    }
    node
}

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A device whose memory was in use before.
    Online,
    /// A device whose memory is in use now.
    New,
    /// A device that is gone, without having been asked for; nothing that was in use is lost.
    Gone,
    /// An empty slot, as before.
    Empty,
}

/// Brings one device online if it is there and is not, and gives up the memory of one that is gone.
///
/// # Errors
///
/// Why it was refused, or what is lost; noted in the list and logged already.
pub fn check(namespace: &mut Namespace, id: DeviceId, srat: Option<Srat<'_>>) -> Result<Found, HotplugError> {
    let Some(path) = hotplug::with(id, |device| device.path.clone()) else { return Ok(Found::Empty) };
    if hotplug::is_in_use(id) {
        // A device that cannot be asked is taken for what it was.
        return match look(namespace, &path) {
            Ok(Presence::Absent) => hotplug::lose(id).map(|()| Found::Gone),
            _ => Ok(Found::Online),
        };
    }
    if hotplug::is_vanished(id) {
        // Before something else can come into its place.
        hotplug::lose(id)?;
    }
    let start = hotplug::nanoseconds();
    let described = match look(namespace, &path) {
        Ok(Presence::Absent) => {
            hotplug::vacate(id);
            return Ok(Found::Empty);
        }
        Ok(Presence::Present) => describe(namespace, &path, srat, start),
        Err(error) => Err(error),
    };
    match described {
        // `add` notes and logs what it refuses.
        Ok(description) => hotplug::add(id, &description).map(|_| Found::New),
        Err(error) => {
            hotplug::refuse(id, &error);
            Err(error)
        }
    }
}

/// Checks every device below `scope` (all of them for `None`) and returns how many were refused.
pub fn scan(namespace: &mut Namespace, scope: Option<&str>, srat: Option<Srat<'_>>) -> usize {
    let below = |path: &str| match scope {
        Some(scope) => path.strip_prefix(scope).is_some_and(|rest| rest.starts_with('.')),
        None => true,
    };
    let inside = |id: &DeviceId| hotplug::with(*id, |device| below(&device.path)).unwrap_or(false);
    let ids = (0..hotplug::count()).map(DeviceId).filter(inside);
    ids.filter(|&id| check(namespace, id, srat).is_err()).count()
}

/// Describes the first empty slot, for nothing but having done it: when a DIMM comes, the code that asks it is
/// in the caches, and under an emulator translated (3 ms of the 10 that a first DIMM takes under QEMU's TCG). What an
/// empty slot answers means nothing, an error neither.
pub fn rehearse(namespace: &mut Namespace, srat: Option<Srat<'_>>) {
    let empty = |id: &DeviceId| !hotplug::is_in_use(*id);
    let slot = (0..hotplug::count()).map(DeviceId).find(empty);
    if let Some(path) = slot.and_then(|id| hotplug::with(id, |device| device.path.clone())) {
        let _ = describe(namespace, &path, srat, 0);
    }
}

/// Tells the firmware how a Notify ended: `_OST` with the Notify's value as the source. A device
/// without `_OST` does not want to know.
pub fn answer(namespace: &mut Namespace, path: &str, source: u64, code: u64) {
    let method = child(path, "_OST");
    if !namespace.exists(&method) {
        return;
    }
    let args = [Value::Integer(source), Value::Integer(code), Value::Buffer(alloc::vec::Vec::new())];
    match namespace.evaluate(&method, &args) {
        Ok(_) => news::answered(path, source, code),
        Err(error) => namespace
            .complain(format_args!("{path}: the answer ({source:#x}, {code:#x}) did not arrive: {error}")),
    }
}
