//! The MCFG (PCI Firmware Specification 3.3, section 4.1.2): where the configuration space of PCI buses is mapped (ECAM).
//!
//! ```text
//!  header (36) | reserved (8) | entries of 16 bytes: base (8), segment (2), first bus (1), last bus (1), reserved (4)
//! ```

use crate::bytes::{u8_at, u16_at, u64_at};
use carapace_mm::addr::PhysAddr;

const ENTRIES: usize = 44;
const ENTRY_BYTES: usize = 16;
/// The bytes of a bus: 32 devices of 8 functions with 4 KiB each.
pub const BUS_BYTES: u64 = 1 << 20;

/// The table's bytes, header included.
#[derive(Clone, Copy, Debug)]
pub struct Mcfg<'a>(pub &'a [u8]);

impl Mcfg<'_> {
    /// The configuration space of a bus of segment 0: [`BUS_BYTES`] from there on.
    pub fn bus(&self, bus: u8) -> Option<PhysAddr> {
        let entries = self.0.get(ENTRIES..)?.chunks_exact(ENTRY_BYTES);
        entries.filter_map(|entry| of_entry(entry, bus)).next()
    }
}

fn of_entry(entry: &[u8], bus: u8) -> Option<PhysAddr> {
    let (base, segment) = (u64_at(entry, 0)?, u16_at(entry, 8)?);
    let (first, last) = (u8_at(entry, 10)?, u8_at(entry, 11)?);
    let start = base.checked_add(u64::from(bus).checked_mul(BUS_BYTES)?)?;
    start.checked_add(BUS_BYTES)?;
    (segment == 0 && (first..=last).contains(&bus) && base.is_multiple_of(BUS_BYTES))
        .then_some(PhysAddr(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Proves that a bus is found in the entry that has it, and none in a table that is cut, of another segment, or whose
    // addresses wrap. Fails when an entry's field is read at another offset.
    #[test]
    fn buses() {
        let mut table = [0u8; 76];
        let mut entry = |at: usize, base: u64, segment: u16, first: u8, last: u8| {
            table[at..at + 8].copy_from_slice(&base.to_le_bytes());
            table[at + 8..at + 10].copy_from_slice(&segment.to_le_bytes());
            (table[at + 10], table[at + 11]) = (first, last);
        };
        entry(44, 0xb000_0000, 0, 0, 15);
        entry(60, !0xf_ffff, 0, 16, 255);
        let mcfg = Mcfg(&table);
        assert_eq!(mcfg.bus(0), Some(PhysAddr(0xb000_0000)));
        assert_eq!(mcfg.bus(3), Some(PhysAddr(0xb030_0000)));
        assert_eq!(mcfg.bus(16), None);
        assert_eq!(Mcfg(&table[..59]).bus(0), None);
        table[52] = 1;
        assert_eq!(Mcfg(&table).bus(0), None);
    }
}
