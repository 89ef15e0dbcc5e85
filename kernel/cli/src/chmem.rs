//! util-linux's `chmem`: its operands and its messages.
//!
//! ```text
//!  chmem -d 256M            SIZE        blocks, the highest ones that are online
//!  chmem -e 512             SIZE        MiB if no letter follows; the lowest blocks
//!  chmem -d 0x100000000-0x107ffffff     RANGE, both ends included, as `lsmem` prints it
//!  chmem -e -b 32-33        BLOCKRANGE, or one block
//! ```
//!
//! A block is a section. Neighbours: the kernel's command `chmem` walks the blocks, `parse` reads numbers.

use crate::format_size::ShortSize;
use crate::parse;
use core::fmt::{self, Display};

/// The blocks to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A number of blocks at any address.
    Amount {
        /// How many.
        blocks: u64,
    },
    /// These blocks.
    Blocks {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
}

/// The form of the operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A size, or a range of addresses.
    Bytes,
    /// `-b`: numbers of blocks.
    Blocks,
}

/// Why an operand is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChmemError<'a> {
    /// It has more than one `-`.
    Parameter(&'a str),
    /// No size.
    Size(&'a str),
    /// A size that is no whole number of blocks.
    SizeAlignment {
        /// Bytes of a block.
        block: u64,
    },
    /// The start of a range is not in hexadecimal.
    StartFormat(&'a str),
    /// Its end is not.
    EndFormat(&'a str),
    /// No address.
    Address(&'a str),
    /// The ends of a range are not the ends of blocks.
    RangeAlignment {
        /// Bytes of a block.
        block: u64,
    },
    /// No block's number.
    Block(&'a str),
    /// A range that ends before it starts.
    Range(&'a str),
}

impl Display for ChmemError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ChmemError::Parameter(text) => write!(f, "Invalid parameter: {text}"),
            ChmemError::Size(text) => write!(f, "Failed to parse size: '{text}'"),
            ChmemError::SizeAlignment { block } => {
                write!(f, "Size must be aligned to memory block size ({})", ShortSize(block))
            }
            ChmemError::StartFormat(text) => write!(f, "Invalid start address format: {text}"),
            ChmemError::EndFormat(text) => write!(f, "Invalid end address format: {text}"),
            ChmemError::Address(text) => write!(f, "Failed to parse address: '{text}'"),
            ChmemError::RangeAlignment { block } => write!(
                f,
                "Start address and (end address + 1) must be aligned to memory block size ({})",
                ShortSize(block)
            ),
            ChmemError::Block(text) => write!(f, "Failed to parse block number: '{text}'"),
            ChmemError::Range(text) => write!(f, "Invalid range: {text}"),
        }
    }
}

/// Reads the operand; a block has `block` bytes.
///
/// # Errors
/// Those of util-linux, in its words; also a size of 0, which util-linux accepts without effect.
pub fn parse(text: &str, meaning: Meaning, block: u64) -> Result<Wanted, ChmemError<'_>> {
    let mut parts = text.split('-');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() {
        return Err(ChmemError::Parameter(text));
    }
    let wanted = match (meaning, second) {
        (Meaning::Blocks, last) => {
            let (first, last) = (block_number(first)?, block_number(last.unwrap_or(first))?);
            Wanted::Blocks { first, last }
        }
        (Meaning::Bytes, None) => amount(first, block)?,
        (Meaning::Bytes, Some(end)) => range(text, first, end, block)?,
    };
    match wanted {
        Wanted::Blocks { first, last } if first > last => Err(ChmemError::Range(text)),
        wanted => Ok(wanted),
    }
}

fn block_number(text: &str) -> Result<u64, ChmemError<'_>> {
    parse::integer(text, "a block").map_err(|_| ChmemError::Block(text))
}

/// A size: MiB where the last letter is a digit.
fn amount(text: &str, block: u64) -> Result<Wanted, ChmemError<'_>> {
    let size = parse::size(text).map_err(|_| ChmemError::Size(text))?;
    let unit = if text.ends_with(|last: char| last.is_ascii_digit()) { 1 << 20 } else { 1 };
    let size = size.checked_mul(unit).filter(|&size| size > 0).ok_or(ChmemError::Size(text))?;
    let blocks = size.checked_div(block).filter(|_| size.is_multiple_of(block));
    Ok(Wanted::Amount { blocks: blocks.ok_or(ChmemError::SizeAlignment { block })? })
}

/// A range of addresses, both ends included.
fn range<'a>(text: &'a str, start: &'a str, end: &'a str, block: u64) -> Result<Wanted, ChmemError<'a>> {
    if !start.starts_with("0x") {
        return Err(ChmemError::StartFormat(start));
    }
    if !end.starts_with("0x") {
        return Err(ChmemError::EndFormat(end));
    }
    let address = |text| parse::integer(text, "an address").map_err(|_| ChmemError::Address(text));
    let (start, end) = (address(start)?, address(end)?);
    if end < start {
        return Err(ChmemError::Range(text));
    }
    // Not `end + 1`: it overflows at the last address.
    let unaligned = ChmemError::RangeAlignment { block };
    if !start.is_multiple_of(block) || end % block != block.wrapping_sub(1) {
        return Err(unaligned);
    }
    let number = |address: u64| address.checked_div(block).ok_or(unaligned);
    Ok(Wanted::Blocks { first: number(start)?, last: number(end)? })
}

/// util-linux's zones, and their counterparts in this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChmemZone {
    /// `Movable`: memory that can be migrated.
    Movable,
    /// `Normal`: the kernel's own allocations too.
    Normal,
    /// `any`, which only this kernel has: every kind, pinned ones last.
    Any,
    /// A zone that no memory of this kernel is in.
    Other,
}

/// The words that `-z` takes: util-linux's, then this kernel's own as `lsmem` shows them.
pub const ZONES: &[(&str, ChmemZone)] = &[
    ("Movable", ChmemZone::Movable),
    ("Normal", ChmemZone::Normal),
    ("DMA", ChmemZone::Other),
    ("DMA32", ChmemZone::Other),
    ("Highmem", ChmemZone::Other),
    ("Device", ChmemZone::Other),
    ("kernel", ChmemZone::Normal),
    ("any", ChmemZone::Any),
];

/// The zone of that name, in upper or lower case.
pub fn zone(name: &str) -> Option<ChmemZone> {
    ZONES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, zone)| zone)
}

/// The change to the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `-e`.
    Enable,
    /// `-d`.
    Disable,
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Enable => "enable",
            Change::Disable => "disable",
        })
    }
}

/// A block as util-linux names it in its lines.
#[derive(Clone, Copy, Debug)]
pub struct BlockName {
    /// Its number.
    pub block: u64,
    /// Bytes of a block.
    pub bytes: u64,
}

impl Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.block.saturating_mul(self.bytes);
        let last = start.saturating_add(self.bytes.saturating_sub(1));
        write!(f, "Memory Block {} ({start:#018x}-{last:#018x})", self.block)
    }
}

/// The last line if only a part was done.
#[derive(Clone, Copy, Debug)]
pub struct CouldOnly {
    /// The requested change.
    pub change: Change,
    /// The changed bytes.
    pub bytes: u64,
}

impl Display for CouldOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Could only {} {} of memory", self.change, ShortSize(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    const BLOCK: u64 = 128 << 20;

    // The operands of util-linux's manual page, and those that its `lsmem` prints, are parsed like there.
    #[test]
    fn operands() {
        let amount = |blocks| Ok(Wanted::Amount { blocks });
        let blocks = |first, last| Ok(Wanted::Blocks { first, last });
        for (text, meaning, wanted) in [
            ("1024", Meaning::Bytes, amount(8)),
            ("128", Meaning::Bytes, amount(1)),
            ("256m", Meaning::Bytes, amount(2)),
            ("2g", Meaning::Bytes, amount(16)),
            ("0x0000000100000000-0x000000010fffffff", Meaning::Bytes, blocks(32, 33)),
            ("0x0-0x7ffffff", Meaning::Bytes, blocks(0, 0)),
            ("0x0-0xffffffffffffffff", Meaning::Bytes, blocks(0, u64::MAX / BLOCK)),
            ("10", Meaning::Blocks, blocks(10, 10)),
            ("32-33", Meaning::Blocks, blocks(32, 33)),
        ] {
            assert_eq!(parse(text, meaning, BLOCK), wanted, "{text}");
        }
    }

    // Operands that util-linux refuses are refused, in its words.
    #[test]
    fn refusals() {
        let aligned = "aligned to memory block size (128M)";
        for (text, meaning, words) in [
            ("100M", Meaning::Bytes, "Size must be aligned to memory block size (128M)"),
            ("x", Meaning::Bytes, "Failed to parse size: 'x'"),
            ("", Meaning::Bytes, "Failed to parse size: ''"),
            ("0", Meaning::Bytes, "Failed to parse size: '0'"),
            ("99999999999999T", Meaning::Bytes, "Failed to parse size: '99999999999999T'"),
            ("1-2-3", Meaning::Bytes, "Invalid parameter: 1-2-3"),
            ("0-0x7ffffff", Meaning::Bytes, "Invalid start address format: 0"),
            ("0x0-5", Meaning::Bytes, "Invalid end address format: 5"),
            ("0x-0x7ffffff", Meaning::Bytes, "Failed to parse address: '0x'"),
            ("0x8000000-0x7ffffff", Meaning::Bytes, "Invalid range: 0x8000000-0x7ffffff"),
            ("0x1-0x7ffffff", Meaning::Bytes, aligned),
            ("0x0-0x8000000", Meaning::Bytes, aligned),
            ("33-32", Meaning::Blocks, "Invalid range: 33-32"),
            ("1-", Meaning::Blocks, "Failed to parse block number: ''"),
            ("1G", Meaning::Blocks, "Failed to parse block number: '1G'"),
        ] {
            let error = parse(text, meaning, BLOCK).unwrap_err().to_string();
            assert!(error.ends_with(words), "{text}: {error}");
        }
    }

    // util-linux's lines, byte for byte.
    #[test]
    fn words() {
        assert_eq!(
            BlockName { block: 33, bytes: BLOCK }.to_string(),
            "Memory Block 33 (0x0000000108000000-0x000000010fffffff)"
        );
        let change = Change::Disable;
        assert_eq!(CouldOnly { change, bytes: BLOCK }.to_string(), "Could only disable 128M of memory");
        assert_eq!((zone("movable"), zone("NORMAL")), (Some(ChmemZone::Movable), Some(ChmemZone::Normal)));
        assert_eq!((zone("DMA32"), zone("frob")), (Some(ChmemZone::Other), None));
    }

    proptest! {
        // No operand makes the parser panic, and it returns an ascending range or an amount.
        #[test]
        fn total(text in "[0-9xa-gMG-]{0,24}", bytes: bool) {
            let meaning = if bytes { Meaning::Bytes } else { Meaning::Blocks };
            match parse(&text, meaning, BLOCK) {
                Ok(Wanted::Blocks { first, last }) => prop_assert!(first <= last),
                Ok(Wanted::Amount { blocks }) => prop_assert!(blocks > 0),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
