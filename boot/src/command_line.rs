//! The shim's command line (QEMU's `-append`). It has two options, both for tests; other words are ignored.
//!
//! `holes=ADDRESS+LENGTH*COUNT`: marks COUNT ranges of LENGTH bytes as reserved, LENGTH bytes apart, for a memory map of
//! many pieces, which QEMU has no option for.
//!
//! `acpi=ADDRESS+LENGTH`, both as `0x...`: replaces the firmware's tables by those at that address in RAM, RSDP first. The
//! memory map shows that memory as ACPI tables. Tests use it to give the kernel malformed tables, which QEMU's
//! `-device loader,file=FILE,addr=ADDRESS,force-raw=on` loads.

use crate::range::PhysRange;
use crate::start_info::READABLE;
use core::fmt;

/// The maximum length of a command line.
pub const MAX_LENGTH: usize = 4096;
const OPTION: &[u8] = b"acpi=";
const HOLES: &[u8] = b"holes=";

/// Why the command line is rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandLineError {
    /// The value of `acpi=` is not two numbers `0xADDRESS+0xLENGTH`.
    Syntax,
    /// The value of `holes=` is not three numbers `0xADDRESS+0xLENGTH*0xCOUNT`.
    Holes,
    /// The tables are empty, at 0, or not below 4 GiB.
    OutOfReach {
        /// Their address.
        at: u64,
    },
}

impl fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandLineError::Syntax => f.write_str("`acpi=` takes 0xADDRESS+0xLENGTH"),
            CommandLineError::Holes => f.write_str("`holes=` takes 0xADDRESS+0xLENGTH*0xCOUNT"),
            CommandLineError::OutOfReach { at } => write!(f, "`acpi=`: no tables at {at:#x} below 4 GiB"),
        }
    }
}

/// The range of the tables that the line names, if any. The last option wins.
pub fn tables(line: &[u8]) -> Result<Option<PhysRange>, CommandLineError> {
    let words = line.split(u8::is_ascii_whitespace);
    let Some(value) = words.filter_map(|word| word.strip_prefix(OPTION)).next_back() else { return Ok(None) };
    let value = core::str::from_utf8(value).map_err(|_| CommandLineError::Syntax)?;
    let (at, length) = value.split_once('+').ok_or(CommandLineError::Syntax)?;
    let (at, length) = (number(at)?, number(length)?);
    let range =
        PhysRange::sized(at, length).filter(|range| at != 0 && length != 0 && READABLE.contains(*range));
    range.map(Some).ok_or(CommandLineError::OutOfReach { at })
}

/// The reserved ranges that the line asks for. The last option wins.
pub fn holes(line: &[u8]) -> Result<impl Iterator<Item = PhysRange> + Clone + use<>, CommandLineError> {
    let words = line.split(u8::is_ascii_whitespace);
    let value = words.filter_map(|word| word.strip_prefix(HOLES)).next_back();
    let (at, length, count) = match value {
        Some(value) => three_numbers(value).ok_or(CommandLineError::Holes)?,
        None => (0, 0, 0),
    };
    Ok((0..count).map_while(move |hole| {
        let distance = hole.checked_mul(2)?.checked_mul(length)?;
        PhysRange::sized(at.checked_add(distance)?, length)
    }))
}

fn three_numbers(value: &[u8]) -> Option<(u64, u64, u64)> {
    let (at, rest) = core::str::from_utf8(value).ok()?.split_once('+')?;
    let (length, count) = rest.split_once('*')?;
    Some((number(at).ok()?, number(length).ok()?, number(count).ok()?))
}

fn number(text: &str) -> Result<u64, CommandLineError> {
    let digits =
        text.strip_prefix("0x").filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    u64::from_str_radix(digits.ok_or(CommandLineError::Syntax)?, 16).map_err(|_| CommandLineError::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the option is found among other words, and that the last one wins. Fails when a word that only contains
    /// it matches.
    #[test]
    fn tables_are_named() {
        assert_eq!(tables(b""), Ok(None));
        assert_eq!(tables(b"quiet acpi noacpi=0x1+0x1"), Ok(None));
        let range = PhysRange::new(0x400_0000, 0x400_1234);
        assert_eq!(tables(b" acpi=0x1000+0x10  acpi=0x4000000+0x1234\n"), Ok(Some(range)));
    }

    /// Proves that bad values are refused. Fails when one is accepted as an address.
    #[test]
    fn bad_values_are_refused() {
        for bad in ["", "0x1000", "0x1000+", "+0x10", "1000+0x10", "0x+0x1", "0x1000+0x-1", "0x1000+0x1+0x1"]
        {
            assert_eq!(tables(format!("acpi={bad}").as_bytes()), Err(CommandLineError::Syntax), "{bad}");
        }
        assert_eq!(tables(b"acpi=\xff"), Err(CommandLineError::Syntax));
        for (bad, at) in [("0x0+0x10", 0), ("0x1000+0x0", 0x1000), ("0xfffff000+0x1001", 0xffff_f000)] {
            let error = Err(CommandLineError::OutOfReach { at });
            assert_eq!(tables(format!("acpi={bad}").as_bytes()), error, "{bad}");
        }
    }

    /// Proves that holes lie where the option says, and that bad values are refused. Fails when a hole is missing.
    #[test]
    fn holes_are_named() {
        let all = |line: &[u8]| {
            holes(line).map(|holes| holes.map(|hole| (hole.start, hole.end)).collect::<Vec<_>>())
        };
        assert_eq!(all(b"acpi=0x1+0x1"), Ok(vec![]));
        assert_eq!(all(b"holes=0x1000+0x10*0x2"), Ok(vec![(0x1000, 0x1010), (0x1020, 0x1030)]));
        assert_eq!(all(b"holes=0xffffffffffffff00+0x80*0xff").map(|holes| holes.len()), Ok(1));
        for bad in [b"holes=".as_slice(), b"holes=0x1+0x1", b"holes=1+1*1", b"holes=\xff"] {
            assert_eq!(all(bad), Err(CommandLineError::Holes));
        }
    }
}
