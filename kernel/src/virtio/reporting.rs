//! Free page reporting: the host learns which memory is free and discards the pages behind it (Linux:
//! `drivers/virtio/virtio_balloon.c`, `mm/page_reporting.c`).
//!
//! ```text
//!  memory freed --(GATHER)--> isolate_unreported -> batch of at most 32 runs -> device -> used -> return_reported
//!                                                   no answer for PATIENCE: reset -> return_reported (Unknown), start again
//! ```
//!
//! Invariants: memory that the device has is isolated until the device has used the batch or its reset has ended; a device
//! that does neither keeps one batch ([`BATCH_PAGES`]), and its reset is tried again every [`PAUSE`]. Nothing waits
//! for the device but this task. Neighbours: `carapace_mm::reporting` knows what is due, `commands::virtio` shows.

use super::inject;
use super::transport::{Driver, MAX_DEVICES, StartError, Transport};
use super::{INTERRUPTS, Name};
use crate::arch::time;
use crate::drivers::pci;
use crate::executor;
use crate::memory::core;
use crate::sync::{Mutex, Rank};
use crate::uevents;
use ::core::fmt::Write;
use ::core::sync::atomic::{AtomicBool, Ordering};
use ::core::time::Duration;
use carapace_cli::format_size::Size;
use carapace_mm::addr::{PAGE_SHIFT, Pfn, PfnRange};
use carapace_mm::reporting::{Answer, MAX_RUNS};
use carapace_virtio::mem::Run;
use carapace_virtio::reporting::{self, ReportQueue, Used, queue_of};
use log::{Level, info};

/// From the first block that is due until it is reported: more may be freed meanwhile.
const GATHER: Duration = Duration::from_millis(500);
/// A batch that is not answered for so long ends with a reset.
const PATIENCE: Duration = Duration::from_secs(2);
/// After a reset, until the device is started again; and between attempts at a reset that does not end.
const PAUSE: Duration = Duration::from_secs(10);
/// How often a batch in flight is looked at.
const POLL: Duration = Duration::from_millis(10);
/// Frames of a batch: 256 MiB, and up to 64 MiB for the last run. So much can be missing to allocations for a moment.
const BATCH_PAGES: u64 = 1 << 16;
/// The number of the device's page.
const SLOT: usize = MAX_DEVICES - 1;

/// What `virtio` prints of free page reporting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Batches that were answered.
    pub batches: u64,
    /// Bytes reported to the host.
    pub reported: u64,
    /// Bytes that the device has now.
    pub in_flight: u64,
    /// Times that the device had to be reset.
    pub resets: u64,
}

#[derive(Debug)]
struct Device {
    name: Name,
    bus: pci::Bus,
    at: pci::Function,
    /// `None` while it is reset.
    running: Option<(Transport, ReportQueue)>,
    stats: Stats,
}

static DEVICE: Mutex<Option<Device>> = Mutex::new(Rank::Virtio, None);
/// The task waits for memory to be freed.
static RESTS: AtomicBool = AtomicBool::new(false);

fn run_of(frames: &PfnRange) -> Run {
    Run { base: frames.start.start().0, bytes: frames.pages() << PAGE_SHIFT }
}

/// Starts the device, if it wants reports. A second one is left alone.
pub fn start(bus: pci::Bus, at: pci::Function) {
    let mut name = Name::new();
    let _ = write!(name, "virtio@{at}");
    if DEVICE.lock().is_some() {
        return;
    }
    match start_queue(bus, at) {
        Ok(running) => {
            info!("{name}: free page reporting, interrupts: {}", running.0.signalling());
            let device = Device { name, bus, at, running: Some(running), stats: Stats::default() };
            *DEVICE.lock() = Some(device);
        }
        Err(StartError::Features(_)) => {
            info!("{name}: balloon without free page reporting, unused")
        }
        Err(error) => {
            crate::log::in_lines(Level::Warn, format_args!("{name}: balloon, unused: {error}"));
        }
    }
}

fn start_queue(bus: pci::Bus, at: pci::Function) -> Result<(Transport, ReportQueue), StartError> {
    let driver = Driver {
        slot: SLOT,
        entries: reporting::MAX_RUNS,
        rings: [reporting::DESCRIPTORS, reporting::AVAILABLE, reporting::USED],
        config_bytes: 4,
        choose: &queue_of,
    };
    let mut queue = ReportQueue::default();
    let transport = Transport::start(bus, at, &driver, &mut |page, _, entries| {
        queue = ReportQueue::new(page, entries);
    })?;
    Ok((transport, queue))
}

/// The device's name and the reports to it, if there is one.
pub fn stats() -> Option<(Name, Stats)> {
    DEVICE.lock().as_ref().map(|device| (device.name, device.stats))
}

/// Whether the task should look: it waits, and memory was freed.
pub fn is_due() -> bool {
    RESTS.load(Ordering::Relaxed) && core().has_unreported()
}

fn with<T>(work: impl FnOnce(&mut Device) -> T) -> Option<T> {
    DEVICE.lock().as_mut().map(work)
}

/// The task; it never ends.
pub async fn run() {
    if DEVICE.lock().is_none() {
        return ::core::future::pending().await;
    }
    loop {
        RESTS.store(true, Ordering::Relaxed);
        while !core().has_unreported() {
            executor::wait_for_event().await;
        }
        RESTS.store(false, Ordering::Relaxed);
        executor::sleep_until(time::uptime() + GATHER).await;
        let mut from = Pfn(0);
        let before = stats().map_or(0, |(_, stats)| stats.reported);
        while let Some(most) = with(|device| device.running.as_ref().map_or(0, |(_, queue)| queue.capacity()))
        {
            let most = usize::from(most).min(MAX_RUNS);
            let runs = core().isolate_unreported(&mut from, most, BATCH_PAGES);
            if runs.is_empty() {
                break;
            }
            let answer = report(&runs).await;
            core().return_reported(&runs, answer);
            if answer == Answer::Unknown {
                start_again().await;
                break;
            }
            executor::yield_now().await;
        }
        if let Some((name, stats)) = stats()
            && stats.reported > before
        {
            uevents::reported(&name, stats.reported - before);
        }
    }
}

/// Tells the device of a batch, and waits until it has used it or is reset.
async fn report(runs: &[PfnRange]) -> Answer {
    let bytes: u64 = runs.iter().map(|run| run.pages() << PAGE_SHIFT).sum();
    with(|device| {
        device.stats.in_flight = bytes;
        if let Some((transport, queue)) = &mut device.running {
            let runs: arrayvec::ArrayVec<Run, MAX_RUNS> = runs.iter().map(run_of).collect();
            if queue.submit(transport.page(), &runs) && !inject::silences_report() {
                transport.notify();
            }
        }
    });
    let deadline = time::uptime() + PATIENCE;
    let mut used = None;
    while used.is_none() && time::uptime() < deadline {
        let seen = INTERRUPTS.load(Ordering::Acquire);
        used = with(|device| {
            let (transport, queue) = device.running.as_mut()?;
            queue.take(transport.page())
        })
        .flatten();
        if used.is_none() && INTERRUPTS.load(Ordering::Acquire) == seen {
            executor::wait_for_event_until(time::uptime() + POLL).await;
        }
    }
    if used == Some(Used::Done) {
        with(|device| {
            device.stats = Stats {
                batches: device.stats.batches + 1,
                reported: device.stats.reported + bytes,
                in_flight: 0,
                ..device.stats
            };
        });
        return Answer::Reported;
    }
    let what = if used.is_some() { "gives an answer that makes no sense" } else { "does not answer" };
    let mut said = false;
    loop {
        let reset = with(|device| {
            device.stats.resets += 1;
            let reset = device.running.as_ref().is_none_or(|(transport, _)| transport.reset());
            if !said {
                let ends = if reset { "it is reset" } else { "its reset does not end" };
                let (name, bytes) = (&device.name, Size(bytes));
                crate::log::in_lines(
                    Level::Warn,
                    format_args!("{name}: the balloon {what}; {ends}, {bytes} in flight"),
                );
            }
            if reset {
                device.running = None;
                device.stats.in_flight = 0;
            }
            reset
        });
        if reset != Some(false) {
            return Answer::Unknown;
        }
        said = true;
        executor::sleep_until(time::uptime() + PAUSE).await;
    }
}

/// Starts the device again after a pause, as often as it takes.
async fn start_again() {
    loop {
        executor::sleep_until(time::uptime() + PAUSE).await;
        let Some((bus, at)) = with(|device| (device.bus, device.at)) else { return };
        if let Ok(running) = start_queue(bus, at) {
            with(|device| device.running = Some(running));
            return;
        }
    }
}
