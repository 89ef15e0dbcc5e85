//! Commands about the kernel itself: `help`, `dmesg`, `uptime`, `acpi`, `poweroff`, `reboot`, `panic`.

use super::console::Out;
use super::{Failure, Outcome, input};
use crate::acpi::sleep;
use crate::arch::time;
use crate::hotplug;
use crate::log::{self, Cursor};
use core::fmt::Write;
use mm::info::DeviceId;
use shell::args::Invocation;
use shell::commands::{COMMANDS, find};
use shell::report::{self, Format, Text};
use shell::rows::{Device, DeviceRow, Uptime, Word};

/// `help [COMMAND]`
pub fn help(invocation: &Invocation<'_>) -> Outcome {
    let Some(name) = invocation.operand(0) else {
        let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or(0);
        for command in COMMANDS {
            writeln!(Out, "{:width$}  {}", command.name, command.summary)?;
        }
        writeln!(
            Out,
            "\nhelp COMMAND shows its usage and an example. -J makes a command that shows something"
        )?;
        writeln!(
            Out,
            "print one line of JSON. Sizes take K, M, G, T. Tab completes, Ctrl-C stops a command."
        )?;
        return Ok(());
    };
    let unknown = || Failure::of(format_args!("there is no command '{name}' (help lists them)"));
    let command = find(name).ok_or_else(unknown)?;
    writeln!(Out, "usage:    {}", command.usage)?;
    writeln!(Out, "          {}", command.summary)?;
    writeln!(Out, "example:  {}", command.example)?;
    Ok(())
}

/// `dmesg`
pub async fn dmesg(_invocation: &Invocation<'_>) -> Outcome {
    let dropped = log::dropped();
    if dropped > 0 {
        writeln!(Out, "({dropped} older lines are gone)")?;
    }
    let mut place = Cursor::default();
    while let Some((next, line)) = log::read(place) {
        writeln!(Out, "{}", line.as_str())?;
        place = next;
        input::step().await?;
    }
    Ok(())
}

/// `uptime [-J]`
pub fn uptime(invocation: &Invocation<'_>) -> Outcome {
    let uptime = time::uptime();
    match invocation.format() {
        Format::Json => {
            let uptime_us = u64::try_from(uptime.as_micros()).unwrap_or(u64::MAX);
            report::object(&mut Out, &Uptime { uptime_us })?;
        }
        Format::Table => {
            let seconds = uptime.as_secs();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            writeln!(Out, "up {hours}:{minutes:02}:{:02}.{:03}", seconds % 60, uptime.subsec_millis())?;
        }
    }
    Ok(())
}

/// `acpi [-J]`
pub fn acpi(invocation: &Invocation<'_>) -> Outcome {
    let mut rows = |tell: &mut dyn FnMut(&DeviceRow)| {
        for number in 0..hotplug::count() {
            let row = hotplug::with(DeviceId(number), |device| DeviceRow {
                device: Device::of(&device.path),
                uid: Word::of(&device.uid.as_deref().unwrap_or("")),
                state: Text::of(&device.state),
                resources: device.resources.iter().map(|id| id.0).collect(),
            });
            row.iter().for_each(&mut *tell);
        }
    };
    Ok(report::list(&mut Out, invocation.format(), &mut rows)?)
}

/// `panic`
pub fn panic(_invocation: &Invocation<'_>) -> Outcome {
    panic!("asked for by the shell");
}

/// `poweroff`
pub fn poweroff(_invocation: &Invocation<'_>) -> Outcome {
    let Err(error) = sleep::power_off();
    Err(Failure::of(error))
}

/// `reboot`
pub fn reboot(_invocation: &Invocation<'_>) -> Outcome {
    let Err(error) = sleep::restart();
    Err(Failure::of(error))
}
