//! Device registers in memory, accessed one at a time.
//!
//! Making [`Mmio`] is unsafe, using it is safe: the maker argues once, for all values that may be written, that the device
//! harms no memory of the kernel. Neighbours: `memory::devices` maps the registers, `virtio` uses them.

use crate::memory::devices::{self, Caching, DeviceMapError};
use carapace_mm::addr::{PhysAddr, VirtAddr};

/// The registers of one device. An access that does not lie within them reads as all ones and writes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    at: VirtAddr,
    bytes: u64,
}

/// A width of access.
pub trait Register: Copy {
    /// All bits set.
    const ONES: Self;
}

impl Register for u8 {
    const ONES: u8 = u8::MAX;
}
impl Register for u16 {
    const ONES: u16 = u16::MAX;
}
impl Register for u32 {
    const ONES: u32 = u32::MAX;
}

impl Mmio {
    /// Maps `bytes` bytes of registers at `start`.
    ///
    /// # Errors
    ///
    /// See [`DeviceMapError`].
    ///
    /// # Safety
    ///
    /// Whatever is read from and written to these registers, at any width and in any order: no device writes to memory for
    /// it but what its driver gave to it, and no interrupt comes at a vector that has no gate.
    pub unsafe fn map(start: PhysAddr, bytes: u64) -> Result<Mmio, DeviceMapError> {
        Ok(Mmio { at: devices::map(start, bytes, Caching::Device)?, bytes })
    }

    /// The address of a register, if it lies within.
    fn register<T: Register>(&self, offset: u64) -> Option<*mut T> {
        let size = size_of::<T>() as u64;
        let end = offset.checked_add(size)?;
        let at = self.at.0.checked_add(offset)?;
        (end <= self.bytes && at.is_multiple_of(size)).then_some(at as *mut T)
    }

    /// Reads a register.
    pub fn read<T: Register>(&self, offset: u64) -> T {
        match self.register::<T>(offset) {
            // SAFETY: the address is aligned and lies in a permanent mapping of device registers (`map`), to which no Rust
            // reference points; reading them is harmless by the contract of `map`.
            Some(register) => unsafe { register.read_volatile() },
            None => T::ONES,
        }
    }

    /// Writes a register.
    pub fn write<T: Register>(&self, offset: u64, value: T) {
        if let Some(register) = self.register::<T>(offset) {
            // SAFETY: the address is aligned and lies in a permanent mapping of device registers (`map`), to which no Rust
            // reference points; writing them is harmless by the contract of `map`.
            unsafe { register.write_volatile(value) }
        }
    }
}
