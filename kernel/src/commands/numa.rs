//! `numa`: nodes, their sizes, distances and speeds, in the form of `numactl -H`.

use super::Outcome;
use super::console::Out;
use super::meminfo::node_row;
use crate::acpi;
use crate::memory::core;
use ::core::fmt::{self, Write};
use arrayvec::{ArrayString, ArrayVec};
use carapace_acpi::hmat::{Bandwidth, Hmat, Picoseconds};
use carapace_acpi::slit::assumed;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::output::{self, Format};
use carapace_mm::MAX_NODES;
use carapace_mm::info::NodeTotals;
use carapace_schema::{Node, Speed};

/// `numa`.
pub static COMMAND: Command = Command {
    name: "numa",
    summary: "nodes, their sizes, distances and speeds, like numactl -H",
    flags: &[JSON],
    example: "numa",
    effect: Effect::Reads,
    ..Command::NEW
};

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

/// Calls `each` with what the HMAT says about each pair of nodes.
fn speeds(hmat: Option<Hmat<'_>>, each: &mut dyn FnMut(&Speed)) {
    let Some(hmat) = hmat else { return };
    let targets = hmat.targets();
    for initiator in hmat.initiators() {
        for &target in &targets {
            let performance = hmat.performance(initiator, target);
            let Some(rank) = hmat.rank(initiator, target) else { continue };
            each(&Speed {
                initiator: initiator.0,
                target: target.0,
                latency_ps: performance.latency.map(|latency| latency.0),
                bandwidth: performance.bandwidth.map(|bandwidth| bandwidth.0),
                rank,
            });
        }
    }
}

/// The longest text of a number of 64 bits with its unit.
const CELL_BYTES: usize = 32;

fn cell(value: Option<impl fmt::Display>) -> ArrayString<CELL_BYTES> {
    let mut text = ArrayString::new();
    // Each value fits.
    let _ = match value {
        Some(value) => write!(text, "{value}"),
        None => text.write_char('-'),
    };
    text
}

/// The speeds as a table.
fn write_speeds(hmat: Hmat<'_>) -> fmt::Result {
    Out.write_str("memory speeds (HMAT):\nfrom   to      latency       bandwidth  rank\n")?;
    let mut result = Ok(());
    speeds(Some(hmat), &mut |speed| {
        let latency = cell(speed.latency_ps.map(Picoseconds));
        let bandwidth = cell(speed.bandwidth.map(Bandwidth));
        let row = writeln!(
            Out,
            "{:>4} {:>4} {latency:>12} {bandwidth:>15} {:>5}",
            speed.initiator, speed.target, speed.rank
        );
        result = result.and(row);
    });
    result
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let nodes = nodes();
    let slit = acpi::with(|acpi| acpi.tables.slit()).flatten();
    let hmat = acpi::with(|acpi| acpi.tables.hmat()).flatten();
    let distance = |from, to| slit.and_then(|slit| slit.distance(from, to)).unwrap_or(assumed(from, to));
    if invocation.format() == Format::Json {
        let mut rows = |each: &mut dyn FnMut(&Node)| nodes.iter().for_each(|node| each(&node_row(node)));
        Out.write_str("{\"nodes\":")?;
        output::array(&mut Out, &mut rows)?;
        Out.write_str(",\"distances\":")?;
        output::array(&mut Out, &mut |each: &mut dyn FnMut(&ArrayVec<u8, MAX_NODES>)| {
            nodes
                .iter()
                .for_each(|from| each(&nodes.iter().map(|to| distance(from.node, to.node)).collect()));
        })?;
        write!(Out, ",\"slit\":{},\"hmat\":", slit.is_some())?;
        output::array(&mut Out, &mut |each: &mut dyn FnMut(&Speed)| speeds(hmat, each))?;
        return Ok(Out.write_str("}\n")?);
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
    if let Some(hmat) = hmat {
        write_speeds(hmat)?;
    }
    Ok(())
}
