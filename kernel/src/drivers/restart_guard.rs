//! The guard against a machine that restarts for ever: a triple fault early in boot resets the machine,
//! which boots, which faults.
//!
//! The boot shim counts starts in a byte of CMOS RAM that firmware leaves alone and that a reset does not
//! change; at the fourth in a row it gives up with a message. The kernel says here that it is up, which
//! puts the count to 0, so that `reboot` and the monitor's `system_reset` work as often as one likes.
//! Both do so in QEMU only: what the byte means on another machine its firmware knows. Neighbour: the shim's `main` counts.

use super::qemu::{self, Machine};
use crate::arch::port::{PortNumber, Ports};

// SAFETY: the clock chip with its CMOS RAM on every PC: one byte at a time, and no other memory.
const CMOS: Ports = unsafe { Ports::new(PortNumber(0x70), 2) };
/// Selects a byte of CMOS RAM (bit 7 would mask NMIs); the byte is then in [`DATA`].
const INDEX: u16 = 0;
const DATA: u16 = 1;
/// The byte that holds the count, agreed with the shim.
const STARTS: u8 = 0x72;

/// Says that the kernel is up: the starts before it do not count any more.
pub fn up() {
    if qemu::machine() == Machine::Qemu {
        CMOS.write8(INDEX, STARTS);
        CMOS.write8(DATA, 0);
    }
}
