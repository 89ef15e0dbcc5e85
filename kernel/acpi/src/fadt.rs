//! The Fixed ACPI Description Table (ACPI 6.5, section 5.2.9): where the registers of events, power and reset are, and
//! where the DSDT.
//!
//! ```text
//!  bytes 0 to 115   ACPI 1.0: blocks as 32-bit I/O addresses, their lengths, flags
//!  from 116 on      later: the reset register; from revision 2 on the blocks again, each of 12 bytes:
//!                   space | width | offset | access size | 64-bit address
//! ```
//!
//! Old tables end early: what is missing reads as zero. Of a block that is named twice the longer address counts, unless
//! it is zero. Neighbour: the kernel's `acpi::fixed` uses the registers.

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::gpe::GpeBlock;
use carapace_mm::addr::PhysAddr;
use core::fmt;

/// Bytes of the FADT of ACPI 1.0.
const V1_BYTES: usize = 116;
/// The first revision with 64-bit addresses.
const LONG_REVISION: u8 = 2;
/// Where the flags are; and: the reset register is there, there is no fixed hardware at all.
const FLAGS: usize = 112;
const RESET_REG_SUP: u32 = 1 << 10;
const HW_REDUCED_ACPI: u32 = 1 << 20;
/// The one length that a PM timer has.
const PM_TIMER_BYTES: u8 = 4;

/// Where a register, or the first of a block, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// In I/O space.
    Io(u16),
    /// In memory.
    Memory(PhysAddr),
}

/// Why the table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FadtError {
    /// It ends after so many bytes.
    TooShort(usize),
    /// This register is in no space that the kernel knows.
    BadRegister(&'static str),
    /// The machine has no fixed hardware.
    Reduced,
}

impl fmt::Display for FadtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FadtError::TooShort(length) => write!(f, "FADT: it ends after {length} bytes"),
            FadtError::BadRegister(name) => write!(f, "FADT: {name} is in no I/O or memory space"),
            FadtError::Reduced => f.write_str("FADT: the machine has no fixed hardware"),
        }
    }
}

/// A block of event registers: as many bytes of status as of enable, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBlock {
    /// Its first byte.
    pub start: Address,
    /// Its bytes.
    pub bytes: u8,
}

/// A register, and what to write into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it is.
    pub at: Address,
    /// What goes there.
    pub value: u8,
}

/// A block of general-purpose events with its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpeRegisters {
    /// The first status byte.
    pub start: Address,
    /// Which events it has and where their bits are.
    pub block: GpeBlock,
}

/// What the table tells of fixed hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// The interrupt of ACPI events: an ISA interrupt where the machine has 8259s, else a global one.
    pub sci: u16,
    /// How to take over from the firmware; `None` where ACPI mode is on from the start.
    pub enable: Option<Command>,
    /// PM1a and PM1b events.
    pub pm1_event: [Option<EventBlock>; 2],
    /// PM1a and PM1b control.
    pub pm1_control: [Option<Address>; 2],
    /// The power-management timer.
    pub pm_timer: Option<Address>,
    /// The blocks GPE0 and GPE1.
    pub gpe: [Option<GpeRegisters>; 2],
    /// How to restart the machine.
    pub reset: Option<Command>,
}

/// Where the DSDT is; `None` where the table names none.
///
/// # Errors
/// The table is too short.
pub fn dsdt(table: &[u8]) -> Result<Option<PhysAddr>, FadtError> {
    let fields = Fields::of(table)?;
    let long = if fields.is_long() { u64_at(table, 140).unwrap_or(0) } else { 0 };
    let at = if long != 0 { long } else { fields.dword(40).into() };
    Ok((at != 0).then_some(PhysAddr(at)))
}

impl Fadt {
    /// Reads the table.
    ///
    /// # Errors
    /// It is too short, or a register is where none can be.
    pub fn read(table: &[u8]) -> Result<Fadt, FadtError> {
        let fields = Fields::of(table)?;
        let flags = fields.dword(FLAGS);
        if flags & HW_REDUCED_ACPI != 0 {
            return Err(FadtError::Reduced);
        }
        let block = |name, short, long| fields.block(name, short, long);
        let event = |name, short, long| {
            let start: Option<Address> = block(name, short, long)?;
            Ok(start.map(|start| EventBlock { start, bytes: fields.byte(88) }))
        };
        let gpe = |start: Option<Address>, bytes, base| {
            let (start, block) = start.zip(GpeBlock::new(base, bytes))?;
            Some(GpeRegisters { start, block })
        };
        let port = u16::try_from(fields.dword(48)).unwrap_or(0);
        let enable = Command { at: Address::Io(port), value: fields.byte(52) };
        // A machine that restarts otherwise is no reason to refuse the rest.
        let reset = fields.generic("RESET_REG", 116).ok().flatten();
        let reset = reset.map(|at| Command { at, value: fields.byte(128) });
        Ok(Fadt {
            sci: u16_at(table, 46).unwrap_or(0),
            enable: (port != 0 && enable.value != 0).then_some(enable),
            pm1_event: [event("PM1a_EVT_BLK", 56, 148)?, event("PM1b_EVT_BLK", 60, 160)?],
            pm1_control: [block("PM1a_CNT_BLK", 64, 172)?, block("PM1b_CNT_BLK", 68, 184)?],
            pm_timer: match fields.byte(91) {
                PM_TIMER_BYTES => block("PM_TMR_BLK", 76, 208)?,
                _ => None,
            },
            gpe: [
                gpe(block("GPE0_BLK", 80, 220)?, fields.byte(92), 0),
                gpe(block("GPE1_BLK", 84, 232)?, fields.byte(93), fields.byte(94).into()),
            ],
            reset: reset.filter(|_| flags & RESET_REG_SUP != 0),
        })
    }
}

/// The table's fields; what is behind its end is zero.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(table: &'a [u8]) -> Result<Fields<'a>, FadtError> {
        if table.len() < V1_BYTES {
            return Err(FadtError::TooShort(table.len()));
        }
        Ok(Fields(table))
    }

    fn byte(self, at: usize) -> u8 {
        u8_at(self.0, at).unwrap_or(0)
    }

    fn dword(self, at: usize) -> u32 {
        u32_at(self.0, at).unwrap_or(0)
    }

    fn is_long(self) -> bool {
        self.byte(8) >= LONG_REVISION
    }

    /// A block: its long address, else its short one; `None` where both are zero.
    fn block(self, name: &'static str, short: usize, long: usize) -> Result<Option<Address>, FadtError> {
        if self.is_long()
            && let Some(address) = self.generic(name, long)?
        {
            return Ok(Some(address));
        }
        match self.dword(short) {
            0 => Ok(None),
            port => Ok(Some(Address::Io(u16::try_from(port).map_err(|_| FadtError::BadRegister(name))?))),
        }
    }

    /// A generic address (section 5.2.3.2); `None` for address zero.
    fn generic(self, name: &'static str, at: usize) -> Result<Option<Address>, FadtError> {
        let bad = FadtError::BadRegister(name);
        let address = u64_at(self.0, at.saturating_add(4)).unwrap_or(0);
        match (address, self.byte(at)) {
            (0, _) => Ok(None),
            (_, 0) => Ok(Some(Address::Memory(PhysAddr(address)))),
            (_, 1) => Ok(Some(Address::Io(u16::try_from(address).map_err(|_| bad)?))),
            _ => Err(bad),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn table(length: usize, revision: u8, fields: &[(usize, u32)]) -> Vec<u8> {
        let mut table = vec![0; length];
        table[8] = revision;
        fields.iter().for_each(|&(at, value)| table[at..at + 4].copy_from_slice(&value.to_le_bytes()));
        table
    }

    /// QEMU's q35: revision 3, long addresses in I/O space. (The lengths of PM1 and the timer are in one word.)
    fn q35() -> Vec<u8> {
        let mut table = table(
            244,
            3,
            &[
                (40, 0x7fe0000),
                (46, 9),
                (48, 0xb2),
                (52, 0x0302),
                (56, 0x600),
                (64, 0x604),
                (76, 0x608),
                (80, 0x620),
                (88, 0x0400_0204),
                (92, 0x10),
                (FLAGS, RESET_REG_SUP | 0x84a5),
                (116, 0x0800_0801),
                (120, 0xcf9),
                (128, 0x0f),
            ],
        );
        for (at, port) in [(148, 0x600u32), (172, 0x604), (208, 0x608), (220, 0x620)] {
            table[at] = 1;
            table[at + 4..at + 8].copy_from_slice(&port.to_le_bytes());
        }
        table
    }

    /// Proves that every register of a table as QEMU makes it is found, and the DSDT.
    #[test]
    fn qemus_table_is_read() {
        let fadt = Fadt::read(&q35()).unwrap();
        let io = |port| Some(Address::Io(port));
        assert_eq!((fadt.sci, fadt.enable), (9, Some(Command { at: Address::Io(0xb2), value: 2 })));
        assert_eq!(fadt.pm1_event, [Some(EventBlock { start: Address::Io(0x600), bytes: 4 }), None]);
        assert_eq!((fadt.pm1_control, fadt.pm_timer), ([io(0x604), None], io(0x608)));
        let block = GpeBlock::new(0, 16).unwrap();
        assert_eq!(fadt.gpe, [Some(GpeRegisters { start: Address::Io(0x620), block }), None]);
        assert_eq!(fadt.reset, Some(Command { at: Address::Io(0xcf9), value: 0x0f }));
        assert_eq!(dsdt(&q35()), Ok(Some(PhysAddr(0x7fe0000))));
    }

    /// Proves that the short addresses count where the long ones are zero, missing, or of no revision that has them.
    #[test]
    fn short_addresses_are_the_fallback() {
        let long = q35();
        let cut = &long[..V1_BYTES];
        let mut old = long.clone();
        old[8] = 1;
        old[148 + 4] = 0x77;
        let mut zero = long.clone();
        zero[148 + 4..148 + 12].fill(0);
        for table in [cut, &old, &zero] {
            let fadt = Fadt::read(table).unwrap();
            assert_eq!(fadt.pm1_event[0].map(|block| block.start), Some(Address::Io(0x600)));
        }
        assert_eq!(Fadt::read(cut).unwrap().reset, None);
        let mut elsewhere = long;
        elsewhere[140..148].copy_from_slice(&0x1_2345_6000u64.to_le_bytes());
        assert_eq!(dsdt(&elsewhere), Ok(Some(PhysAddr(0x1_2345_6000))));
        elsewhere[8] = 1;
        assert_eq!(dsdt(&elsewhere), Ok(Some(PhysAddr(0x7fe0000))));
    }

    /// Proves that what the table does not say it has is not used, whatever stands in the fields of it: no restart
    /// without its flag, no timer of another length, no command without a port or a value; and that the second block of
    /// events has a length and a first event of its own.
    #[test]
    fn what_is_not_there_is_not_used() {
        let without = |at: usize| {
            let mut table = q35();
            table[at..at + 2].fill(0);
            Fadt::read(&table).unwrap()
        };
        assert_eq!(without(FLAGS).reset, None);
        assert_eq!((without(91).pm_timer, without(52).enable, without(48).enable), (None, None, None));
        assert_eq!(without(92).gpe, [None, None]);
        let mut second = q35();
        second[84..88].copy_from_slice(&0xafe0u32.to_le_bytes());
        (second[93], second[94]) = (4, 0x20);
        let block = GpeBlock::new(0x20, 4).unwrap();
        let gpe = GpeRegisters { start: Address::Io(0xafe0), block };
        assert_eq!(Fadt::read(&second).unwrap().gpe[1], Some(gpe));
    }

    /// Proves that registers in other spaces, or beyond the ports, are refused by name, but for the reset register.
    #[test]
    fn impossible_registers_are_refused() {
        let mut config_space = q35();
        config_space[220] = 2;
        assert_eq!(Fadt::read(&config_space), Err(FadtError::BadRegister("GPE0_BLK")));
        let mut high = q35();
        high[148 + 6] = 1;
        assert_eq!(Fadt::read(&high), Err(FadtError::BadRegister("PM1a_EVT_BLK")));
        let mut memory = q35();
        memory[208] = 0;
        assert_eq!(Fadt::read(&memory).unwrap().pm_timer, Some(Address::Memory(PhysAddr(0x608))));
        let mut reset = q35();
        reset[116] = 2;
        assert_eq!(Fadt::read(&reset).unwrap().reset, None);
        assert_eq!(Fadt::read(&table(200, 3, &[(FLAGS, HW_REDUCED_ACPI)])), Err(FadtError::Reduced));
        assert_eq!(Fadt::read(&[0; V1_BYTES - 1]), Err(FadtError::TooShort(115)));
        assert_eq!(dsdt(&[0; 40]), Err(FadtError::TooShort(40)));
        assert_eq!(dsdt(&[0; 250]), Ok(None));
    }
}
