//! PCI's configuration space: by mechanism #1 (PCI Local Bus 3.0, section 3.2.2.3.2), which every PC has, and in memory
//! (ECAM) where the firmware describes it.
//!
//! ```text
//!  0xcf8 (32 bits): 1 | bus | device | function | register     0xcfc..0xd00: the four bytes chosen by it
//!  ECAM: 1 MiB a bus, 4 KiB a function
//! ```
//!
//! Neighbours: `qemu` reads one register, `acpi::register` serves AML's PCI_Config regions, `virtio` looks for devices.

use super::mmio::Mmio;
use crate::arch::port::{PortNumber, Ports, Width};
use carapace_acpi::mcfg::{BUS_BYTES, Mcfg};
use core::fmt;

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

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Function { bus, device, function } = self;
        write!(f, "{bus:02x}:{device:02x}.{function}")
    }
}

/// Vendor and device in register 0 of a function that is absent.
const ABSENT: u32 = u32::MAX;
/// Register with the header type, in bits 16 to 23: bit 7 for several functions; type 1 is a bridge.
const HEADER: u8 = 0x0c;
/// A bridge's register with its buses: the secondary one in bits 8 to 15.
const BUSES: u8 = 0x18;
/// The most buses that are searched.
const MAX_BUSES: usize = 64;

/// How a bus is accessed.
#[derive(Clone, Copy, Debug)]
pub struct Bus {
    memory: Option<Mmio>,
}

impl Bus {
    fn new(number: u8, mcfg: Option<Mcfg<'_>>) -> Bus {
        let at = mcfg.and_then(|mcfg| mcfg.bus(number));
        // SAFETY: this is the configuration space of a bus, for which the contract of `write` holds: only `write`, whose caller
        // promises that the value is harmless, writes to it.
        let memory = at.and_then(|at| unsafe { Mmio::map(at, BUS_BYTES) }.ok());
        Bus { memory }
    }

    /// Whether it is accessed in memory.
    pub fn is_mapped(&self) -> bool {
        self.memory.is_some()
    }

    fn place(at: Function, offset: u8) -> u64 {
        u64::from(at.device & 0x1f) << 15 | u64::from(at.function & 7) << 12 | u64::from(offset & 0xfc)
    }

    /// Reads the aligned 32-bit register of a function of this bus.
    pub fn read(&self, at: Function, offset: u8) -> u32 {
        match &self.memory {
            Some(memory) => memory.read(Bus::place(at, offset)),
            None => read(at, offset & 0xfc, Width::DWord),
        }
    }

    /// Writes the aligned 32-bit register of a function of this bus.
    ///
    /// # Safety
    ///
    /// As for [`write()`]; a device whose bus mastering is turned on writes only to memory that its driver gave to it.
    pub unsafe fn write(&self, at: Function, offset: u8, value: u32) {
        match &self.memory {
            Some(memory) => memory.write(Bus::place(at, offset), value),
            // SAFETY: the caller promises what `write` asks for; the offset is that of a whole register.
            None => unsafe { write(at, offset & 0xfc, Width::DWord, value) },
        }
    }
}

/// Calls `each` with every function of bus 0 and of the buses behind bridges, and what its register 0 says.
pub fn each_function(mcfg: Option<Mcfg<'_>>, each: &mut dyn FnMut(Bus, Function, u32)) {
    let mut buses = arrayvec::ArrayVec::<u8, MAX_BUSES>::new();
    buses.push(0);
    let mut next = 0;
    while let Some(&number) = buses.get(next) {
        next += 1;
        let bus = Bus::new(number, mcfg);
        for device in 0..32 {
            let mut functions = 1;
            let mut function = 0;
            while function < functions {
                let at = Function { bus: number, device, function };
                function += 1;
                let id = bus.read(at, 0);
                if id == ABSENT {
                    continue;
                }
                let header = bus.read(at, HEADER) >> 16;
                if at.function == 0 && header & 0x80 != 0 {
                    functions = 8;
                }
                if header & 0x7f == 1 {
                    let secondary = (bus.read(at, BUSES) >> 8) as u8;
                    if !buses.contains(&secondary) {
                        // More buses than are searched are left out.
                        let _ = buses.try_push(secondary);
                    }
                }
                each(bus, at, id);
            }
        }
    }
}
