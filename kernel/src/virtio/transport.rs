//! A virtio device on PCI: its registers, the page with its queue, its interrupt (virtio 1.3, section 4.1).
//!
//! ```text
//!  interrupts   by messages (MSI-X) where the device has them
//!               else by the line that the firmware routed (QEMU before version 8): its level ends when the ISR is read
//!               else polled
//! ```
//!
//! Invariants: the device is reset before it may write to memory, and then writes only to the queue's page and to what the
//! queue gives it; what it says is checked by crate `carapace-virtio`. Neighbours: `drivers::pci` finds it, `mem` and
//! `reporting` run it.

use super::{MISSED, on_interrupt};
use crate::acpi;
use crate::arch::io_apic::{self, Gsi, Mask};
use crate::arch::{local_apic, time, vectors};
use crate::drivers::mmio::Mmio;
use crate::drivers::pci::{Bus, Function};
use crate::memory::core;
use crate::memory::devices::DeviceMapError;
use ::core::fmt;
use ::core::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use ::core::time::Duration;
use carapace_acpi::madt::Signal;
use carapace_mm::addr::{PhysAddr, VirtAddr};
use carapace_virtio::mem::{BadConfig, VERSION_1};
use carapace_virtio::pci::{self, Missing, Msix, Place};
use carapace_virtio::queue::Page;
use spin::Once;

/// The most devices: those of `mem`, and the one of `reporting`.
pub const MAX_DEVICES: usize = super::mem::MAX_DEVICES + 1;

// Registers of the common configuration (section 4.1.4.3).
const DEVICE_FEATURE_SELECT: u64 = 0;
const DEVICE_FEATURE: u64 = 4;
const DRIVER_FEATURE_SELECT: u64 = 8;
const DRIVER_FEATURE: u64 = 12;
const CONFIG_VECTOR: u64 = 16;
const STATUS: u64 = 20;
const GENERATION: u64 = 21;
const QUEUE_SELECT: u64 = 22;
const QUEUE_SIZE: u64 = 24;
const QUEUE_VECTOR: u64 = 26;
const QUEUE_ENABLE: u64 = 28;
const QUEUE_NOTIFY_OFFSET: u64 = 30;
const QUEUE_DESCRIPTORS: u64 = 32;
const QUEUE_DRIVER: u64 = 40;
const QUEUE_DEVICE: u64 = 48;

// Bits of the status.
const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;

/// The command register: memory space and bus mastering.
const COMMAND: u8 = 0x04;
const MEMORY_AND_MASTER: u32 = 1 << 1 | 1 << 2;
const MSIX_ENABLE: u32 = 1 << 31;
/// The register with the interrupt line that the firmware assigned, and the pin.
const INTERRUPT_LINE: u8 = 0x3c;
/// How long a reset may take.
const RESET_TIMEOUT: Duration = Duration::from_millis(500);
/// The fewest entries of a queue: a request and its response.
const MIN_ENTRIES: u16 = 2;
/// How often the configuration is read until it does not change meanwhile.
const CONFIG_READS: u32 = 8;

/// Why a device is not used.
#[derive(Clone, Copy, Debug)]
pub enum StartError {
    /// There are more than [`MAX_DEVICES`].
    TooMany,
    /// It lacks a capability.
    Missing(Missing),
    /// A capability lies in a BAR that is none.
    Bar(u8),
    /// Its registers cannot be mapped.
    Map(DeviceMapError),
    /// It does not end its reset.
    Reset,
    /// It is not of version 1, or refuses the features that the driver can do.
    Features(u64),
    /// It has no queue.
    NoQueue,
    /// It takes no MSI-X vector.
    NoVector,
    /// Its configuration cannot be.
    Config(BadConfig),
    /// Its blocks are larger than 1 GiB, or its region has no whole block of 2 MiB.
    Block(u64),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::TooMany => write!(f, "there are more than {MAX_DEVICES} of its kind"),
            StartError::Missing(missing) => missing.fmt(f),
            StartError::Bar(bar) => write!(f, "BAR {bar} has no memory address"),
            StartError::Map(error) => error.fmt(f),
            StartError::Reset => f.write_str("it does not end its reset"),
            StartError::Features(offered) => write!(f, "its features {offered:#x} do not fit"),
            StartError::NoQueue => f.write_str("it has no queue"),
            StartError::NoVector => f.write_str("it takes no interrupt vector"),
            StartError::Config(bad) => bad.fmt(f),
            StartError::Block(bytes) => write!(f, "its blocks of {bytes:#x} bytes do not fit into 1 GiB"),
        }
    }
}

impl From<DeviceMapError> for StartError {
    fn from(error: DeviceMapError) -> StartError {
        StartError::Map(error)
    }
}

/// The page shared with a device: plain words, because the device writes them.
#[repr(C, align(4096))]
struct SharedPage([AtomicU16; 2048]);

static PAGES: [SharedPage; MAX_DEVICES] =
    [const { SharedPage([const { AtomicU16::new(0) }; 2048]) }; MAX_DEVICES];

/// A device's view of its page. Offsets beyond the page do nothing.
#[derive(Clone, Copy)]
pub struct View(&'static SharedPage);

impl View {
    fn word(&self, at: u16) -> Option<&AtomicU16> {
        self.0.0.get(usize::from(at / 2))
    }
}

impl Page for View {
    fn read(&self, at: u16) -> u8 {
        self.read_u16(at & !1).to_le_bytes()[usize::from(at & 1)]
    }

    fn read_u16(&self, at: u16) -> u16 {
        self.word(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn write(&mut self, at: u16, value: u8) {
        let mut bytes = self.read_u16(at & !1).to_le_bytes();
        bytes[usize::from(at & 1)] = value;
        self.write_u16(at & !1, u16::from_le_bytes(bytes));
    }

    fn write_u16(&mut self, at: u16, value: u16) {
        if let Some(word) = self.word(at) {
            word.store(value, Ordering::Release);
        }
    }
}

/// What the driver of a kind of device needs.
pub struct Driver<'a> {
    /// The number of its page, below [`MAX_DEVICES`].
    pub slot: usize,
    /// The most entries of its queue.
    pub entries: u16,
    /// Where in the page descriptors, available ring and used ring lie.
    pub rings: [u16; 3],
    /// The bytes of its configuration that are read.
    pub config_bytes: usize,
    /// The features to accept of those offered, and the number of the queue. `None` when they do not suffice.
    pub choose: &'a dyn Fn(u64) -> Option<(u64, u16)>,
}

/// A device that runs.
pub struct Transport {
    common: Mmio,
    device: Mmio,
    notify: Mmio,
    page: View,
    queue: u16,
    signalling: Signalling,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// The physical address of a BAR.
fn bar(bus: &Bus, at: Function, place: Place) -> Result<PhysAddr, StartError> {
    let wrong = StartError::Bar(place.bar);
    if place.bar > 5 {
        return Err(wrong);
    }
    let register = 0x10 + 4 * place.bar;
    let low = bus.read(at, register);
    let high = match low & 7 {
        0 => 0,
        4 if place.bar < 5 => bus.read(at, register + 4),
        _ => return Err(wrong),
    };
    let base = u64::from(high) << 32 | u64::from(low & !0xf);
    let start = base.checked_add(place.offset.into()).filter(|_| base != 0);
    start.map(PhysAddr).ok_or(wrong)
}

/// How a device's interrupts come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalling {
    /// By messages.
    Messages,
    /// By a line.
    Line(u16),
    /// Not at all: it must be polled.
    Polled,
}

impl fmt::Display for Signalling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signalling::Messages => f.write_str("MSI-X"),
            Signalling::Line(irq) => write!(f, "line {irq}"),
            Signalling::Polled => f.write_str("polled"),
        }
    }
}

/// The line of a device and the register that ends its interrupt.
#[derive(Clone, Copy, Debug)]
struct Line {
    gsi: Gsi,
    isr: Mmio,
}

/// The devices with a line, for the interrupt handler.
static LINES: [Once<Line>; MAX_DEVICES] = [const { Once::new() }; MAX_DEVICES];
/// Interrupts in a row that no device of ours had: then another device holds a line that we share.
const MAX_FOREIGN: usize = 1000;
static FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// Ends the interrupts of all devices with a line. Called by the interrupt handler.
pub fn end_line_interrupts() {
    let mut lines = LINES.iter().filter_map(Once::get).peekable();
    if lines.peek().is_none() {
        return;
    }
    let mut ours = false;
    lines.for_each(|line| ours |= line.isr.read::<u8>(0) != 0);
    if ours {
        FOREIGN.store(0, Ordering::Relaxed);
    } else if FOREIGN.fetch_add(1, Ordering::Relaxed) >= MAX_FOREIGN {
        // The level of a device that nobody drives: without our lines, but not without end.
        LINES.iter().filter_map(Once::get).for_each(|line| io_apic::set_mask(line.gsi, Mask::Masked));
        MISSED.store(true, Ordering::Release);
    }
}

/// Lets a device interrupt by messages of vector 0.
fn by_messages(bus: &Bus, at: Function, msix: &Msix, table: &Mmio, common: &Mmio) -> Result<(), StartError> {
    // Entry 0 of the table: the first CPU, edge-triggered, fixed delivery (Intel SDM vol. 3, section 10.11).
    table.write(0, 0xfee0_0000 | (local_apic::id().0 & 0xff) << 12);
    table.write(4, 0u32);
    table.write(8, u32::from(vectors::VIRTIO.0));
    table.write(12, 0u32);
    let control = bus.read(at, msix.register);
    // SAFETY: MSI-X writes only to the local APIC, by the entry above; the device uses no other entry.
    unsafe { bus.write(at, msix.register, control & !(1 << 30) | MSIX_ENABLE) };
    common.write(CONFIG_VECTOR, 0u16);
    common.write(QUEUE_VECTOR, 0u16);
    let taken = common.read::<u16>(CONFIG_VECTOR) == 0 && common.read::<u16>(QUEUE_VECTOR) == 0;
    if taken { Ok(()) } else { Err(StartError::NoVector) }
}

/// Routes the line that the firmware has assigned to the device.
fn by_line(bus: &Bus, at: Function, slot: usize, isr: Mmio) -> Signalling {
    let line = bus.read(at, INTERRUPT_LINE);
    let (irq, pin) = (line as u8, line >> 8 & 0xff);
    let sci = acpi::with(|acpi| acpi.fadt.sci);
    if pin == 0 || !(3..16).contains(&irq) || sci == Some(irq.into()) {
        return Signalling::Polled;
    }
    let wiring = io_apic::wiring(irq.into(), Signal::SCI);
    let Some(known) = LINES.get(slot) else { return Signalling::Polled };
    known.call_once(|| Line { gsi: Gsi(wiring.gsi), isr });
    match io_apic::route(wiring, vectors::VIRTIO, on_interrupt) {
        Ok(()) => Signalling::Line(irq.into()),
        Err(_) => Signalling::Polled,
    }
}

impl Transport {
    /// Resets a device, negotiates features, and starts its queue and its interrupts. `write_queue` writes an empty queue
    /// into the page, with the page's physical address and the number of entries.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; the device is reset then, or does not do anything yet.
    pub fn start(
        bus: Bus,
        at: Function,
        driver: &Driver<'_>,
        write_queue: &mut dyn FnMut(&mut View, u64, u16),
    ) -> Result<Transport, StartError> {
        let places = pci::find(&mut |offset| bus.read(at, offset)).map_err(StartError::Missing)?;
        let map = |place: Place, least: u64| {
            let start = bar(&bus, at, place)?;
            // SAFETY: these are the registers of a virtio device. It writes to memory only after `DRIVER_OK`, by queues that
            // it was given: the one of `PAGES`, of which this device alone has the page, and to the memory of its
            // descriptors, which `reporting` has isolated. Its interrupts have the vector `VIRTIO`, which has a gate.
            Ok::<Mmio, StartError>(unsafe { Mmio::map(start, u64::from(place.length).max(least)) }?)
        };
        let common = map(places.common, 56)?;
        let device = map(places.device, driver.config_bytes as u64)?;
        let isr = map(places.isr, 1)?;
        let table = places.msix.map(|msix| map(msix.table, 16).map(|table| (msix, table))).transpose()?;
        let notify_place = places.notify;
        let command = bus.read(at, COMMAND) & 0xffff;
        // SAFETY: this makes the registers answer. Bus mastering follows after the reset.
        unsafe { bus.write(at, COMMAND, command | 1 << 1) };
        common.write(STATUS, 0u8);
        let deadline = time::uptime() + RESET_TIMEOUT;
        while common.read::<u8>(STATUS) != 0 {
            if time::uptime() > deadline {
                return Err(StartError::Reset);
            }
            time::stall(Duration::from_micros(100));
        }
        // SAFETY: the device is reset: it writes only to memory that it is given below.
        unsafe { bus.write(at, COMMAND, command | MEMORY_AND_MASTER) };
        let started = Transport::negotiate(&common, driver.choose).and_then(|number| {
            let slot = driver.slot;
            let page = PAGES.get(slot).ok_or(StartError::TooMany)?;
            let mut view = View(page);
            let virt = VirtAddr(page as *const SharedPage as u64);
            let phys = core().translate(virt).ok_or(StartError::NoQueue)?.phys.0;
            common.write(QUEUE_SELECT, number);
            let offered = common.read::<u16>(QUEUE_SIZE);
            let entries = if offered == 0 { 0 } else { driver.entries.min(1 << offered.ilog2()) };
            if entries < MIN_ENTRIES {
                return Err(StartError::NoQueue);
            }
            common.write(QUEUE_SIZE, entries);
            write_queue(&mut view, phys, entries);
            let messages = match &table {
                Some((msix, table)) => Some(by_messages(&bus, at, msix, table, &common)?),
                None => None,
            };
            let signalling = match messages {
                Some(()) => Signalling::Messages,
                None => by_line(&bus, at, slot, isr),
            };
            let registers = [QUEUE_DESCRIPTORS, QUEUE_DRIVER, QUEUE_DEVICE];
            for (register, offset) in registers.into_iter().zip(driver.rings) {
                let address = phys + u64::from(offset);
                common.write(register, address as u32);
                common.write(register + 4, (address >> 32) as u32);
            }
            let offset = u64::from(common.read::<u16>(QUEUE_NOTIFY_OFFSET)) * u64::from(places.notify_step);
            let offset =
                u32::try_from(offset).ok().and_then(|offset| offset.checked_add(notify_place.offset));
            let notify =
                map(Place { offset: offset.ok_or(StartError::NoQueue)?, length: 2, ..notify_place }, 2)?;
            common.write(QUEUE_ENABLE, 1u16);
            common.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
            Ok(Transport { common, device, notify, page: view, queue: number, signalling })
        });
        if started.is_err() {
            common.write(STATUS, 0u8);
        }
        started
    }

    fn negotiate(common: &Mmio, choose: &dyn Fn(u64) -> Option<(u64, u16)>) -> Result<u16, StartError> {
        common.write(STATUS, ACKNOWLEDGE);
        common.write(STATUS, ACKNOWLEDGE | DRIVER);
        let half = |select: u32| {
            common.write(DEVICE_FEATURE_SELECT, select);
            u64::from(common.read::<u32>(DEVICE_FEATURE))
        };
        let offered = half(0) | half(1) << 32;
        let chosen = choose(offered).filter(|_| offered & VERSION_1 != 0);
        let (accepted, queue) = chosen.ok_or(StartError::Features(offered))?;
        let accepted = accepted | VERSION_1;
        for (select, half) in [(0u32, accepted as u32), (1, (accepted >> 32) as u32)] {
            common.write(DRIVER_FEATURE_SELECT, select);
            common.write(DRIVER_FEATURE, half);
        }
        common.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        if common.read::<u8>(STATUS) & FEATURES_OK == 0 {
            return Err(StartError::Features(offered));
        }
        Ok(queue)
    }

    /// How its interrupts come.
    pub fn signalling(&self) -> Signalling {
        if MISSED.load(Ordering::Acquire) && matches!(self.signalling, Signalling::Line(_)) {
            return Signalling::Polled;
        }
        self.signalling
    }

    /// The first bytes of the configuration as they were at one moment.
    pub fn config<const BYTES: usize>(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for _ in 0..CONFIG_READS {
            let before = self.common.read::<u8>(GENERATION);
            for (word, bytes) in (0u64..).zip(bytes.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&self.device.read::<u32>(4 * word).to_le_bytes());
            }
            if self.common.read::<u8>(GENERATION) == before {
                break;
            }
        }
        bytes
    }

    /// The page with the queue.
    pub fn page(&mut self) -> &mut View {
        &mut self.page
    }

    /// Tells the device that the queue has something new.
    pub fn notify(&self) {
        self.notify.write(0, self.queue);
    }

    /// Resets the device. Whether the reset has ended: then it accesses no memory any more.
    pub fn reset(&self) -> bool {
        self.common.write(STATUS, 0u8);
        self.common.read::<u8>(STATUS) == 0
    }
}
