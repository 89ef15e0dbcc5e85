//! Commands that look at nodes and zones as Linux's files of those names do: `buddyinfo`, `pagetypeinfo`, `zoneinfo`;
//! and `numa`, which has the words of `numactl -H`.

use super::console::Out;
use super::inspect::resource;
use super::{Outcome, input, stream};
use crate::acpi;
use crate::memory::core;
use ::core::fmt::{self, Write};
use arrayvec::ArrayVec;
use carapace_acpi::slit::assumed;
use carapace_cli::args::Invocation;
use carapace_cli::report::{self, Array, Format, Table};
use carapace_cli::rows::{
    BuddyRow, ByType, NodeRow, PAGE_BLOCK_ORDER, PageBlocks, PageBlocksRow, PageTypeRow, Type, Word, ZoneRow,
    buddy_line,
};
use carapace_mm::MAX_NODES;
use carapace_mm::addr::{NodeId, Order, PfnRange};
use carapace_mm::info::{BlockInfo, NodeTotals, PageState, ResourceId, Zone};

const ZONES: [Zone; 3] = [Zone::Kernel, Zone::Movable, Zone::Any];

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
        for zone in ZONES {
            result = result.and_then(|()| each(node.node.0, zone));
        }
    });
    result
}

/// `zoneinfo [-J]`: the fields of Linux's file of that name that mean something here.
pub fn zoneinfo(invocation: &Invocation<'_>) -> Outcome {
    let mut rows = |tell: &mut dyn FnMut(&ZoneRow)| {
        // What is told never fails.
        let _ = each_zone(&mut |node, zone| {
            zone_row(node, zone).iter().for_each(&mut *tell);
            Ok(())
        });
    };
    match invocation.format() {
        Format::Json => report::array_line(&mut Out, &mut rows)?,
        Format::Table => {
            let mut result = Ok(());
            rows(&mut |row| result = result.and_then(|()| row.write(&mut Out)));
            result?;
        }
    }
    Ok(())
}

/// The sums of a node's zone; `None` when no resource is in it.
fn zone_row(node: u32, zone: Zone) -> Option<ZoneRow> {
    let mut span: Option<PfnRange> = None;
    let mut row = ZoneRow {
        node,
        zone: Word::of(&zone),
        free_pages: 0,
        spanned_pages: 0,
        present_pages: 0,
        managed_pages: 0,
        offline_pages: 0,
        movable_pages: 0,
        pinned_pages: 0,
        start_pfn: 0,
    };
    core().resources(&mut |info| {
        if info.node.0 != node || info.zone != zone {
            return;
        }
        row.free_pages += info.free_pages;
        row.present_pages += info.range.pages() - info.offline_pages;
        row.managed_pages += info.usable_pages - info.offline_pages;
        row.offline_pages += info.offline_pages;
        row.movable_pages += info.movable_pages;
        row.pinned_pages += info.pinned_pages;
        // By ascending address.
        let start = span.map_or(info.range.start, |span| span.start);
        span = Some(PfnRange::new(start, info.range.end));
    });
    let span = span?;
    row.start_pfn = span.start.0;
    row.spanned_pages = span.pages();
    Some(row)
}

/// What a node's zone holds, for `pagetypeinfo`.
struct Census {
    orders: [ByType; Order::COUNT],
    blocks: PageBlocks,
}

/// Looks at each block of the zone's resources.
async fn census(node: NodeId, zone: Zone, only: Option<ResourceId>) -> Result<Census, super::Failure> {
    let mut census = Census { orders: [ByType::default(); Order::COUNT], blocks: PageBlocks::default() };
    let mut after = None;
    while let Some(info) = core().resource_after(after) {
        after = Some(info.range.start);
        if info.node != node || info.zone != zone || only.is_some_and(|id| id != info.id) {
            continue;
        }
        let mut count = |block: &BlockInfo| {
            let kind = match block.state {
                PageState::Free => Type::Free,
                PageState::Movable => Type::Movable,
                PageState::Offline => Type::Offline,
                PageState::Pinned | PageState::Memmap | PageState::Absent => Type::Pinned,
            };
            census.blocks.extent(block.range.start.0, block.range.end.0, kind);
            // The memmap has no order.
            let place = block.order.and_then(|order| census.orders.get_mut(usize::from(order.0)));
            place.into_iter().for_each(|order| order.add(kind, 1));
        };
        stream::blocks(&info, &mut count).await?;
        input::telling_step().await?;
    }
    Ok(census)
}

/// `pagetypeinfo [ID] [-J]`
pub async fn pagetypeinfo(invocation: &Invocation<'_>) -> Outcome {
    let only = invocation.operand(0).map(resource).transpose()?.map(|info| info.id);
    let nodes = nodes();
    let zones = || nodes.iter().flat_map(|node| ZONES.map(|zone| (node.node, zone)));
    let json = invocation.format() == Format::Json;
    let (mut orders, mut list) = (Table::<PageTypeRow>::new(), Array::new());
    let (mut blocks, mut sums) =
        (Table::<PageBlocksRow>::new(), ArrayVec::<PageBlocksRow, { 3 * MAX_NODES }>::new());
    let rows = |census: &Census, node: NodeId, zone: Zone, tell: &mut dyn FnMut(&PageTypeRow)| {
        for (order, counts) in (0..).zip(&census.orders).filter(|(_, counts)| !counts.is_empty()) {
            tell(&PageTypeRow::of(node.0, Word::of(&zone), order, counts));
        }
    };
    if !json {
        for (node, zone) in zones() {
            rows(&census(node, zone, only).await?, node, zone, &mut |row| orders.measure(row));
        }
        writeln!(Out, "Page block order: {PAGE_BLOCK_ORDER}\nPages per block:  {}\n", 1 << PAGE_BLOCK_ORDER)?;
        orders.titles(&mut Out)?;
    } else {
        write!(Out, "{{\"page_block_order\":{PAGE_BLOCK_ORDER},\"orders\":")?;
        Array::begin(&mut Out)?;
    }
    for (node, zone) in zones() {
        let census = census(node, zone, only).await?;
        let mut result = Ok(());
        rows(&census, node, zone, &mut |row| {
            let written = if json { list.item(&mut Out, row) } else { orders.row(&mut Out, row) };
            result = result.and(written);
        });
        result?;
        let sum = census.blocks.sums();
        if !sum.is_empty() {
            let row = PageBlocksRow::of(node.0, Word::of(&zone), &sum);
            blocks.measure(&row);
            // There is room: three a node.
            let _ = sums.try_push(row);
        }
    }
    if json {
        Out.write_str("],\"page_blocks\":")?;
        report::array(&mut Out, &mut |tell: &mut dyn FnMut(&PageBlocksRow)| sums.iter().for_each(tell))?;
        return Ok(Out.write_str("}\n")?);
    }
    Out.write_char('\n')?;
    blocks.titles(&mut Out)?;
    sums.iter().try_for_each(|row| blocks.row(&mut Out, row))?;
    Ok(())
}

/// Numbers in ascending order as ranges: `0-2,5`.
fn write_ranges(out: &mut dyn Write, numbers: impl Iterator<Item = u32>) -> fmt::Result {
    let mut open: Option<(u32, u32)> = None;
    let mut gap = "";
    let mut tell = |out: &mut dyn Write, range: Option<(u32, u32)>| match range {
        None => Ok(()),
        Some((first, last)) => {
            write!(out, "{gap}{first}")?;
            gap = ",";
            if last > first { write!(out, "-{last}") } else { Ok(()) }
        }
    };
    for number in numbers {
        match &mut open {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => tell(out, open.replace((number, number)))?,
        }
    }
    tell(out, open)
}

fn nodes() -> ArrayVec<NodeTotals, MAX_NODES> {
    let mut nodes = ArrayVec::new();
    // There are no more nodes than that.
    core().nodes(&mut |totals| nodes.extend((!nodes.is_full()).then_some(totals)));
    nodes.sort_unstable_by_key(|totals: &NodeTotals| totals.node.0);
    nodes
}

/// `numa [-J]`
pub fn numa(invocation: &Invocation<'_>) -> Outcome {
    let nodes = nodes();
    let slit = acpi::with(|acpi| acpi.tables.slit()).flatten();
    let distance = |from, to| slit.and_then(|slit| slit.distance(from, to)).unwrap_or(assumed(from, to));
    if invocation.format() == Format::Json {
        let mut rows = |tell: &mut dyn FnMut(&NodeRow)| {
            for node in &nodes {
                let NodeTotals { node, total_pages, usable_pages, free_pages } = *node;
                tell(&NodeRow { node: node.0, total_pages, usable_pages, free_pages });
            }
        };
        Out.write_str("{\"nodes\":")?;
        report::array(&mut Out, &mut rows)?;
        Out.write_str(",\"distances\":")?;
        report::array(&mut Out, &mut |tell: &mut dyn FnMut(&ArrayVec<u8, MAX_NODES>)| {
            nodes
                .iter()
                .for_each(|from| tell(&nodes.iter().map(|to| distance(from.node, to.node)).collect()));
        })?;
        return Ok(writeln!(Out, ",\"slit\":{}}}", slit.is_some())?);
    }
    write!(Out, "available: {} nodes (", nodes.len())?;
    write_ranges(&mut Out, nodes.iter().map(|node| node.node.0))?;
    Out.write_str(")\n")?;
    for node in &nodes {
        // MiB, as numactl has it, whose word for them is MB.
        let size = |pages: u64| pages >> 8;
        writeln!(Out, "node {} size: {} MB", node.node, size(node.usable_pages))?;
        writeln!(Out, "node {} free: {} MB", node.node, size(node.free_pages))?;
    }
    Out.write_str("node distances:\nnode")?;
    nodes.iter().try_for_each(|node| write!(Out, " {:>3}", node.node.0))?;
    for from in &nodes {
        write!(Out, "\n{:>3}:", from.node.0)?;
        nodes.iter().try_for_each(|to| write!(Out, " {:>3}", distance(from.node, to.node)))?;
    }
    Out.write_char('\n')?;
    if slit.is_none() {
        Out.write_str("the firmware tells no distances (no SLIT): 10 and 20 are what Linux assumes then\n")?;
    }
    Ok(())
}
