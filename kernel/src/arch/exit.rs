//! The ends of the kernel's life that ACPI has no part in: the panic's exit and the parked CPU. What was
//! written last leaves the serial line first, as far as somebody takes it.

use super::interrupts;
use super::port::{self, PortNumber};
use super::serial::Emergency;

/// QEMU's `isa-debug-exit` device; absent on real hardware, where writing to it does nothing.
const DEBUG_EXIT: PortNumber = PortNumber(0xf4);
/// Written to [`DEBUG_EXIT`], n makes QEMU end with status 2 n + 1: 33 for a panic.
const PANIC: u32 = 16;

/// The same for a machine with too little memory: status 41, the one the boot shim has for it too.
const NOT_ENOUGH_MEMORY: u32 = 20;

/// Ends QEMU with status 33; where there is no QEMU, parks the CPU with interrupts off.
pub fn panic_exit() -> ! {
    Emergency.finish();
    port::write32(DEBUG_EXIT, PANIC);
    park()
}

/// Ends QEMU with status 41; where there is no QEMU, parks the CPU with interrupts off.
pub fn not_enough_memory() -> ! {
    Emergency.finish();
    port::write32(DEBUG_EXIT, NOT_ENOUGH_MEMORY);
    park()
}

/// Stops this CPU for good.
pub fn park() -> ! {
    loop {
        interrupts::disable();
        x86_64::instructions::hlt();
    }
}
