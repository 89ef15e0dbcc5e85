//! Reading and writing physical memory below 4 GiB, which the shim's own page tables map at the
//! same addresses. The one place where the shim makes references from addresses.

use arrayvec::ArrayVec;
use boot::frames::Taken;
use boot::range::PhysRange;
use boot::start_info::{List, READABLE};
use core::slice;
use zerocopy::FromBytes;

/// Reads a value at physical address `at`, which the PVH loader named; `None` above 4 GiB or at 0.
pub fn read<T: FromBytes>(at: u64) -> Option<T> {
    let range = PhysRange::sized(at, size_of::<T>() as u64)?;
    if at == 0 || !READABLE.contains(range) {
        return None;
    }
    // SAFETY: the range is identity-mapped, and any bytes are a `T` (`FromBytes`); nothing is assumed of alignment.
    Some(unsafe { (at as *const T).read_unaligned() })
}

/// The entries of a list that was checked to be readable.
pub fn entries<T: FromBytes>(list: List) -> impl Iterator<Item = T> {
    let size = size_of::<T>() as u64;
    (0..u64::from(list.entries)).map_while(move |index| read(list.at + index * size))
}

/// The bytes of a string that ends with 0, at most as many as fit.
pub fn string<const N: usize>(at: u64) -> ArrayVec<u8, N> {
    (0..N as u64).map_while(|index| read::<u8>(at.checked_add(index)?).filter(|&byte| byte != 0)).collect()
}

/// The bytes of the kernel's file.
///
/// # Safety
/// `range` lies in RAM below 4 GiB, not at 0, and nothing writes there while the shim runs.
pub unsafe fn file(range: PhysRange) -> &'static [u8] {
    // SAFETY: identity-mapped RAM that stays as it is, by the caller's promise; any byte is a u8.
    unsafe { slice::from_raw_parts(range.start as *const u8, range.size() as usize) }
}

/// The bytes of frames that were taken, all zero.
pub fn fresh(taken: Taken) -> &'static mut [u8] {
    let range = taken.range();
    // SAFETY: the frames are RAM below 4 GiB, which is identity-mapped, and `Taken` is the proof that nobody else has
    // them: it was made by the one `Frames` and ends here, so the reference is the only one.
    let bytes = unsafe { slice::from_raw_parts_mut(range.start as *mut u8, range.size() as usize) };
    bytes.fill(0);
    bytes
}
