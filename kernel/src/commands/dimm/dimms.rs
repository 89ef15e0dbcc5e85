//! `dimms`: the memory devices that are in use, each with its name in QEMU, its slot, its ACPI path and its resources.

use super::super::acpi::{Numbers, state};
use super::super::{input, stream};
use super::{Out, Outcome};
use crate::hotplug::{self, DeviceState, MemoryDevice};
use crate::memory::core;
use crate::terminal::host::{self, NoAnswer, Wanted};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON};
use carapace_cli::format_size::ShortSize;
use carapace_cli::output::{Columns, Format, left, right};
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::info::DeviceId;
use carapace_schema::{Device, Dimm};

/// `dimms`.
pub static COMMAND: Command = Command {
    name: "dimms",
    summary: "the DIMMs: QEMU's name, slot, ACPI device, resources",
    flags: &[JSON],
    example: "dimms",
    ..Command::NEW
};

static COLUMNS: Columns<Dimm> = Columns::new(&[
    left("ID", |row, cell| match &row.id {
        Some(id) => cell(id),
        None => cell(&"-"),
    }),
    right("SLOT", |row, cell| match row.slot {
        Some(slot) => cell(&slot),
        None => cell(&"-"),
    }),
    left("DEVICE", |row, cell| cell(&row.device)),
    right("BASE", |row, cell| match row.base {
        Some(base) => cell(&format_args!("{base:#x}")),
        None => cell(&"-"),
    }),
    right("SIZE", |row, cell| match row.size {
        Some(size) => cell(&ShortSize(size)),
        None => cell(&"-"),
    }),
    right("NODE", |row, cell| match row.node {
        Some(node) => cell(&node),
        None => cell(&"-"),
    }),
    right("RESOURCE", |row, cell| cell(&Numbers(&row.resources))),
    left("STATE", |row, cell| cell(&row.state)),
]);

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let named = match host::ask(Wanted::Names).await {
        Ok(_) => true,
        Err(NoAnswer::Stopped(failure)) => return Err(failure),
        Err(NoAnswer::NoHost | NoAnswer::Busy) => false,
    };
    let is_any =
        || (0..hotplug::count()).any(|number| hotplug::with(DeviceId(number), row).flatten().is_some());
    if invocation.format() == Format::Table && !is_any() {
        writeln!(Out, "no DIMM is plugged; plug 256M plugs one")?;
        return Ok(());
    }
    stream::list(invocation.format(), &COLUMNS, async |each: &mut dyn FnMut(&Dimm)| {
        for number in 0..hotplug::count() {
            if let Some(row) = hotplug::with(DeviceId(number), row).flatten() {
                each(&row);
            }
            input::step().await?;
        }
        Ok(())
    })
    .await?;
    if invocation.format() == Format::Table && !named {
        writeln!(Out, "their names: `info memory-devices` in QEMU's monitor")?;
    }
    Ok(())
}

/// The row of a device; `None` for an empty slot.
fn row(device: &MemoryDevice) -> Option<Dimm> {
    if matches!(device.state, DeviceState::Absent) {
        return None;
    }
    let parts = || device.resources.iter().filter_map(|id| core().resource(*id));
    let first = parts().next();
    let slot = device.uid.as_deref().and_then(slot);
    Some(Dimm {
        id: slot.and_then(host::name),
        slot,
        device: Device::of(&device.path),
        base: first.as_ref().map(|info| info.range.start.start().0),
        size: first.as_ref().map(|_| parts().map(|info| info.range.pages() * PAGE_SIZE).sum()),
        node: first.as_ref().map(|info| info.node.0),
        state: state(device),
        resources: device.resources.iter().map(|id| id.0).collect(),
    })
}

/// The slot's number: QEMU's firmware has it as `_UID`, `0x1f`.
fn slot(uid: &str) -> Option<u32> {
    u32::from_str_radix(uid.strip_prefix("0x")?, 16).ok()
}
