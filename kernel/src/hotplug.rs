//! The memory devices: which there are and what became of each.
//!
//! ```text
//!  acpi ── register ──> list ── shell: name of a resource's device, times, state
//!       ── add ───────> carapace_mm::Memory::add (all ranges of a device or none)
//!       ── leave ─────> its turn comes (next_leaving), remove: mm, in steps, then _EJ0
//!                       error::HotplugError: status() for _OST, Display for log and shell
//! ```
//!
//! Invariants: the list only grows while the namespace is loaded, so a [`DeviceId`] names one device for
//! ever; a device is `Online` or `Vanished`, or `Leaving` and was online before, exactly while all its ranges are
//! resources of the memory core. Neighbours: `carapace_acpi::device_state` says what leads from one state to another,
//! `acpi::memory_device` finds out what a device is, `acpi::eject` drives removals, crate `carapace-mm` does the adding and
//! removing. Lock order: the list's lock comes before the memory core's locks.

mod error;
mod remove;

use crate::arch::time;
use crate::memory;
use crate::news;
use alloc::string::String;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use carapace_acpi::device_state::{self, CoreMemory, next_ticket, oldest_request};
use carapace_acpi::ranges::Range;
use carapace_acpi::ratelimit::{RateLimit, Verdict};
use carapace_mm::addr::{NodeId, PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange};
use carapace_mm::info::{AddRequest, Added, DeviceId, MAX_DEVICE_RANGES, ResourceId};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use log::{Level, info, log, warn};
use spin::Mutex;

pub use carapace_acpi::device_state::EjectRequest;

pub use error::{HotplugError, Why, why};
pub use remove::{Patience, STEP, lose, remove};

/// The most memory devices that are kept. QEMU has at most 256.
pub const MAX_DEVICES: usize = 512;

/// What became of a device; what of an online one may be allocated its resources tell (`policy`).
pub type DeviceState = device_state::DeviceState<HotplugError>;

/// A memory device of the firmware's namespace.
#[derive(Clone, Debug)]
pub struct MemoryDevice {
    /// Its absolute path, `\_SB.MHPC.MP00` for example.
    pub path: String,
    /// Its `_UID`, where it has one.
    pub uid: Option<String>,
    /// What became of it.
    pub state: DeviceState,
    /// Why it was not given back when it was last asked for, until it is asked for again.
    pub refusal: Option<HotplugError>,
    /// Its resources, in the order of its ranges; none unless its memory is in use.
    pub resources: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// Nanoseconds that its AML took when it was added (`_STA`, `_CRS`, `_PXM`).
    pub aml_ns: u64,
    /// What it took to answer the Notify by which it was added; 0 for one that was there at boot.
    pub answer: Answer,
    /// What the log has not told yet of its memory that came.
    news: Option<Added>,
    /// What the log has had about it lately, beside memory that came.
    said: RateLimit,
}

/// What a device says of itself: what it takes to add it.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its memory.
    pub ranges: ArrayVec<Range, MAX_DEVICE_RANGES>,
    /// The node of each range.
    pub nodes: ArrayVec<NodeId, MAX_DEVICE_RANGES>,
    /// Nanoseconds that finding out took.
    pub aml_ns: u64,
}

/// What it took to answer a Notify, from the interrupt to the end of `_OST`, and what it left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Nanoseconds in all.
    pub all_ns: u64,
    /// Nanoseconds of them in the firmware's code.
    pub aml_ns: u64,
    /// Bytes of the heap that are in use after it and were not before.
    pub heap_bytes: u64,
}

static DEVICES: Mutex<Vec<MemoryDevice>> = Mutex::new(Vec::new());
/// Whether a device may be leaving or vanished: the list is not looked through whenever something wakes.
static MAY_LEAVE: AtomicBool = AtomicBool::new(false);

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
    let (resources, said) = (ArrayVec::new(), RateLimit::default());
    let (state, refusal, answer) = (DeviceState::Absent, None, Answer::default());
    devices.push(MemoryDevice { path, uid, state, refusal, resources, aml_ns: 0, answer, news: None, said });
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

/// Whether the device is online or on its way out.
pub fn is_in_use(id: DeviceId) -> bool {
    with(id, |device| device.state.is_in_use()).unwrap_or(false)
}

/// Whether the device is gone and its memory is still to be forgotten.
pub fn is_vanished(id: DeviceId) -> bool {
    with(id, |device| device.state.is_surprise_removed()).unwrap_or(false)
}

/// Somebody asks for the device back.
pub fn leave(id: DeviceId) -> EjectRequest {
    let mut devices = DEVICES.lock();
    let ticket = next_ticket(devices.iter().map(|device| &device.state));
    let Some(device) = devices.get_mut(id.0 as usize) else { return EjectRequest::NoDevice };
    let leave = device.state.request_eject(ticket);
    if leave == EjectRequest::Queued {
        device.refusal = None;
        MAY_LEAVE.store(true, Ordering::Relaxed);
    }
    leave
}

/// The device that was asked for first among those that are not gone yet. Before that, forgets the memory of those that
/// are gone and had to wait for it.
pub fn next_leaving() -> Option<DeviceId> {
    if !MAY_LEAVE.load(Ordering::Relaxed) {
        return None;
    }
    remove::lose_vanished();
    let devices = DEVICES.lock();
    let left = |device: &MemoryDevice| device.state.ticket().is_some() || device.state.is_surprise_removed();
    MAY_LEAVE.store(devices.iter().any(left), Ordering::Relaxed);
    oldest_request(devices.iter().map(|device| &device.state)).map(|at| DeviceId(at as u32))
}

/// Notes and logs that a device was asked for and is not given back: where its memory is in use it stays in use.
pub fn stay(id: DeviceId, error: &HotplugError) {
    let mut devices = DEVICES.lock();
    let Some(device) = devices.get_mut(id.0 as usize) else { return };
    device.say(Level::Warn, format_args!("not ejected: {error}"));
    device.refusal = Some(error.clone());
    let memory = device.memory();
    device.state.eject_failed(memory, error.clone());
}

/// Adds all memory of a device, or none. What is refused is logged, what came waits for [`announce`].
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
            device.refusal = None;
            device.resources = added.ids.clone();
            device.aml_ns = description.aml_ns;
            device.answer = Answer::default();
            for (request, &resource) in requests.iter().zip(&added.ids) {
                news::added(&device.path, resource, request.base.0, request.size, request.node.0);
            }
            device.news = Some(added.clone());
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

/// Notes what it took to answer the Notify by which a device was added, if it was.
pub fn answered(id: DeviceId, answer: Answer) {
    if let Some(device) = DEVICES.lock().get_mut(id.0 as usize)
        && matches!(device.state, DeviceState::Online)
    {
        device.answer = answer;
    }
}

/// Notes that nothing is plugged there.
pub fn vacate(id: DeviceId) {
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
        self.say(Level::Warn, format_args!("not added: {error}"));
        self.state = DeviceState::Refused(error.clone());
    }

    fn say(&mut self, level: Level, text: fmt::Arguments<'_>) {
        let Verdict::Log { suppressed } = self.said.check(microseconds()) else { return };
        if suppressed > 0 {
            self.tell_left_out(suppressed);
        }
        log!(level, "{}: {text}", self.path);
    }

    /// The log's lines for memory that came.
    fn tell(&self, added: &Added) {
        for info in added.ids.iter().filter_map(|&id| memory::core().resource(id)) {
            info!(
                "{}: {} MiB at {} {} on node {} as resource {}",
                self.path,
                info.range.pages() >> (20 - PAGE_SHIFT),
                info.range.start.start(),
                info.state,
                info.node,
                info.id
            );
        }
        let stats = &added.stats;
        info!(
            "{}: {} usable frames; AML {} us, mapping {} us, online {} us",
            self.path,
            added.usable_pages,
            self.aml_ns / 1000,
            (stats.check_ns + stats.map_ns) / 1000,
            stats.online_ns / 1000
        );
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
        if let Some(lines) = device.said.flush_suppressed() {
            device.tell_left_out(lines);
        }
    }
}

/// Logs what memory has come, once the firmware has its answers: they do not wait for the log.
pub fn announce() {
    for device in DEVICES.lock().iter_mut() {
        if let Some(added) = device.news.take() {
            device.tell(&added);
        }
    }
}

/// The clock that adding is timed by.
pub fn nanoseconds() -> u64 {
    time::uptime().as_nanos() as u64
}

/// The clock that what the log says is rationed by.
pub fn microseconds() -> u64 {
    nanoseconds() / 1000
}
