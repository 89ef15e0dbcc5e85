//! The Multiple APIC Description Table (ACPI 6.5, section 5.2.12), looked over before it is walked.
//!
//! Crate `acpi` decodes its entries, but trusts their length bytes: an entry of length zero keeps it
//! busy for ever, one that is too long leads it beyond the table. So [`check`] first.

use crate::bytes::u8_at;
use core::fmt;

/// Where the first entry starts.
const ENTRIES: usize = 44;

/// Why the table must not be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMadtEntry {
    /// Where in the table the entry starts.
    pub offset: usize,
    /// What its length byte says.
    pub length: u8,
}

impl fmt::Display for BadMadtEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MADT: the entry at offset {} has length {}, which cannot be", self.offset, self.length)
    }
}

/// The fewest bytes an entry of `kind` has (ACPI 6.5, tables 5.21 to 5.45); 2 where the kind is unknown.
const fn least_length(kind: u8) -> usize {
    match kind {
        0 | 3 => 8,        // local APIC, NMI source
        1 | 5 | 0xa => 12, // IO APIC, local APIC address, local x2APIC NMI
        2 => 10,           // interrupt source override
        4 => 6,            // local APIC NMI
        6..=9 => 16,       // IO SAPIC, local SAPIC, platform interrupt, local x2APIC
        0xb => 80,         // GICC
        0xc | 0xd => 24,   // GICD, GIC MSI frame
        0xe | 0x10 => 16,  // GICR, multiprocessor wakeup
        0xf => 20,         // GIC ITS
        _ => 2,
    }
}

/// Whether every entry of `table` (whole, with its header) lies in it and is as long as its kind must be.
pub fn check(table: &[u8]) -> Result<(), BadMadtEntry> {
    let mut at = ENTRIES;
    if table.len() < ENTRIES {
        return Err(BadMadtEntry { offset: table.len(), length: 0 });
    }
    while let Some(kind) = u8_at(table, at) {
        let length = u8_at(table, at.saturating_add(1)).unwrap_or(0);
        let end = at.saturating_add(usize::from(length));
        if usize::from(length) < least_length(kind) || end > table.len() {
            return Err(BadMadtEntry { offset: at, length });
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn table(entries: &[&[u8]]) -> Vec<u8> {
        let mut bytes = std::vec![0; ENTRIES];
        entries.iter().for_each(|entry| bytes.extend_from_slice(entry));
        bytes
    }

    // Proves that a table as QEMU makes it passes, and one of no entries too.
    #[test]
    fn proper_tables_pass() {
        let local = [0, 8, 0, 0, 1, 0, 0, 0];
        let io = [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
        let source = [2, 10, 0, 0, 2, 0, 0, 0, 0, 0];
        let nmi = [4, 6, 0xff, 0, 0, 1];
        assert_eq!(check(&table(&[&local, &io, &source, &nmi])), Ok(()));
        assert_eq!(check(&table(&[])), Ok(()));
    }

    // Proves that what would lead crate `acpi` astray is refused: length 0 (endless), shorter than the
    // kind (reads the neighbour), beyond the end, and a table shorter than its own fixed part.
    #[test]
    fn bad_lengths_are_refused() {
        for length in [0, 1, 7, 9, 255] {
            let local = [0, length, 0, 0, 1, 0, 0, 0];
            assert_eq!(check(&table(&[&local])), Err(BadMadtEntry { offset: ENTRIES, length }), "{length}");
        }
        assert!(check(&[0; ENTRIES - 1]).is_err());
        assert_eq!(check(&table(&[&[0x80]])), Err(BadMadtEntry { offset: ENTRIES, length: 0 }));
    }
}
