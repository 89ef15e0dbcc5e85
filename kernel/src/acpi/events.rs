//! From the SCI to handled notifications: the task of the main loop that answers the firmware.
//!
//! ```text
//!  SCI (noted, masked) -> for each enabled event whose status is set:
//!                           run its method, handle what it told, again until it tells nothing
//!                      -> unmask: if a status came up meanwhile, the level brings the SCI again
//! ```
//!
//! Why again: QEMU's handler looks at each slot once and, of a slot with an insertion and an ejection
//! both pending, tells only the first. Other tasks get their turn after each notification.

use super::register::{Access, RegisterError, Width};
use super::{Acpi, aml_host, notify};
use crate::arch::apic::{self, Sci};
use crate::arch::time;
use crate::executor;
use crate::hotplug::{self, Answer};
use crate::memory::heap;
use carapace_acpi::fadt::Fadt;
use carapace_acpi::notify::NotifyTarget;
use carapace_mm::info::DeviceId;
use core::fmt;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;
use log::{debug, info, warn};

/// How often an event's method is run in a row at most. Each run but the last told of something; of 256
/// slots each has an insertion and an ejection to tell of.
const MAX_RUNS: u32 = 512;
/// How many notifications are handled in a row at most: twice what one run of a method can queue.
const MAX_TOLD: usize = 2 * aml_host::QUEUE;
/// After so many SCIs in a row without any news, each is followed by a pause: something else holds the
/// line, or an event whose status does not clear, and the rest of the kernel shall not starve.
const MAX_IDLE: u32 = 64;
/// SCIs further apart than that are not in a row.
const IN_A_ROW: Duration = Duration::from_millis(100);
const IDLE_PAUSE: Duration = Duration::from_millis(10);
/// How long firmware may take to hand over the fixed hardware (Linux waits 3 s too).
const ENABLE_TIMEOUT: Duration = Duration::from_secs(3);
/// PM1 control: the fixed hardware is the system's, not the firmware's.
const SCI_EN: u64 = 1 << 0;
/// PM1 status: all bits that are cleared by writing 1 (ACPI 6.5, table 4.11).
const PM1_STATUS_BITS: u64 = 0xcf31;

/// Why no event is heard of.
#[derive(Clone, Copy, Debug)]
pub enum ListenError {
    /// A register of the fixed hardware cannot be reached.
    Register(RegisterError),
    /// The firmware was asked for ACPI mode and did not switch to it.
    NotHandedOver,
    /// The SCI cannot be routed.
    Sci(apic::ApicError),
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
            ListenError::NotHandedOver => f.write_str("the firmware does not switch to ACPI mode"),
            ListenError::Sci(error) => write!(f, "the SCI cannot be routed: {error}"),
        }
    }
}

/// The interrupt that is being answered; all 0 before the first one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Began {
    /// When it came, in nanoseconds since boot.
    at_ns: u64,
    /// What AML had taken by then.
    aml_ns: u64,
    /// Bytes of the heap in use by then, until the first Notify is handled: what the event's method leaves behind
    /// counts as that one's.
    heap_bytes: Option<u64>,
}

/// Switches to ACPI mode if need be, enables the events that concern memory, and routes the SCI.
pub(super) fn listen(acpi: &Acpi) -> Result<(), ListenError> {
    take_over(&acpi.fadt)?;
    // Buttons and timers have no driver here: they must not raise the SCI.
    for event in acpi.fadt.pm1_event.iter().flatten() {
        event.enable().write(Width::Bits16, 0)?;
        event.status.write(Width::Bits16, PM1_STATUS_BITS)?;
    }
    // First the route, then the events: an IO APIC pin that is still masked and edge-triggered forgets
    // a level that rises (QEMU's does). No status is cleared: what came since the scan is served.
    apic::route_sci(acpi.fadt.sci).map_err(ListenError::Sci)?;
    acpi.gpes.enable()?;
    info!("ACPI events on, SCI {}", acpi.fadt.sci);
    Ok(())
}

/// ACPI mode: the firmware lets go of the event registers (ACPI 6.5, section 4.8.2.5).
fn take_over(fadt: &Fadt) -> Result<(), ListenError> {
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

/// Answers events for ever: a task of the executor. Before ACPI is there it does nothing.
pub async fn events() {
    let mut idle = 0u32;
    let mut last = Duration::ZERO;
    // The first time without an SCI: AML may have told something while the devices were looked at, and of what
    // came before a restart the status is gone.
    let mut which = Which::EveryEdge;
    loop {
        let any_news = serve_all(which).await;
        which = Which::Pending;
        let now = time::uptime();
        let apart = now.saturating_sub(last) > IN_A_ROW;
        last = now;
        idle = if any_news || apart { 0 } else { (idle + 1).min(MAX_IDLE + 1) };
        if idle == MAX_IDLE {
            warn!("the SCI comes again and again, and there is no news; listening more slowly");
        }
        executor::yield_now().await;
        if idle >= MAX_IDLE {
            executor::sleep_until(time::uptime() + IDLE_PAUSE).await;
        }
        apic::unmask_sci();
        poll_fn(|_| match apic::take_sci() {
            Sci::Came => Poll::Ready(()),
            Sci::Quiet => Poll::Pending,
        })
        .await;
        super::with(|acpi| {
            acpi.interrupts = acpi.interrupts.saturating_add(1);
            let heap_bytes = Some(heap::stats().used);
            acpi.began = Began { at_ns: apic::sci_at_ns(), aml_ns: acpi.namespace.spent_ns, heap_bytes };
        });
    }
}

/// Which events are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Those whose status is set.
    Pending,
    /// Those too whose status may have been lost: see [`Gpes::may_be_lost`](super::gpe::Gpes::may_be_lost).
    EveryEdge,
}

/// Serves whatever is pending; whether anything was told.
async fn serve_all(which: Which) -> bool {
    let mut news = handle_all().await;
    let events = super::with(|acpi| acpi.gpes.handlers().len()).unwrap_or(0);
    for index in 0..events {
        let is_due = |acpi: &mut Acpi| {
            acpi.gpes.is_pending(index) || (which == Which::EveryEdge && acpi.gpes.may_be_lost(index))
        };
        if super::with(is_due).unwrap_or(false) {
            news |= serve(index).await;
        }
    }
    super::with(|acpi| acpi.namespace.settle());
    hotplug::settle();
    news
}

/// Runs one event's method until it tells nothing; whether it told anything.
async fn serve(index: usize) -> bool {
    for run in 0..MAX_RUNS {
        let told = super::with(|acpi| acpi.run(index)).unwrap_or(0);
        handle_all().await;
        if told == 0 {
            return run > 0;
        }
    }
    super::with(|acpi| {
        let Acpi { gpes, namespace, .. } = acpi;
        if let Some(handler) = gpes.handlers().get(index) {
            namespace.complain(format_args!(
                "{handler}: tells something new in each of {MAX_RUNS} runs; left for now"
            ));
        }
    });
    true
}

/// Handles what waits in the inbox, giving way after each; `false` where nothing waited. AML that tells
/// something new whenever it is asked about what it told is not listened to for ever.
async fn handle_all() -> bool {
    for handled in 0..MAX_TOLD {
        if !super::with(handle_one).unwrap_or(false) {
            report_lost();
            return handled > 0;
        }
        executor::yield_now().await;
    }
    report_lost();
    true
}

/// Drops what still waits, and says how many notifications nobody will answer.
fn report_lost() {
    super::with(|acpi| {
        let lost = acpi.namespace.inbox.clear();
        if lost > 0 {
            acpi.namespace.complain(format_args!(
                "the firmware told more than {MAX_TOLD} things in a row: {lost} notifications are lost"
            ));
        }
    });
}

/// Handles the oldest notification; `false` where none waits.
fn handle_one(acpi: &mut Acpi) -> bool {
    let Some(notification) = acpi.namespace.inbox.pop() else { return false };
    acpi.notifications = acpi.notifications.saturating_add(1);
    let came = match notification.target {
        NotifyTarget::Device(number) if !hotplug::is_in_use(DeviceId(number)) => Some(DeviceId(number)),
        NotifyTarget::Device(_) | NotifyTarget::Bus(_) => None,
    };
    let heap_before = acpi.began.heap_bytes.take().unwrap_or_else(|| heap::stats().used);
    // The firmware's answer does not wait for the serial line. Memory may be exhausted just when a DIMM comes: all
    // of this may use the heap's reserve.
    crate::log::defer_printing(|| {
        heap::with_reserve(|| notify::handle(&mut acpi.namespace, acpi.srat, notification));
    });
    if let Some(id) = came
        && acpi.began.at_ns > 0
    {
        let all_ns = hotplug::nanoseconds().saturating_sub(acpi.began.at_ns);
        let aml_ns = acpi.namespace.spent_ns.saturating_sub(acpi.began.aml_ns);
        // What evaluations have left for the next collection is not in use.
        acpi.namespace.tidy();
        let heap_bytes = heap::stats().used.saturating_sub(heap_before);
        hotplug::answered(id, Answer { all_ns, aml_ns, heap_bytes });
    }
    true
}

impl Acpi {
    /// Runs an event's method once; returns how many notifications it added.
    fn run(&mut self, index: usize) -> usize {
        let before = self.namespace.inbox.waiting();
        if let Err(error) = self.gpes.run(index, &mut self.namespace)
            && let Some(handler) = self.gpes.handlers().get(index)
        {
            self.namespace.complain(format_args!("{handler}: {error}"));
        }
        self.namespace.inbox.waiting().saturating_sub(before)
    }
}
