//! virtio-mem devices of a running guest through QMP: their sizes, and the size that the kernel should reach.
//!
//! Neighbours: `qemu` composes the devices of a guest's command line, `dimm` does the same for DIMMs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use qapi::qmp::{self, MemoryDeviceInfo};
use serde_json::json;

use crate::discovery;
use crate::qmp::Monitor;
use crate::size::ByteSize;

/// How often a device is asked for its size.
const INTERVAL: Duration = Duration::from_millis(5);

/// A virtio-mem device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtioMem {
    /// Its name in QEMU.
    pub id: String,
    /// Its node.
    pub node: i64,
    /// Bytes that are plugged.
    pub plugged: u64,
    /// Bytes that should be.
    pub requested: u64,
    /// Bytes that can be.
    pub most: u64,
    /// The first byte of its region.
    pub address: u64,
}

/// Connects to the guest of a QMP socket.
///
/// # Errors
/// Nothing listens there.
pub fn connect(qmp: Option<&std::path::Path>) -> Result<Monitor> {
    Monitor::new(discovery::connect(&discovery::find(qmp)?)?)
}

impl Monitor {
    /// The virtio-mem devices of the guest.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn virtio_mems(&mut self) -> Result<Vec<VirtioMem>> {
        let devices = self.execute(&qmp::query_memory_devices {})?;
        Ok(devices
            .into_iter()
            .filter_map(|device| match device {
                MemoryDeviceInfo::virtio_mem(device) => Some(VirtioMem {
                    id: device.data.id.unwrap_or_default(),
                    node: device.data.node,
                    plugged: device.data.size,
                    requested: device.data.requested_size,
                    most: device.data.max_size,
                    address: device.data.memaddr,
                }),
                _ => None,
            })
            .collect())
    }

    /// Asks the kernel to reach a size; does not wait.
    ///
    /// # Errors
    /// QEMU refuses: the size is no multiple of the device's blocks, or too large, or there is no such device.
    pub fn request_size(&mut self, id: &str, size: u64) -> Result<()> {
        self.execute(&qmp::qom_set {
            path: format!("/machine/peripheral/{id}"),
            property: "requested-size".to_owned(),
            value: json!(size),
        })?;
        Ok(())
    }

    /// Waits until a device has the requested size, at most for `limit`. Returns its state then.
    ///
    /// # Errors
    /// QEMU does not answer, or there is no such device.
    pub fn wait_size(&mut self, id: &str, limit: Duration) -> Result<VirtioMem> {
        let deadline = Instant::now() + limit;
        loop {
            let device = self.virtio_mems()?.into_iter().find(|device| device.id == id);
            let device = device.with_context(|| format!("there is no virtio-mem device {id}"))?;
            if device.plugged == device.requested || Instant::now() > deadline {
                return Ok(device);
            }
            std::thread::sleep(INTERVAL);
        }
    }
}

impl VirtioMem {
    /// Its plugged size, if it is whole MiB as it should be.
    pub fn plugged(&self) -> ByteSize {
        ByteSize::MIB.times(self.plugged / ByteSize::MIB.bytes())
    }
}
