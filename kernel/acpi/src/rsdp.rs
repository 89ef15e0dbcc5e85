//! The Root System Description Pointer (ACPI 6.5, section 5.2.5.3): the address of the root table.
//!
//! ```text
//!  byte  0          8      9     15        16       20      24       32          36
//!        "RSD PTR " | sum | OEM | revision | RSDT | length | XSDT | sum of all |
//!        |------ these 20 bytes sum up to 0 -------|  from revision 2 on: all 36 do
//! ```

use crate::bytes::{sum, u8_at, u32_at, u64_at};
use carapace_mm::addr::PhysAddr;

/// Bytes of the RSDP of ACPI 1.0; every RSDP has at least these.
pub const SHORT_BYTES: usize = 20;
/// Bytes of the RSDP of ACPI 2.0 and later.
pub const LONG_BYTES: usize = 36;

/// The content of the first [`SHORT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// 0 for ACPI 1.0, 2 for later ones.
    pub revision: u8,
    /// The RSDT, whose pointers have four bytes.
    pub rsdt: PhysAddr,
}

/// Reads the first [`SHORT_BYTES`]; `None` for a wrong signature or checksum.
pub fn short(bytes: &[u8]) -> Option<Short> {
    let bytes = bytes.get(..SHORT_BYTES)?;
    if !bytes.starts_with(b"RSD PTR ") || sum(bytes) != 0 {
        return None;
    }
    Some(Short { revision: u8_at(bytes, 15)?, rsdt: PhysAddr(u32_at(bytes, 16)?.into()) })
}

impl Short {
    /// Whether the RSDP has [`LONG_BYTES`].
    pub const fn is_long(&self) -> bool {
        self.revision >= 2
    }
}

/// The address of the XSDT, from the [`LONG_BYTES`]: `Some(None)` if the firmware has none, so that the RSDT is used;
/// `None` for a wrong checksum or length (every revision so far has the same).
pub fn xsdt(bytes: &[u8]) -> Option<Option<PhysAddr>> {
    let bytes = bytes.get(..LONG_BYTES)?;
    if u32_at(bytes, 20)? != LONG_BYTES as u32 || sum(bytes) != 0 {
        return None;
    }
    Some(Some(u64_at(bytes, 24)?).filter(|&at| at != 0).map(PhysAddr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsdp(revision: u8, length: u32, xsdt: u64) -> [u8; LONG_BYTES] {
        let mut bytes = [0; LONG_BYTES];
        bytes[..8].copy_from_slice(b"RSD PTR ");
        // An OEM name need not be UTF-8.
        bytes[9..15].copy_from_slice(b"BOCH\xff ");
        bytes[15] = revision;
        bytes[16..20].copy_from_slice(&0x1ffe_1234u32.to_le_bytes());
        bytes[8] = 0u8.wrapping_sub(sum(&bytes[..SHORT_BYTES]));
        bytes[20..24].copy_from_slice(&length.to_le_bytes());
        bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
        bytes[32] = 0u8.wrapping_sub(sum(&bytes));
        bytes
    }

    // Proves that both addresses are read, by revision, and that without an XSDT the RSDT is used. Fails when a machine
    // would be read through the wrong root table.
    #[test]
    fn addresses_are_found() {
        let old = rsdp(0, 0, 0);
        let told = Short { revision: 0, rsdt: PhysAddr(0x1ffe_1234) };
        assert_eq!(short(&old[..SHORT_BYTES]), Some(told));
        assert!(!told.is_long());
        let new = rsdp(2, 36, 0x1_7ffe_1234);
        assert!(short(&new).unwrap().is_long());
        assert_eq!(xsdt(&new), Some(Some(PhysAddr(0x1_7ffe_1234))));
        assert_eq!(xsdt(&rsdp(2, 36, 0)), Some(None));
    }

    // Proves that a changed byte under a checksum, too few bytes, and a wrong length are refused. Fails when a corrupt
    // RSDP is followed.
    #[test]
    fn broken_ones_are_refused() {
        let good = rsdp(2, 36, 0x1_7ffe_1234);
        for at in 0..LONG_BYTES {
            let mut bad = good;
            bad[at] ^= 0x10;
            assert_eq!(short(&bad).is_none(), at < SHORT_BYTES, "byte {at}");
            assert_eq!(xsdt(&bad), None, "byte {at}");
            assert_eq!(xsdt(&good[..at]), None);
        }
        assert_eq!(short(&good[..SHORT_BYTES - 1]), None);
        assert_eq!(xsdt(&rsdp(2, 35, 0x1000)), None);
        assert_eq!(short(&[0; LONG_BYTES]), None);
    }
}
