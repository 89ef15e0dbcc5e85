//! Commands that look: `resources`, `sections`, `meminfo`, `buddyinfo`, `zoneinfo`, `lsmem`, `page`.
//!
//! Each turns snapshots of the memory core into `shell::rows`, which know both forms of output. Rows
//! are streamed; a table is walked twice (for its widths), with nothing in between that could change it.

use super::console::Out;
use super::memory::window;
use super::{Failure, Outcome};
use crate::hotplug;
use crate::memory::{core, heap};
use ::core::fmt::{self, Write};
use mm::addr::{MAX_PFN, Order, PAGE_SIZE, Pfn, PfnRange, SECTION_PAGES, SectionNr};
use mm::info::{DeviceId, Holder, ResourceId, ResourceInfo, SectionState, Zone};
use shell::args::{Flag, Invocation};
use shell::human::ShortSize;
use shell::number::{self, IdOrRange};
use shell::report::{self, Format, Row};
use shell::rows::{
    AddRow, BuddyRow, Device, Joined, LsmemRow, Meminfo, NodeRow, Nothing, PageRow, Removable, ResourceRow,
    SectionRow, Word, buddy_line,
};

fn list<R: Row>(invocation: &Invocation<'_>, rows: report::Rows<'_, R>) -> Outcome {
    Ok(report::list(&mut Out, invocation.format(), rows)?)
}

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

/// A device's path and the microseconds its AML took.
fn device(id: DeviceId) -> (Device, u64) {
    hotplug::with(id, |device| (Device::of(&device.path), device.aml_us)).unwrap_or_else(|| match id {
        DeviceId::BOOT => (Device::of(&"boot"), 0),
        id => (Device::of(&format_args!("device {}", id.0)), 0),
    })
}

fn resource_row(info: &ResourceInfo) -> ResourceRow {
    let (device, aml_us) = device(info.device);
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
        add: AddRow {
            aml_us,
            map_us: info.add.map_us,
            online_us: info.add.online_us,
            existing_pages_used: info.add.existing_pages_used,
            entries_written: info.add.entries_written,
            tables: info.add.tables,
            descriptors_written: info.add.descriptors_written,
        },
    }
}

/// `resources [-J]`
pub fn resources(invocation: &Invocation<'_>) -> Outcome {
    list(invocation, &mut |tell: &mut dyn FnMut(&ResourceRow)| {
        core().resources(&mut |info| tell(&resource_row(&info)));
    })
}

fn section_row(row: &mm::info::SectionRow) -> SectionRow {
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
pub fn sections(invocation: &Invocation<'_>) -> Outcome {
    let everything = PfnRange::new(Pfn(0), MAX_PFN);
    let wanted = invocation.operand(0).map(number::id_or_range).transpose().map_err(Failure::of)?;
    let (within, only) = match wanted {
        None => (everything, None),
        Some(IdOrRange::Id(id)) => {
            let info = known(id)?;
            (info.range, Some(info.id))
        }
        Some(IdOrRange::Sections { from, to }) => (sections_from_to(from, to)?, None),
    };
    list(invocation, &mut |tell: &mut dyn FnMut(&SectionRow)| {
        core().sections(within, &mut |row| {
            if only.is_none_or(|id| id == row.resource) {
                tell(&section_row(&row));
            }
        });
    })
}

fn sections_from_to(from: u64, to: u64) -> Result<PfnRange, Failure> {
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

/// `buddyinfo [ID] [-J]`
pub fn buddyinfo(invocation: &Invocation<'_>) -> Outcome {
    let only = invocation.operand(0).map(resource).transpose()?.map(|info| info.id);
    let mut rows = |tell: &mut dyn FnMut(&BuddyRow)| {
        core().resources(&mut |info| {
            if only.is_some_and(|id| id != info.id) {
                return;
            }
            let Some(blocks) = core().free_blocks(info.id) else { return };
            let orders = usize::from(info.max_order.0) + 1;
            tell(&BuddyRow {
                resource: info.id.0,
                node: info.node.0,
                zone: Word::of(&info.zone),
                free: blocks.into_iter().take(orders.min(Order::COUNT)).collect(),
            });
        });
    };
    match invocation.format() {
        Format::Json => Ok(report::array_line(&mut Out, &mut rows)?),
        Format::Table => by_zone(&mut rows),
    }
}

/// Linux's form has a line a node and zone: sums over their resources.
fn by_zone(rows: report::Rows<'_, BuddyRow>) -> Outcome {
    let mut orders = 11; // as many as Linux has, so that it looks the same
    rows(&mut |row| orders = orders.max(row.free.len()));
    each_zone(&mut |node, zone| {
        let mut sums = [0u64; Order::COUNT];
        let mut there = false;
        rows(&mut |row| {
            if row.node == node && row.zone == Word::of(&zone) {
                there = true;
                sums.iter_mut().zip(&row.free).for_each(|(sum, blocks)| *sum += blocks);
            }
        });
        if there {
            buddy_line(&mut Out, node, Word::of(&zone).as_str(), &sums[..orders.min(Order::COUNT)])?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Calls `each` with every node and, for each, every zone.
fn each_zone(each: &mut dyn FnMut(u32, Zone) -> fmt::Result) -> fmt::Result {
    let mut result = Ok(());
    core().nodes(&mut |node| {
        for zone in [Zone::Kernel, Zone::Movable, Zone::Any] {
            result = result.and_then(|()| each(node.node.0, zone));
        }
    });
    result
}

/// `zoneinfo`: the fields of Linux's file of that name that mean something here.
pub fn zoneinfo(_invocation: &Invocation<'_>) -> Outcome {
    each_zone(&mut |node, zone| {
        let (mut free, mut present, mut managed, mut offline) = (0, 0, 0, 0);
        let mut span: Option<PfnRange> = None;
        core().resources(&mut |info| {
            if info.node.0 == node && info.zone == zone {
                free += info.free_pages;
                present += info.range.pages();
                managed += info.usable_pages;
                offline += info.offline_pages;
                let (start, end) =
                    span.map_or((info.range.start, info.range.end), |span| (span.start, span.end));
                span = Some(PfnRange::new(start.min(info.range.start), end.max(info.range.end)));
            }
        });
        let Some(span) = span else { return Ok(()) };
        writeln!(Out, "Node {node}, zone {:>8}", Word::of(&zone))?;
        writeln!(Out, "  pages free     {free}")?;
        writeln!(Out, "        spanned  {}", span.pages())?;
        writeln!(Out, "        present  {present}")?;
        writeln!(Out, "        managed  {managed}")?;
        writeln!(Out, "        offline  {offline}")?;
        writeln!(Out, "  start_pfn:           {}", span.start.0)
    })?;
    Ok(())
}

/// `lsmem [-a] [-J]`
pub fn lsmem(invocation: &Invocation<'_>) -> Outcome {
    let each_section = invocation.has(Flag::All);
    let (mut online, mut offline) = (0, 0);
    let mut rows = |tell: &mut dyn FnMut(&LsmemRow)| {
        (online, offline) = (0, 0);
        let mut open: Option<LsmemRow> = None;
        core().resources(&mut |info| {
            core().sections(info.range, &mut |section| {
                if section.resource != info.id {
                    return;
                }
                let row = lsmem_row(&info, &section);
                *if section.state == SectionState::Offline { &mut offline } else { &mut online } += row.size;
                let joined =
                    !each_section && open.as_mut().is_some_and(|open| open.join(&row) == Joined::Yes);
                if !joined && let Some(done) = open.replace(row) {
                    tell(&done);
                }
            });
        });
        open.iter().for_each(tell);
    };
    match invocation.format() {
        Format::Json => report::object_with(&mut Out, "memory", &mut rows, &mut || Nothing {})?,
        Format::Table => {
            report::table(&mut Out, &mut rows)?;
            let block = ShortSize(SECTION_PAGES * PAGE_SIZE);
            writeln!(Out, "\n{:<23} {block:>5}", "Memory block size:")?;
            writeln!(Out, "{:<23} {:>5}", "Total online memory:", ShortSize(online))?;
            writeln!(Out, "{:<23} {:>5}", "Total offline memory:", ShortSize(offline))?;
        }
    }
    Ok(())
}

fn lsmem_row(info: &ResourceInfo, section: &mm::info::SectionRow) -> LsmemRow {
    let part = info.range.intersection(section.section.range());
    LsmemRow {
        start: part.start.start().0,
        size: part.pages() * PAGE_SIZE,
        blocks: (section.section.0, section.section.0),
        // To util-linux a block that is all memmap is online like the rest of its device.
        state: Word::of(&if section.state == SectionState::Offline { "offline" } else { "online" }),
        removable: if info.device == DeviceId::BOOT { Removable::No } else { Removable::Yes },
        node: info.node.0,
    }
}

/// `page PFN [-J]`
pub fn page(invocation: &Invocation<'_>) -> Outcome {
    let text = invocation.operand(0).unwrap_or_default();
    let pfn = Pfn(number::integer(text, "a frame number").map_err(Failure::of)?);
    if pfn >= MAX_PFN {
        return Err(Failure::of(format_args!(
            "frame {pfn} is above {MAX_PFN}, the end of what there can be"
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
    };
    match invocation.format() {
        Format::Json => report::object(&mut Out, &row)?,
        Format::Table => row.write(&mut Out)?,
    }
    Ok(())
}
