//! `buddyinfo`: free blocks by order, in the form of Linux's file.

use super::console::Out;
use super::resources::resource;
use super::{Outcome, words};
use crate::memory::core;
use ::core::fmt::{self, Write};
use arrayvec::ArrayVec;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_mm::MAX_NODES;
use carapace_mm::addr::Order;
use carapace_mm::info::Zone;
use carapace_schema::{Buddyinfo, Word};

/// `buddyinfo`.
pub static COMMAND: Command = Command {
    name: "buddyinfo",
    summary: "free blocks of each order by node and zone, -J: by resource",
    operands: Operands::optional("[ID]"),
    operand_help: &[("ID", "Only this resource.")],
    words: words::resources,
    flags: &[JSON],
    example: "buddyinfo",
    effect: Effect::Reads,
};

const ZONES: [Zone; 3] = [Zone::Kernel, Zone::Movable, Zone::Any];

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let only = invocation.operand(0).map(resource).transpose()?.map(|info| info.id);
    let mut rows = |each: &mut dyn FnMut(&Buddyinfo)| {
        core().resources(&mut |info| {
            if only.is_some_and(|id| id != info.id) {
                return;
            }
            let Some(blocks) = core().free_blocks(info.id) else { return };
            let orders = usize::from(info.max_order.0) + 1;
            each(&Buddyinfo {
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
fn by_zone(rows: output::Rows<'_, Buddyinfo>) -> Outcome {
    let mut orders = 11; // at least as many as Linux has
    rows(&mut |row| orders = orders.max(row.free.len()));
    write!(Out, "{:<22} ", "blocks of order")?;
    (0..orders.min(Order::COUNT)).try_for_each(|order| write!(Out, "{order:>4} "))?;
    Out.write_char('\n')?;
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
            write_line(node, Word::of(&zone), &sums[..orders.min(Order::COUNT)])?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Writes a line of Linux's `/proc/buddyinfo` (`frag_show_print` in mm/vmstat.c).
fn write_line(node: u32, zone: Word, free: &[u64]) -> fmt::Result {
    write!(Out, "Node {node}, zone {zone:>8} ")?;
    free.iter().try_for_each(|blocks| write!(Out, "{blocks:>4} "))?;
    Out.write_char('\n')
}

/// Calls `each` with every node and, for each, every zone.
fn each_zone(each: &mut dyn FnMut(u32, Zone) -> fmt::Result) -> fmt::Result {
    let mut nodes: ArrayVec<u32, MAX_NODES> = ArrayVec::new();
    // The array holds the maximum number of nodes. They come in the order in which they were plugged.
    core().nodes(&mut |totals| nodes.extend((!nodes.is_full()).then_some(totals.node.0)));
    nodes.sort_unstable();
    nodes.iter().try_for_each(|&node| ZONES.iter().try_for_each(|&zone| each(node, zone)))
}
