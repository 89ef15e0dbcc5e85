//! The command `meminfo`: totals over all memory, and by node.

use super::Outcome;
use super::console::Out;
use crate::memory::{core, heap};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::output::{self, Format};
use carapace_cli::rows::{Meminfo, NodeRow};

/// `meminfo`.
pub static MEMINFO: Command = Command {
    name: "meminfo",
    summary: "totals of present, usable and free memory, memmap, heap; by node",
    flags: &[JSON],
    example: "meminfo",
    effect: Effect::Reads,
    ..Command::NEW
};

/// `meminfo [-J]`
pub async fn meminfo(invocation: &Invocation<'_>) -> Outcome {
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
    let mut nodes = |each: &mut dyn FnMut(&NodeRow)| {
        core().nodes(&mut |node| {
            each(&NodeRow {
                node: node.node.0,
                total_pages: node.total_pages,
                usable_pages: node.usable_pages,
                free_pages: node.free_pages,
            });
        });
    };
    match invocation.format() {
        Format::Json => output::object_with(&mut Out, "nodes", &mut nodes, &mut || sums)?,
        Format::Table => {
            output::table(&mut Out, &mut |each: &mut dyn FnMut(&_)| sums.lines().iter().for_each(each))?;
            Out.write_char('\n')?;
            output::table(&mut Out, &mut nodes)?;
        }
    }
    Ok(())
}
