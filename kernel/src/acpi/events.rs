//! From the SCI to handled notifications: the task of the main loop that serves ACPI events.
//!
//! ```text
//!  SCI (recorded, masked) -> for each enabled event whose status is set:
//!                              run its method, handle its notifications; repeat until it sends none
//!                         -> unmask: a status set meanwhile holds the level, which raises the SCI again
//! ```
//!
//! Why repeat: QEMU's handler scans each slot once and, for a slot with both an insertion and an ejection pending, sends
//! only the first. The task yields after each notification. Neighbours: `gpe` has the events, `notify` handles a
//! notification, `sci` receives the interrupt.

use super::register::{Access, RegisterError, Width};
use super::sci::{self, Sci};
use super::{Acpi, aml_host, ged, notify, sleep};
use crate::arch::io_apic::RouteError;
use crate::arch::time;
use crate::executor;
use crate::hotplug::{self, Answer};
use crate::memory::heap;
use carapace_acpi::fadt::{Fadt, Hardware};
use carapace_acpi::notify::NotifyTarget;
use carapace_mm::info::DeviceId;
use core::fmt;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;
use log::{debug, error, info, warn};

/// The most consecutive runs of one method. Every run but the last sent a notification; each of QEMU's 256 slots can
/// have an insertion and an ejection pending.
const MAX_RUNS: u32 = 512;
/// The most notifications handled in a row: twice what one run of a method can queue.
const MAX_HANDLED: usize = 2 * aml_host::QUEUE;
/// After so many consecutive SCIs without an event, each is followed by a pause, so that a line held by another device,
/// or by a status that does not clear, does not starve the rest of the kernel.
const MAX_IDLE: u32 = 64;
/// SCIs further apart than this are not consecutive.
const CONSECUTIVE: Duration = Duration::from_millis(100);
const IDLE_PAUSE: Duration = Duration::from_millis(10);
/// How long the firmware may take to switch to ACPI mode (Linux waits 3 s, too).
const ENABLE_TIMEOUT: Duration = Duration::from_secs(3);
/// PM1 control: ACPI mode is on, the fixed hardware belongs to the OS.
const SCI_EN: u64 = 1 << 0;
/// PM1 status: all bits that are cleared by writing 1 (ACPI 6.5, table 4.11).
const PM1_STATUS_BITS: u64 = 0xcf31;

/// The value of a power button's Notify when it is pressed (ACPI 6.5, section 4.8.2.2.1.2).
const BUTTON_PRESSED: u64 = 0x80;

/// Why ACPI events cannot be received.
#[derive(Clone, Copy, Debug)]
pub enum ListenError {
    /// A register of the fixed hardware cannot be accessed.
    Register(RegisterError),
    /// The firmware did not switch to ACPI mode on request.
    NotHandedOver,
    /// The SCI cannot be routed.
    Sci(RouteError),
}

impl From<RegisterError> for ListenError {
    fn from(error: RegisterError) -> Self {
        ListenError::Register(error)
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Register(error) => error.fmt(f),
            ListenError::NotHandedOver => f.write_str("the firmware did not switch to ACPI mode"),
            ListenError::Sci(error) => write!(f, "the SCI cannot be routed: {error}"),
        }
    }
}

/// Measurements at the last SCI; all 0 before the first one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SciStart {
    /// When it arrived, in nanoseconds since boot.
    at_ns: u64,
    /// Nanoseconds spent in AML until then.
    aml_ns: u64,
    /// Bytes of the heap in use then; the first Notify takes the value, so that its account includes the allocations of
    /// the event's method.
    heap_bytes: Option<u64>,
}

/// Proof that [`listen`] has succeeded: only then may events be enabled.
#[derive(Debug)]
pub struct Listening(());

/// Switches to ACPI mode if necessary, and routes the SCI.
pub(super) fn listen(fadt: &Fadt) -> Result<Listening, ListenError> {
    enable_acpi_mode(fadt)?;
    // Buttons and timers have no driver here: they must not raise the SCI.
    for event in fadt.pm1_event.iter().flatten() {
        event.enable().write(Width::Bits16, 0)?;
        event.status.write(Width::Bits16, PM1_STATUS_BITS)?;
    }
    if fadt.hardware == Hardware::Reduced {
        info!("ACPI events come hardware-reduced: event devices only");
        return Ok(Listening(()));
    }
    // Before events are enabled: a masked, edge-triggered IO APIC pin loses a level that rises (QEMU's does).
    sci::route(fadt.sci).map_err(ListenError::Sci)?;
    info!("ACPI events come by SCI {}", fadt.sci);
    Ok(Listening(()))
}

/// Enables the events that notify memory devices. No status is cleared, so events raised since the scan are served.
pub(super) fn enable(acpi: &Acpi, _: Listening) -> Result<(), ListenError> {
    // After the SCI: what firmware claims for an event device cannot take that one away.
    acpi.generic.route();
    if acpi.fadt.hardware == Hardware::Fixed {
        acpi.gpes.enable()?;
    }
    Ok(())
}

/// Switches to ACPI mode: the firmware hands the event registers over (ACPI 6.5, section 4.8.2.5).
fn enable_acpi_mode(fadt: &Fadt) -> Result<(), ListenError> {
    let is_on = || -> Result<bool, RegisterError> {
        let mut bits = 0;
        for control in fadt.pm1_control.iter().flatten() {
            bits |= control.read(Width::Bits16)?;
        }
        Ok(bits & SCI_EN != 0)
    };
    let Some(enable) = fadt.enable.filter(|_| !is_on().unwrap_or(false)) else { return Ok(()) };
    enable.register.write(Width::Bits8, enable.value.into())?;
    let deadline = time::uptime() + ENABLE_TIMEOUT;
    while !is_on()? {
        if time::uptime() > deadline {
            return Err(ListenError::NotHandedOver);
        }
        time::stall(Duration::from_millis(1));
    }
    debug!("ACPI mode is on");
    Ok(())
}

/// The task that serves events; it never ends. Without ACPI it does nothing.
pub async fn events() {
    let mut idle = 0u32;
    let mut last = Duration::ZERO;
    // The first round needs no SCI: AML may have sent notifications during the scan, and an edge-triggered event raised
    // before or across a reset may have lost its status bit, so every such handler runs once.
    let mut which = Which::EveryEdge;
    loop {
        let any_event = serve_all(which).await | serve_generic().await;
        power_off_if_asked();
        which = Which::Pending;
        let now = time::uptime();
        let apart = now.saturating_sub(last) > CONSECUTIVE;
        last = now;
        idle = if any_event || apart { 0 } else { (idle + 1).min(MAX_IDLE + 1) };
        if idle == MAX_IDLE {
            warn!("SCI storm without events: pausing {} ms after each", IDLE_PAUSE.as_millis());
        }
        executor::yield_now().await;
        if idle >= MAX_IDLE {
            executor::sleep_until(time::uptime() + IDLE_PAUSE).await;
        }
        sci::unmask();
        if wait().await == Due::Notification {
            super::with(|acpi| acpi.sci_start.at_ns = 0);
            continue;
        }
        super::with(|acpi| {
            acpi.interrupts = acpi.interrupts.saturating_add(1);
            let heap_bytes = Some(heap::stats().used);
            acpi.sci_start = SciStart { at_ns: sci::at_ns(), aml_ns: acpi.namespace.spent_ns, heap_bytes };
        });
    }
}

/// What the task has to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// An SCI or an interrupt of a generic event device came.
    Sci,
    /// AML of an ejection, which is another task, sent a notification: no SCI tells of it.
    Notification,
}

async fn wait() -> Due {
    poll_fn(|_| match sci::take() {
        Sci::Came => Poll::Ready(Due::Sci),
        Sci::Quiet if ged::any() => Poll::Ready(Due::Sci),
        Sci::Quiet if super::with(|acpi| acpi.namespace.inbox.waiting() > 0).unwrap_or(false) => {
            Poll::Ready(Due::Notification)
        }
        Sci::Quiet => Poll::Pending,
    })
    .await
}

/// Which events are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Those whose status is set.
    Pending,
    /// Also those whose status may have been lost: see [`Gpes::may_be_lost`](super::gpe::Gpes::may_be_lost).
    EveryEdge,
}

/// Serves all pending events; returns whether there was a notification.
async fn serve_all(which: Which) -> bool {
    let mut any = handle_all().await;
    let events = super::with(|acpi| acpi.gpes.handlers().len()).unwrap_or(0);
    for index in 0..events {
        let is_due = |acpi: &mut Acpi| {
            acpi.gpes.is_pending(index) || (which == Which::EveryEdge && acpi.gpes.may_be_lost(index))
        };
        if super::with(is_due).unwrap_or(false) {
            any |= serve(index).await;
        }
    }
    super::with(|acpi| acpi.namespace.flush_suppressed());
    hotplug::flush_suppressed();
    any
}

/// Serves the interrupts of generic event devices that came; returns whether there was a notification.
async fn serve_generic() -> bool {
    let came = ged::take();
    let mut any = false;
    for number in (0..ged::MAX_EVENTS).filter(|number| came & 1 << number != 0) {
        for _ in 0..MAX_RUNS {
            let sent = super::with(|acpi| acpi.run_generic(number)).unwrap_or(0);
            handle_all().await;
            if sent == 0 {
                break;
            }
            any = true;
        }
        super::with(|acpi| acpi.generic.served(number));
    }
    any
}

/// Powers off if a button was pressed.
fn power_off_if_asked() {
    if super::with(|acpi| core::mem::take(&mut acpi.power_button)).unwrap_or(false) {
        info!("power button pressed: powering off");
        let Err(error) = sleep::power_off();
        error!("power button: {error}");
    }
}

/// Runs one event's method until it sends no notification; returns whether it sent any.
async fn serve(index: usize) -> bool {
    for run in 0..MAX_RUNS {
        let sent = super::with(|acpi| acpi.run(index)).unwrap_or(0);
        handle_all().await;
        if sent == 0 {
            return run > 0;
        }
    }
    super::with(|acpi| {
        let Acpi { gpes, namespace, .. } = acpi;
        if let Some(handler) = gpes.handlers().get(index) {
            namespace.log_failure(format_args!(
                "{handler}: sends notifications in each of {MAX_RUNS} runs; left for now"
            ));
        }
    });
    true
}

/// Handles the notifications in the inbox, yielding after each; `false` if there were none. The number is limited,
/// because AML may send a new notification whenever one is handled.
async fn handle_all() -> bool {
    for handled in 0..MAX_HANDLED {
        if !super::with(handle_one).unwrap_or(false) {
            report_lost();
            return handled > 0;
        }
        executor::yield_now().await;
    }
    report_lost();
    true
}

/// Drops the notifications still in the inbox, and logs how many were lost.
fn report_lost() {
    super::with(|acpi| {
        let lost = acpi.namespace.inbox.clear();
        if lost > 0 {
            acpi.namespace.log_failure(format_args!(
                "more than {MAX_HANDLED} notifications in a row: {lost} notifications are lost"
            ));
        }
    });
}

/// Handles the oldest notification; `false` if there is none.
fn handle_one(acpi: &mut Acpi) -> bool {
    let Some(notification) = acpi.namespace.inbox.pop() else { return false };
    acpi.notifications = acpi.notifications.saturating_add(1);
    let came = match notification.target {
        NotifyTarget::Device(number) if !hotplug::is_in_use(DeviceId(number)) => Some(DeviceId(number)),
        NotifyTarget::Device(_) | NotifyTarget::Bus(_) => None,
        NotifyTarget::PowerButton => {
            acpi.power_button |= notification.value == BUTTON_PRESSED;
            return true;
        }
    };
    let heap_before = acpi.sci_start.heap_bytes.take().unwrap_or_else(|| heap::stats().used);
    // Log lines are printed after the answer. A DIMM may be plugged just when memory is exhausted, so all of this may use
    // the heap's reserve.
    crate::log::defer_printing(|| {
        heap::with_reserve(|| notify::handle(acpi, notification));
    });
    if let Some(id) = came
        && acpi.sci_start.at_ns > 0
    {
        let all_ns = hotplug::nanoseconds().saturating_sub(acpi.sci_start.at_ns);
        let aml_ns = acpi.namespace.spent_ns.saturating_sub(acpi.sci_start.aml_ns);
        // Unreachable AML objects do not count as in use.
        acpi.namespace.tidy();
        let heap_bytes = heap::stats().used.saturating_sub(heap_before);
        hotplug::answered(id, Answer { all_ns, aml_ns, heap_bytes });
    }
    true
}

impl Acpi {
    /// Runs the method of a generic event device once; returns how many notifications it sent.
    fn run_generic(&mut self, number: usize) -> usize {
        let before = self.namespace.inbox.waiting();
        if let Err(error) = self.generic.run(number, &mut self.namespace) {
            self.namespace.log_failure(format_args!("generic event device: {error}"));
        }
        self.namespace.inbox.waiting().saturating_sub(before)
    }

    /// Runs an event's method once; returns how many notifications it sent.
    fn run(&mut self, index: usize) -> usize {
        let before = self.namespace.inbox.waiting();
        if let Err(error) = self.gpes.run(index, &mut self.namespace)
            && let Some(handler) = self.gpes.handlers().get(index)
        {
            self.namespace.log_failure(format_args!("{handler}: {error}"));
        }
        self.namespace.inbox.waiting().saturating_sub(before)
    }
}
