//! Lines of the second serial line that are no answers, and errors.

use crate::{Device, Text};
use serde::{Deserialize, Serialize};

/// Something that happened, told after `events on`; times are microseconds since boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "alloc", derive(Deserialize))]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<Line> {
    /// The firmware notified a device (ACPI 6.5, table 5.187): 1 device check, 3 eject request.
    Notify { uptime_us: u64, device: Device, value: u64 },
    /// `_OST` was evaluated: the answer to the Notify of value `source`.
    Ost { uptime_us: u64, device: Device, source: u64, status: u64 },
    /// A resource was added.
    Added { uptime_us: u64, device: Device, resource: u32, base: u64, size: u64, node: u32 },
    /// A device's memory was removed.
    Removed { uptime_us: u64, device: Device, size: u64 },
    /// A virtio-mem device plugged a run of memory, and it is in use.
    Plugged { uptime_us: u64, device: Device, resource: u32, base: u64, size: u64, node: u32 },
    /// A virtio-mem device has unplugged a run of memory.
    Unplugged { uptime_us: u64, device: Device, base: u64, size: u64 },
    /// So many free bytes were reported to the host (free page reporting).
    Reported { uptime_us: u64, device: Device, size: u64 },
    /// Why a virtio-mem device does not have the requested size.
    Held { uptime_us: u64, device: Device, reason: Text<160> },
    /// The kernel asks the host to plug a DIMM: `plug` was typed. The host answers by `host REQUEST ...`, as for the next two.
    Plug { request: u32, size: u64, node: u32 },
    /// The kernel asks the host to unplug a DIMM.
    Unplug { request: u32, id: Text<48> },
    /// The kernel asks the host which DIMM is in which slot.
    Dimms { request: u32 },
    /// A line of the log, with its time and level.
    Log { line: Line },
    /// So many events or lines of the log are missing here: the reader was too slow.
    Lost { pieces: u64 },
}

/// A piece of what a command behind `sh` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printed<Piece> {
    /// The request's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    pub text: Piece,
}

/// Why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub error: Text<320>,
}
