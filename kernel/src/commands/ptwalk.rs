//! `ptwalk`: the entries of the page tables on the way to an address. Their lock is not held while they are printed.

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::core;
use ::core::fmt::{self, Write};
use arrayvec::{ArrayString, ArrayVec};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON, Operands};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Columns, Format, left, right};
use carapace_cli::parse;
use carapace_mm::addr::VirtAddr;
use carapace_mm::address_space::va_region_of;
use carapace_mm::page_table::{Caching, EntryTarget, PathStep, Rights};
use carapace_schema::{PAGE, PtwalkLevel, PtwalkOf, Streamed, Text, Word};

/// `ptwalk`.
pub static COMMAND: Command = Command {
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

/// Levels of page tables.
const LEVELS_MAX: usize = 4;

static LEVELS: Columns<PtwalkLevel> = Columns::new(&[
    left("LEVEL", |row, cell| cell(&row.level)),
    right("INDEX", |row, cell| cell(&row.index)),
    right("TABLE", |row, cell| cell(&format_args!("{:#x}", row.table))),
    right("ENTRY", |row, cell| cell(&format_args!("{:#x}", row.entry))),
    left("LEADS TO", |row, cell| match row.leads_to {
        Some(at) => cell(&format_args!("{} at {at:#x}", row.kind)),
        None => cell(&row.kind),
    }),
]);

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

fn level_row(step: &PathStep) -> PtwalkLevel {
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
    PtwalkLevel {
        level: Word::of(&step.level.name()),
        index: step.index,
        table: step.table.start().0,
        entry: step.entry,
        kind: Word::of(&kind),
        leads_to,
        flags: Text::of(&flags),
    }
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let text = invocation.operand(0).unwrap_or_default();
    let virt = parse::integer(text, "an address").map_err(Failure::of)?;
    // Bits 63 to 47 are all equal.
    if !matches!(virt >> 47, 0 | 0x1_ffff) {
        return Err(Failure::of(format_args!("{virt:#x} is not canonical: bits 63 to 47 differ")));
    }
    let mut levels: ArrayVec<PtwalkLevel, LEVELS_MAX> = ArrayVec::new();
    // The array holds all levels.
    core().path(VirtAddr(virt), &mut |step| {
        let _ = levels.try_push(level_row(&step));
    });
    let found = core().translate(VirtAddr(virt));
    let row = PtwalkOf {
        virt,
        window: va_region_of(VirtAddr(virt)).map(|window| Word::of(&window.name)),
        phys: found.map(|found| found.phys.0),
        leaf_bytes: found.map(|found| found.size.bytes()),
        rights: found.map(|found| Text::of(&rights(found.rights))),
        caching: found.map(|found| Word::of(&caching(found.caching))),
        levels: Streamed,
    };
    match invocation.format() {
        Format::Json => {
            let mut rows = |each: &mut dyn FnMut(&PtwalkLevel)| levels.iter().for_each(each);
            output::object_with(&mut Out, "levels", &mut rows, &mut || row)?;
        }
        Format::Table => {
            write_row(&row)?;
            if let Some(last) = levels.last().filter(|last| !last.flags.is_empty()) {
                writeln!(Out, "entry     {}", last.flags)?;
            }
            Out.write_char('\n')?;
            output::table(&mut Out, &LEVELS, &mut |each: &mut dyn FnMut(&PtwalkLevel)| {
                levels.iter().for_each(each)
            })?;
        }
    }
    Ok(())
}

fn write_row(row: &PtwalkOf<Streamed>) -> fmt::Result {
    writeln!(Out, "address   {:#x}, in {}", row.virt, row.window.as_deref().unwrap_or("no window"))?;
    let leaf = row.leaf_bytes.zip(row.rights).zip(row.caching);
    match row.phys.zip(leaf) {
        Some((phys, ((bytes, rights), caching))) => {
            writeln!(Out, "mapped to {phys:#x}, frame {:#x}", phys / PAGE)?;
            writeln!(Out, "leaf      {}, {rights}, {caching}", Size(bytes))
        }
        None => writeln!(Out, "mapped to nothing"),
    }
}
