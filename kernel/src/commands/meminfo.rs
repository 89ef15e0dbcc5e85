//! The command `meminfo`: totals over all memory, and by node.

use super::Outcome;
use super::console::Out;
use crate::memory::{core, heap};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Columns, Format, left, right};
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::info::NodeTotals;
use carapace_schema::{MeminfoOf, Node, Streamed};

/// `meminfo`.
pub static COMMAND: Command = Command {
    name: "meminfo",
    summary: "totals of present, usable and free memory, memmap, heap; by node",
    flags: &[JSON],
    example: "meminfo",
    effect: Effect::Reads,
    ..Command::NEW
};

/// A line for people: the name of a sum, and its bytes.
type Sum = (&'static str, u64);

static SUMS: Columns<Sum> = Columns::new(&[
    left("MEMORY", |(name, _), cell| cell(name)),
    right("SIZE", |(_, bytes), cell| cell(&Size(*bytes))),
    right("PAGES", |(_, bytes), cell| cell(&bytes.div_ceil(PAGE_SIZE))),
]);

static NODES: Columns<Node> = Columns::new(&[
    right("NODE", |row, cell| cell(&row.node)),
    right("PRESENT", |row, cell| cell(&Size(row.total_pages * PAGE_SIZE))),
    right("USABLE", |row, cell| cell(&Size(row.usable_pages * PAGE_SIZE))),
    right("FREE", |row, cell| cell(&Size(row.free_pages * PAGE_SIZE))),
]);

fn lines(sums: &MeminfoOf<Streamed>) -> [Sum; 8] {
    [
        ("present", sums.total_pages * PAGE_SIZE),
        ("usable", sums.usable_pages * PAGE_SIZE),
        ("free", sums.free_pages * PAGE_SIZE),
        ("offline", sums.offline_pages * PAGE_SIZE),
        ("memmap and pinned since boot", sums.memmap_pages * PAGE_SIZE),
        ("page tables made at boot", sums.page_table_pages * PAGE_SIZE),
        ("heap", sums.heap_bytes),
        ("heap in use", sums.heap_used),
    ]
}

/// A node's row, here and in `numa`.
pub fn node_row(totals: &NodeTotals) -> Node {
    let NodeTotals { node, total_pages, usable_pages, free_pages } = *totals;
    Node { node: node.0, total_pages, usable_pages, free_pages }
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let totals = core().totals();
    let heap = heap::stats();
    let sums = MeminfoOf {
        total_pages: totals.total_pages,
        usable_pages: totals.usable_pages,
        free_pages: totals.free_pages,
        offline_pages: totals.offline_pages,
        memmap_pages: totals.memmap_pages,
        page_table_pages: totals.page_table_pages,
        heap_bytes: heap.bytes,
        heap_used: heap.used,
        nodes: Streamed,
    };
    let mut nodes = |each: &mut dyn FnMut(&Node)| core().nodes(&mut |node| each(&node_row(&node)));
    match invocation.format() {
        Format::Json => output::object_with(&mut Out, "nodes", &mut nodes, &mut || sums)?,
        Format::Table => {
            let lines = lines(&sums);
            output::table(&mut Out, &SUMS, &mut |each: &mut dyn FnMut(&Sum)| lines.iter().for_each(each))?;
            Out.write_char('\n')?;
            output::table(&mut Out, &NODES, &mut nodes)?;
        }
    }
    Ok(())
}
