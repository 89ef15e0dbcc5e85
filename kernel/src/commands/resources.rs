//! `resources`: each range of memory that comes and goes as a whole; and what other commands say of one.

use super::console::Out;
use super::{Failure, Outcome, stream};
use crate::hotplug::{self, Answer};
use crate::memory::{core, window};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, Flag, JSON};
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_cli::rows::{self, AddRow, Device, ResourceRow, Word};
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::hot_remove::Pinned;
use carapace_mm::info::{DeviceId, Holder, ResourceId, ResourceInfo};

const VERBOSE: Flag = Flag::new("--verbose", "what the words mean, and each resource's frames").short('v');
/// `resources`.
pub static RESOURCES: Command = Command {
    name: "resources",
    summary: "boot memory and each DIMM's ranges: memmap, usable, free memory",
    flags: &[VERBOSE, JSON],
    example: "resources",
    effect: Effect::Reads,
    ..Command::NEW
};

/// What the words in the table mean, for `-v`.
const WORDS: &[(&str, &str)] = &[
    ("kernel", "Zone: pinned allocations are welcome: boot memory, online --kernel."),
    ("movable", "Zone: only what can be migrated, so that it can be removed."),
    ("any", "Zone: every kind, pinned ones last. What a DIMM is by default."),
    ("online", "State: all usable frames may be allocated."),
    ("offline", "State: none may be."),
    ("partial", "State: some sections are offline."),
];

/// The resource that an operand names.
pub fn resource(text: &str) -> Result<ResourceInfo, Failure> {
    let number = parse::integer(text, "a resource's number").map_err(Failure::of)?;
    known(number)
}

pub fn known(number: u64) -> Result<ResourceInfo, Failure> {
    let id = u32::try_from(number).ok().map(ResourceId);
    id.and_then(|id| core().resource(id))
        .ok_or_else(|| Failure::of(format_args!("there is no resource {number} (resources lists them)")))
}

/// A device's path, the nanoseconds its AML took, and what its answer took.
pub fn device(id: DeviceId) -> (Device, u64, Answer) {
    let known = hotplug::with(id, |device| (Device::of(&device.path), device.aml_ns, device.answer));
    known.unwrap_or_else(|| match id {
        DeviceId::BOOT => (Device::of(&"boot"), 0, Answer::default()),
        id => (Device::of(&format_args!("device {}", id.0)), 0, Answer::default()),
    })
}

fn resource_row(info: &ResourceInfo) -> ResourceRow {
    let (device, aml_ns, answer) = device(info.device);
    let pinned = pinned(info);
    ResourceRow {
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
        movable_pages: info.movable_pages,
        pinned_pages: info.pinned_pages,
        removable: info.device != DeviceId::BOOT && pinned.is_none(),
        pinned_pfn: pinned.map(|pinned| pinned.pfn.0),
        pinned_by: pinned.map(|pinned| holder(pinned.holder)),
        add: AddRow {
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
        },
    }
}

/// What keeps a device's resource from being removed. That boot memory is not removed needs no reason.
pub fn pinned(info: &ResourceInfo) -> Option<Pinned> {
    // Without a pinned frame there is no need to walk all blocks.
    let may_be = info.device != DeviceId::BOOT && info.pinned_pages > 0;
    may_be.then(|| core().first_pinned(info.id)).flatten()
}

/// Who holds a frame, in words.
fn holder(holder: Holder) -> rows::Holder {
    match holder {
        Holder::Mapping(at) => match window().holding(at) {
            Some(allocation) => rows::Holder::of(&format_args!("allocation {}", allocation.id)),
            None => rows::Holder::of(&format_args!("what is mapped at {at}")),
        },
        Holder::Table(at) => rows::Holder::of(&format_args!("a page table for {at}")),
        Holder::Boot(owner) => rows::Holder::of(&owner),
        Holder::None => rows::Holder::of(&"somebody who did not say"),
    }
}

/// `resources [-J]`
pub async fn resources(invocation: &Invocation<'_>) -> Outcome {
    stream::list(invocation.format(), async |tell: &mut dyn FnMut(&ResourceRow)| {
        stream::resources(&mut |info| tell(&resource_row(info))).await
    })
    .await?;
    if invocation.format() == Format::Table {
        let mut result = Ok(());
        stream::resources(&mut |info| {
            result = result.and_then(|()| resource_row(info).write_pinned(&mut Out));
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
            result = result.and_then(|()| resource_row(info).write_frames(&mut Out));
        })
        .await?;
        result?;
    }
    Ok(())
}
