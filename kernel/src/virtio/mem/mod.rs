//! virtio-mem: memory that the hypervisor plugs by blocks of 2 MiB (virtio 1.3, section 5.15).
//!
//! ```text
//!  start       a Transport for each device; blocks of a kernel before this one are unplugged
//!  run         one task for all devices: interrupt, response or changed memory -> carapace_virtio::Machine::next
//!  memory      what the machine asks of the memory core (carapace_mm::chunk)
//!  evacuate    content moved so that the device can shrink, in steps
//! ```
//!
//! Invariants: nothing waits for a device: one that never answers holds up only its own task. Neither a request nor plugged
//! memory takes a frame of existing memory or a byte of heap. The lock of the devices is not held across an `await`.
//! Neighbours: crate `carapace-virtio` decides, `commands::virtio` shows, `uevents` tells the host.

mod evacuate;
mod memory;
use super::inject::{self, Wrong};
use super::transport::{Driver, Signalling, StartError, Transport};
use super::{INTERRUPTS, Name};
use crate::drivers::pci;
use crate::executor;
use crate::hotplug::nanoseconds;
use crate::memory::core;
use crate::sync::{Mutex, Rank};
use crate::uevents;
use ::core::fmt::Write;
use ::core::sync::atomic::{AtomicU64, Ordering};
use ::core::time::Duration;
use arrayvec::ArrayVec;
use carapace_cli::format_size::{Elapsed, Size};
use carapace_mm::addr::{NodeId, PAGE_SIZE};
use carapace_mm::chunk::ChunkDevice;
use carapace_mm::hot_remove::RemoveError;
use carapace_mm::info::DeviceId;
use carapace_virtio::machine::{Action, Counts, Evacuated, Machine, Trouble};
use carapace_virtio::mem::{ACPI_PXM, CONFIG_BYTES, Config, Request, Response, UNPLUGGED_INACCESSIBLE};
use carapace_virtio::queue::{self, Queue};
use log::{Level, info, warn};
use memory::{CoreError, CoreMemory};

/// The most devices.
pub const MAX_DEVICES: usize = 8;

/// The numbers of the devices' memory: above those of memory devices of ACPI.
const FIRST_DEVICE: u32 = 1 << 30;
/// A request that is not answered for so long is reported.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a device without interrupts is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A device that is driven.
#[derive(Debug)]
struct Device {
    name: Name,
    chunks: ChunkDevice,
    transport: Transport,
    queue: Queue,
    machine: Machine<CoreError>,
    config: Config,
    /// Interrupts at the last reading of the configuration.
    seen: u64,
    /// When the request in flight was sent, in nanoseconds.
    sent: u64,
    /// The wrong answer of the request in flight, on purpose.
    wrong: Option<Wrong>,
    /// It was said that the device does not answer.
    warned: bool,
    /// Nothing is to be done before an interrupt.
    rests: bool,
    /// Why the last evacuation failed.
    refusal: Option<RemoveError>,
    /// Plugged bytes at the last evacuation: without progress there is no second one.
    evacuated_at: Option<u64>,
    /// The size for which a log line was written.
    logged: Option<(u64, u64)>,
    /// When the host asked for the size that is being worked on.
    asked: u64,
}

static DEVICES: Mutex<ArrayVec<Device, MAX_DEVICES>> = Mutex::new(Rank::Virtio, ArrayVec::new_const());
/// Memory's version for which a device waits to change; `u64::MAX` for none.
static WAITS_FOR: AtomicU64 = AtomicU64::new(u64::MAX);
/// Starts a device.
pub fn start(bus: pci::Bus, at: pci::Function) {
    let mut name = Name::new();
    let _ = write!(name, "virtio@{at}");
    match Device::start(name, bus, at) {
        Ok(device) => {
            let Config { base, region, block, .. } = device.config;
            crate::log::in_lines(
                Level::Info,
                format_args!(
                    "{name}: virtio-mem, {} at {base:#x} on node {}, blocks of {}; {}, interrupts: {}",
                    Size(region),
                    device.chunks.node,
                    Size(block),
                    if bus.is_mapped() { "ECAM" } else { "configuration by ports" },
                    device.transport.signalling(),
                ),
            );
            let _ = DEVICES.lock().try_push(device);
        }
        Err(error) => {
            crate::log::in_lines(Level::Warn, format_args!("{name}: virtio-mem, unused: {error}"));
        }
    }
}

impl Device {
    fn start(name: Name, bus: pci::Bus, at: pci::Function) -> Result<Device, StartError> {
        let index = DEVICES.lock().len();
        if index >= MAX_DEVICES {
            return Err(StartError::TooMany);
        }
        let driver = Driver {
            slot: index,
            entries: queue::ENTRIES,
            rings: [queue::DESCRIPTORS, queue::AVAILABLE, queue::USED],
            config_bytes: CONFIG_BYTES,
            choose: &|offered| Some((offered & (ACPI_PXM | UNPLUGGED_INACCESSIBLE), 0)),
        };
        let mut queue = Queue::default();
        let transport =
            Transport::start(bus, at, &driver, &mut |page, phys, _| queue = Queue::new(page, phys))?;
        let config = Config::decode(&transport.config());
        config.check().map_err(StartError::Config)?;
        let (id, node) = (DeviceId(FIRST_DEVICE + index as u32), NodeId(config.node.into()));
        let chunks = ChunkDevice::new(id, node, config.base, config.region, config.block);
        let chunks = chunks.ok_or(StartError::Block(config.block))?;
        Ok(Device {
            name,
            chunks,
            transport,
            queue,
            machine: Machine::new(config.block, chunks.unit() * PAGE_SIZE),
            config,
            seen: 0,
            sent: 0,
            wrong: None,
            warned: false,
            rests: false,
            refusal: None,
            evacuated_at: None,
            logged: None,
            asked: 0,
        })
    }

    /// Reads the configuration again. What must not change stays as it was.
    fn read_config(&mut self) {
        let Config { block, node, base, region, .. } = self.config;
        let now = Config::decode(&self.transport.config());
        if now.requested != self.config.requested {
            self.asked = nanoseconds();
        }
        self.config = Config { block, node, base, region, ..now };
    }

    /// Looks at the device once: takes its response, and does what is to be done until a wait.
    fn turn(&mut self) -> Action {
        let interrupts = INTERRUPTS.load(Ordering::Acquire);
        let response = self.take();
        let is_polled = self.transport.signalling() == Signalling::Polled;
        if interrupts != self.seen || response.is_some() || is_polled {
            self.seen = interrupts;
            self.read_config();
        } else if self.rests {
            return Action::Wait;
        }
        let action = match self.decide(response) {
            Action::Wait => self.wait(),
            action => action,
        };
        self.rests = action == Action::Wait && self.machine.waits_for_memory().is_none();
        if matches!(action, Action::Wait | Action::WaitUntil(_)) {
            self.log_rest();
        }
        action
    }

    /// The response to the request in flight, once, or the wrong one that it gets on purpose.
    fn take(&mut self) -> Option<Response> {
        if self.wrong == Some(Wrong::Silence) && inject::breaks_silence() {
            self.wrong = None;
            self.transport.notify();
        }
        if let Some(response) = self.wrong.and_then(Wrong::response) {
            self.wrong = None;
            return Some(response);
        }
        let response = self.queue.take(self.transport.page())?;
        let is_garbled = self.wrong.take() == Some(Wrong::GarbageDone);
        Some(if is_garbled { Response::Garbage } else { response })
    }

    fn send(&mut self, request: &Request) {
        self.wrong = inject::for_request();
        self.sent = nanoseconds();
        self.warned = false;
        if self.wrong.and_then(Wrong::response).is_some() {
            return;
        }
        self.queue.submit(self.transport.page(), &request.encode(self.config.block));
        if self.wrong != Some(Wrong::Silence) {
            self.transport.notify();
        }
    }

    /// Until when the task waits for the response to the request in flight. Says once that there is none.
    fn wait(&mut self) -> Action {
        let until = self.sent.saturating_add(PATIENCE.as_nanos() as u64);
        match self.machine.in_flight() {
            None => Action::Wait,
            Some(_) if nanoseconds() < until => Action::WaitUntil(until),
            Some(_) => {
                if !::core::mem::replace(&mut self.warned, true) {
                    let seconds = PATIENCE.as_secs();
                    warn!("{}: the device has not answered for {seconds} s", self.name);
                    uevents::held(&self.name, &"the device does not answer");
                }
                Action::Wait
            }
        }
    }

    fn decide(&mut self, response: Option<Response>) -> Action {
        let mut memory = CoreMemory { chunks: &self.chunks, name: &self.name };
        let action = self.machine.next(&mut memory, &self.config, response, nanoseconds());
        if let Action::Send(request) = &action {
            self.send(request);
        }
        action
    }

    /// Logs that the device has come to rest, once for each size.
    fn log_rest(&mut self) {
        let plugged = CoreMemory { chunks: &self.chunks, name: &self.name }.plugged_bytes();
        let now = (plugged, self.config.requested);
        if self.machine.in_flight().is_some() || self.logged == Some(now) {
            return;
        }
        let first = self.logged.replace(now).is_none();
        if first && now == (0, 0) {
            return;
        }
        let (name, plugged) = (self.name, Size(plugged));
        match self.held_by() {
            None => {
                let took = Elapsed(nanoseconds().saturating_sub(self.asked));
                info!("{name}: {plugged} plugged, as requested, in {took}");
            }
            Some(reason) => {
                crate::log::in_lines(
                    Level::Warn,
                    format_args!("{name}: {plugged} plugged, {} requested: {reason}", Size(now.1)),
                );
                uevents::held(&name, &reason);
            }
        }
    }

    /// What keeps the device from the requested size.
    fn held_by(&self) -> Option<Reason> {
        let mut text = Reason::new();
        let waits = nanoseconds().saturating_sub(self.sent);
        let written = match self.machine.trouble() {
            None if self.machine.in_flight().is_some() && waits > PATIENCE.as_nanos() as u64 => {
                write!(text, "the device has not answered for {} s", waits / 1_000_000_000)
            }
            None => return None,
            Some(Trouble::InUse) => match (core().pinned_in_chunks(&self.chunks), self.refusal) {
                (Some(pinned), _) => write!(text, "{}", crate::hotplug::why(RemoveError::Pinned(pinned))),
                (None, Some(error)) => write!(text, "{}", crate::hotplug::why(error)),
                (None, None) => write!(text, "the rest is in use"),
            },
            Some(trouble) => write!(text, "{trouble}"),
        };
        // A longer reason is cut.
        let _ = written;
        Some(text)
    }
}

/// A reason in words.
pub type Reason = arrayvec::ArrayString<160>;

/// A device, as `virtio` prints it.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its name.
    pub name: Name,
    /// The node of its memory.
    pub node: NodeId,
    /// Its configuration, read now.
    pub config: Config,
    /// Its requests.
    pub counts: Counts,
    /// What keeps it from the requested size.
    pub held_by: Option<Reason>,
}

/// The device number `index`.
pub fn device(index: usize) -> Option<Info> {
    let mut devices = DEVICES.lock();
    let device = devices.get_mut(index)?;
    device.read_config();
    Some(Info {
        name: device.name,
        node: device.chunks.node,
        config: device.config,
        counts: device.machine.counts(),
        held_by: device.held_by(),
    })
}

/// The name of the device whose memory has this number.
pub fn name_of(id: DeviceId) -> Option<Name> {
    let index = id.0.checked_sub(FIRST_DEVICE)?;
    DEVICES.lock().get(index as usize).map(|device| device.name)
}

/// Whether memory has changed so that a device should be looked at: what freed it need not know of devices. The main loop
/// asks at the end of each turn.
pub fn is_due() -> bool {
    let version = WAITS_FOR.load(Ordering::Relaxed);
    version != u64::MAX && version != core().free_version()
}

/// The task of all devices; it never ends.
pub async fn run() {
    if DEVICES.lock().is_empty() {
        return ::core::future::pending().await;
    }
    loop {
        let mut deadline: Option<u64> = None;
        let mut again = false;
        let polled = DEVICES.lock().iter().any(|device| device.transport.signalling() == Signalling::Polled);
        if polled {
            deadline = Some(nanoseconds().saturating_add(POLL.as_nanos() as u64));
        }
        for index in 0..MAX_DEVICES {
            let Some(action) = DEVICES.lock().get_mut(index).map(Device::turn) else { break };
            match action {
                Action::Send(_) => {
                    // It answers at once on QEMU; if not, its interrupt wakes this task.
                    again = true;
                }
                Action::Wait => {}
                Action::WaitUntil(until) => {
                    deadline = Some(deadline.map_or(until, |deadline| deadline.min(until)));
                }
                Action::Evacuate(want) => {
                    evacuate_for(index, want).await;
                    again = true;
                }
            }
        }
        let waits = DEVICES.lock().iter().find_map(|device| device.machine.waits_for_memory());
        // With a deadline the task is woken anyway, and looks at memory's version itself.
        WAITS_FOR.store(waits.filter(|_| deadline.is_none()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if again {
            executor::yield_now().await;
            continue;
        }
        match deadline {
            Some(until) => executor::wait_for_event_until(Duration::from_nanos(until)).await,
            None => executor::wait_for_event().await,
        }
    }
}

/// Migrates content of a device's chunks, and takes what became unused out of use at once.
async fn evacuate_for(index: usize, want: u64) {
    let with = |work: &mut dyn FnMut(&mut Device)| {
        if let Some(device) = DEVICES.lock().get_mut(index) {
            work(device);
        }
    };
    let mut chunks = None;
    with(&mut |device| {
        let plugged = CoreMemory { chunks: &device.chunks, name: &device.name }.plugged_bytes();
        let is_progress = device.evacuated_at.replace(plugged) != Some(plugged);
        chunks = is_progress.then_some(device.chunks);
    });
    let result = match chunks {
        Some(chunks) => evacuate::evacuate(&chunks, want).await,
        None => Err(None),
    };
    with(&mut |device| {
        let memory = CoreMemory { chunks: &device.chunks, name: &device.name };
        match &result {
            Ok(_) => device.machine.evacuated(&memory, &device.config, Evacuated::Some, nanoseconds()),
            Err(error) => {
                device.refusal = error.or(device.refusal);
                device.machine.evacuated(&memory, &device.config, Evacuated::None, nanoseconds());
                device.evacuated_at = None;
            }
        }
        // Before anything else can allocate there.
        device.decide(None);
    });
    if let Ok(emptied) = result {
        evacuate::put_back(&emptied);
    }
}
