//! A host for the interpreter: QEMU's memory hotplug registers (docs/specs/acpi_mem_hotplug), bytes
//! of memory and ports that keep what is written, and a PCI space of zeros.
use std::collections::BTreeMap;

use carapace_aml::{Error, Exception, Host, HostError, Notified, PciAddress, Width};

/// One slot's registers, and what the guest wrote there.
#[derive(Clone, Debug, Default)]
pub struct Dimm {
    pub enabled: bool,
    pub inserting: bool,
    pub removing: bool,
    pub ejected: bool,
    pub base: u64,
    pub size: u64,
    pub node: u64,
    pub event: u64,
    pub status: u64,
}

impl Dimm {
    /// A DIMM that was just plugged.
    pub fn inserted() -> Self {
        Self { enabled: true, inserting: true, ..Self::default() }
    }
}

/// The host.
#[derive(Debug, Default)]
pub struct FakeHost {
    pub slots: Vec<Dimm>,
    pub notes: Vec<(String, u64)>,
    pub debug: Vec<String>,
    /// Accesses to ports, memory and configuration space.
    pub accesses: usize,
    /// Milliseconds slept.
    pub slept: u64,
    /// AML's `\_ERR` may let the execution go on after an error.
    pub goes_on: bool,
    selected: usize,
    bytes: BTreeMap<(u8, u64), u8>,
    clock: u64,
}

/// The registers' I/O ports.
const BASE: u16 = 0xa00;
const LENGTH: u16 = 0x18;
const PORTS: u8 = 1;
const MEMORY: u8 = 0;
const PCI: u8 = 2;

impl FakeHost {
    pub fn with_slots(slots: usize) -> Self {
        Self { slots: vec![Dimm::default(); slots], ..Self::default() }
    }

    /// Puts bytes into memory.
    pub fn place(&mut self, address: u64, bytes: &[u8]) {
        self.bytes.extend(bytes.iter().zip(address..).map(|(&byte, at)| ((MEMORY, at), byte)));
    }

    pub fn take_notes(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.notes)
    }

    fn load(&mut self, space: u8, at: u64, width: Width) -> u64 {
        self.accesses += 1;
        let bytes = (0..u64::from(width.bytes())).rev();
        bytes
            .fold(0, |value, byte| value << 8 | u64::from(*self.bytes.get(&(space, at + byte)).unwrap_or(&0)))
    }

    fn save(&mut self, space: u8, at: u64, width: Width, value: u64) {
        self.accesses += 1;
        for (byte, value) in value.to_le_bytes().into_iter().take(width.bytes() as usize).enumerate() {
            self.bytes.insert((space, at + byte as u64), value);
        }
    }

    fn register(&self, offset: u16) -> u64 {
        let Some(slot) = self.slots.get(self.selected) else { return 0 };
        match offset {
            0x00 => slot.base & 0xffff_ffff,
            0x04 => slot.base >> 32,
            0x08 => slot.size & 0xffff_ffff,
            0x0c => slot.size >> 32,
            0x10 => slot.node,
            0x14 => u64::from(slot.enabled) | u64::from(slot.inserting) << 1 | u64::from(slot.removing) << 2,
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u16, value: u64) {
        if offset == 0 {
            self.selected = value as usize;
            return;
        }
        let Some(slot) = self.slots.get_mut(self.selected) else { return };
        match offset {
            0x04 => slot.event = value,
            0x08 => slot.status = value,
            0x14 => {
                slot.inserting &= value & 2 == 0;
                slot.removing &= value & 4 == 0;
                slot.ejected |= value & 8 != 0;
            }
            _ => {}
        }
    }
}

impl Host for FakeHost {
    fn io_read(&mut self, port: u16, width: Width) -> Result<u64, HostError> {
        match port.checked_sub(BASE) {
            Some(offset) if offset < LENGTH && !self.slots.is_empty() => Ok(self.register(offset)),
            _ => Ok(self.load(PORTS, port.into(), width)),
        }
    }

    fn io_write(&mut self, port: u16, width: Width, value: u64) -> Result<(), HostError> {
        match port.checked_sub(BASE) {
            Some(offset) if offset < LENGTH && !self.slots.is_empty() => self.set_register(offset, value),
            _ => self.save(PORTS, port.into(), width, value),
        }
        Ok(())
    }

    fn mem_read(&mut self, phys: u64, width: Width) -> Result<u64, HostError> {
        Ok(self.load(MEMORY, phys, width))
    }

    fn mem_write(&mut self, phys: u64, width: Width, value: u64) -> Result<(), HostError> {
        self.save(MEMORY, phys, width, value);
        Ok(())
    }

    fn pci_read(&mut self, _: PciAddress, offset: u16, width: Width) -> Result<u64, HostError> {
        Ok(self.load(PCI, offset.into(), width))
    }

    fn pci_write(&mut self, _: PciAddress, offset: u16, width: Width, value: u64) -> Result<(), HostError> {
        self.save(PCI, offset.into(), width, value);
        Ok(())
    }

    fn notify(&mut self, device: Notified<'_>, value: u64) {
        self.notes.push((device.path(), value));
    }

    fn sleep(&mut self, milliseconds: u32) {
        self.slept += u64::from(milliseconds);
        self.clock += u64::from(milliseconds) * 10_000;
    }

    fn stall(&mut self, microseconds: u32) {
        // A real clock is never exact.
        self.clock += u64::from(microseconds + 100) * 10;
    }

    fn timer(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn debug(&mut self, text: &str) {
        self.debug.push(text.into());
    }

    fn exception(&mut self, error: &Error) -> Option<Exception> {
        if !self.goes_on {
            return None;
        }
        self.debug.push(format!("error: {error}"));
        crate::aslts::exception(error.kind())
    }
}
