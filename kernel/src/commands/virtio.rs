//! `virtio`: the virtio-mem devices, what the host requests of them, and what stands in its way.

use super::Outcome;
use super::console::Out;
use crate::virtio::mem as virtio_mem;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::format_size::ShortSize;
use carapace_cli::output::{self, Columns, Format, left, right};
use carapace_schema::{Device, Text, Virtio, VirtioRequests};
use core::fmt::Write;

/// `virtio`.
pub static COMMAND: Command = Command {
    name: "virtio",
    summary: "virtio-mem devices: plugged and requested size, requests, what holds them up",
    flags: &[JSON],
    example: "virtio",
    effect: Effect::Reads,
    ..Command::NEW
};

static COLUMNS: Columns<Virtio> = Columns::new(&[
    left("DEVICE", |row, cell| cell(&row.device)),
    right("NODE", |row, cell| cell(&row.node)),
    right("BASE", |row, cell| cell(&format_args!("{:#x}", row.base))),
    right("REGION", |row, cell| cell(&ShortSize(row.region))),
    right("USABLE", |row, cell| cell(&ShortSize(row.usable))),
    right("REQUESTED", |row, cell| cell(&ShortSize(row.requested))),
    right("PLUGGED", |row, cell| cell(&ShortSize(row.plugged))),
]);

fn rows(each: &mut dyn FnMut(&Virtio)) {
    for device in (0..virtio_mem::MAX_DEVICES).map_while(virtio_mem::device) {
        let (config, counts) = (device.config, device.counts);
        each(&Virtio {
            device: Device::of(&device.name),
            node: device.node.0,
            base: config.base,
            region: config.region,
            usable: config.usable,
            requested: config.requested,
            plugged: config.plugged,
            block: config.block,
            requests: VirtioRequests {
                plug: counts.plug,
                unplug: counts.unplug,
                nack: counts.nack,
                busy: counts.busy,
                error: counts.error,
            },
            held_by: device.held_by.map(|reason| Text::of(&reason)),
        });
    }
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    output::list(&mut Out, invocation.format(), &COLUMNS, &mut rows)?;
    if invocation.format() == Format::Table {
        let mut result = Ok(());
        rows(&mut |row| {
            let VirtioRequests { plug, unplug, nack, busy, error } = row.requests;
            let refused = nack.saturating_add(busy).saturating_add(error);
            let block = ShortSize(row.block);
            result = result.and_then(|()| {
                let device = &row.device;
                writeln!(
                    Out,
                    "{device}: blocks of {block}; requests: {plug} plug, {unplug} unplug, {refused} refused"
                )
            });
            if let Some(reason) = &row.held_by {
                result = result.and_then(|()| writeln!(Out, "{}: {reason}", row.device));
            }
        });
        result?;
    }
    Ok(())
}
