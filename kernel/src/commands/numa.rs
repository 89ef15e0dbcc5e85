//! `numa`: nodes, their sizes and distances, in the form of `numactl -H`.

use super::Outcome;
use super::console::Out;
use super::meminfo::node_row;
use crate::acpi;
use crate::memory::core;
use ::core::fmt::{self, Write};
use arrayvec::ArrayVec;
use carapace_acpi::slit::assumed;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::output::{self, Format};
use carapace_mm::MAX_NODES;
use carapace_mm::info::NodeTotals;
use carapace_schema::Node;

/// `numa`.
pub static COMMAND: Command = Command {
    name: "numa",
    summary: "nodes, their sizes and distances, like numactl -H",
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

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let nodes = nodes();
    let slit = acpi::with(|acpi| acpi.tables.slit()).flatten();
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
