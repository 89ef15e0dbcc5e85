//! Fixed hardware as the FADT describes it (ACPI 6.5, sections 4.8.3 and 5.2.9): where the event,
//! control and reset registers are. What they mean is in `gpe`, `sleep` and crate `firmware`.
//!
//! Crate `acpi` chooses between the 32-bit and the 64-bit address of each block; the blocks' lengths are
//! taken from the table's bytes, since the crate counts their bits in a byte and 32 bytes are no rarity.

use super::register::Register;
use super::tables::{Signature, Table, TableError};
use crate::arch::port::PortNumber;
use acpi::AcpiError;
use acpi::address::{AddressSpace, GenericAddress};
use acpi::fadt::Fadt;
use core::mem::size_of;
use firmware::bytes;
use firmware::gpe::GpeBlock;
use mm::addr::PhysAddr;

/// Bytes of the FADT of ACPI 1.0; later ones are longer.
const FADT_V1_BYTES: u32 = 116;
/// Offsets of the blocks' lengths and of what crate `acpi` keeps to itself.
const PM1_EVENT_LENGTH: usize = 88;
const GPE0_LENGTH: usize = 92;
const GPE1_LENGTH: usize = 93;
/// FADT flag: the reset register is there; and: no fixed hardware at all.
const FLAGS: usize = 112;
const RESET_REG_SUP: u32 = 1 << 10;
const HW_REDUCED_ACPI: u32 = 1 << 20;

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

impl Fixed {
    /// Reads the FADT.
    pub fn read(table: &Table) -> Result<Fixed, TableError> {
        let (fadt, raw) = padded(table)?;
        let at = |name, address: Result<GenericAddress, AcpiError>| register(name, address.map(Some));
        let event_bytes = raw[PM1_EVENT_LENGTH];
        let event = |register: Option<Register>| {
            register.map(|status| Pm1Event { status, enable: status.offset(u64::from(event_bytes / 2)) })
        };
        let gpe = |register: Option<Register>, bytes: u8, base: u16| {
            let block = GpeBlock::new(base, bytes);
            register.zip(block).map(|(first, block)| GpeRegisters { first, block })
        };
        let flags = bytes::u32_at(&raw, FLAGS).unwrap_or_default();
        if flags & HW_REDUCED_ACPI != 0 {
            return Err(TableError::BadRegister("fixed hardware (the machine has none)"));
        }
        let reset = match register("RESET_REG", fadt.reset_register().map(Some)) {
            Ok(Some(register)) if flags & RESET_REG_SUP != 0 => {
                Some(Reset { register, value: fadt.reset_value })
            }
            _ => None,
        };
        let port = PortNumber(u16::try_from(fadt.smi_cmd_port).unwrap_or(0));
        let enable = AcpiEnable { port, value: fadt.acpi_enable };
        Ok(Fixed {
            sci: fadt.sci_interrupt,
            enable: (enable.port.0 != 0 && enable.value != 0).then_some(enable),
            pm1_event: [
                event(at("PM1a_EVT_BLK", fadt.pm1a_event_block())?),
                event(register("PM1b_EVT_BLK", fadt.pm1b_event_block())?),
            ],
            pm1_control: [
                at("PM1a_CNT_BLK", fadt.pm1a_control_block())?,
                register("PM1b_CNT_BLK", fadt.pm1b_control_block())?,
            ],
            pm_timer: register("PM_TMR_BLK", fadt.pm_timer_block())?,
            gpe: [
                gpe(register("GPE0_BLK", fadt.gpe0_block())?, raw[GPE0_LENGTH], 0),
                gpe(register("GPE1_BLK", fadt.gpe1_block())?, raw[GPE1_LENGTH], fadt.gpe1_base.into()),
            ],
            reset,
        })
    }
}

/// The physical address of the DSDT.
pub fn dsdt_address(table: &Table) -> Result<PhysAddr, TableError> {
    let (fadt, _) = padded(table)?;
    fadt.dsdt_address().map(|at| PhysAddr(at as u64)).map_err(|_| TableError::Missing(Signature::DSDT))
}

/// The FADT and its bytes. Old tables are shorter than the type that crate `acpi` reads them as, and
/// it looks at some late fields without asking for the revision: what is missing reads as zero.
fn padded(table: &Table) -> Result<(Fadt, [u8; size_of::<Fadt>()]), TableError> {
    if table.length < FADT_V1_BYTES {
        return Err(TableError::TooShort(Signature::FADT, table.length));
    }
    let mut padded = [0; size_of::<Fadt>()];
    padded.iter_mut().zip(table.bytes()).for_each(|(to, from)| *to = *from);
    // SAFETY: the array has the type's size; the type is packed and made of integers (and of
    // `MaybeUninit`s of such), for which any bytes are a value.
    let fadt = unsafe { padded.as_ptr().cast::<Fadt>().read_unaligned() };
    Ok((fadt, padded))
}

/// The register at a generic address; `None` for address zero, which means that there is none.
fn register(
    name: &'static str,
    address: Result<Option<GenericAddress>, AcpiError>,
) -> Result<Option<Register>, TableError> {
    let bad = TableError::BadRegister(name);
    match address.map_err(|_| bad)? {
        None => Ok(None),
        Some(address) if address.address == 0 => Ok(None),
        Some(GenericAddress { address_space: AddressSpace::SystemIo, address, .. }) => {
            u16::try_from(address).map(|port| Some(Register::Io(PortNumber(port)))).map_err(|_| bad)
        }
        Some(GenericAddress { address_space: AddressSpace::SystemMemory, address, .. }) => {
            Ok(Some(Register::Memory(PhysAddr(address))))
        }
        Some(_) => Err(bad),
    }
}
