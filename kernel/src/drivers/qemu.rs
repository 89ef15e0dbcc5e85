//! Detects QEMU. The ports of QEMU's devices (`fw_cfg`, `debug_exit`, `restart_guard`) may have another meaning on other
//! machines, so they are used in QEMU only.
//!
//! The detection is harmless on any PC: QEMU's emulated PCI devices, including the host bridges of `q35` and `pc`, have
//! subsystem 1af4:1100 (QEMU's docs/specs/pci-ids). The boot shim does the same.

use super::pci::{self, Function};
use crate::arch::port::Width;
use core::sync::atomic::{AtomicBool, Ordering};

const HOST_BRIDGE: Function = Function { bus: 0, device: 0, function: 0 };
/// Subsystem vendor (low) and subsystem.
const SUBSYSTEM: u8 = 0x2c;
const QEMU: u32 = 0x1100_1af4;

/// Cached: a fatal report must not disturb a configuration access that it interrupted.
static IN_QEMU: AtomicBool = AtomicBool::new(false);

/// The kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// QEMU: its debug exit, fw_cfg and CMOS may be used.
    Qemu,
    /// Another or unknown machine.
    Other,
}

/// Detects the machine.
pub fn init() {
    IN_QEMU.store(pci::read(HOST_BRIDGE, SUBSYSTEM, Width::DWord) == QEMU, Ordering::Relaxed);
}

/// The machine; [`Machine::Other`] before [`init`].
pub fn machine() -> Machine {
    if IN_QEMU.load(Ordering::Relaxed) { Machine::Qemu } else { Machine::Other }
}
