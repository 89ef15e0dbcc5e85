//! QEMU's `isa-debug-exit`: ends QEMU with a status after a fatal report, without ACPI. The last bytes are sent on the
//! serial line first, as far as the other end accepts them.

use super::qemu::{self, Machine};
use super::serial::Emergency;
use crate::arch::interrupts;
use crate::arch::port::{PortNumber, Ports, Width};

// SAFETY: it is used in QEMU only, where the port belongs to `isa-debug-exit`, which ends QEMU, or to no device.
const DEBUG_EXIT: Ports = unsafe { Ports::new(PortNumber(0xf4), 4) };
/// Written to [`DEBUG_EXIT`], n makes QEMU end with status 2 n + 1: 33 for a panic.
const PANIC: u32 = 16;

/// The same for a machine with too little memory: status 41, which the boot shim uses for it too.
const NOT_ENOUGH_MEMORY: u32 = 20;

/// Ends QEMU with status 33; on another machine, parks the CPU with interrupts off.
pub fn panic_exit() -> ! {
    Emergency.finish();
    leave(PANIC)
}

/// Ends QEMU with status 41; on another machine, parks the CPU with interrupts off.
pub fn not_enough_memory() -> ! {
    Emergency.finish();
    leave(NOT_ENOUGH_MEMORY)
}

fn leave(value: u32) -> ! {
    if qemu::machine() == Machine::Qemu {
        DEBUG_EXIT.write(0, Width::DWord, value);
    }
    interrupts::park()
}
