//! The kernel's side of the interpreter's `Host` trait: hardware access, time, and the inbox of notifications.
//!
//! `register` decides what AML may access: no memory that the kernel allocates, none of the kernel's own devices, no
//! port that could harm memory; each refusal has a reason. A Notify is only
//! queued; the main loop handles it after the evaluation.

use super::register::{self, Access, Register, RegisterError};
use crate::arch::port::PortNumber;
use crate::arch::time;
use crate::drivers::pci::Function;
use crate::hotplug;
use alloc::format;
use alloc::vec::Vec;
use carapace_acpi::notify::{Notification, NotifyKind, NotifyTarget, Queue};
use carapace_aml::{Handle, Host, HostError, Notified, PciAddress, Width};
use carapace_mm::addr::PhysAddr;
use core::time::Duration;
use log::{debug, error};

/// The capacity of the queue. One run of a handler notifies each device at most once.
pub const QUEUE: usize = 2 * hotplug::MAX_DEVICES;

/// The queue of notifications, and the devices they may be for.
#[derive(Debug, Default)]
pub struct Inbox {
    queue: Queue<QUEUE>,
    /// The devices that enclose memory devices, and those that `_EJD` names.
    pub buses: Vec<Handle>,
    /// Those of them that come and go with what is below (see `container`).
    pub containers: Vec<Handle>,
    /// The power buttons.
    pub buttons: Vec<Handle>,
    /// Notifications dropped because the queue was full.
    lost: u64,
}

impl Inbox {
    /// Whether a Notify on `device` may bring or take memory.
    pub fn concerns_memory(&self, device: Handle) -> bool {
        hotplug::find(device).is_some() || self.containers.contains(&device)
    }

    /// Drops all notifications; returns how many were lost since the last call, these included.
    pub fn clear(&mut self) -> u64 {
        let dropped = core::mem::take(&mut self.lost).saturating_add(self.queue.len() as u64);
        self.queue = Queue::new();
        dropped
    }

    /// Takes the oldest notification.
    pub fn pop(&mut self) -> Option<Notification> {
        self.queue.pop()
    }

    /// How many notifications wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn push(&mut self, device: Notified<'_>, value: u64) {
        let bus = || {
            // Checks and eject requests concern the devices below; other values concern the bus itself.
            let is_meant = NotifyKind::of(value) != NotifyKind::Other;
            let at = self.buses.iter().position(|&bus| bus == device.handle()).filter(|_| is_meant)?;
            Some(NotifyTarget::Bus(at as u32))
        };
        let memory = hotplug::find(device.handle()).map(|id| NotifyTarget::Device(id.0));
        let button = || self.buttons.contains(&device.handle()).then_some(NotifyTarget::PowerButton);
        let Some(target) = memory.or_else(bus).or_else(button) else {
            debug!("{}: Notify {value:#x} ignored: no memory device", device.path());
            return;
        };
        if self.queue.push(Notification { target, value }).is_err() {
            // Logged once: where one is lost, hundreds may be.
            if self.lost == 0 {
                error!("{}: Notify {value:#x} is lost: the queue of {QUEUE} is full", device.path());
            }
            self.lost = self.lost.saturating_add(1);
        }
    }
}

/// The interpreter's host during one evaluation.
#[derive(Debug)]
pub struct KernelHost<'a> {
    /// Receives notifications.
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

#[cold]
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
        register::read_port(PortNumber(port), width).map_err(refusal)
    }

    fn io_write(&mut self, port: u16, width: Width, value: u64) -> Result<(), HostError> {
        register::write_port(PortNumber(port), width, value).map_err(refusal)
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

    fn notify(&mut self, device: Notified<'_>, value: u64) {
        self.inbox.push(device, value);
    }

    fn sleep(&mut self, milliseconds: u32) {
        // The total sleep of an evaluation is bounded (`carapace_aml::Limits`).
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
