//! The commands `ptwalk` and `ptdump`, which show the page tables.
//!
//! Both hold the page tables' lock while they walk, but not while they print. `ptdump` walks in steps.

use super::console::Out;
use super::{Failure, Outcome, input};
use crate::memory::{core, protection};
use ::core::fmt::Write;
use arrayvec::{ArrayString, ArrayVec};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON, Operands};
use carapace_cli::output::{self, Format, Text};
use carapace_cli::parse;
use carapace_cli::rows::{DumpHead, Leaves, LevelRow, WalkRow, WindowRow};
use carapace_mm::addr::VirtAddr;
use carapace_mm::address_space::{VA_REGIONS, va_region_of};
use carapace_mm::page_table::{Caching, EntryTarget, Leaf, PathStep, Rights};
use carapace_mm::protection::LeafCounts;

/// `ptwalk`.
pub static PTWALK: Command = Command {
    name: "ptwalk",
    summary: "the translation of a virtual address, level by level",
    operands: Operands::one("VADDR"),
    operand_help: &[(
        "VADDR",
        "A virtual address: bits 63 to 47 are all equal. Decimal, or hexadecimal with 0x.",
    )],
    flags: &[JSON],
    example: "ptwalk 0xffff800100400000",
    effect: Effect::Reads,
    ..Command::NEW
};

/// `ptdump`.
pub static PTDUMP: Command = Command {
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

/// Levels of page tables.
const LEVELS: usize = 4;

/// `None`, only seen in a loader's tables, is writable and executable.
fn rights(rights: Option<Rights>) -> &'static str {
    match rights {
        Some(Rights::Data) => "read and write",
        Some(Rights::ReadOnly) => "read only",
        Some(Rights::Code) => "read and execute",
        None => "read, write and execute",
    }
}

fn caching(caching: Caching) -> &'static str {
    match caching {
        Caching::Memory => "write-back",
        Caching::Device => "uncached",
    }
}

fn level_row(step: &PathStep) -> LevelRow {
    let mut flags = ArrayString::<96>::new();
    step.attributes(&mut |word| {
        // All attributes together fit.
        let _ = write!(flags, "{}{word}", if flags.is_empty() { "" } else { ", " });
    });
    let (kind, leads_to) = match step.target {
        EntryTarget::Absent => ("absent", None),
        EntryTarget::Table(table) => ("table", Some(table.start().0)),
        EntryTarget::Leaf(_, at) => ("leaf", Some(at.0)),
    };
    LevelRow {
        level: step.level.name(),
        index: step.index,
        table: step.table.start().0,
        entry: step.entry,
        kind,
        leads_to,
        flags: Text::of(&flags),
    }
}

/// `ptwalk VADDR [-J]`
pub async fn ptwalk(invocation: &Invocation<'_>) -> Outcome {
    let text = invocation.operand(0).unwrap_or_default();
    let virt = parse::integer(text, "an address").map_err(Failure::of)?;
    // Bits 63 to 47 are all equal.
    if !matches!(virt >> 47, 0 | 0x1_ffff) {
        return Err(Failure::of(format_args!("{virt:#x} is not canonical: bits 63 to 47 differ")));
    }
    let mut levels: ArrayVec<LevelRow, LEVELS> = ArrayVec::new();
    // The array holds all levels.
    core().path(VirtAddr(virt), &mut |step| {
        let _ = levels.try_push(level_row(&step));
    });
    let found = core().translate(VirtAddr(virt));
    let row = WalkRow {
        virt,
        window: va_region_of(VirtAddr(virt)).map(|window| window.name),
        phys: found.map(|found| found.phys.0),
        leaf_bytes: found.map(|found| found.size.bytes()),
        rights: found.map(|found| rights(found.rights)),
        caching: found.map(|found| caching(found.caching)),
    };
    match invocation.format() {
        Format::Json => {
            let mut rows = |each: &mut dyn FnMut(&LevelRow)| levels.iter().for_each(each);
            output::object_with(&mut Out, "levels", &mut rows, &mut || row)?;
        }
        Format::Table => {
            row.write(&mut Out)?;
            if let Some(last) = levels.last().filter(|last| !last.flags.as_str().is_empty()) {
                writeln!(Out, "entry     {}", last.flags)?;
            }
            Out.write_char('\n')?;
            output::table(&mut Out, &mut |each: &mut dyn FnMut(&LevelRow)| levels.iter().for_each(each))?;
        }
    }
    Ok(())
}

/// `ptdump [-J]`
pub async fn ptdump(invocation: &Invocation<'_>) -> Outcome {
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
    let windows: ArrayVec<WindowRow, ROWS> =
        names.zip(&counts).map(|((window, start), counts)| window_row(window, start, counts)).collect();
    let mut head = DumpHead { writable_executable: 0, leaves: Leaves::default() };
    for row in &windows {
        head.writable_executable += row.writable_executable;
        head.leaves.small += row.leaves.small;
        head.leaves.large += row.leaves.large;
        head.leaves.huge += row.leaves.huge;
    }
    let mut rows = |each: &mut dyn FnMut(&WindowRow)| windows.iter().for_each(each);
    match invocation.format() {
        Format::Json => output::object_with(&mut Out, "windows", &mut rows, &mut || head)?,
        Format::Table => {
            output::table(&mut Out, &mut rows)?;
            writeln!(Out, "\n{} leaves are writable and executable", head.writable_executable)?;
        }
    }
    Ok(())
}

fn window_row(window: &'static str, start: u64, counts: &LeafCounts) -> WindowRow {
    let LeafCounts { small, large, huge, executable, writable_executable } = *counts;
    WindowRow { window, start, leaves: Leaves { small, large, huge }, writable_executable, executable }
}
