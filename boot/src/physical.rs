//! Access to physical memory below 4 GiB, which the shim's page tables identity-map. The only module
//! of the shim that makes references from addresses.

use arrayvec::ArrayVec;
use boot::bulk;
use boot::frames::Taken;
use boot::range::PhysRange;
use boot::start_info::{List, READABLE};
use core::slice;
use zerocopy::FromBytes;

/// Reads a value at physical address `at`, which comes from the PVH loader. `None` above 4 GiB or at 0.
pub fn read<T: FromBytes>(at: u64) -> Option<T> {
    let range = PhysRange::sized(at, size_of::<T>() as u64)?;
    if at == 0 || !READABLE.contains(range) {
        return None;
    }
    // SAFETY: the range is identity-mapped, any bytes are a valid `T` (`FromBytes`), and the read needs no alignment.
    Some(unsafe { (at as *const T).read_unaligned() })
}

/// The entries of a list that was checked before.
pub fn entries<T: FromBytes>(list: List) -> impl Iterator<Item = T> {
    let size = size_of::<T>() as u64;
    (0..u64::from(list.entries)).map_while(move |index| read(list.at + index * size))
}

/// The bytes of a string that ends with 0, truncated if too long.
pub fn string<const N: usize>(at: u64) -> ArrayVec<u8, N> {
    (0..N as u64).map_while(|index| read::<u8>(at.checked_add(index)?).filter(|&byte| byte != 0)).collect()
}

/// The bytes of the kernel's file.
///
/// # Safety
/// `range` is in RAM below 4 GiB, not at 0, and no code writes there while the shim runs.
pub unsafe fn file(range: PhysRange) -> &'static [u8] {
    // SAFETY: identity-mapped RAM that does not change, as the caller promises; any byte is a valid u8.
    unsafe { slice::from_raw_parts(range.start as *const u8, range.size() as usize) }
}

/// The bytes of allocated frames, zeroed.
pub fn fresh(taken: Taken) -> &'static mut [u8] {
    let bytes = used(taken);
    bulk::zero(bytes);
    bytes
}

/// The bytes of allocated frames, with what was there before.
pub fn used(taken: Taken) -> &'static mut [u8] {
    let range = taken.range();
    // SAFETY: the frames are RAM below 4 GiB, which is identity-mapped. `Taken` proves exclusive ownership: only the one
    // `Frames` makes it and it is consumed here, so no other reference exists.
    unsafe { slice::from_raw_parts_mut(range.start as *mut u8, range.size() as usize) }
}
