//! Access to registers that the firmware names: in I/O space or in memory, at the requested width. AML's operation
//! regions and its PCI configuration regions end here, too.
//!
//! Refused are ports and writes that could make a device write to memory (`carapace_acpi::protected` lists them and argues
//! why no more), the kernel's own devices, and RAM that the kernel manages.
//!
//! Neighbours: `carapace_acpi::fadt` defines [`Register`]; `arch::port` and `memory::devices` do the access.

use crate::arch::port::{self, PortNumber, Ports};
use crate::drivers::pci::{self, Function};
use crate::drivers::{fw_cfg, serial};
use crate::memory::devices::{self, Caching, DeviceMapError};
use carapace_acpi::protected::{self, Protected};
use carapace_mm::addr::{PhysAddr, VirtAddr};
use core::fmt;

pub use carapace_acpi::fadt::Register;
pub use carapace_aml::Width;

/// Why a register cannot be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// I/O ports move one, two or four bytes at a time.
    PortWidth(PortNumber),
    /// The kernel uses the port itself.
    SerialLine(PortNumber),
    /// The port is QEMU's fw_cfg, which the kernel uses itself.
    FwCfg(PortNumber),
    /// The port could harm memory.
    Protected(PortNumber, Protected),
    /// Configuration space moves one, two or four bytes at a time, within a multiple of four.
    PciWidth(u8),
    /// The function would become a bus master.
    BusMaster(Function),
    /// The address cannot be mapped: it is RAM, for example.
    Map(PhysAddr, DeviceMapError),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterError::PortWidth(port) => write!(f, "I/O port {:#x} cannot move 8 bytes at once", port.0),
            RegisterError::SerialLine(port) => {
                write!(f, "I/O port {:#x} is the kernel's serial line", port.0)
            }
            RegisterError::FwCfg(port) => {
                write!(f, "I/O port {:#x} is QEMU's fw_cfg, the kernel's own", port.0)
            }
            RegisterError::Protected(port, Protected { name, .. }) => {
                write!(f, "I/O port {:#x} is refused: {name} could harm memory", port.0)
            }
            RegisterError::PciWidth(offset) => {
                write!(f, "PCI configuration space cannot move so many bytes at offset {offset:#x}")
            }
            RegisterError::BusMaster(Function { bus, device, function }) => {
                write!(f, "PCI function {bus:02x}:{device:02x}.{function} must not become a bus master")
            }
            RegisterError::Map(at, error) => write!(f, "register at {at}: {error}"),
        }
    }
}

/// Reading and writing a [`Register`].
pub trait Access {
    /// Reads the register.
    ///
    /// # Errors
    /// The register cannot be accessed at this width.
    fn read(self, width: Width) -> Result<u64, RegisterError>;

    /// Writes the low bytes of `value`.
    ///
    /// # Errors
    /// The register cannot be accessed at this width.
    fn write(self, width: Width, value: u64) -> Result<(), RegisterError>;

    /// The register's ports, for a driver that reads it often; `None` if it lies in memory or firmware may not use them.
    fn ports(self, count: u16) -> Option<Ports>;
}

impl Access for Register {
    fn read(self, width: Width) -> Result<u64, RegisterError> {
        match self {
            Register::Io(port) => read_port(PortNumber(port), width),
            Register::Memory(at) => Ok(read_memory(mapped(at, width)?, width)),
        }
    }

    fn write(self, width: Width, value: u64) -> Result<(), RegisterError> {
        match self {
            Register::Io(port) => write_port(PortNumber(port), width, value),
            Register::Memory(at) => {
                write_memory(mapped(at, width)?, width, value);
                Ok(())
            }
        }
    }

    fn ports(self, count: u16) -> Option<Ports> {
        match self {
            Register::Io(port) => ports(PortNumber(port), count).ok(),
            Register::Memory(_) => None,
        }
    }
}

/// The width for ports; `None` if they cannot move so much in one access.
const fn at_once(width: Width) -> Option<port::Width> {
    match width {
        Width::Bits8 => Some(port::Width::Byte),
        Width::Bits16 => Some(port::Width::Word),
        Width::Bits32 => Some(port::Width::DWord),
        Width::Bits64 => None,
    }
}

/// Reads a port, as [`Access::read`] does; without a case for memory it is short, and AML's regions are ports mostly.
///
/// # Errors
/// The port cannot be accessed at this width.
pub fn read_port(port: PortNumber, width: Width) -> Result<u64, RegisterError> {
    let width = at_once(width).ok_or(RegisterError::PortWidth(port))?;
    Ok(ports(port, width.bytes())?.read(0, width).into())
}

/// The counterpart of [`read_port`].
///
/// # Errors
/// The port cannot be accessed at this width.
pub fn write_port(port: PortNumber, width: Width, value: u64) -> Result<(), RegisterError> {
    let width = at_once(width).ok_or(RegisterError::PortWidth(port))?;
    ports(port, width.bytes())?.write(0, width, value as u32);
    Ok(())
}

/// The `count` ports from `first` on, unless firmware may not use them.
#[inline(never)] // an emulator translates each copy
fn ports(first: PortNumber, count: u16) -> Result<Ports, RegisterError> {
    if serial::owns(first, count.into()) {
        return Err(RegisterError::SerialLine(first));
    }
    if fw_cfg::owns(first, count.into()) {
        return Err(RegisterError::FwCfg(first));
    }
    if let Some(protected) = protected::port(first.0, count) {
        return Err(RegisterError::Protected(first, protected));
    }
    // SAFETY: by the argument at the head of `protected`. The DMA and interrupt controllers, PCI's configuration and
    // fw_cfg were just refused. The other ports belong to devices that are no bus masters, and so write to no memory, or
    // that the firmware, which names the port, made bus masters itself. Interrupts come by the IO APICs, at vectors with
    // gates.
    Ok(unsafe { Ports::new(first, count) })
}

/// The width of an access to configuration space at `offset`, if that can move so much in one access.
fn pci_width(offset: u8, width: Width) -> Result<port::Width, RegisterError> {
    let within = |width: &port::Width| u16::from(offset & 3) + width.bytes() <= 4;
    at_once(width).filter(within).ok_or(RegisterError::PciWidth(offset))
}

/// Reads a PCI function's configuration space.
///
/// # Errors
/// The access has no valid width.
pub fn read_pci(function: Function, offset: u8, width: Width) -> Result<u64, RegisterError> {
    Ok(pci::read(function, offset, pci_width(offset, width)?).into())
}

/// Writes the low bytes of `value` to a PCI function's configuration space.
///
/// # Errors
/// The access has no valid width, or the function would become a bus master.
pub fn write_pci(function: Function, offset: u8, width: Width, value: u64) -> Result<(), RegisterError> {
    let width = pci_width(offset, width)?;
    let command = pci::read(function, protected::COMMAND, port::Width::Word) as u16;
    if protected::turns_on_bus_mastering(offset, width.bytes(), value, command) {
        return Err(RegisterError::BusMaster(function));
    }
    // SAFETY: the write does not turn on bus mastering, so no device writes to memory after it that did not before.
    unsafe { pci::write(function, offset, width, value as u32) };
    Ok(())
}

/// Maps the register as device memory.
fn mapped(at: PhysAddr, width: Width) -> Result<VirtAddr, RegisterError> {
    devices::map(at, width.bytes().into(), Caching::Device).map_err(|error| RegisterError::Map(at, error))
}

/// One access if the address is a multiple of the width; else one per byte, the only defined way to access a field that
/// firmware placed there.
fn read_memory(at: VirtAddr, width: Width) -> u64 {
    let bytes = u64::from(width.bytes());
    if !at.0.is_multiple_of(bytes) {
        return (0..bytes)
            .fold(0, |value, byte| value | read_memory(at.offset(byte), Width::Bits8) << (8 * byte));
    }
    match width {
        Width::Bits8 => volatile_read::<u8>(at).into(),
        Width::Bits16 => volatile_read::<u16>(at).into(),
        Width::Bits32 => volatile_read::<u32>(at).into(),
        Width::Bits64 => volatile_read::<u64>(at),
    }
}

/// The counterpart of [`read_memory`].
fn write_memory(at: VirtAddr, width: Width, value: u64) {
    let bytes = u64::from(width.bytes());
    if !at.0.is_multiple_of(bytes) {
        (0..bytes).for_each(|byte| write_memory(at.offset(byte), Width::Bits8, value >> (8 * byte)));
        return;
    }
    match width {
        Width::Bits8 => volatile_write(at, value as u8),
        Width::Bits16 => volatile_write(at, value as u16),
        Width::Bits32 => volatile_write(at, value as u32),
        Width::Bits64 => volatile_write(at, value),
    }
}

fn volatile_read<T: Copy>(at: VirtAddr) -> T {
    // SAFETY: `mapped` made these bytes readable and writable permanently and refuses RAM that the kernel manages, so no
    // Rust object lies there; `read_memory` checked the alignment, and `T` is an integer. The access has the effect on
    // the device that the firmware's table asks for.
    unsafe { (at.0 as *const T).read_volatile() }
}

fn volatile_write<T: Copy>(at: VirtAddr, value: T) {
    // SAFETY: `mapped` made these bytes readable and writable permanently and refuses RAM that the kernel manages, so no
    // Rust object is changed; `write_memory` checked the alignment, and `T` is an integer. The write has the effect on
    // the device that the firmware's table asks for.
    unsafe { (at.0 as *mut T).write_volatile(value) }
}
