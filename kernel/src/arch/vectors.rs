//! Which interrupt vector means what, and what its handler does: note, and wake the main loop.
//! Handlers do no work of their own; they share only atomics and `IrqMutex`es with the rest.

use super::serial::{self, Port};
use super::{apic, percpu};
use core::sync::atomic::{AtomicU32, Ordering};
use log::warn;

/// An interrupt vector from 32 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub u8);

/// Where the legacy interrupt controllers are moved to, 16 vectors; all masked, so only their spurious
/// interrupts can come.
pub const PIC: Vector = Vector(0x20);
/// The first serial line has received something or can take more.
pub const CONSOLE: Vector = Vector(0x30);
/// ACPI's system control interrupt.
pub const SCI: Vector = Vector(0x31);
/// The local APIC's timer.
pub const TIMER: Vector = Vector(0x32);
/// The second serial line has received something or can take more.
pub const REMOTE: Vector = Vector(0x33);
/// The local APIC found an error in itself.
pub const APIC_ERROR: Vector = Vector(0xfe);
/// The local APIC withdrew an interrupt; needs no end-of-interrupt. Bits 3:0 must be ones on old CPUs.
pub const SPURIOUS: Vector = Vector(0xff);

/// How many oddities are logged before they are passed over in silence.
const LOGGED_ODDITIES: u32 = 16;
static ODDITIES: AtomicU32 = AtomicU32::new(0);

/// Whether one more oddity of the interrupt controllers is worth a line of the log (which prints it
/// later, from the main loop).
pub(super) fn odd() -> Odd {
    if ODDITIES.fetch_add(1, Ordering::Relaxed) < LOGGED_ODDITIES { Odd::Log } else { Odd::PassOver }
}

/// What to do about an oddity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// Log it.
    Log,
    /// There have been too many.
    PassOver,
}

/// Calls the handler of `vector`. Interrupts are off.
pub(super) fn handle(vector: u8) {
    let depth = &percpu::this().interrupt_depth;
    depth.fetch_add(1, Ordering::Relaxed);
    // Spurious interrupts, the local APIC's and the legacy controllers', are not in service.
    let spurious = vector == SPURIOUS.0 || (PIC.0..PIC.0 + 16).contains(&vector);
    match Vector(vector) {
        _ if spurious => {}
        CONSOLE => serial::on_interrupt(Port::Console),
        REMOTE => serial::on_interrupt(Port::Remote),
        SCI => apic::on_sci(),
        TIMER => {} // waking is all it is for
        APIC_ERROR => apic::on_error(),
        _ if odd() == Odd::Log => warn!("interrupt of vector {vector:#x}, which has no handler"),
        _ => {}
    }
    if !spurious {
        apic::end_of_interrupt();
    }
    crate::executor::wake();
    depth.fetch_sub(1, Ordering::Relaxed);
}
