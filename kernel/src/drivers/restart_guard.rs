//! The guard against an endless boot loop: a triple fault early in boot resets the machine, which boots and faults again.
//!
//! The boot shim counts starts in a byte of CMOS RAM that firmware does not use and a reset preserves; at the fourth in a
//! row it stops with a message. The kernel resets the count here once it is up, so that `reboot` and the monitor's
//! `system_reset` work any number of times. Both use the byte in QEMU only, since it may have a meaning on other machines.
//! Neighbour: the shim's `entry` counts.

use super::qemu::{self, Machine};
use crate::arch::port::{PortNumber, Ports};

// SAFETY: the clock chip with CMOS RAM on every PC: it accesses one byte of CMOS RAM and no other memory.
const CMOS: Ports = unsafe { Ports::new(PortNumber(0x70), 2) };
/// Selects a byte of CMOS RAM (bit 7 would mask NMIs); the byte is then in [`DATA`].
const INDEX: u16 = 0;
const DATA: u16 = 1;
/// The byte with the count, as in the shim.
const STARTS: u8 = 0x72;

/// Resets the count, once the kernel is up.
pub fn up() {
    if qemu::machine() == Machine::Qemu {
        CMOS.write8(INDEX, STARTS);
        CMOS.write8(DATA, 0);
    }
}
