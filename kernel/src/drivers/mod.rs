//! Devices of a PC and of QEMU that the kernel drives itself, each by its ports.
//!
//! ```text
//!  serial          COM1: console and log; COM2: the second line, for programs
//!  pci             configuration space
//!  mmio            device registers in memory
//!  qemu            whether this is QEMU's machine; only then:
//!    fw_cfg          files from QEMU's command line
//!    debug_exit      ends QEMU with a status
//!    restart_guard   the count of starts in CMOS RAM
//! ```
//!
//! Neighbours: `arch` has ports and interrupts; everything above writes to `serial`.

pub mod debug_exit;
pub mod fw_cfg;
pub mod mmio;
pub mod pci;
pub mod qemu;
pub mod restart_guard;
pub mod serial;
