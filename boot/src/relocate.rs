//! Relocating a position-independent kernel image, before it is mapped.

use crate::kernel_file::KernelError;
use elf::abi;

/// Bytes of an `Elf64_Rela` entry: offset, info, addend.
const ENTRY: usize = 24;

/// Applies the relocations at virtual address `table` (`size` bytes) of the `image`, whose first
/// byte is linked for virtual address `low`, and adds `offset` to each value. A statically linked
/// kernel has only `R_X86_64_RELATIVE`; any other kind is an error.
pub fn relocate(image: &mut [u8], low: u64, table: u64, size: u64, offset: u64) -> Result<(), KernelError> {
    let outside = KernelError::Relocation("outside of the image");
    let index = |at: u64| at.checked_sub(low).and_then(|at| usize::try_from(at).ok()).ok_or(outside);
    let start = index(table)?;
    let end = index(table.checked_add(size).ok_or(outside)?)?;
    let mut at = start;
    while at < end {
        let entry = image.get(at..at.saturating_add(ENTRY)).ok_or(outside)?;
        let (place, rest) = entry.split_first_chunk::<8>().ok_or(outside)?;
        let (info, rest) = rest.split_first_chunk::<8>().ok_or(outside)?;
        let addend = rest.first_chunk::<8>().ok_or(outside)?;
        let (place, info) = (u64::from_le_bytes(*place), u64::from_le_bytes(*info));
        let value = u64::from_le_bytes(*addend).wrapping_add(offset);
        if info != u64::from(abi::R_X86_64_RELATIVE) {
            return Err(KernelError::Relocation("only R_X86_64_RELATIVE is supported"));
        }
        let place = index(place)?;
        let word = image.get_mut(place..place.saturating_add(8)).ok_or(outside)?;
        word.copy_from_slice(&value.to_le_bytes());
        at += ENTRY;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(entries: &[(u64, u64, u64)]) -> Vec<u8> {
        let mut image = vec![0; 64];
        for &(place, info, addend) in entries {
            for word in [place, info, addend] {
                image.extend(word.to_le_bytes());
            }
        }
        image
    }

    /// Proves that each relocated word is its addend plus the offset. Fails when an entry is skipped.
    #[test]
    fn relative_entries_are_applied() {
        let low = 0x1000;
        let mut image = image(&[(low + 8, 8, 0x1234), (low + 32, 8, 0x10)]);
        relocate(&mut image, low, low + 64, 48, 0xffff_ffff_8000_0000).unwrap();
        assert_eq!(image[8..16], 0xffff_ffff_8000_1234u64.to_le_bytes());
        assert_eq!(image[32..40], 0xffff_ffff_8000_0010u64.to_le_bytes());
    }

    /// Proves that a table or a word outside of the image, a truncated entry and another kind are
    /// errors. Fails when one panics or is ignored.
    #[test]
    fn broken_entries_are_refused() {
        let low = 0x1000;
        let good = image(&[(low + 8, 8, 0)]);
        for (table, size) in [(0, 24), (low + 64, 25), (low + 80, 24), (u64::MAX, 24), (low + 64, u64::MAX)] {
            assert!(relocate(&mut good.clone(), low, table, size, 0).is_err(), "{table:#x} {size:#x}");
        }
        for place in [0, low + 64 + 17, u64::MAX] {
            assert!(relocate(&mut image(&[(place, 8, 0)]), low, low + 64, 24, 0).is_err(), "{place:#x}");
        }
        assert!(relocate(&mut image(&[(low, 1, 0)]), low, low + 64, 24, 0).is_err());
    }
}
