//! `ptdump`: leaves of the page tables by part of the address space, counted in steps.

use super::console::Out;
use super::{Outcome, input};
use crate::memory::protection;
use ::core::fmt::Write;
use arrayvec::ArrayVec;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON};
use carapace_cli::output::{self, Columns, Format, left, right};
use carapace_mm::addr::VirtAddr;
use carapace_mm::address_space::VA_REGIONS;
use carapace_mm::page_table::Leaf;
use carapace_mm::protection::LeafCounts;
use carapace_schema::{Leaves, PtdumpOf, PtdumpWindow, Streamed, Word};

/// `ptdump`.
pub static COMMAND: Command = Command {
    name: "ptdump",
    summary: "the number of leaves in each region, and whether any is W and X",
    flags: &[JSON],
    example: "ptdump",
    ..Command::NEW
};

/// Addresses outside of all regions: the lower half, and gaps between regions.
const ELSEWHERE: &str = "elsewhere";
/// Leaves counted in a step.
const LEAVES_STEP: usize = 4096;
const ROWS: usize = VA_REGIONS.len() + 1;

static WINDOWS: Columns<PtdumpWindow> = Columns::new(&[
    left("WINDOW", |row, cell| cell(&row.window)),
    right("START", |row, cell| cell(&format_args!("{:#x}", row.start))),
    right("4K", |row, cell| cell(&row.leaves.small)),
    right("2M", |row, cell| cell(&row.leaves.large)),
    right("1G", |row, cell| cell(&row.leaves.huge)),
    right("X", |row, cell| cell(&row.executable)),
    right("W+X", |row, cell| cell(&row.writable_executable)),
]);

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let mut counts = [LeafCounts::default(); ROWS];
    let mut count = |leaf: Leaf| {
        let region = VA_REGIONS.iter().position(|region| region.contains(leaf.virt));
        if let Some(counts) = counts.get_mut(region.unwrap_or(VA_REGIONS.len())) {
            counts.add(&leaf);
        }
    };
    let mut from = Some(VirtAddr(0));
    while let Some(at) = from {
        from = protection::leaves(at, LEAVES_STEP, &mut count);
        input::step().await?;
    }
    let names = VA_REGIONS.iter().map(|window| (window.name, window.start.0)).chain([(ELSEWHERE, 0)]);
    let windows: ArrayVec<PtdumpWindow, ROWS> =
        names.zip(&counts).map(|((window, start), counts)| window_row(window, start, counts)).collect();
    let mut head = PtdumpOf { writable_executable: 0, leaves: Leaves::default(), windows: Streamed };
    for row in &windows {
        head.writable_executable += row.writable_executable;
        head.leaves.small += row.leaves.small;
        head.leaves.large += row.leaves.large;
        head.leaves.huge += row.leaves.huge;
    }
    let mut rows = |each: &mut dyn FnMut(&PtdumpWindow)| windows.iter().for_each(each);
    match invocation.format() {
        Format::Json => output::object_with(&mut Out, "windows", &mut rows, &mut || head)?,
        Format::Table => {
            output::table(&mut Out, &WINDOWS, &mut rows)?;
            writeln!(Out, "\n{} leaves are writable and executable", head.writable_executable)?;
        }
    }
    Ok(())
}

fn window_row(window: &str, start: u64, counts: &LeafCounts) -> PtdumpWindow {
    let LeafCounts { small, large, huge, executable, writable_executable } = *counts;
    let leaves = Leaves { small, large, huge };
    PtdumpWindow { window: Word::of(&window), start, leaves, writable_executable, executable }
}
