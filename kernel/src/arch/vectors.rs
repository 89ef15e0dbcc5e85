//! Interrupt vectors: which number means what, and the handler of each.
//!
//! Handlers do no work of their own: they record, and the main loop, which every interrupt wakes, does the rest. They
//! share only atomics and `IrqMutex`es with it. Invariant: a vector's handler is set once, before its interrupt is
//! routed; all CPUs share the table. Neighbours: `trap` calls the handlers, `io_apic` and `local_apic` set them.

use core::sync::atomic::{AtomicU32, Ordering};
use spin::Once;

pub use carapace_irq::local_apic::Vector;

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
/// A virtio device has answered, or its configuration changed.
pub const VIRTIO: Vector = Vector(0x34);
/// The interrupts of generic event devices, one each.
pub const EVENTS: [Vector; 8] = [
    Vector(0x38),
    Vector(0x39),
    Vector(0x3a),
    Vector(0x3b),
    Vector(0x3c),
    Vector(0x3d),
    Vector(0x3e),
    Vector(0x3f),
];
/// Another CPU has put a request into its mailbox, or has served this one's.
pub const MAILBOX: Vector = Vector(0xf0);
/// The local APIC found an error in itself.
pub const APIC_ERROR: Vector = Vector(0xfe);
/// The local APIC withdrew an interrupt; needs no end-of-interrupt. Bits 3:0 must be ones on old CPUs.
pub const SPURIOUS: Vector = Vector(0xff);

/// Whether an interrupt of this vector may be spurious: the local APIC's or the legacy controllers'. It is not in service
/// then.
pub(super) fn is_spurious(vector: Vector) -> bool {
    vector == SPURIOUS || (PIC.0..PIC.0 + 16).contains(&vector.0)
}

/// Serves one interrupt, on the CPU where it came, with interrupts off.
pub type Handler = fn();

/// The first vector that is not an exception's.
const FIRST: u8 = 32;
static HANDLERS: [Once<Handler>; 256 - FIRST as usize] = [const { Once::new() }; 256 - FIRST as usize];

/// Sets the handler of a vector, once: a second one is ignored. Not for interrupt handlers.
pub fn set_handler(vector: Vector, handler: Handler) {
    if let Some(place) = vector.0.checked_sub(FIRST).and_then(|place| HANDLERS.get(usize::from(place))) {
        place.call_once(|| handler);
    }
}

/// The handler of a vector.
pub(super) fn handler(vector: Vector) -> Option<Handler> {
    HANDLERS.get(usize::from(vector.0.checked_sub(FIRST)?))?.get().copied()
}

/// How many oddities are logged; the others are ignored.
const MAX_LOGGED: u32 = 16;
static ODDITIES: AtomicU32 = AtomicU32::new(0);

/// What to do about an oddity of the interrupt controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    /// Log it; the main loop prints the line later.
    Log,
    /// There have been too many.
    Ignore,
}

/// Counts an oddity.
pub(super) fn oddity() -> Oddity {
    if ODDITIES.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED { Oddity::Log } else { Oddity::Ignore }
}
