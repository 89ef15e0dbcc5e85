//! The commands `buddyinfo`, in the format of Linux's file, and `numa`, in that of `numactl -H`.

use super::Outcome;
use super::console::Out;
use super::resources::resource;
use crate::acpi;
use crate::memory::core;
use ::core::fmt::{self, Write};
use arrayvec::ArrayVec;
use carapace_acpi::slit::assumed;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_cli::rows::{BuddyRow, NodeRow, Word, buddy_line};
use carapace_mm::MAX_NODES;
use carapace_mm::addr::Order;
use carapace_mm::info::{NodeTotals, Zone};

/// `buddyinfo`.
pub static BUDDYINFO: Command = Command {
    name: "buddyinfo",
    summary: "free blocks of each order by node and zone, -J: by resource",
    operands: Operands::optional("[ID]"),
    operand_help: &[("ID", "Only this resource.")],
    flags: &[JSON],
    example: "buddyinfo",
    effect: Effect::Reads,
    ..Command::NEW
};

/// `numa`.
pub static NUMA: Command = Command {
    name: "numa",
    summary: "nodes, their sizes and distances, like numactl -H",
    flags: &[JSON],
    example: "numa",
    effect: Effect::Reads,
    ..Command::NEW
};

const ZONES: [Zone; 3] = [Zone::Kernel, Zone::Movable, Zone::Any];

/// `buddyinfo [ID] [-J]`
pub async fn buddyinfo(invocation: &Invocation<'_>) -> Outcome {
    let only = invocation.operand(0).map(resource).transpose()?.map(|info| info.id);
    let mut rows = |each: &mut dyn FnMut(&BuddyRow)| {
        core().resources(&mut |info| {
            if only.is_some_and(|id| id != info.id) {
                return;
            }
            let Some(blocks) = core().free_blocks(info.id) else { return };
            let orders = usize::from(info.max_order.0) + 1;
            each(&BuddyRow {
                resource: info.id.0,
                node: info.node.0,
                zone: Word::of(&info.zone),
                free: blocks.into_iter().take(orders.min(Order::COUNT)).collect(),
            });
        });
    };
    match invocation.format() {
        Format::Json => Ok(output::array_line(&mut Out, &mut rows)?),
        Format::Table => by_zone(&mut rows),
    }
}

/// Linux's format: one line per node and zone, with the sums over their resources.
fn by_zone(rows: output::Rows<'_, BuddyRow>) -> Outcome {
    let mut orders = 11; // at least as many as Linux has
    rows(&mut |row| orders = orders.max(row.free.len()));
    each_zone(&mut |node, zone| {
        let mut sums = [0u64; Order::COUNT];
        let mut is_present = false;
        rows(&mut |row| {
            if row.node == node && row.zone == Word::of(&zone) {
                is_present = true;
                sums.iter_mut().zip(&row.free).for_each(|(sum, blocks)| *sum += blocks);
            }
        });
        if is_present {
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

/// Numbers in ascending order as ranges: `0-2,5`.
fn write_ranges(out: &mut dyn Write, numbers: impl Iterator<Item = u32>) -> fmt::Result {
    let mut open: Option<(u32, u32)> = None;
    let mut gap = "";
    let mut each = |out: &mut dyn Write, range: Option<(u32, u32)>| match range {
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
            _ => each(out, open.replace((number, number)))?,
        }
    }
    each(out, open)
}

fn nodes() -> ArrayVec<NodeTotals, MAX_NODES> {
    let mut nodes = ArrayVec::new();
    // The array holds the maximum number of nodes.
    core().nodes(&mut |totals| nodes.extend((!nodes.is_full()).then_some(totals)));
    nodes.sort_unstable_by_key(|totals: &NodeTotals| totals.node.0);
    nodes
}

/// `numa [-J]`
pub async fn numa(invocation: &Invocation<'_>) -> Outcome {
    let nodes = nodes();
    let slit = acpi::with(|acpi| acpi.tables.slit()).flatten();
    let distance = |from, to| slit.and_then(|slit| slit.distance(from, to)).unwrap_or(assumed(from, to));
    if invocation.format() == Format::Json {
        let mut rows = |each: &mut dyn FnMut(&NodeRow)| {
            for node in &nodes {
                let NodeTotals { node, total_pages, usable_pages, free_pages } = *node;
                each(&NodeRow { node: node.0, total_pages, usable_pages, free_pages });
            }
        };
        Out.write_str("{\"nodes\":")?;
        output::array(&mut Out, &mut rows)?;
        Out.write_str(",\"distances\":")?;
        output::array(&mut Out, &mut |each: &mut dyn FnMut(&ArrayVec<u8, MAX_NODES>)| {
            nodes
                .iter()
                .for_each(|from| each(&nodes.iter().map(|to| distance(from.node, to.node)).collect()));
        })?;
        return Ok(writeln!(Out, ",\"slit\":{}}}", slit.is_some())?);
    }
    write!(Out, "available: {} nodes (", nodes.len())?;
    write_ranges(&mut Out, nodes.iter().map(|node| node.node.0))?;
    Out.write_str(")\n")?;
    for node in &nodes {
        // numactl prints MiB and calls them MB.
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
        Out.write_str("no SLIT: distances 10 and 20 are assumed, as in Linux\n")?;
    }
    Ok(())
}
