//! PCI's configuration space by mechanism #1 (PCI Local Bus 3.0, section 3.2.2.3.2), which every PC has.
//!
//! ```text
//!  0xcf8 (32 bits): 1 | bus | device | function | register     0xcfc..0xd00: the four bytes chosen by it
//! ```
//!
//! Neighbours: `qemu` reads one register, `acpi::register` serves AML's PCI_Config regions.

use crate::arch::port::{PortNumber, Ports, Width};

// SAFETY: the address register only selects the configuration register behind the data register.
const ADDRESS: Ports = unsafe { Ports::new(PortNumber(0xcf8), 4) };
// SAFETY: the data register accesses a device's configuration. Reading it changes no memory. Only `write` writes it, whose
// caller promises that the value is harmless.
const DATA: Ports = unsafe { Ports::new(PortNumber(0xcfc), 4) };

/// A function of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The bus.
    pub bus: u8,
    /// The device on it, 0 to 31.
    pub device: u8,
    /// Its function, 0 to 7.
    pub function: u8,
}

fn select(function: Function, offset: u8) {
    let Function { bus, device, function } = function;
    let place = u32::from(bus) << 16 | u32::from(device & 0x1f) << 11 | u32::from(function & 7) << 8;
    ADDRESS.write(0, Width::DWord, 1 << 31 | place | u32::from(offset & 0xfc));
}

/// Reads at `offset`. Returns all ones if there is no such function, or the access crosses a multiple of four.
pub fn read(function: Function, offset: u8, width: Width) -> u32 {
    select(function, offset);
    DATA.read(u16::from(offset & 3), width)
}

/// Writes at `offset`. Does nothing if the access crosses a multiple of four.
///
/// # Safety
///
/// The write makes no device write to memory of the kernel. In particular it does not turn on bus mastering.
pub unsafe fn write(function: Function, offset: u8, width: Width, value: u32) {
    select(function, offset);
    DATA.write(u16::from(offset & 3), width, value);
}
