//! virtio devices (virtio 1.3): memory that the hypervisor plugs, and the balloon by which it learns what is free.
//!
//! ```text
//!  transport   PCI registers, one queue in one page, interrupts          for both
//!  mem         virtio-mem: memory plugged by blocks of 2 MiB              section 5.15
//!  reporting   free page reporting                                        section 5.5.6.7
//!  inject      wrong answers on purpose
//! ```
//!
//! Invariants: one vector for all devices; its handler ends the interrupt and wakes the main loop, and each task looks at
//! its devices then. Nothing waits for a device but its own task. Neighbours: crate `carapace-virtio` has the bytes and
//! decides, `drivers::pci` finds the devices.

pub mod inject;
pub mod mem;
pub mod reporting;
mod transport;

use crate::arch::vectors;
use crate::drivers::pci;
use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use carapace_acpi::mcfg::Mcfg;
use carapace_virtio::pci::{VENDOR, pci_device};

/// A device's name: its place on PCI.
pub type Name = arrayvec::ArrayString<24>;

/// Interrupts of all devices so far.
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
/// Set when the devices' lines are masked, because another device held one without end.
static MISSED: AtomicBool = AtomicBool::new(false);

fn on_interrupt() {
    transport::end_line_interrupts();
    // The interrupt wakes the main loop.
    INTERRUPTS.fetch_add(1, Ordering::Release);
}

/// Finds and starts the devices. The memory core and the interrupt controllers must be up.
pub fn start(mcfg: Option<Mcfg<'_>>) {
    vectors::set_handler(vectors::VIRTIO, on_interrupt);
    let is = |id: u32, device: u16| id == u32::from(pci_device(device)) << 16 | u32::from(VENDOR);
    // A balloon of before version 1 of the standard may be driven as one of version 1.
    let transitional = 0x1002 << 16 | u32::from(VENDOR);
    pci::each_function(mcfg, &mut |bus, at, id| {
        if is(id, carapace_virtio::mem::DEVICE_ID) {
            mem::start(bus, at);
        } else if is(id, carapace_virtio::reporting::DEVICE_ID) || id == transitional {
            reporting::start(bus, at);
        }
    });
}

/// Whether a task has something to do that no interrupt says: memory was freed. The main loop asks at the end of each turn.
pub fn is_due() -> bool {
    mem::is_due() || reporting::is_due()
}
