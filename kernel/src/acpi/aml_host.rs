//! What AML can touch: the kernel's side of the interpreter's door.
//!
//! Ports and registers are the firmware's own business; memory that the kernel hands out is refused
//! (`memory::devices`), and so is what this kernel has no way to reach, each with a reason. A Notify
//! is only noted: it is handled after the evaluation, in the main loop.

use super::register::{self, Access, Register, RegisterError};
use crate::arch::pci::Function;
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

/// The function and the register of a PCI_Config region.
fn pci(address: PciAddress, offset: u16) -> Result<(Function, u8), HostError> {
    let PciAddress { segment, bus, device, function } = address;
    match u8::try_from(offset) {
        Ok(offset) if segment == 0 => Ok((Function { bus, device, function }, offset)),
        _ => {
            let place = format!("{segment:04x}:{bus:02x}:{device:02x}.{function} offset {offset:#x}");
            Err(HostError::new(format!("PCI configuration space of {place} is out of reach")))
        }
    }
}

fn refusal(error: RegisterError) -> HostError {
    HostError::new(format!("{error}"))
}

fn read(register: Register, width: Width) -> Result<u64, HostError> {
    register.read(width).map_err(refusal)
}

fn write(register: Register, width: Width, value: u64) -> Result<(), HostError> {
    register.write(width, value).map_err(refusal)
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
        let (function, offset) = pci(address, offset)?;
        register::read_pci(function, offset, width).map_err(refusal)
    }

    fn pci_write(
        &mut self,
        address: PciAddress,
        offset: u16,
        width: Width,
        value: u64,
    ) -> Result<(), HostError> {
        let (function, offset) = pci(address, offset)?;
        register::write_pci(function, offset, width, value).map_err(refusal)
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
