//! The memory devices: which there are, what became of each, and the one place where an error turns into
//! the firmware's answer, the log's line and the shell's text.
//!
//! ```text
//!  acpi ── register ──> list ── shell: name of a resource's device, times, state
//!       ── add ───────> mm::Memory::add (all ranges of a device or none)
//!                       └─ HotplugError: status() for _OST, Display for log and shell
//! ```
//!
//! Invariants: the list only grows while the namespace is loaded, so a [`DeviceId`] names one device for
//! ever; a device is `Online` exactly while all its ranges are resources of the memory core. Neighbours:
//! `acpi::memory_device` finds out what a device is, crate `mm` does the adding. Lock order: the list's
//! lock comes before the memory core's locks.

use crate::arch::time;
use crate::memory;
use alloc::string::String;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::fmt;
use firmware::notify::Status;
use firmware::quota::{Quota, Turn};
use firmware::ranges::{Ranges, RangesError};
use log::{Level, info, log, warn};
use mm::addr::{NodeId, PAGE_SIZE, Pfn, PfnRange};
use mm::error::AddError;
use mm::info::{AddRequest, Added, DeviceId, MAX_DEVICE_RANGES, ResourceId, ResourceState};
use spin::Mutex;

/// The most memory devices that are kept. QEMU has at most 256.
pub const MAX_DEVICES: usize = 512;

/// Why a memory device is not (or no longer) what the firmware wanted it to be.
#[derive(Clone, Debug)]
pub enum HotplugError {
    /// AML failed.
    Aml(aml::Error),
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
    /// The kernel cannot give memory up yet.
    EjectNotSupported,
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
    pub const fn status(&self) -> Status {
        match self {
            HotplugError::EjectNotSupported => Status::EjectNotSupported,
            HotplugError::Aml(_)
            | HotplugError::Missing(_)
            | HotplugError::BadValue { .. }
            | HotplugError::NotReady { .. }
            | HotplugError::Ranges(_)
            | HotplugError::InUse(_)
            | HotplugError::Add(_)
            | HotplugError::UnknownEvent(_)
            | HotplugError::Below { .. }
            | HotplugError::TooManyDevices => Status::Failure,
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
            HotplugError::EjectNotSupported => {
                f.write_str("asked to be ejected: this kernel cannot give memory up")
            }
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

impl From<aml::Error> for HotplugError {
    fn from(error: aml::Error) -> Self {
        HotplugError::Aml(error)
    }
}

/// What became of a device.
#[derive(Clone, Debug)]
pub enum DeviceState {
    /// Nothing is plugged.
    Absent,
    /// All its memory is there; what of it may be allocated its resources tell (`policy`).
    Online,
    /// It was refused; none of its memory is in use.
    Refused(HotplugError),
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceState::Absent => f.write_str("absent"),
            DeviceState::Online => f.write_str("online"),
            DeviceState::Refused(error) => write!(f, "refused: {error}"),
        }
    }
}

/// A memory device of the firmware's namespace.
#[derive(Clone, Debug)]
pub struct MemoryDevice {
    /// Its absolute path, `\_SB.MHPC.MP00` for example.
    pub path: String,
    /// Its `_UID`, where it has one.
    pub uid: Option<String>,
    /// What became of it.
    pub state: DeviceState,
    /// Its resources, in the order of its ranges; none unless it is online.
    pub resources: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// Nanoseconds that its AML took when it was added (`_STA`, `_CRS`, `_PXM`).
    pub aml_ns: u64,
    /// What it took to answer the Notify by which it was added; 0 for one that was there at boot.
    pub answer: Answer,
    /// What the log has had about it lately, beside memory that came.
    said: Quota,
}

/// What a device says of itself: what it takes to add it.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its memory.
    pub ranges: Ranges,
    /// The node of each range.
    pub nodes: ArrayVec<NodeId, MAX_DEVICE_RANGES>,
    /// Nanoseconds that finding out took.
    pub aml_ns: u64,
}

/// What it took to answer a Notify, from the interrupt to the end of `_OST`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Nanoseconds in all.
    pub all_ns: u64,
    /// Nanoseconds of them in the firmware's code.
    pub aml_ns: u64,
}

static DEVICES: Mutex<Vec<MemoryDevice>> = Mutex::new(Vec::new());

/// Puts a device into the list.
///
/// # Errors
///
/// [`HotplugError::TooManyDevices`].
pub fn register(path: String, uid: Option<String>) -> Result<DeviceId, HotplugError> {
    let mut devices = DEVICES.lock();
    if devices.len() >= MAX_DEVICES {
        return Err(HotplugError::TooManyDevices);
    }
    let id = DeviceId(devices.len() as u32);
    let resources = ArrayVec::new();
    let said = Quota::default();
    let (state, answer) = (DeviceState::Absent, Answer::default());
    devices.push(MemoryDevice { path, uid, state, resources, aml_ns: 0, answer, said });
    Ok(id)
}

/// The device with this path.
pub fn find(path: &str) -> Option<DeviceId> {
    let devices = DEVICES.lock();
    devices.iter().position(|device| device.path == path).map(|at| DeviceId(at as u32))
}

/// What `look` makes of the device; `None` for [`DeviceId::BOOT`] and numbers nobody has. `look` must
/// not call back into this module.
pub fn with<R>(id: DeviceId, look: impl FnOnce(&MemoryDevice) -> R) -> Option<R> {
    DEVICES.lock().get(id.0 as usize).map(look)
}

/// How many devices there are; their numbers are those from 0 on.
pub fn count() -> u32 {
    DEVICES.lock().len() as u32
}

/// Whether the device's memory is in use.
pub fn is_online(id: DeviceId) -> bool {
    with(id, |device| matches!(device.state, DeviceState::Online)).unwrap_or(false)
}

/// Adds all memory of a device, or none. Logs one line, whatever happens.
///
/// # Errors
///
/// What the memory core refuses; nothing has changed then.
pub fn add(id: DeviceId, description: &Description) -> Result<Added, HotplugError> {
    let requests: ArrayVec<AddRequest, MAX_DEVICE_RANGES> = description
        .ranges
        .iter()
        .zip(&description.nodes)
        .map(|(range, &node)| AddRequest { base: range.base, size: range.size, node })
        .collect();
    let added = match requests.iter().find_map(used_otherwise) {
        Some(frames) => Err(HotplugError::InUse(frames)),
        None => memory::core().add(id, &requests, &nanoseconds).map_err(HotplugError::Add),
    };
    let mut devices = DEVICES.lock();
    let Some(device) = devices.get_mut(id.0 as usize) else { return added };
    match &added {
        Ok(added) => {
            device.state = DeviceState::Online;
            device.resources = added.ids.clone();
            device.aml_ns = description.aml_ns;
            device.answer = Answer::default();
            report(device, &requests, added);
        }
        Err(error) => device.refuse(error),
    }
    added
}

/// The part of a range that is mapped as something else than memory.
fn used_otherwise(request: &AddRequest) -> Option<PfnRange> {
    let end = request.base.0.saturating_add(request.size).div_ceil(PAGE_SIZE);
    memory::devices::mapped_in(PfnRange::new(request.base.pfn(), Pfn(end)))
}

/// Notes and logs that a device was refused.
pub fn refuse(id: DeviceId, error: &HotplugError) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize) {
        device.refuse(error);
    }
}

/// Notes what it took to answer the Notify by which a device was added; later Notifies change nothing.
pub fn answered(id: DeviceId, answer: Answer) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize)
        && matches!(device.state, DeviceState::Online)
        && device.answer == Answer::default()
    {
        device.answer = answer;
    }
}

/// Notes that nothing is plugged there.
pub fn vacate(id: DeviceId) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize) {
        device.state = DeviceState::Absent;
    }
}

impl MemoryDevice {
    fn refuse(&mut self, error: &HotplugError) {
        self.say(Level::Warn, format_args!("not added: {error}"));
        self.state = DeviceState::Refused(error.clone());
    }

    fn say(&mut self, level: Level, text: fmt::Arguments<'_>) {
        let Turn::Say { left_out } = self.said.take(microseconds()) else { return };
        if left_out > 0 {
            self.tell_left_out(left_out);
        }
        log!(level, "{}: {text}", self.path);
    }

    fn tell_left_out(&self, lines: u64) {
        warn!("{}: {lines} more lines like these, left out", self.path);
    }
}

/// Logs a line about a device, or counts it where the device has had a lot of them lately: firmware can tell
/// something as often as it likes.
pub fn say(id: DeviceId, level: Level, text: fmt::Arguments<'_>) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize) {
        device.say(level, text);
    }
}

/// A burst of events is over: logs how many lines were left out.
pub fn settle() {
    for device in DEVICES.lock().iter_mut() {
        if let Some(lines) = device.said.settle() {
            device.tell_left_out(lines);
        }
    }
}

/// The log's lines for memory that came.
fn report(device: &MemoryDevice, requests: &[AddRequest], added: &Added) {
    for (request, resource) in requests.iter().zip(&added.ids) {
        let state = memory::core().resource(*resource).map_or(ResourceState::Online, |info| info.state);
        info!(
            "{}: {} MiB at {} {state} on node {} as resource {resource}",
            device.path,
            request.size >> 20,
            request.base,
            request.node
        );
    }
    let stats = &added.stats;
    info!(
        "{}: {} usable frames; AML {} us, mapping {} us, online {} us",
        device.path,
        added.usable_pages,
        device.aml_ns / 1000,
        (stats.check_ns + stats.map_ns) / 1000,
        stats.online_ns / 1000
    );
}

/// The clock that adding is timed by.
pub fn nanoseconds() -> u64 {
    time::uptime().as_nanos() as u64
}

/// The clock that what the log says is rationed by.
pub fn microseconds() -> u64 {
    nanoseconds() / 1000
}
