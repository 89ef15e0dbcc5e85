//! Commands that look: `resources`, `sections`, `meminfo`, `page`.
//!
//! Each turns snapshots of the memory core into `carapace_cli::rows`, which know both forms of output. Rows
//! are streamed, long lists in steps (`stream`).

use super::console::Out;
use super::{Failure, Outcome, stream};
use crate::hotplug::{self, Answer};
use crate::memory::{core, heap, window};
use ::core::fmt::Write;
use carapace_cli::args::{Flag, Invocation};
use carapace_cli::commands::Id;
use carapace_cli::manual;
use carapace_cli::number::{self, IdOrRange};
use carapace_cli::report::{self, Format};
use carapace_cli::rows::{
    self, AddRow, Device, Meminfo, NodeRow, PageNote, PageResource, PageRow, ResourceRow, SectionRow, Word,
};
use carapace_mm::addr::{
    MAX_PFN, Order, PAGE_SIZE, Pfn, PfnRange, PhysAddr, SECTION_PAGES, SectionNr, VirtAddr,
};
use carapace_mm::address_space::{DESCRIPTOR_SIZE, VMEMMAP, descriptor};
use carapace_mm::hot_remove::Pinned;
use carapace_mm::info::{DeviceId, Holder, PageState, ResourceId, ResourceInfo};

/// The resource that an operand names.
pub fn resource(text: &str) -> Result<ResourceInfo, Failure> {
    let number = number::integer(text, "a resource's number").map_err(Failure::of)?;
    known(number)
}

fn known(number: u64) -> Result<ResourceInfo, Failure> {
    let id = u32::try_from(number).ok().map(ResourceId);
    id.and_then(|id| core().resource(id))
        .ok_or_else(|| Failure::of(format_args!("there is no resource {number} (resources lists them)")))
}

/// A device's path, the nanoseconds its AML took, and what its answer took.
fn device(id: DeviceId) -> (Device, u64, Answer) {
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
    if invocation.format() == Format::Table && invocation.has(Flag::Verbose) {
        Out.write_char('\n')?;
        manual::legend(&mut Out, Id::Resources)?;
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

fn section_row(row: &carapace_mm::info::SectionRow) -> SectionRow {
    SectionRow {
        section: row.section.0,
        start_pfn: row.section.start().0,
        pages: SECTION_PAGES,
        present_pages: row.present_pages,
        memmap_pages: row.memmap_pages,
        usable_pages: row.usable_pages,
        free_pages: row.free_pages,
        node: row.node.0,
        state: Word::of(&row.state),
        resource: row.resource.0,
    }
}

/// `sections [ID|FROM-TO] [-J]`
pub async fn sections(invocation: &Invocation<'_>) -> Outcome {
    let wanted = invocation.operand(0).map(number::id_or_range).transpose().map_err(Failure::of)?;
    let (within, only) = match wanted {
        None => (stream::EVERYTHING, None),
        Some(IdOrRange::Id(id)) => {
            let info = known(id)?;
            (info.range, Some(info.id))
        }
        Some(IdOrRange::Sections { from, to }) => (sections_from_to(from, to)?, None),
    };
    stream::list(invocation.format(), async |tell: &mut dyn FnMut(&SectionRow)| {
        stream::sections(within, &mut |_, row| {
            if only.is_none_or(|id| id == row.resource) {
                tell(&section_row(row));
            }
        })
        .await
    })
    .await?;
    if invocation.format() == Format::Table && invocation.has(Flag::Verbose) {
        Out.write_char('\n')?;
        manual::legend(&mut Out, Id::Sections)?;
        writeln!(
            Out,
            "\nsection n: {SECTION_PAGES} frames from n * {SECTION_PAGES} on, 128 MiB from n * 128 MiB on"
        )?;
        writeln!(Out, "its descriptors: 2 MiB from {} + n * 2 MiB on", VMEMMAP.start)?;
    }
    Ok(())
}

/// The frames of the sections from `from` to `to`, as far as there can be any.
pub fn sections_from_to(from: u64, to: u64) -> Result<PfnRange, Failure> {
    let highest = MAX_PFN.section().0 - 1;
    if from > highest {
        return Err(Failure::of(format_args!("section {from} is above {highest}, the highest there can be")));
    }
    Ok(PfnRange::new(SectionNr(from).start(), SectionNr(to.min(highest)).range().end))
}

/// `meminfo [-J]`
pub fn meminfo(invocation: &Invocation<'_>) -> Outcome {
    let totals = core().totals();
    let heap = heap::stats();
    let sums = Meminfo {
        total_pages: totals.total_pages,
        usable_pages: totals.usable_pages,
        free_pages: totals.free_pages,
        offline_pages: totals.offline_pages,
        memmap_pages: totals.memmap_pages,
        page_table_pages: totals.page_table_pages,
        heap_bytes: heap.bytes,
        heap_used: heap.used,
    };
    let mut nodes = |tell: &mut dyn FnMut(&NodeRow)| {
        core().nodes(&mut |node| {
            tell(&NodeRow {
                node: node.node.0,
                total_pages: node.total_pages,
                usable_pages: node.usable_pages,
                free_pages: node.free_pages,
            });
        });
    };
    match invocation.format() {
        Format::Json => report::object_with(&mut Out, "nodes", &mut nodes, &mut || sums)?,
        Format::Table => {
            report::table(&mut Out, &mut |tell: &mut dyn FnMut(&_)| sums.lines().iter().for_each(tell))?;
            Out.write_char('\n')?;
            report::table(&mut Out, &mut nodes)?;
        }
    }
    Ok(())
}

/// `page PFN [-J]`
pub fn page(invocation: &Invocation<'_>) -> Outcome {
    let text = invocation.operand(0).unwrap_or_default();
    let pfn = Pfn(number::integer(text, "a frame number").map_err(Failure::of)?);
    if pfn >= MAX_PFN {
        return Err(Failure::of(format_args!(
            "frame {pfn} is not below {MAX_PFN}, the end of what there can be"
        )));
    }
    let info = core().page(pfn);
    let row = PageRow {
        pfn: pfn.0,
        phys: pfn.start().0,
        section: pfn.section().0,
        descriptor: info.descriptor.0,
        state: Word::of(&info.state),
        order: info.order.map(|order| order.0),
        head_pfn: info.head.map(|head| head.0),
        resource: info.resource.map(|id| id.0),
        allocation: match info.holder {
            Holder::Mapping(at) => window().holding(at).map(|allocation| allocation.id.0),
            _ => None,
        },
        mapped_at: match info.holder {
            Holder::Mapping(at) => Some(at.0),
            _ => None,
        },
        owner: match info.holder {
            Holder::Boot(owner) => Some(Word::of(&owner)),
            _ => None,
        },
        section_offset: pfn.0 % SECTION_PAGES,
        descriptor_phys: physical(info.descriptor).map(|at| at.0),
        block_pages: info.order.map(Order::pages),
        describes_pfn: None,
    };
    let resource = info.resource.and_then(|id| core().resource(id));
    let described = resource.as_ref().filter(|_| info.state == PageState::Memmap);
    let row = PageRow { describes_pfn: described.and_then(|of| describes(of, pfn)).map(|pfn| pfn.0), ..row };
    match invocation.format() {
        Format::Json => report::object(&mut Out, &row)?,
        Format::Table => {
            let resource = resource.map(|of| PageResource {
                device: device(of.device).0,
                start: of.range.start.0,
                end: of.range.end.0,
                zone: Word::of(&of.zone),
            });
            row.write(&PageNote { vmemmap: VMEMMAP.start.0, resource }, &mut Out)?;
        }
    }
    Ok(())
}

/// What a virtual address is mapped to.
fn physical(at: VirtAddr) -> Option<PhysAddr> {
    core().translate(at).map(|found| found.phys)
}

/// The first frame whose descriptor a frame of the memmap has room for, if it is one of those: found from where the
/// memmap starts, and looked up.
fn describes(of: &ResourceInfo, frame: Pfn) -> Option<Pfn> {
    let number = frame.0.checked_sub(of.memmap_start.0)?;
    let first = of.range.start.0 / DESCRIPTORS * DESCRIPTORS;
    let first = Pfn(first.checked_add(number.checked_mul(DESCRIPTORS)?)?);
    let is_there = first < of.range.end && physical(descriptor(first)) == Some(frame.start());
    is_there.then_some(first)
}

/// Descriptors in a frame of the memmap.
const DESCRIPTORS: u64 = PAGE_SIZE / DESCRIPTOR_SIZE;
