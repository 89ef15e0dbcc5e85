//! The command `resources`: boot memory and the DIMMs' ranges. Also names resources for other commands.

use super::console::Out;
use super::{Failure, Outcome, stream};
use crate::hotplug::{self, Answer};
use crate::memory::{arena, core};
use crate::virtio::mem as virtio_mem;
use ::core::fmt::{self, Write};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, Flag, JSON};
use carapace_cli::format_size::{PagesSize, ShortSize};
use carapace_cli::output::{self, Columns, Format, left, right};
use carapace_cli::parse;
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::hot_remove::Pinned;
use carapace_mm::info::{DeviceId, Holder, ResourceId, ResourceInfo};
use carapace_schema::{self as schema, Add, Device, Resource, Word};

const VERBOSE: Flag =
    Flag::new("--verbose", "explains the words, and lists each resource's frames").short('v');

/// `resources`.
pub static COMMAND: Command = Command {
    name: "resources",
    summary: "boot memory and each DIMM's ranges: memmap, usable, free memory",
    flags: &[VERBOSE, JSON],
    example: "resources",
    effect: Effect::Reads,
    ..Command::NEW
};

// Narrow: 80 columns hold a DIMM's row.
static COLUMNS: Columns<Resource> = Columns::narrow(&[
    right("ID", |row, cell| cell(&row.id)),
    left("DEVICE", |row, cell| cell(&row.device)),
    right("BASE", |row, cell| cell(&format_args!("{:#x}", row.base))),
    right("SIZE", |row, cell| cell(&ShortSize(row.size))),
    right("NODE", |row, cell| cell(&row.node)),
    left("ZONE", |row, cell| cell(&row.zone)),
    left("STATE", |row, cell| cell(&row.state)),
    right("MEMMAP", |row, cell| cell(&PagesSize(row.memmap_pages))),
    right("USABLE", |row, cell| cell(&PagesSize(row.usable_pages))),
    right("FREE", |row, cell| cell(&PagesSize(row.free_pages))),
]);

/// The meaning of the words in the table, for `-v`.
const WORDS: &[(&str, &str)] = &[
    ("kernel", "Zone: pinned allocations first; boot memory, or after online --kernel."),
    ("movable", "Zone: only movable allocations, so that the memory can be removed."),
    ("any", "Zone: all allocations, pinned ones last. The default for a DIMM."),
    ("online", "State: all usable frames can be allocated."),
    ("offline", "State: no frame can be allocated."),
    ("partial", "State: some sections are offline."),
];

/// The resource with the number `text`.
pub fn resource(text: &str) -> Result<ResourceInfo, Failure> {
    let number = parse::integer(text, "a resource's number").map_err(Failure::of)?;
    known(number)
}

/// The resource with this number.
pub fn known(number: u64) -> Result<ResourceInfo, Failure> {
    let id = u32::try_from(number).ok().map(ResourceId);
    id.and_then(|id| core().resource(id))
        .ok_or_else(|| Failure::of(format_args!("there is no resource {number} (resources lists them)")))
}

/// A device's path, the nanoseconds spent in its AML, and the cost of its answer.
pub fn device(id: DeviceId) -> (Device, u64, Answer) {
    let known = hotplug::with(id, |device| (Device::of(&device.path), device.aml_ns, device.answer));
    let known = known.or_else(|| Some((Device::of(&virtio_mem::name_of(id)?), 0, Answer::default())));
    known.unwrap_or_else(|| match id {
        DeviceId::BOOT => (Device::of(&"boot"), 0, Answer::default()),
        id => (Device::of(&format_args!("device {}", id.0)), 0, Answer::default()),
    })
}

fn resource_row(info: &ResourceInfo) -> Resource {
    let (device, aml_ns, answer) = device(info.device);
    let pinned = pinned(info);
    Resource {
        id: info.id.0,
        device,
        base: info.range.start.start().0,
        size: info.range.pages() * PAGE_SIZE,
        node: info.node.0,
        zone: Word::of(&info.zone),
        state: Word::of(&info.state),
        memmap_start_pfn: info.memmap_start.0,
        memmap_pages: info.memmap_pages,
        usable_start_pfn: info.usable_start.0,
        usable_pages: info.usable_pages,
        free_pages: info.free_pages,
        largest_free_pages: info.largest_free_pages,
        offline_pages: info.offline_pages,
        unplugged_pages: info.unplugged_pages,
        movable_pages: info.movable_pages,
        pinned_pages: info.pinned_pages,
        removable: info.device != DeviceId::BOOT && pinned.is_none(),
        pinned_pfn: pinned.map(|pinned| pinned.pfn.0),
        pinned_by: pinned.map(|pinned| holder(pinned.holder)),
        add: Add {
            aml_us: aml_ns / 1000,
            map_us: (info.add.check_ns + info.add.map_ns) / 1000,
            online_us: info.add.online_ns / 1000,
            answer_ns: answer.all_ns,
            aml_ns: answer.aml_ns,
            check_ns: info.add.check_ns,
            map_ns: info.add.map_ns,
            online_ns: info.add.online_ns,
            existing_pages_used: info.add.existing_pages_used,
            existing_heap_bytes_used: answer.heap_bytes,
            entries_written: info.add.entries_written,
            tables: info.add.tables,
            descriptors_written: info.add.descriptors_written,
            frames_written: info.add.frames_written,
            large_frames_written: info.add.large_frames_written,
        },
    }
}

/// The frame that keeps a device's resource from being removed. Boot memory is never removed, so it has none.
pub fn pinned(info: &ResourceInfo) -> Option<Pinned> {
    // Without a pinned frame the walk over all blocks is not needed.
    let may_be = info.device != DeviceId::BOOT && info.pinned_pages > 0;
    may_be.then(|| core().first_pinned(info.id)).flatten()
}

/// The name of a frame's owner.
fn holder(holder: Holder) -> schema::Holder {
    match holder {
        Holder::Mapping(at) => match arena().holding(at) {
            Some(allocation) => schema::Holder::of(&format_args!("allocation {}", allocation.id)),
            None => schema::Holder::of(&format_args!("the mapping at {at}")),
        },
        Holder::Table(at) => schema::Holder::of(&format_args!("a page table for {at}")),
        Holder::Reported => schema::Holder::of(&"free page reporting"),
        Holder::Boot(owner) => schema::Holder::of(&owner),
        Holder::None => schema::Holder::of(&"an unknown owner"),
    }
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    stream::list(invocation.format(), &COLUMNS, async |each: &mut dyn FnMut(&Resource)| {
        stream::resources(&mut |info| each(&resource_row(info))).await
    })
    .await?;
    if invocation.format() == Format::Table {
        let mut result = Ok(());
        stream::resources(&mut |info| {
            result = result.and_then(|()| write_pinned(&resource_row(info)));
        })
        .await?;
        result?;
    }
    if invocation.format() == Format::Table && invocation.has(&VERBOSE) {
        Out.write_char('\n')?;
        output::legend(&mut Out, WORDS)?;
        Out.write_char('\n')?;
        let mut result = Ok(());
        stream::resources(&mut |info| {
            result = result.and_then(|()| write_frames(&resource_row(info)));
        })
        .await?;
        result?;
    }
    Ok(())
}

/// The line below the table about what keeps this resource's device from being removed.
fn write_pinned(row: &Resource) -> fmt::Result {
    let Some((pfn, by)) = row.pinned_pfn.zip(row.pinned_by) else { return Ok(()) };
    writeln!(Out, "resource {} cannot be removed: frame {pfn:#x} is pinned by {by}", row.id)
}

/// The lines of `-v`: its frames, and how they are divided.
fn write_frames(row: &Resource) -> fmt::Result {
    let Resource { id, base, memmap_pages, usable_pages, usable_start_pfn, .. } = row;
    let (first, frames) = (base / PAGE_SIZE, row.size / PAGE_SIZE);
    let last = (first + frames).saturating_sub(1);
    writeln!(Out, "{id}: {frames} frames, {first:#x} to {last:#x}; {first:#x} is {base:#x} / 4096")?;
    writeln!(Out, "   {memmap_pages} carry its own data, or are pinned since boot")?;
    writeln!(Out, "   {usable_pages} are usable, the first one is {usable_start_pfn:#x}")?;
    let (free, movable) = (row.free_pages, row.movable_pages);
    let (pinned, offline) = (row.pinned_pages, row.offline_pages);
    writeln!(Out, "   {free} of them free, {movable} movable, {pinned} pinned, {offline} offline")
}
