//! A host that answers every read from the address itself, and can refuse.
use carapace_aml::{Host, HostError, Notified, PciAddress, Width};

/// The host.
#[derive(Debug, Default)]
pub struct TestHost {
    /// Refuse all ports from now on.
    pub refuse_ports: bool,
    /// Refuse the global lock from now on.
    pub refuse_lock: bool,
    /// How often the global lock was taken and released.
    pub taken: u32,
    /// See `taken`.
    pub given_back: u32,
    /// Address and value of each write to memory.
    pub written: Vec<(u64, u64)>,
    /// Milliseconds asked for.
    pub slept: u64,
    /// Reads of configuration space.
    pub pci: Vec<(PciAddress, u16)>,
}

/// Every byte of a space has the low bits of its address as its value.
fn pattern(at: u64, width: Width) -> u64 {
    (0..u64::from(width.bytes())).rev().fold(0, |value, byte| value << 8 | at.wrapping_add(byte) & 0xff)
}

impl TestHost {
    fn port(&self) -> Result<(), HostError> {
        if self.refuse_ports { Err(HostError::new("the test refuses ports")) } else { Ok(()) }
    }
}

impl Host for TestHost {
    fn io_read(&mut self, port: u16, width: Width) -> Result<u64, HostError> {
        self.port().map(|()| pattern(port.into(), width))
    }

    fn io_write(&mut self, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        self.port()
    }

    fn mem_read(&mut self, phys: u64, width: Width) -> Result<u64, HostError> {
        Ok(pattern(phys, width))
    }

    fn mem_write(&mut self, phys: u64, _: Width, value: u64) -> Result<(), HostError> {
        self.written.push((phys, value));
        Ok(())
    }

    fn pci_read(&mut self, address: PciAddress, offset: u16, width: Width) -> Result<u64, HostError> {
        self.pci.push((address, offset));
        // The header of a bridge, whose secondary bus is 7.
        Ok(match offset {
            0x0e => 1,
            0x19 => 7,
            offset => pattern(offset.into(), width),
        })
    }

    fn pci_write(&mut self, _: PciAddress, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        Ok(())
    }

    fn notify(&mut self, _: Notified<'_>, _: u64) {}

    fn sleep(&mut self, milliseconds: u32) {
        self.slept += u64::from(milliseconds);
    }

    fn stall(&mut self, _: u32) {}

    fn timer(&mut self) -> u64 {
        0
    }

    fn acquire_global_lock(&mut self) -> Result<(), HostError> {
        if self.refuse_lock {
            return Err(HostError::new("the test refuses the lock"));
        }
        self.taken += 1;
        Ok(())
    }

    fn release_global_lock(&mut self) {
        self.given_back += 1;
    }
}
