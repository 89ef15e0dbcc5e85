//! ACPI's system control interrupt (SCI): recorded and masked when it comes, unmasked after its events are served.
//!
//! ```text
//!  level rises -> handler: mask the pin, record, wake      main loop: take, serve the events, unmask
//! ```
//!
//! Invariant: the pin is masked before the interrupt's end is signalled, so a level that stands does not interrupt again
//! before the main loop has served it. Neighbour: `events` is the task that serves them.

use crate::arch::io_apic::{self, Gsi, Mask, RouteError};
use crate::arch::{time, vectors};
use carapace_acpi::madt::Signal;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use spin::Once;

/// Its pin, once it is routed.
static PIN: Once<Gsi> = Once::new();
static RECORDED: AtomicBool = AtomicBool::new(false);
/// When it came last, in nanoseconds since boot.
static AT_NS: AtomicU64 = AtomicU64::new(0);

/// Routes FADT's SCI_INT: level, active low, as far as no override says otherwise.
///
/// # Errors
///
/// When no IO APIC has its pin.
pub fn route(irq: u16) -> Result<(), RouteError> {
    let wiring = io_apic::wiring(irq, Signal::SCI);
    // Before the pin is unmasked: the handler masks it by this.
    PIN.call_once(|| Gsi(wiring.gsi));
    io_apic::route(wiring, vectors::SCI, on_sci)
}

fn on_sci() {
    AT_NS.store(time::uptime().as_nanos() as u64, Ordering::Relaxed);
    if let Some(&pin) = PIN.get() {
        io_apic::set_mask(pin, Mask::Masked);
    }
    RECORDED.store(true, Ordering::Release);
}

/// Whether the SCI has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sci {
    /// It has, and stays masked until [`unmask`].
    Came,
    /// It has not.
    Quiet,
}

/// Whether the SCI has come since the last call.
pub fn take() -> Sci {
    if RECORDED.swap(false, Ordering::Acquire) { Sci::Came } else { Sci::Quiet }
}

/// When the SCI came last, in nanoseconds since boot.
pub fn at_ns() -> u64 {
    AT_NS.load(Ordering::Relaxed)
}

/// Lets the SCI come again, after its events are served: at once if its level still stands.
pub fn unmask() {
    if let Some(&pin) = PIN.get() {
        io_apic::set_mask(pin, Mask::Open);
    }
}
