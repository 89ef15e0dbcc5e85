//! `cargo xtask mem`: the sizes of a running guest's virtio-mem devices.

use std::time::Duration;

use anyhow::{Context, Result};
use guest::size::ByteSize;
use guest::virtio_mem;

use crate::cli::{MemArgs, MemTask};

/// Runs the task; the result is the exit status: 1 if the kernel did not reach the size.
pub fn mem(args: &MemArgs) -> Result<u8> {
    let mut monitor = virtio_mem::connect(args.qmp.as_deref())?;
    match &args.task {
        MemTask::Set { size, device } => {
            let id = match device {
                Some(id) => id.clone(),
                None => {
                    let devices = monitor.virtio_mems()?;
                    let first = devices.first().context(
                        "the guest has no virtio-mem device; start it with cargo xtask run --virtio-mem 16G",
                    )?;
                    first.id.clone()
                }
            };
            monitor.request_size(&id, size.bytes())?;
            let device = monitor.wait_size(&id, Duration::from_secs(args.timeout))?;
            let plugged = device.plugged();
            if device.plugged == device.requested {
                println!("{id}: {plugged} plugged");
                return Ok(0);
            }
            println!(
                "{id}: {plugged} plugged, {size} requested; `cargo xtask sh virtio` says what holds it up"
            );
            Ok(1)
        }
        MemTask::List => {
            println!(
                "{:<12} {:>4} {:>10} {:>10} {:>10} {:>16}",
                "ID", "NODE", "PLUGGED", "REQUESTED", "MOST", "ADDRESS"
            );
            let size = |bytes: u64| ByteSize::MIB.times(bytes / ByteSize::MIB.bytes()).to_string();
            for device in monitor.virtio_mems()? {
                println!(
                    "{:<12} {:>4} {:>10} {:>10} {:>10} {:>#16x}",
                    device.id,
                    device.node,
                    size(device.plugged),
                    size(device.requested),
                    size(device.most),
                    device.address
                );
            }
            Ok(0)
        }
    }
}
