//! Whether the machine is QEMU's. Its own devices (`fw_cfg`, `debug_exit`, `restart_guard`) have ports that mean anything or
//! nothing elsewhere: they are used only where this says so.
//!
//! The proof is one that any PC can be asked for without harm: the PCI devices that QEMU emulates have subsystem
//! 1af4:1100 (QEMU's docs/specs/pci-ids), the host bridge of `q35` and `pc` among them. The boot shim asks the same.

use super::pci::{self, Function};
use crate::arch::port::Width;
use core::sync::atomic::{AtomicBool, Ordering};

const HOST_BRIDGE: Function = Function { bus: 0, device: 0, function: 0 };
/// Subsystem vendor (low) and subsystem.
const SUBSYSTEM: u8 = 0x2c;
const QEMU: u32 = 0x1100_1af4;

/// Asked once: a fatal report must not disturb a configuration access that it interrupted.
static IN_QEMU: AtomicBool = AtomicBool::new(false);

/// Whose machine this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// QEMU's: its debug exit, its fw_cfg and its CMOS may be used.
    Qemu,
    /// Another's, or one that does not say.
    Other,
}

/// Looks whose machine this is.
pub fn init() {
    IN_QEMU.store(pci::read(HOST_BRIDGE, SUBSYSTEM, Width::DWord) == QEMU, Ordering::Relaxed);
}

/// Whose machine this is; another's before [`init`].
pub fn machine() -> Machine {
    if IN_QEMU.load(Ordering::Relaxed) { Machine::Qemu } else { Machine::Other }
}
