//! The Fixed ACPI Description Table (ACPI 6.5, section 5.2.9): the registers of events, power and reset, and the address
//! of the DSDT.
//!
//! ```text
//!  bytes 0 to 115   ACPI 1.0: blocks as 32-bit I/O addresses, their lengths, flags
//!  from 116 on      later: the reset register; from revision 2 on the blocks again, each of 12 bytes:
//!                   space | width | offset | access size | 64-bit address
//! ```
//!
//! Old tables end early: missing fields read as zero. A block with both addresses has the 64-bit one, unless that is
//! zero. Neighbours: the kernel's `acpi::register` accesses the registers, `acpi::{events, gpe, sleep}` use them.

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::gpe::GpeBlock;
use carapace_mm::addr::PhysAddr;
use core::fmt;

/// Bytes of the FADT of ACPI 1.0.
const V1_BYTES: usize = 116;
/// The first revision with 64-bit addresses.
const LONG_REVISION: u8 = 2;
/// The offset of the flags; the flags "the reset register is supported" and "there is no fixed hardware".
const FLAGS: usize = 112;
const RESET_REG_SUP: u32 = 1 << 10;
const HW_REDUCED_ACPI: u32 = 1 << 20;
/// The length of every PM timer.
const PM_TIMER_BYTES: u8 = 4;

/// The address of a register, or of the first register of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// An I/O port.
    Io(u16),
    /// A physical address.
    Memory(PhysAddr),
}

impl Register {
    /// The register `bytes` after this one.
    pub const fn offset(self, bytes: u64) -> Register {
        match self {
            Register::Io(port) => Register::Io(port.wrapping_add(bytes as u16)),
            Register::Memory(at) => Register::Memory(PhysAddr(at.0.wrapping_add(bytes))),
        }
    }
}

/// Why the table is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FadtError {
    /// It has only so many bytes.
    TooShort(usize),
    /// This register is neither in I/O space nor in memory.
    BadRegister(&'static str),
}

impl fmt::Display for FadtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FadtError::TooShort(length) => write!(f, "FADT: too short ({length} bytes)"),
            FadtError::BadRegister(name) => write!(f, "FADT: {name} is neither in I/O space nor in memory"),
        }
    }
}

/// A PM1 event block: the status register, then the enable register, each half of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBlock {
    /// The status register.
    pub status: Register,
    /// Bytes of the block.
    pub bytes: u8,
}

impl EventBlock {
    /// The enable register.
    pub const fn enable(self) -> Register {
        self.status.offset((self.bytes / 2) as u64)
    }
}

/// A register and the value that triggers its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The register.
    pub register: Register,
    /// The value to write.
    pub value: u8,
}

/// A block of general-purpose events with its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpeRegisters {
    /// The first status register.
    pub first: Register,
    /// The block's events and the bit of each.
    pub block: GpeBlock,
}

/// Whether the machine has fixed hardware (section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardware {
    /// It has: PM1, GPEs, the SCI and the PM timer.
    Fixed,
    /// It has none of these, whatever the table says about them. The DSDT, the reset register and the sleep registers are
    /// as on any machine; events come from generic event devices.
    Reduced,
}

/// The machine's fixed hardware, and what replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// The interrupt of ACPI events: an ISA interrupt if the machine has 8259s, else a global one.
    pub sci: u16,
    /// Switches to ACPI mode (section 4.8.2.5), always by an I/O port; `None` if ACPI mode is always on.
    pub enable: Option<Command>,
    /// PM1a and PM1b events.
    pub pm1_event: [Option<EventBlock>; 2],
    /// PM1a and PM1b control.
    pub pm1_control: [Option<Register>; 2],
    /// The power-management timer: 3.579545 MHz, at least 24 bits.
    pub pm_timer: Option<Register>,
    /// The blocks GPE0 and GPE1.
    pub gpe: [Option<GpeRegisters>; 2],
    /// Resets the machine (section 4.8.3.6).
    pub reset: Option<Command>,
    /// The sleep control register (section 4.8.3.7), instead of PM1 control on a reduced machine.
    pub sleep_control: Option<Register>,
    /// The sleep status register.
    pub sleep_status: Option<Register>,
    /// Whether the fields for events, PM1 and the timer apply; they are `None` if not.
    pub hardware: Hardware,
}

/// The address of the DSDT; `None` if the table has none.
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
    /// It is too short, or a register is at an impossible address.
    pub fn read(table: &[u8]) -> Result<Fadt, FadtError> {
        let fields = Fields::of(table)?;
        let flags = fields.dword(FLAGS);
        let block = |name, short, long| fields.block(name, short, long);
        let event = |name, short, long| {
            let status: Option<Register> = block(name, short, long)?;
            Ok(status.map(|status| EventBlock { status, bytes: fields.byte(88) }))
        };
        let gpe = |first: Option<Register>, bytes, base| {
            let (first, block) = first.zip(GpeBlock::new(base, bytes))?;
            Some(GpeRegisters { first, block })
        };
        let port = u16::try_from(fields.dword(48)).unwrap_or(0);
        let enable = Command { register: Register::Io(port), value: fields.byte(52) };
        // An unknown kind of reset register is ignored: the rest of the table is usable.
        let reset = fields.generic("RESET_REG", 116).ok().flatten();
        let reset = reset.map(|register| Command { register, value: fields.byte(128) });
        let reset = reset.filter(|_| flags & RESET_REG_SUP != 0);
        let sleep = |name, at| fields.generic(name, at).ok().flatten();
        let (sleep_control, sleep_status) = (sleep("SLEEP_CONTROL_REG", 244), sleep("SLEEP_STATUS_REG", 256));
        if flags & HW_REDUCED_ACPI != 0 {
            return Ok(Fadt {
                sci: 0,
                enable: None,
                pm1_event: [None; 2],
                pm1_control: [None; 2],
                pm_timer: None,
                gpe: [None; 2],
                reset,
                sleep_control,
                sleep_status,
                hardware: Hardware::Reduced,
            });
        }
        Ok(Fadt {
            sci: u16_at(table, 46).unwrap_or(0),
            enable: (port != 0 && enable.value != 0).then_some(enable),
            pm1_event: [event("PM1a_EVT_BLK", 56, 148)?, event("PM1b_EVT_BLK", 60, 160)?],
            pm1_control: [block("PM1a_CNT_BLK", 64, 172)?, block("PM1b_CNT_BLK", 68, 184)?],
            pm_timer: match fields.byte(91) {
                // Nothing depends on it.
                PM_TIMER_BYTES => block("PM_TMR_BLK", 76, 208).ok().flatten(),
                _ => None,
            },
            gpe: [
                gpe(block("GPE0_BLK", 80, 220)?, fields.byte(92), 0),
                gpe(block("GPE1_BLK", 84, 232)?, fields.byte(93), fields.byte(94).into()),
            ],
            reset,
            sleep_control,
            sleep_status,
            hardware: Hardware::Fixed,
        })
    }
}

/// The table's fields; fields beyond its end are zero.
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

    /// The address of a block: the 64-bit one, else, or where that is impossible, the 32-bit one; `None` if both are zero.
    fn block(self, name: &'static str, short: usize, long: usize) -> Result<Option<Register>, FadtError> {
        let long = if self.is_long() { self.generic(name, long) } else { Ok(None) };
        match (long, self.dword(short)) {
            (Ok(Some(address)), _) => Ok(Some(address)),
            (long, 0) => long,
            (_, port) => {
                let port = u16::try_from(port).map_err(|_| FadtError::BadRegister(name))?;
                Ok(Some(Register::Io(port)))
            }
        }
    }

    /// A generic address (section 5.2.3.2); `None` for address zero.
    fn generic(self, name: &'static str, at: usize) -> Result<Option<Register>, FadtError> {
        let bad = FadtError::BadRegister(name);
        let address = u64_at(self.0, at.saturating_add(4)).unwrap_or(0);
        match (address, self.byte(at)) {
            (0, _) => Ok(None),
            (_, 0) => Ok(Some(Register::Memory(PhysAddr(address)))),
            (_, 1) => Ok(Some(Register::Io(u16::try_from(address).map_err(|_| bad)?))),
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

    /// QEMU's q35: revision 3, 64-bit addresses in I/O space. (The lengths of PM1 and the timer are in one word.)
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

    /// Proves that every register of a table as QEMU makes it is read, and the DSDT. Fails when an offset is wrong.
    #[test]
    fn qemus_table_is_read() {
        let fadt = Fadt::read(&q35()).unwrap();
        let io = |port| Some(Register::Io(port));
        assert_eq!((fadt.sci, fadt.enable), (9, Some(Command { register: Register::Io(0xb2), value: 2 })));
        assert_eq!(fadt.pm1_event, [Some(EventBlock { status: Register::Io(0x600), bytes: 4 }), None]);
        assert_eq!(fadt.pm1_event[0].unwrap().enable(), Register::Io(0x602));
        assert_eq!((fadt.pm1_control, fadt.pm_timer), ([io(0x604), None], io(0x608)));
        let block = GpeBlock::new(0, 16).unwrap();
        assert_eq!(fadt.gpe, [Some(GpeRegisters { first: Register::Io(0x620), block }), None]);
        assert_eq!(fadt.reset, Some(Command { register: Register::Io(0xcf9), value: 0x0f }));
        assert_eq!(dsdt(&q35()), Ok(Some(PhysAddr(0x7fe0000))));
    }

    /// Proves that the 32-bit addresses are used where the 64-bit ones are zero, missing, or not defined in the table's
    /// revision. Fails when an old machine's registers are not found.
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
            assert_eq!(fadt.pm1_event[0].map(|block| block.status), Some(Register::Io(0x600)));
        }
        assert_eq!(Fadt::read(cut).unwrap().reset, None);
        let mut elsewhere = long;
        elsewhere[140..148].copy_from_slice(&0x1_2345_6000u64.to_le_bytes());
        assert_eq!(dsdt(&elsewhere), Ok(Some(PhysAddr(0x1_2345_6000))));
        elsewhere[8] = 1;
        assert_eq!(dsdt(&elsewhere), Ok(Some(PhysAddr(0x7fe0000))));
    }

    /// Proves that absent hardware is not used, whatever its fields contain: no reset register without its flag, no timer
    /// of another length, no command without a port or a value; and that the second GPE block has its own length and
    /// first event. Fails when the kernel would write to a register that the machine does not have.
    #[test]
    fn absent_hardware_is_not_used() {
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
        let gpe = GpeRegisters { first: Register::Io(0xafe0), block };
        assert_eq!(Fadt::read(&second).unwrap().gpe[1], Some(gpe));
    }

    /// Proves that on a reduced machine the registers for reset and sleep are used, and no other, even if the table has
    /// them; the DSDT is found. Fails when QEMU's microvm cannot be powered off, or its absent PM1 is written to.
    #[test]
    fn a_reduced_machine_has_reset_and_sleep() {
        let mut table = q35();
        table.resize(268, 0);
        table[FLAGS..FLAGS + 4].copy_from_slice(&(HW_REDUCED_ACPI | RESET_REG_SUP).to_le_bytes());
        for (at, address) in [(244, 0xfea0_0200u64), (256, 0xfea0_0201)] {
            table[at + 4..at + 12].copy_from_slice(&address.to_le_bytes());
        }
        let fadt = Fadt::read(&table).unwrap();
        let memory = |at| Some(Register::Memory(PhysAddr(at)));
        assert_eq!(fadt.hardware, Hardware::Reduced);
        assert_eq!((fadt.sleep_control, fadt.sleep_status), (memory(0xfea0_0200), memory(0xfea0_0201)));
        assert_eq!(fadt.reset, Some(Command { register: Register::Io(0xcf9), value: 0x0f }));
        assert_eq!((fadt.pm1_event, fadt.pm1_control, fadt.gpe), ([None; 2], [None; 2], [None; 2]));
        assert_eq!((fadt.pm_timer, fadt.enable, fadt.sci), (None, None, 0));
        assert_eq!(dsdt(&table), Ok(Some(PhysAddr(0x7fe0000))));
        let cut = Fadt::read(&table[..244]).unwrap();
        assert_eq!((cut.hardware, cut.sleep_control), (Hardware::Reduced, None));
        assert_eq!(Fadt::read(&q35()).unwrap().hardware, Hardware::Fixed);
    }

    /// Proves that registers in other address spaces, or beyond the last port, are refused by name, but for those that
    /// nothing depends on, and that a block's old address stands in for an impossible new one. Fails when an impossible
    /// address is accepted, or one register keeps the rest of the table away.
    #[test]
    fn impossible_registers_are_refused() {
        let old = Fadt::read(&q35()).unwrap();
        let mut config_space = q35();
        config_space[220] = 2;
        assert_eq!(Fadt::read(&config_space).unwrap().gpe, old.gpe);
        config_space[80..84].fill(0);
        assert_eq!(Fadt::read(&config_space), Err(FadtError::BadRegister("GPE0_BLK")));
        let mut high = q35();
        high[148 + 6] = 1;
        assert_eq!(Fadt::read(&high).unwrap().pm1_event, old.pm1_event);
        high[56 + 2] = 1;
        assert_eq!(Fadt::read(&high), Err(FadtError::BadRegister("PM1a_EVT_BLK")));
        let mut timer = q35();
        (timer[208], timer[76 + 2]) = (0x7f, 1);
        assert_eq!(Fadt::read(&timer).unwrap(), Fadt { pm_timer: None, ..old });
        let mut memory = q35();
        memory[208] = 0;
        assert_eq!(Fadt::read(&memory).unwrap().pm_timer, Some(Register::Memory(PhysAddr(0x608))));
        let mut reset = q35();
        reset[116] = 2;
        assert_eq!(Fadt::read(&reset).unwrap().reset, None);
        assert_eq!(Fadt::read(&[0; V1_BYTES - 1]), Err(FadtError::TooShort(115)));
        assert_eq!(dsdt(&[0; 40]), Err(FadtError::TooShort(40)));
        assert_eq!(dsdt(&[0; 250]), Ok(None));
    }
}
