//! Registers that firmware names: in I/O space or in memory, read and written at the width asked for.
//! AML's operation regions end here too.

use crate::arch::port::{self, PortNumber};
use crate::arch::serial;
use crate::memory::devices::{self, Caching, DeviceMapError};
use carapace_mm::addr::{PhysAddr, VirtAddr};
use core::fmt;

/// A register, or the first of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// At an I/O port.
    Io(PortNumber),
    /// At a physical address.
    Memory(PhysAddr),
}

/// How many bytes one access moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    DWord,
    /// Eight bytes.
    QWord,
}

impl Width {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Width::Byte => 1,
            Width::Word => 2,
            Width::DWord => 4,
            Width::QWord => 8,
        }
    }
}

/// Why a register cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// I/O ports move one, two or four bytes at a time.
    PortWidth(PortNumber),
    /// The kernel uses the port itself.
    SerialLine(PortNumber),
    /// The memory cannot be mapped: it is RAM, for example.
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

impl Register {
    /// The register `bytes` further up.
    pub const fn offset(self, bytes: u64) -> Register {
        match self {
            Register::Io(port) => Register::Io(port.offset(bytes as u16)),
            Register::Memory(at) => Register::Memory(PhysAddr(at.0.wrapping_add(bytes))),
        }
    }

    /// What it holds.
    pub fn read(self, width: Width) -> Result<u64, RegisterError> {
        match self {
            Register::Io(port) if serial::owns(port, width.bytes()) => Err(RegisterError::SerialLine(port)),
            Register::Io(port) => Ok(match width {
                Width::Byte => port::read8(port).into(),
                Width::Word => port::read16(port).into(),
                Width::DWord => port::read32(port).into(),
                Width::QWord => return Err(RegisterError::PortWidth(port)),
            }),
            Register::Memory(at) => Ok(read_memory(mapped(at, width)?, width)),
        }
    }

    /// Makes it hold the low bytes of `value`.
    pub fn write(self, width: Width, value: u64) -> Result<(), RegisterError> {
        match self {
            Register::Io(port) if serial::owns(port, width.bytes()) => {
                return Err(RegisterError::SerialLine(port));
            }
            Register::Io(port) => match width {
                Width::Byte => port::write8(port, value as u8),
                Width::Word => port::write16(port, value as u16),
                Width::DWord => port::write32(port, value as u32),
                Width::QWord => return Err(RegisterError::PortWidth(port)),
            },
            Register::Memory(at) => write_memory(mapped(at, width)?, width, value),
        }
        Ok(())
    }
}

/// Where the register's bytes are mapped, as device memory.
fn mapped(at: PhysAddr, width: Width) -> Result<VirtAddr, RegisterError> {
    devices::map(at, width.bytes(), Caching::Device).map_err(|error| RegisterError::Map(at, error))
}

/// One access where the address is a multiple of the width; else byte by byte, as firmware that
/// puts a field there must expect.
fn read_memory(at: VirtAddr, width: Width) -> u64 {
    if !at.0.is_multiple_of(width.bytes()) {
        return (0..width.bytes())
            .fold(0, |value, byte| value | read_memory(at.offset(byte), Width::Byte) << (8 * byte));
    }
    match width {
        Width::Byte => volatile_read::<u8>(at).into(),
        Width::Word => volatile_read::<u16>(at).into(),
        Width::DWord => volatile_read::<u32>(at).into(),
        Width::QWord => volatile_read::<u64>(at),
    }
}

/// The counterpart of [`read_memory`].
fn write_memory(at: VirtAddr, width: Width, value: u64) {
    if !at.0.is_multiple_of(width.bytes()) {
        (0..width.bytes()).for_each(|byte| write_memory(at.offset(byte), Width::Byte, value >> (8 * byte)));
        return;
    }
    match width {
        Width::Byte => volatile_write(at, value as u8),
        Width::Word => volatile_write(at, value as u16),
        Width::DWord => volatile_write(at, value as u32),
        Width::QWord => volatile_write(at, value),
    }
}

fn volatile_read<T: Copy>(at: VirtAddr) -> T {
    // SAFETY: `mapped` made these bytes readable and writable for ever, refusing RAM that the kernel
    // manages, so no Rust object lies there; `read_memory` looked at the alignment, and `T` is an
    // integer. What the access does to a device is what the firmware's table asks for.
    unsafe { (at.0 as *const T).read_volatile() }
}

fn volatile_write<T: Copy>(at: VirtAddr, value: T) {
    // SAFETY: as for `volatile_read`.
    unsafe { (at.0 as *mut T).write_volatile(value) }
}
