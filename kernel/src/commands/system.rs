//! The commands `help`, `dmesg`, `uptime`, `stat`, `acpi`, `poweroff` and `reboot`.

use super::console::Out;
use super::{COMMANDS, Failure, Outcome, input, stream};
use crate::acpi::{self, sleep};
use crate::arch::time;
use crate::hotplug::{self, DeviceState, MemoryDevice};
use crate::log::{self, Cursor};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::args::{ArgError, Invocation};
use carapace_cli::command::{Command, Effect, JSON, Operands};
use carapace_cli::output::{self, Array, Format, Text};
use carapace_cli::rows::{Device, DeviceRow, EventRow, Stat, TableRow, Uptime, Word};
use carapace_mm::info::{DeviceId, ResourceId, ResourceState};

/// `help`.
pub static HELP: Command = Command {
    name: "help",
    summary: "lists the commands, or one command's flags",
    operands: Operands::optional("[COMMAND]"),
    operand_help: &[("COMMAND", "Its name.")],
    example: "help page",
    ..Command::NEW
};

/// `dmesg`.
pub static DMESG: Command =
    Command { name: "dmesg", summary: "the kernel log", flags: &[JSON], example: "dmesg", ..Command::NEW };

/// `uptime`.
pub static UPTIME: Command = Command {
    name: "uptime",
    summary: "the time since boot",
    flags: &[JSON],
    example: "uptime",
    effect: Effect::Reads,
    ..Command::NEW
};

/// `stat`.
pub static STAT: Command = Command {
    name: "stat",
    summary: "counters since boot",
    flags: &[JSON],
    example: "stat",
    effect: Effect::Reads,
    ..Command::NEW
};

/// `acpi`.
pub static ACPI: Command = Command {
    name: "acpi",
    summary: "the firmware's tables, events and memory devices",
    flags: &[JSON],
    example: "acpi",
    ..Command::NEW
};

/// `poweroff`.
pub static POWEROFF: Command =
    Command { name: "poweroff", summary: "powers the machine off", example: "poweroff", ..Command::NEW };

/// `reboot`.
pub static REBOOT: Command =
    Command { name: "reboot", summary: "restarts the machine", example: "reboot", ..Command::NEW };

/// `help [COMMAND]`
pub async fn help(invocation: &Invocation<'_>) -> Outcome {
    let Some(name) = invocation.operand(0) else {
        return Ok(COMMANDS.write_help(&mut Out)?);
    };
    let command = COMMANDS.find(name);
    command.ok_or_else(|| Failure::of(ArgError::UnknownCommand(COMMANDS, name)))?.write_help(&mut Out)?;
    Ok(())
}

/// `dmesg [-J]`
pub async fn dmesg(invocation: &Invocation<'_>) -> Outcome {
    let dropped = log::dropped();
    if invocation.format() == Format::Json {
        return dmesg_json(dropped).await;
    }
    if dropped > 0 {
        writeln!(Out, "({dropped} older lines were dropped)")?;
    }
    let mut cursor = Cursor::default();
    while let Some((next, line)) = log::read(cursor) {
        writeln!(Out, "{}", line.as_str())?;
        cursor = next;
        input::step().await?;
    }
    Ok(())
}

async fn dmesg_json(dropped: u64) -> Outcome {
    write!(Out, "{{\"dropped\":{dropped},\"lines\":")?;
    let mut lines = Array::new();
    Array::begin(&mut Out)?;
    let mut cursor = Cursor::default();
    let mut walked = Ok(());
    while walked.is_ok()
        && let Some((next, line)) = log::read(cursor)
    {
        lines.item(&mut Out, &line.as_str())?;
        cursor = next;
        walked = input::step().await;
    }
    Out.write_str("]}\n")?;
    walked
}

fn microseconds() -> u64 {
    u64::try_from(time::uptime().as_micros()).unwrap_or(u64::MAX)
}

/// `uptime [-J]`
pub async fn uptime(invocation: &Invocation<'_>) -> Outcome {
    match invocation.format() {
        Format::Json => output::object(&mut Out, &Uptime { uptime_us: microseconds() })?,
        Format::Table => {
            let uptime = time::uptime();
            let seconds = uptime.as_secs();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            writeln!(Out, "up {hours}:{minutes:02}:{:02}.{:03}", seconds % 60, uptime.subsec_millis())?;
        }
    }
    Ok(())
}

/// `stat [-J]`
pub async fn stat(invocation: &Invocation<'_>) -> Outcome {
    let (acpi_interrupts, notifications) =
        acpi::with(|acpi| (acpi.interrupts, acpi.notifications)).unwrap_or_default();
    let stat =
        Stat { uptime_us: microseconds(), acpi_interrupts, notifications, log_lines_dropped: log::dropped() };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &stat)?,
        Format::Table => stat.write(&mut Out)?,
    }
    Ok(())
}

/// `acpi [-J]`
pub async fn acpi(invocation: &Invocation<'_>) -> Outcome {
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
    stream::part(format, tables).await?;
    between(",\"events\":", "\n")?;
    stream::part(format, events).await?;
    between(",\"devices\":", "\n")?;
    stream::part(format, devices).await
}

// One row per step: ACPI's lock is free while a row is written.
async fn tables(each: &mut dyn FnMut(&TableRow)) -> Outcome {
    let row = |number: usize| {
        acpi::with(|acpi| {
            acpi.tables.all().get(number).map(|table| TableRow {
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

async fn events(each: &mut dyn FnMut(&EventRow)) -> Outcome {
    let row = |number: usize| {
        acpi::with(|acpi| {
            acpi.gpes.handlers().get(number).map(|handler| EventRow {
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

async fn devices(each: &mut dyn FnMut(&DeviceRow)) -> Outcome {
    let row = |number: u32| {
        hotplug::with(DeviceId(number), |device| DeviceRow {
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
fn state(device: &MemoryDevice) -> Text<160> {
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

/// `poweroff`
pub async fn poweroff(_invocation: &Invocation<'_>) -> Outcome {
    let Err(error) = sleep::power_off();
    Err(Failure::of(error))
}

/// `reboot`
pub async fn reboot(_invocation: &Invocation<'_>) -> Outcome {
    let Err(error) = sleep::restart();
    Err(Failure::of(error))
}
