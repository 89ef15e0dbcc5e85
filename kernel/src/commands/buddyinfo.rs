//! `buddyinfo`: free blocks by order, in the form of Linux's file.

use super::console::Out;
use super::resources::resource;
use super::{Outcome, words};
use crate::memory::core;
use ::core::fmt::{self, Write};
use arrayvec::ArrayVec;
use carapace_cli::TERMINAL_COLUMNS;
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

/// Columns of `Node 0, zone   kernel `.
const HEAD: usize = 23;

/// The free blocks of a zone: the sums over its resources.
struct Sums {
    free: [u64; Order::COUNT],
    /// Orders that one of the resources has; 0 without a resource.
    orders: usize,
}

/// Linux's format: one line per node and zone. Orders that do not fit on a terminal follow in further lines.
fn by_zone(rows: output::Rows<'_, Buddyinfo>) -> Outcome {
    let (mut orders, mut most) = (0, 0);
    each_zone(&mut |node, zone| {
        let sums = sums(rows, node, zone);
        (orders, most) = (orders.max(sums.orders), most.max(sums.free.into_iter().max().unwrap_or(0)));
        Ok(())
    })?;
    // Linux has 4 columns for a number here, and more where one needs more.
    let digits = (most.max(1).ilog10() as usize + 1).max(4);
    let in_line = ((TERMINAL_COLUMNS - HEAD) / (digits + 1)).max(1);
    for first in (0..orders).step_by(in_line) {
        let end = orders.min(first + in_line);
        write!(Out, "{:<22} ", "blocks of order")?;
        (first..end).try_for_each(|order| write!(Out, "{order:>digits$} "))?;
        Out.write_char('\n')?;
        each_zone(&mut |node, zone| {
            let sums = sums(rows, node, zone);
            if sums.orders <= first {
                return Ok(());
            }
            // As `frag_show_print` in Linux's mm/vmstat.c.
            write!(Out, "Node {node}, zone {zone:>8} ", zone = Word::of(&zone))?;
            let free = sums.free.iter().take(sums.orders.min(end)).skip(first);
            free.into_iter().try_for_each(|blocks| write!(Out, "{blocks:>digits$} "))?;
            Out.write_char('\n')
        })?;
    }
    Ok(())
}

fn sums(rows: output::Rows<'_, Buddyinfo>, node: u32, zone: Zone) -> Sums {
    let mut sums = Sums { free: [0; Order::COUNT], orders: 0 };
    rows(&mut |row| {
        if row.node == node && row.zone == Word::of(&zone) {
            sums.orders = sums.orders.max(row.free.len());
            sums.free.iter_mut().zip(&row.free).for_each(|(sum, blocks)| *sum += blocks);
        }
    });
    sums
}

/// Calls `each` with every node and, for each, every zone.
fn each_zone(each: &mut dyn FnMut(u32, Zone) -> fmt::Result) -> fmt::Result {
    let mut nodes: ArrayVec<u32, MAX_NODES> = ArrayVec::new();
    // The array holds the maximum number of nodes. They come in the order in which they were plugged.
    core().nodes(&mut |totals| nodes.extend((!nodes.is_full()).then_some(totals.node.0)));
    nodes.sort_unstable();
    nodes.iter().try_for_each(|&node| ZONES.iter().try_for_each(|&zone| each(node, zone)))
}
