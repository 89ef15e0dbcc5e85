//! The memory devices: the list of them and the state of each.
//!
//! ```text
//!  acpi ── register ──────> list ── shell: name of a resource's device, times, state
//!       ── add ───────────> carapace_mm::Memory::add (all ranges of a device or none)
//!       ── request_eject ─> queue (next_leaving) ── remove: carapace_mm, in steps ── acpi: _EJ0
//!                           error::HotplugError: status() for _OST, Display for log and shell
//! ```
//!
//! Invariants: the list only grows while the namespace is loaded, so a [`DeviceId`] always names the same device. A device
//! is `Online`, or `Leaving` after having been online, exactly while all its ranges are resources of the memory core.
//! Neighbours: `carapace_acpi::device_state` defines the transitions, `acpi::memory_device` evaluates a device's AML,
//! `acpi::eject` drives removals, crate `carapace-mm` adds and removes memory.

mod error;
mod remove;

use crate::arch::time;
use crate::memory;
use crate::sync::{Mutex, Rank};
use crate::uevents;
use alloc::string::String;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use carapace_acpi::device_state::{self, CoreMemory, next_ticket, oldest_request};
use carapace_acpi::ranges::Range;
use carapace_acpi::ratelimit::{RateLimit, Verdict};
use carapace_aml::Handle;
use carapace_cli::format_size::{Elapsed, Size};
use carapace_mm::addr::{NodeId, PAGE_SIZE, Pfn, PfnRange};
use carapace_mm::error::AddError;
use carapace_mm::info::{AddRequest, Added, DeviceId, MAX_DEVICE_RANGES, MissingEnd, ProbeEnd, ResourceId};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use log::Level;

pub use carapace_acpi::device_state::EjectRequest;

pub use error::{HotplugError, Why, why};
pub use remove::{STEP, remove, surprise_removed, wait_limit};

/// The most memory devices that are registered. QEMU has at most 256.
pub const MAX_DEVICES: usize = 512;

/// The state of a device. Its resources have states of their own, which say whether their frames may be allocated.
pub type DeviceState = device_state::DeviceState<HotplugError>;

/// A memory device of the firmware's namespace.
#[derive(Clone, Debug)]
pub struct MemoryDevice {
    /// Its AML object.
    handle: Handle,
    /// Its absolute path for display, `\_SB.MHPC.MP00` for example.
    pub path: String,
    /// Its `_UID`, if it has one.
    pub uid: Option<String>,
    /// Its state.
    pub state: DeviceState,
    /// Why its last ejection failed, until the next eject request.
    pub refusal: Option<HotplugError>,
    /// Its resources, in the order of its ranges; none unless its memory is in the memory core.
    pub resources: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// Nanoseconds that its AML took when it was added (`_STA`, `_CRS`, `_PXM`).
    pub aml_ns: u64,
    /// The cost of answering the Notify by which it was added; 0 for a device present at boot.
    pub answer: Answer,
    /// The last addition, until it is logged.
    unlogged: Option<Added>,
    /// Limits its log lines, except those about added memory.
    log_limit: RateLimit,
}

/// The memory of a device, from its AML.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its ranges.
    pub ranges: ArrayVec<Range, MAX_DEVICE_RANGES>,
    /// The node of each range.
    pub nodes: ArrayVec<NodeId, MAX_DEVICE_RANGES>,
    /// Nanoseconds spent evaluating its AML.
    pub aml_ns: u64,
}

/// The cost of answering a Notify, from the interrupt to the end of `_OST`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Nanoseconds in total.
    pub all_ns: u64,
    /// Nanoseconds of these in AML.
    pub aml_ns: u64,
    /// Growth of the heap in bytes.
    pub heap_bytes: u64,
}

static DEVICES: Mutex<Vec<MemoryDevice>> = Mutex::new(Rank::Devices, Vec::new());
/// Set when a device may be leaving; saves a search of the list at every wake-up.
static MAY_LEAVE: AtomicBool = AtomicBool::new(false);

/// Appends a device to the list.
///
/// # Errors
///
/// [`HotplugError::TooManyDevices`].
pub fn register(handle: Handle, path: String, uid: Option<String>) -> Result<DeviceId, HotplugError> {
    let mut devices = DEVICES.lock();
    if devices.len() >= MAX_DEVICES {
        return Err(HotplugError::TooManyDevices);
    }
    let id = DeviceId(devices.len() as u32);
    devices.push(MemoryDevice {
        handle,
        path,
        uid,
        state: DeviceState::Absent,
        refusal: None,
        resources: ArrayVec::new(),
        aml_ns: 0,
        answer: Answer::default(),
        unlogged: None,
        log_limit: RateLimit::default(),
    });
    Ok(id)
}

/// The memory device with this AML object.
pub fn find(handle: Handle) -> Option<DeviceId> {
    let devices = DEVICES.lock();
    devices.iter().position(|device| device.handle == handle).map(|at| DeviceId(at as u32))
}

/// The device's AML object.
pub fn handle(id: DeviceId) -> Option<Handle> {
    with(id, |device| device.handle)
}

/// Runs `work` on the device; `None` for [`DeviceId::BOOT`] and unknown numbers. `work` must not call this module.
pub fn with<R>(id: DeviceId, work: impl FnOnce(&MemoryDevice) -> R) -> Option<R> {
    DEVICES.lock().get(id.0 as usize).map(work)
}

/// The number of devices; their ids count from 0.
pub fn count() -> u32 {
    DEVICES.lock().len() as u32
}

/// Whether the device is online or leaving.
pub fn is_in_use(id: DeviceId) -> bool {
    with(id, |device| device.state.is_in_use()).unwrap_or(false)
}

/// Queues an eject request for the device.
pub fn request_eject(id: DeviceId) -> EjectRequest {
    let mut devices = DEVICES.lock();
    let ticket = next_ticket(devices.iter().map(|device| &device.state));
    let Some(device) = devices.get_mut(id.0 as usize) else { return EjectRequest::NoDevice };
    let outcome = device.state.request_eject(ticket);
    if outcome == EjectRequest::Queued {
        device.refusal = None;
        MAY_LEAVE.store(true, Ordering::Relaxed);
    }
    outcome
}

/// The device with the oldest pending eject request.
pub fn next_leaving() -> Option<DeviceId> {
    if !MAY_LEAVE.load(Ordering::Relaxed) {
        return None;
    }
    let devices = DEVICES.lock();
    let oldest = oldest_request(devices.iter().map(|device| &device.state));
    MAY_LEAVE.store(oldest.is_some(), Ordering::Relaxed);
    oldest.map(|at| DeviceId(at as u32))
}

/// Records and logs that an ejection failed: the device returns to its state before the request.
pub fn eject_failed(id: DeviceId, error: &HotplugError) {
    let mut devices = DEVICES.lock();
    let Some(device) = devices.get_mut(id.0 as usize) else { return };
    device.log_limited(Level::Warn, format_args!("not ejected: {error}"));
    device.refusal = Some(error.clone());
    let memory = device.memory();
    device.state.eject_failed(memory, error.clone());
}

/// Adds all memory of a device, or none, and probes the ends of its ranges at once or later. Logs a refusal; an addition is
/// logged by [`log_added`].
///
/// # Errors
///
/// Why the memory core refuses; nothing has changed then.
pub fn add(id: DeviceId, description: &Description, end: ProbeEnd) -> Result<Added, HotplugError> {
    let requests: ArrayVec<AddRequest, MAX_DEVICE_RANGES> = description
        .ranges
        .iter()
        .zip(&description.nodes)
        .map(|(range, &node)| AddRequest { base: range.base, size: range.size, node })
        .collect();
    let added = match requests.iter().find_map(used_otherwise) {
        Some(frames) => Err(HotplugError::InUse(frames)),
        None => memory::core().add_with(id, &requests, end, &nanoseconds).map_err(HotplugError::Add),
    };
    let mut devices = DEVICES.lock();
    let Some(device) = devices.get_mut(id.0 as usize) else { return added };
    match &added {
        Ok(added) => {
            device.state = DeviceState::Online;
            device.refusal = None;
            device.resources = added.ids.clone();
            device.aml_ns = description.aml_ns;
            device.answer = Answer::default();
            for (request, &resource) in requests.iter().zip(&added.ids) {
                uevents::added(&device.path, resource, request.base.0, request.size, request.node.0);
            }
            device.unlogged = Some(added.clone());
        }
        Err(error) => device.refuse(error),
    }
    added
}

/// The part of a range that is mapped as device registers or a firmware table.
fn used_otherwise(request: &AddRequest) -> Option<PfnRange> {
    let end = request.base.0.saturating_add(request.size).div_ceil(PAGE_SIZE);
    memory::devices::mapped_in(PfnRange::new(request.base.pfn(), Pfn(end)))
}

/// Records and logs that a device was refused.
pub fn refuse(id: DeviceId, error: &HotplugError) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize) {
        device.refuse(error);
    }
}

/// Records the cost of answering the Notify by which a device was added, if it was.
pub fn answered(id: DeviceId, answer: Answer) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize)
        && matches!(device.state, DeviceState::Online)
    {
        device.answer = answer;
    }
}

/// Records that the slot is empty.
pub fn mark_absent(id: DeviceId) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize) {
        device.state = DeviceState::Absent;
        device.refusal = None;
        device.resources.clear();
    }
}

impl MemoryDevice {
    fn memory(&self) -> CoreMemory {
        if self.resources.is_empty() { CoreMemory::None } else { CoreMemory::Some }
    }

    fn refuse(&mut self, error: &HotplugError) {
        self.log_limited(Level::Warn, format_args!("not added: {error}"));
        self.state = DeviceState::Refused(error.clone());
    }

    fn log_limited(&mut self, level: Level, text: fmt::Arguments<'_>) {
        let Verdict::Log { suppressed } = self.log_limit.check(microseconds()) else { return };
        if suppressed > 0 {
            self.log_suppressed(suppressed);
        }
        log_device(level, &self.path, text);
    }

    /// Logs added memory.
    fn log_added(&self, added: &Added) {
        for info in added.ids.iter().filter_map(|&id| memory::core().resource(id)) {
            let (size, base) = (Size(info.range.pages() * PAGE_SIZE), info.range.start.start());
            self.log(format_args!("{size} at {base} {} on node {}", info.state, info.node));
            self.log(format_args!("resource {}, {} usable frames", info.id, info.usable_pages));
        }
        let stats = &added.stats;
        let (aml, mapping) = (Elapsed(self.aml_ns), Elapsed(stats.check_ns + stats.map_ns));
        self.log(format_args!("AML {aml}, mapping {mapping}, online {}", Elapsed(stats.online_ns)));
    }

    fn log(&self, text: fmt::Arguments<'_>) {
        log_device(Level::Info, &self.path, text);
    }

    fn log_suppressed(&self, lines: u64) {
        log_device(Level::Warn, &self.path, format_args!("{lines} more lines like these suppressed"));
    }
}

/// Logs about a device, in lines that fit a terminal.
pub fn log_device(level: Level, path: &str, text: fmt::Arguments<'_>) {
    crate::log::in_lines(level, format_args!("{}: {text}", short(path)));
}

/// A device's path without what all of them have in common on QEMU: `MP00` for `\_SB.MHPC.MP00`.
fn short(path: &str) -> &str {
    let below = path.strip_prefix("\\_SB.").unwrap_or(path);
    below.strip_prefix("MHPC.").unwrap_or(below)
}

/// Logs a line about a device, within its rate limit: firmware can notify as often as it likes.
pub fn log_limited(id: DeviceId, level: Level, text: fmt::Arguments<'_>) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize) {
        device.log_limited(level, text);
    }
}

/// Logs how many lines were suppressed in a burst of events. Call it at the end of the burst.
pub fn flush_suppressed() {
    for device in DEVICES.lock().iter_mut() {
        if let Some(lines) = device.log_limit.flush_suppressed() {
            device.log_suppressed(lines);
        }
    }
}

/// Logs added memory. Called after the firmware has its answers, so that logging does not delay them.
pub fn log_added() {
    for device in DEVICES.lock().iter_mut() {
        if let Some(added) = device.unlogged.take() {
            device.log_added(&added);
        }
    }
}

/// Logs resources that went offline because their last frame does not answer. The main loop calls it in each turn.
pub fn log_missing_ends() {
    while let Some(MissingEnd { resource, pfn }) = memory::core().next_missing_end() {
        let reason = AddError::NoMemoryBehind { pfn };
        if let Some(device) = DEVICES.lock().iter().find(|device| device.resources.contains(&resource)) {
            let text = format_args!("resource {resource} went offline, unused: {reason}");
            log_device(Level::Error, &device.path, text);
        }
    }
}

/// The clock for measurements.
pub fn nanoseconds() -> u64 {
    time::uptime().as_nanos() as u64
}

/// The clock for timeouts and rate limits.
pub fn microseconds() -> u64 {
    nanoseconds() / 1000
}
