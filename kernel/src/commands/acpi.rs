//! `acpi`: the firmware's tables, events and memory devices.

use super::console::Out;
use super::{Outcome, input, stream};
use crate::acpi;
use crate::hotplug::{self, DeviceState, MemoryDevice};
use crate::memory::core;
use ::core::fmt::{self, Display, Write};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::output::{Columns, Format, left, right};
use carapace_mm::info::{DeviceId, ResourceId, ResourceState};
use carapace_schema::{AcpiDevice, AcpiEvent, AcpiTable, Device, Text, Word};

/// `acpi`.
pub static COMMAND: Command = Command {
    name: "acpi",
    summary: "the firmware's tables, events and memory devices",
    flags: &[JSON],
    example: "acpi",
    // The host asks it while `plug` on the second serial line waits for the host.
    effect: Effect::Reads,
    ..Command::NEW
};

static TABLES: Columns<AcpiTable> = Columns::new(&[
    left("TABLE", |row, cell| cell(&row.signature)),
    right("ADDRESS", |row, cell| cell(&format_args!("{:#x}", row.address))),
    right("LENGTH", |row, cell| cell(&row.length)),
    right("REVISION", |row, cell| cell(&row.revision)),
    left("NAME", |row, cell| cell(&row.oem_table_id)),
]);

static EVENTS: Columns<AcpiEvent> = Columns::new(&[
    right("EVENT", |row, cell| cell(&format_args!("{:#x}", row.event))),
    left("METHOD", |row, cell| cell(&row.method)),
    left("STATE", |row, cell| cell(&if row.enabled { "on" } else { "off" })),
    right("RUNS", |row, cell| cell(&row.runs)),
]);

static DEVICES: Columns<AcpiDevice> = Columns::new(&[
    left("DEVICE", |row, cell| cell(&row.device)),
    left("UID", |row, cell| cell(&row.uid)),
    left("RESOURCES", |row, cell| cell(&Numbers(&row.resources))),
    left("STATE", |row, cell| match &row.eject_refused {
        Some(why) => cell(&format_args!("{}; not ejected: {why}", row.state)),
        None => cell(&row.state),
    }),
]);

/// Numbers between commas, or a dash.
pub struct Numbers<'a>(pub &'a [u32]);

impl Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return f.write_str("-") };
        write!(f, "{first}")?;
        rest.iter().try_for_each(|number| write!(f, ",{number}"))
    }
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let format = invocation.format();
    let written = parts(format).await;
    if format == Format::Json {
        Out.write_str("}\n")?;
    }
    written
}

async fn parts(format: Format) -> Outcome {
    let between = |json, table| {
        Out.write_str(match format {
            Format::Json => json,
            Format::Table => table,
        })
    };
    between("{\"tables\":", "")?;
    stream::part(format, &TABLES, tables).await?;
    between(",\"events\":", "\n")?;
    stream::part(format, &EVENTS, events).await?;
    between(",\"devices\":", "\n")?;
    stream::part(format, &DEVICES, devices).await
}

// One row per step: ACPI's lock is free while a row is written.
async fn tables(each: &mut dyn FnMut(&AcpiTable)) -> Outcome {
    let row = |number: usize| {
        acpi::with(|acpi| {
            acpi.tables.all().get(number).map(|table| AcpiTable {
                signature: Text::of(&table.signature),
                address: table.at.0,
                length: table.length,
                revision: table.revision,
                oem_table_id: Text::of(&table.oem_table_id.trim_ascii_end().escape_ascii()),
            })
        })
        .flatten()
    };
    for row in (0..).map_while(row) {
        each(&row);
        input::step().await?;
    }
    Ok(())
}

async fn events(each: &mut dyn FnMut(&AcpiEvent)) -> Outcome {
    let row = |number: usize| {
        acpi::with(|acpi| {
            acpi.gpes.handlers().get(number).map(|handler| AcpiEvent {
                event: handler.gpe.0.into(),
                method: Text::of(&handler.method),
                enabled: handler.is_enabled(),
                runs: handler.runs,
            })
        })
        .flatten()
    };
    for row in (0..).map_while(row) {
        each(&row);
        input::step().await?;
    }
    Ok(())
}

async fn devices(each: &mut dyn FnMut(&AcpiDevice)) -> Outcome {
    let row = |number: u32| {
        hotplug::with(DeviceId(number), |device| AcpiDevice {
            device: Device::of(&device.path),
            uid: Word::of(&device.uid.as_deref().unwrap_or("")),
            state: state(device),
            eject_refused: device.refusal.as_ref().map(|error| Text::of(error)),
            resources: device.resources.iter().map(|id| id.0).collect(),
        })
    };
    for row in (0..hotplug::count()).filter_map(row) {
        each(&row);
        input::step().await?;
    }
    Ok(())
}

/// The state of a device; if its memory is present, the state of its resources.
pub fn state(device: &MemoryDevice) -> Text<160> {
    let all_are = |state| {
        let is = |id: &ResourceId| core().resource(*id).is_some_and(|info| info.state == state);
        device.resources.iter().all(is)
    };
    match device.state {
        DeviceState::Online if all_are(ResourceState::Online) => Text::of(&ResourceState::Online),
        DeviceState::Online if all_are(ResourceState::Offline) => Text::of(&ResourceState::Offline),
        DeviceState::Online => Text::of(&ResourceState::Partial),
        ref other => Text::of(other),
    }
}
