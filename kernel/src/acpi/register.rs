//! Access to registers that the firmware names: in I/O space or in memory, at the requested width. AML's operation
//! regions end here, too.
//!
//! Neighbours: `carapace_acpi::fadt` defines [`Register`]; `arch::port` and `memory::devices` do the access.

use crate::arch::port::{self, PortNumber};
use crate::arch::serial;
use crate::memory::devices::{self, Caching, DeviceMapError};
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
}

/// The I/O port, unless the kernel's own serial line uses it.
fn usable(port: u16, width: Width) -> Result<PortNumber, RegisterError> {
    let port = PortNumber(port);
    if serial::owns(port, width.bytes().into()) { Err(RegisterError::SerialLine(port)) } else { Ok(port) }
}

impl Access for Register {
    fn read(self, width: Width) -> Result<u64, RegisterError> {
        match self {
            Register::Io(port) => {
                let port = usable(port, width)?;
                Ok(match width {
                    Width::Bits8 => port::read8(port).into(),
                    Width::Bits16 => port::read16(port).into(),
                    Width::Bits32 => port::read32(port).into(),
                    Width::Bits64 => return Err(RegisterError::PortWidth(port)),
                })
            }
            Register::Memory(at) => Ok(read_memory(mapped(at, width)?, width)),
        }
    }

    fn write(self, width: Width, value: u64) -> Result<(), RegisterError> {
        match self {
            Register::Io(port) => {
                let port = usable(port, width)?;
                match width {
                    Width::Bits8 => port::write8(port, value as u8),
                    Width::Bits16 => port::write16(port, value as u16),
                    Width::Bits32 => port::write32(port, value as u32),
                    Width::Bits64 => return Err(RegisterError::PortWidth(port)),
                }
            }
            Register::Memory(at) => write_memory(mapped(at, width)?, width, value),
        }
        Ok(())
    }
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
    // SAFETY: `mapped` made these bytes readable and writable for ever and refuses RAM that the kernel manages, so no
    // Rust object lies there; `read_memory` checked the alignment, and `T` is an integer. The access has the effect on
    // the device that the firmware's table asks for.
    unsafe { (at.0 as *const T).read_volatile() }
}

fn volatile_write<T: Copy>(at: VirtAddr, value: T) {
    // SAFETY: as for `volatile_read`; `write_memory` checked the alignment.
    unsafe { (at.0 as *mut T).write_volatile(value) }
}
