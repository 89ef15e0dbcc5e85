//! The command `sections`: the 128 MiB sections.

use super::console::Out;
use super::resources::known;
use super::{Failure, Outcome, stream, words};
use ::core::cell::Cell;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, Flag, JSON, Operands};
use carapace_cli::format_size::PagesSize;
use carapace_cli::output::{self, Columns, Format, left, right};
use carapace_cli::parse::{self, IdOrRange};
use carapace_mm::addr::{MAX_PFN, PfnRange, SECTION_PAGES, SectionNr};
use carapace_mm::address_space::VMEMMAP;
use carapace_mm::info::{ResourceInfo, SectionRow};
use carapace_schema::{Section, Word};

const VERBOSE: Flag = Flag::new("--verbose", "explains the words, and a section's addresses").short('v');

/// `sections`.
pub static COMMAND: Command = Command {
    name: "sections",
    summary: "the 128 MiB sections, of one resource or between two numbers",
    operands: Operands::optional("[ID|FROM-TO]"),
    operand_help: &[
        ("ID", "Only those of this resource."),
        ("FROM-TO", "Only this range of section numbers, both inclusive."),
    ],
    words: words::resources_and_sections,
    flags: &[VERBOSE, JSON],
    example: "sections",
    effect: Effect::Reads,
};

static COLUMNS: Columns<Section> = Columns::new(&[
    right("SECTION", |row, cell| cell(&row.section)),
    right("START PFN", |row, cell| cell(&format_args!("{:#x}", row.first_pfn))),
    right("PRESENT", |row, cell| cell(&PagesSize(row.present_pages))),
    right("MEMMAP", |row, cell| cell(&PagesSize(row.memmap_pages))),
    right("USABLE", |row, cell| cell(&PagesSize(row.usable_pages))),
    right("FREE", |row, cell| cell(&PagesSize(row.free_pages))),
    right("NODE", |row, cell| cell(&row.node)),
    left("STATE", |row, cell| cell(&row.state)),
    right("RESOURCE", |row, cell| cell(&row.resource)),
]);

/// The meaning of the words in the table, for `-v`.
const WORDS: &[(&str, &str)] = &[
    ("online", "Its usable frames can be allocated."),
    ("offline", "Its usable frames cannot be allocated until `online`."),
    ("memmap", "It has no usable frame: all of it is the resource's metadata."),
    ("unplugged", "None of its frames is plugged by the virtio-mem device."),
];

fn section_row(of: &ResourceInfo, row: &SectionRow) -> Section {
    Section {
        section: row.section.0,
        start_pfn: row.section.start().0,
        pages: SECTION_PAGES,
        first_pfn: of.range.start.max(row.section.start()).0,
        present_pages: row.present_pages,
        memmap_pages: row.memmap_pages,
        usable_pages: row.usable_pages,
        free_pages: row.free_pages,
        node: row.node.0,
        state: Word::of(&row.state),
        resource: row.resource.0,
    }
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let selected = invocation.operand(0).map(parse::id_or_range).transpose().map_err(Failure::of)?;
    let (within, only) = match selected {
        None => (stream::EVERYTHING, None),
        Some(IdOrRange::Id(id)) => {
            let info = known(id)?;
            (info.range, Some(info.id))
        }
        Some(IdOrRange::Sections { from, to }) => (sections_from_to(from, to)?, None),
    };
    let shared = Cell::new(None);
    stream::list(invocation.format(), &COLUMNS, async |each: &mut dyn FnMut(&Section)| {
        let mut before = None;
        stream::sections(within, &mut |of, row| {
            if only.is_none_or(|id| id == row.resource) {
                each(&section_row(of, row));
            }
            if before.replace(row.section) == Some(row.section) {
                shared.set(shared.get().or(before));
            }
        })
        .await
    })
    .await?;
    if let (Format::Table, None, Some(section)) = (invocation.format(), only, shared.get()) {
        writeln!(Out, "section {section} has frames of several resources, and a row for each")?;
    }
    if invocation.format() == Format::Table && invocation.has(&VERBOSE) {
        Out.write_char('\n')?;
        output::legend(&mut Out, WORDS)?;
        writeln!(
            Out,
            "\nsection n: {SECTION_PAGES} frames from n * {SECTION_PAGES} on, 128 MiB from n * 128 MiB on"
        )?;
        writeln!(Out, "its descriptors: 2 MiB from {} + n * 2 MiB on", VMEMMAP.start)?;
    }
    Ok(())
}

/// The frames of the sections from `from` to `to`, cut at the highest possible section.
pub fn sections_from_to(from: u64, to: u64) -> Result<PfnRange, Failure> {
    let highest = MAX_PFN.section().0 - 1;
    if from > highest {
        return Err(Failure::of(format_args!("section {from} is above {highest}, the highest possible")));
    }
    Ok(PfnRange::new(SectionNr(from).start(), SectionNr(to.min(highest)).range().end))
}
