//! Which interrupt vector means what, and what its handler does: note, and wake the main loop.
//! Handlers do no work of their own; they share only atomics and `IrqMutex`es with the rest.

use super::{apic, percpu, serial};
use core::sync::atomic::{AtomicU64, Ordering};

/// An interrupt vector from 32 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub u8);

/// Where the legacy interrupt controllers are moved to, 16 vectors; all masked, so only their spurious
/// interrupts can come.
pub const PIC: Vector = Vector(0x20);
/// The serial line has received something.
pub const SERIAL: Vector = Vector(0x30);
/// ACPI's system control interrupt.
pub const SCI: Vector = Vector(0x31);
/// The local APIC's timer.
pub const TIMER: Vector = Vector(0x32);
/// The local APIC found an error in itself.
pub const APIC_ERROR: Vector = Vector(0xfe);
/// The local APIC withdrew an interrupt; needs no end-of-interrupt. Bits 3:0 must be ones on old CPUs.
pub const SPURIOUS: Vector = Vector(0xff);

/// Interrupts that nobody expected, among them spurious ones. For `stat`.
static UNEXPECTED: AtomicU64 = AtomicU64::new(0);

/// How many interrupts came that no handler is there for (spurious ones included).
pub fn unexpected() -> u64 {
    UNEXPECTED.load(Ordering::Relaxed)
}

/// Calls the handler of `vector`. Interrupts are off.
pub fn handle(vector: u8) {
    let depth = &percpu::this().interrupt_depth;
    depth.fetch_add(1, Ordering::Relaxed);
    match Vector(vector) {
        SERIAL => serial::on_interrupt(),
        SCI => apic::on_sci(),
        TIMER => {} // waking is all it is for
        APIC_ERROR => apic::on_error(),
        _ => {
            UNEXPECTED.fetch_add(1, Ordering::Relaxed);
        }
    }
    // Spurious interrupts, the local APIC's and the legacy controllers', are not in service.
    let legacy = PIC.0..PIC.0 + 16;
    if Vector(vector) != SPURIOUS && !legacy.contains(&vector) {
        apic::end_of_interrupt();
    }
    crate::executor::wake();
    depth.fetch_sub(1, Ordering::Relaxed);
}
