//! Fixed hardware as the FADT describes it (ACPI 6.5, sections 4.8.3 and 5.2.9): the event, control and reset registers
//! in the form that they are read and written in. Where they are crate `carapace-acpi` finds out, and what they mean is in
//! `gpe` and `sleep`.

use super::register::Register;
use crate::arch::port::PortNumber;
use carapace_acpi::fadt::{Address, Command, EventBlock, Fadt};
use carapace_acpi::gpe::GpeBlock;

/// How to ask the firmware for the fixed hardware (section 4.8.2.5).
#[derive(Clone, Copy, Debug)]
pub struct AcpiEnable {
    /// The port the value goes to.
    pub port: PortNumber,
    /// The value.
    pub value: u8,
}

/// How to restart the machine (section 4.8.3.6).
#[derive(Clone, Copy, Debug)]
pub struct Reset {
    /// The register the value goes to.
    pub register: Register,
    /// The value.
    pub value: u8,
}

/// A PM1 event block: status and enable registers.
#[derive(Clone, Copy, Debug)]
pub struct Pm1Event {
    /// The status register; the enable register lies half the block's length behind.
    pub status: Register,
    /// The enable register.
    pub enable: Register,
}

/// A block of general-purpose events with its registers.
#[derive(Clone, Copy, Debug)]
pub struct GpeRegisters {
    /// The first status byte.
    pub first: Register,
    /// Which events it has and where their bits are.
    pub block: GpeBlock,
}

/// Fixed hardware.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// The interrupt of ACPI events: an ISA interrupt where the machine has 8259s, else a global one.
    pub sci: u16,
    /// How to take over from the firmware; `None` where ACPI mode is on from the start.
    pub enable: Option<AcpiEnable>,
    /// PM1a and PM1b events.
    pub pm1_event: [Option<Pm1Event>; 2],
    /// PM1a and PM1b control.
    pub pm1_control: [Option<Register>; 2],
    /// The power-management timer: 3.579545 MHz, at least 24 bits.
    pub pm_timer: Option<Register>,
    /// The blocks GPE0 and GPE1.
    pub gpe: [Option<GpeRegisters>; 2],
    /// The reset register.
    pub reset: Option<Reset>,
}

impl From<Address> for Register {
    fn from(address: Address) -> Register {
        match address {
            Address::Io(port) => Register::Io(PortNumber(port)),
            Address::Memory(at) => Register::Memory(at),
        }
    }
}

impl From<Fadt> for Fixed {
    fn from(fadt: Fadt) -> Fixed {
        let event = |block: EventBlock| {
            let status = Register::from(block.start);
            Pm1Event { status, enable: status.offset(u64::from(block.bytes / 2)) }
        };
        let enable = |command: Command| match command.at {
            Address::Io(port) => Some(AcpiEnable { port: PortNumber(port), value: command.value }),
            Address::Memory(_) => None,
        };
        let gpe = |block: carapace_acpi::fadt::GpeRegisters| GpeRegisters {
            first: block.start.into(),
            block: block.block,
        };
        Fixed {
            sci: fadt.sci,
            enable: fadt.enable.and_then(enable),
            pm1_event: fadt.pm1_event.map(|block| block.map(event)),
            pm1_control: fadt.pm1_control.map(|address| address.map(Register::from)),
            pm_timer: fadt.pm_timer.map(Register::from),
            gpe: fadt.gpe.map(|block| block.map(gpe)),
            reset: fadt.reset.map(|command| Reset { register: command.at.into(), value: command.value }),
        }
    }
}
