//! The machine and the kernel itself: `acpi`, `stat`, `uptime`, `dmesg`, `history`.

use crate::{Device, Text, Word};
use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

/// The answer of `acpi`.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acpi {
    pub tables: alloc::vec::Vec<AcpiTable>,
    pub events: alloc::vec::Vec<AcpiEvent>,
    pub devices: alloc::vec::Vec<AcpiDevice>,
}

/// A table of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcpiTable {
    pub signature: Text<16>,
    pub address: u64,
    /// Header included.
    pub length: u32,
    pub revision: u8,
    pub oem_table_id: Text<32>,
}

/// A general-purpose event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcpiEvent {
    pub event: u32,
    /// The method that handles it.
    pub method: Text<32>,
    /// Whether it can reach a memory device, and is on.
    pub enabled: bool,
    /// How often the method ran.
    pub runs: u64,
}

/// A row of `virtio`: a virtio-mem device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Virtio {
    pub device: Device,
    pub node: u32,
    /// The first byte of its region.
    pub base: u64,
    /// Bytes of its region.
    pub region: u64,
    /// Bytes of the region that may be plugged now.
    pub usable: u64,
    pub requested: u64,
    /// By the device's own count.
    pub plugged: u64,
    /// Bytes of a block.
    pub block: u64,
    pub requests: VirtioRequests,
    /// What keeps it from the requested size.
    pub held_by: Option<Text<160>>,
}

/// The requests to a virtio-mem device, and those that it refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioRequests {
    pub plug: u64,
    pub unplug: u64,
    pub nack: u64,
    pub busy: u64,
    /// ERROR, or an answer that made no sense.
    pub error: u64,
}

/// The free memory reported to the host; sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reporting {
    pub device: Device,
    /// Batches that the device has answered.
    pub batches: u64,
    pub reported: u64,
    /// What the device has now; it can be neither allocated nor removed.
    pub in_flight: u64,
    /// Times that the device had to be reset.
    pub resets: u64,
}

/// A memory device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcpiDevice {
    pub device: Device,
    /// Empty without a `_UID`.
    pub uid: Word,
    pub state: Text<160>,
    /// Why it refused the last eject request.
    pub eject_refused: Option<Text<200>>,
    /// The numbers of its resources.
    pub resources: ArrayVec<u32, 16>,
}

/// A row of `cpus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    pub cpu: u32,
    pub apic_id: u32,
    pub node: u32,
    pub state: Word,
    /// Blocks of frames that it has allocated and freed since boot.
    pub allocations: u64,
    pub frees: u64,
    /// Frames in its frame cache.
    pub cached_pages: u64,
    /// Requests that it made of all other CPUs that run, and those that it served.
    pub shootdowns_sent: u64,
    pub shootdowns_received: u64,
}

/// The answer of `stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    pub uptime_us: u64,
    pub acpi_interrupts: u64,
    /// Notifications that were handled.
    pub notifications: u64,
    pub log_lines_dropped: u64,
}

/// The answer of `uptime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    pub uptime_us: u64,
}

/// The answer of `dmesg`.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dmesg {
    /// Older lines, dropped from the ring.
    pub dropped: u64,
    pub lines: alloc::vec::Vec<alloc::string::String>,
}

/// A row of `history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History<Line> {
    /// For `!N`.
    pub number: u64,
    pub line: Line,
}
