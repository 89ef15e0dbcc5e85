//! The interface to the interpreter's host: hardware access, time, notifications.
use crate::access::{HostError, PciAddress, Width};
use crate::error::Error;
use crate::namespace::Notified;

/// An error as it is passed to AML's method `\_ERR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// ACPICA's status code.
    pub code: u16,
    /// The code's name, `AE_...`.
    pub name: &'static str,
}

/// The interpreter's host. It never gets a value wider than `width`, and need not mask the values it returns.
pub trait Host {
    /// Reads the I/O port; widths are 8, 16 and 32 bits.
    ///
    /// # Errors
    /// The host may refuse any port.
    fn io_read(&mut self, port: u16, width: Width) -> Result<u64, HostError>;

    /// Writes the I/O port; widths are 8, 16 and 32 bits.
    ///
    /// # Errors
    /// The host may refuse any port.
    fn io_write(&mut self, port: u16, width: Width, value: u64) -> Result<(), HostError>;

    /// Reads physical memory at the byte address `phys`, which need not be aligned.
    ///
    /// # Errors
    /// The host may refuse any address.
    fn mem_read(&mut self, phys: u64, width: Width) -> Result<u64, HostError>;

    /// Writes physical memory at the byte address `phys`, which need not be aligned.
    ///
    /// # Errors
    /// The host may refuse any address.
    fn mem_write(&mut self, phys: u64, width: Width, value: u64) -> Result<(), HostError>;

    /// Reads PCI configuration space at the byte `offset`; widths are 8, 16 and 32 bits.
    ///
    /// # Errors
    /// The host may refuse any address.
    fn pci_read(&mut self, address: PciAddress, offset: u16, width: Width) -> Result<u64, HostError>;

    /// Writes PCI configuration space at the byte `offset`; widths are 8, 16 and 32 bits.
    ///
    /// # Errors
    /// The host may refuse any address.
    fn pci_write(
        &mut self,
        address: PciAddress,
        offset: u16,
        width: Width,
        value: u64,
    ) -> Result<(), HostError>;

    /// The AML executed `Notify(device, value)`. The host queues it and handles it after the evaluation.
    fn notify(&mut self, device: Notified<'_>, value: u64);

    /// The AML executed `Sleep`: wait for at least `milliseconds`.
    fn sleep(&mut self, milliseconds: u32);

    /// The AML executed `Stall`: busy-wait for at least `microseconds`.
    fn stall(&mut self, microseconds: u32);

    /// A monotonic clock in units of 100 ns (`Timer`).
    fn timer(&mut self) -> u64;

    /// The AML stored something in the Debug object.
    fn debug(&mut self, text: &str) {
        let _ = text;
    }

    /// A statement failed. `Some` lets AML decide what follows, as ACPICA's exception handlers can: its method `\_ERR` is
    /// called with the code, the name and 0, and if it returns 0, the execution goes on behind the statement. For test
    /// suites; the default ends the evaluation, as firmware expects it.
    fn exception(&mut self, error: &Error) -> Option<Exception> {
        let _ = error;
        None
    }

    /// Takes the global lock that the OS shares with the firmware (FACS).
    ///
    /// # Errors
    /// The lock cannot be acquired.
    fn acquire_global_lock(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    /// Releases the global lock.
    fn release_global_lock(&mut self) {}
}
