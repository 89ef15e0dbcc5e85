//! The serial port (COM1), written by polling, and the exit from QEMU.

use core::fmt::{self, Write};
use x86_64::instructions::hlt;
use x86_64::instructions::port::Port;

const COM1: u16 = 0x3f8;
/// Line status register, from [`COM1`].
const LINE_STATUS: u16 = 5;
/// The transmitter accepts a byte.
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// The port of QEMU's isa-debug-exit, as `cargo xtask run` configures it.
const DEBUG_EXIT: u16 = 0xf4;

struct Com1;

impl Write for Com1 {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut status = Port::<u8>::new(COM1 + LINE_STATUS);
        let mut data = Port::<u8>::new(COM1);
        for byte in text.bytes() {
            // Do not wait forever for a port that is absent or never ready.
            for _ in 0..100_000 {
                // SAFETY: reading COM1's line status has no effect on memory; an absent port reads as
                // ones.
                if unsafe { status.read() } & TRANSMITTER_EMPTY != 0 {
                    break;
                }
            }
            // SAFETY: writing COM1's data register sends a byte and has no effect on memory.
            unsafe { data.write(byte) };
        }
        Ok(())
    }
}

/// Prints a line with the shim's name in front.
pub fn line(text: fmt::Arguments<'_>) {
    // `Com1` returns no error
    let _ = write!(Com1, "carapace-boot: {text}\r\n");
}

// SAFETY: the entry code defines the word, with this size and alignment.
unsafe extern "C" {
    /// Not 0 on QEMU, as detected by the entry code (see [`crate::entry`]).
    static pvh_in_qemu: u32;
}

/// Ends QEMU with `status` (odd). Halts forever on another machine, or without an isa-debug-exit device.
pub fn exit(status: u8) -> ! {
    // SAFETY: the entry code wrote the word before any Rust code ran, and nothing writes it later.
    let in_qemu = unsafe { pvh_in_qemu } != 0;
    if in_qemu {
        let mut port = Port::<u32>::new(DEBUG_EXIT);
        // SAFETY: in QEMU the port belongs to the debug exit or no device; neither accesses memory.
        unsafe { port.write(u32::from(status >> 1)) };
    }
    loop {
        hlt(); // interrupts are off since the entry
    }
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    line(format_args!("error: {info}"));
    exit(43)
}
