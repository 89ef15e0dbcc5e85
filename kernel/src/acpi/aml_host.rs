//! What AML can touch: the kernel's side of the interpreter's door.
//!
//! Ports and registers are the firmware's own business; memory that the kernel hands out is refused
//! (`memory::devices`), and so is what this kernel has no way to reach, each with a reason. A Notify
//! is only noted: it is handled after the evaluation, in the main loop.

use super::register::{Access, Register};
use crate::arch::port::{self, PortNumber};
use crate::arch::time;
use crate::hotplug;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use carapace_acpi::notify::{Notification, NotifyKind, NotifyTarget, Queue};
use carapace_aml::{Host, HostError, PciAddress, Width};
use carapace_mm::addr::PhysAddr;
use core::time::Duration;
use log::{debug, error};

/// Notifications that can wait. One run of a handler tells at most each device once.
pub const QUEUE: usize = 2 * hotplug::MAX_DEVICES;

/// PCI's configuration mechanism #1 (PCI Local Bus 3.0, section 3.2.2.3.2): every PC has it.
const PCI_ADDRESS: PortNumber = PortNumber(0xcf8);
const PCI_DATA: u16 = 0xcfc;

/// Where notifications wait, and who can be told.
#[derive(Debug, Default)]
pub struct Inbox {
    queue: Queue<QUEUE>,
    /// What has memory devices below it.
    pub buses: Vec<String>,
    /// Notifications that found the queue full.
    lost: u64,
}

impl Inbox {
    /// Drops everything; returns how many notifications were lost since the last time, these included.
    pub fn clear(&mut self) -> u64 {
        let dropped = core::mem::take(&mut self.lost).saturating_add(self.queue.len() as u64);
        self.queue = Queue::new();
        dropped
    }

    /// Takes the oldest notification.
    pub fn pop(&mut self) -> Option<Notification> {
        self.queue.pop()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn note(&mut self, device: &str, value: u64) {
        let bus = || {
            // A bus is told of what may have come below it; other values concern the bus itself.
            let looks = matches!(NotifyKind::of(value), NotifyKind::BusCheck | NotifyKind::DeviceCheck);
            let at = self.buses.iter().position(|bus| bus == device).filter(|_| looks)?;
            Some(NotifyTarget::Bus(at as u32))
        };
        let Some(target) = hotplug::find(device).map(|id| NotifyTarget::Device(id.0)).or_else(bus) else {
            debug!("{device}: Notify {value:#x} concerns no memory");
            return;
        };
        if self.queue.push(Notification { target, value }).is_err() {
            // One line for all of them: where one is lost, hundreds may be.
            if self.lost == 0 {
                error!("{device}: Notify {value:#x} is lost: {QUEUE} others wait");
            }
            self.lost = self.lost.saturating_add(1);
        }
    }
}

/// The interpreter's surroundings during one evaluation.
#[derive(Debug)]
pub struct KernelHost<'a> {
    /// Where notifications go.
    pub inbox: &'a mut Inbox,
}

/// Opens the window onto a function's configuration space and returns the register in it.
fn pci(address: PciAddress, offset: u16) -> Result<Register, HostError> {
    if address.segment != 0 || offset > 0xff {
        let PciAddress { segment, bus, device, function } = address;
        let place = format!("{segment:04x}:{bus:02x}:{device:02x}.{function} offset {offset:#x}");
        return Err(HostError::new(format!("PCI configuration space of {place} is out of reach")));
    }
    let function = u32::from(address.bus) << 16
        | u32::from(address.device & 0x1f) << 11
        | u32::from(address.function & 7) << 8;
    port::write32(PCI_ADDRESS, 1 << 31 | function | u32::from(offset & 0xfc));
    Ok(Register::Io(PCI_DATA + (offset & 3)))
}

fn read(register: Register, width: Width) -> Result<u64, HostError> {
    register.read(width).map_err(|error| HostError::new(format!("{error}")))
}

fn write(register: Register, width: Width, value: u64) -> Result<(), HostError> {
    register.write(width, value).map_err(|error| HostError::new(format!("{error}")))
}

impl Host for KernelHost<'_> {
    fn io_read(&mut self, port: u16, width: Width) -> Result<u64, HostError> {
        read(Register::Io(port), width)
    }

    fn io_write(&mut self, port: u16, width: Width, value: u64) -> Result<(), HostError> {
        write(Register::Io(port), width, value)
    }

    fn mem_read(&mut self, phys: u64, width: Width) -> Result<u64, HostError> {
        read(Register::Memory(PhysAddr(phys)), width)
    }

    fn mem_write(&mut self, phys: u64, width: Width, value: u64) -> Result<(), HostError> {
        write(Register::Memory(PhysAddr(phys)), width, value)
    }

    fn pci_read(&mut self, address: PciAddress, offset: u16, width: Width) -> Result<u64, HostError> {
        read(pci(address, offset)?, width)
    }

    fn pci_write(
        &mut self,
        address: PciAddress,
        offset: u16,
        width: Width,
        value: u64,
    ) -> Result<(), HostError> {
        write(pci(address, offset)?, width, value)
    }

    fn notify(&mut self, device: &str, value: u64) {
        self.inbox.note(device, value);
    }

    fn sleep(&mut self, milliseconds: u32) {
        // The whole evaluation is bounded in how long it may sleep (`carapace_aml::Limits`).
        time::stall(Duration::from_millis(milliseconds.into()));
    }

    fn stall(&mut self, microseconds: u32) {
        time::stall(Duration::from_micros(microseconds.into()));
    }

    fn timer(&mut self) -> u64 {
        (time::uptime().as_nanos() / 100) as u64
    }

    fn debug(&mut self, text: &str) {
        debug!("AML: {text}");
    }
}
