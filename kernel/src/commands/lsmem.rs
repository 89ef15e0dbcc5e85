//! The command `lsmem`, compatible with util-linux. Its blocks are our sections.

use super::console::Out;
use super::words::fixed;
use super::{Failure, Outcome, resources, stream};
use ::core::cell::Cell;
use ::core::fmt::{self, Write};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, Flag, JSON, Place};
use carapace_cli::lsmem::{
    LSMEM, LsmemColumns, LsmemLine, LsmemRow, LsmemSummary, Merge, OFFLINE, Removable, Unit,
};
use carapace_cli::output::Array;
use carapace_mm::addr::{PAGE_SIZE, SECTION_PAGES};
use carapace_mm::info::{DeviceId, ResourceId, ResourceInfo, ResourceState, SectionRow, SectionState};
use carapace_schema::{Joined, Word};

const ALL: Flag = Flag::new("--all", "a row for each block").short('a');
const SPLIT: Flag =
    Flag::new("--split", "ranges end where one of these columns changes").short('S').value("LIST");
const BYTES: Flag = Flag::new("--bytes", "sizes in bytes").short('b');
const NO_HEADINGS: Flag = Flag::new("--noheadings", "no titles").short('n');
const OUTPUT: Flag = Flag::new("--output", "these columns; +LIST: these too").short('o').value("LIST");
const OUTPUT_ALL: Flag = Flag::new("--output-all", "all columns");
const SUMMARY: Flag = Flag::new("--summary", "the sums: never, always or only").optional("WHEN");
const PAIRS: Flag = Flag::new("--pairs", "NAME=\"value\" for each column").short('P');
const RAW: Flag = Flag::new("--raw", "values between single blanks").short('r');

/// `lsmem`.
pub static COMMAND: Command = Command {
    name: "lsmem",
    summary: "ranges of memory, like util-linux (-a: blocks, -b: bytes)",
    words: |place, word| match place {
        Place::Value(SUMMARY) => fixed(&["never", "always", "only"], word),
        _ => LSMEM.all.iter().for_each(|column| word(column.title)),
    },
    flags: &[ALL, SPLIT, BYTES, NO_HEADINGS, OUTPUT, OUTPUT_ALL, SUMMARY, JSON, PAIRS, RAW],
    example: "lsmem -o +NODE,ZONES",
    effect: Effect::Reads,
    ..Command::NEW
};

const BLOCK_BYTES: u64 = SECTION_PAGES * PAGE_SIZE;

/// The parsed flags.
struct Options {
    merge: Merge,
    unit: Unit,
    columns: LsmemColumns,
    split: LsmemColumns,
    form: Form,
    parts: Parts,
}

/// The form of the rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
    Line(LsmemLine),
}

/// The parts of the output: the rows, the summary, or both.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    Rows,
    Sums,
    Both,
}

fn unknown_column(word: &str) -> Failure {
    Failure::of(format_args!(
        "unknown column: {word}; each of RANGE, SIZE, STATE, REMOVABLE, BLOCK, NODE, ZONES once"
    ))
}

fn exclusive(flags: &str) -> Failure {
    Failure::of(format_args!("mutually exclusive arguments: {flags}"))
}

impl Options {
    fn of(invocation: &Invocation<'_>) -> Result<Options, Failure> {
        let columns = match (invocation.value(&OUTPUT), invocation.has(&OUTPUT_ALL)) {
            (Some(_), true) => return Err(exclusive("--output --output-all")),
            (Some(list), false) => LsmemColumns::parse(list).map_err(unknown_column)?,
            (None, true) => LsmemColumns::ALL,
            (None, false) => LsmemColumns::DEFAULT,
        };
        let merge = if invocation.has(&ALL) { Merge::Blocks } else { Merge::Ranges };
        let split = match invocation.value(&SPLIT) {
            Some(_) if merge == Merge::Blocks => return Err(exclusive("--split --all")),
            Some(list) => LsmemColumns::parse_split(list).map_err(unknown_column)?,
            None => columns,
        };
        let forms =
            [(JSON, Form::Json), (PAIRS, Form::Line(LsmemLine::Pairs)), (RAW, Form::Line(LsmemLine::Raw))];
        let mut forms = forms.into_iter().filter(|(flag, _)| invocation.has(flag));
        let form = forms.next().map_or(Form::Table, |(_, form)| form);
        if forms.next().is_some() {
            return Err(exclusive("--json --pairs --raw"));
        }
        let parts = match (invocation.value(&SUMMARY), form) {
            (None, Form::Table) => Parts::Both,
            (None | Some("never"), _) => Parts::Rows,
            (Some(_), Form::Json) => return Err(Failure::of("JSON output has no summary")),
            (Some("always"), _) => Parts::Both,
            (Some("" | "only"), Form::Table) => Parts::Sums,
            (Some("" | "only"), Form::Line(_)) => return Err(exclusive("--pairs --raw --summary=only")),
            (Some(other), _) => {
                return Err(Failure::of(format_args!(
                    "unsupported --summary argument: {other}; never, always or only"
                )));
            }
        };
        let unit = if invocation.has(&BYTES) { Unit::Bytes } else { Unit::Suffix };
        Ok(Options { merge, unit, columns, split, form, parts })
    }
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let options = Options::of(invocation)?;
    let (online, offline) = (Cell::new(0), Cell::new(0));
    let walk = async |each: &mut dyn FnMut(&LsmemRow)| -> Outcome {
        online.set(0);
        offline.set(0);
        // The end of what is counted: a block of boot memory may come twice.
        let mut counted = 0;
        let (mut open, mut known): (Option<LsmemRow>, _) = (None, Known::default());
        stream::sections(stream::EVERYTHING, &mut |info, section| {
            let row = row(info, section, known.removable(info), &options);
            let end = row.start + row.size;
            let sum = if row.state.as_str() == OFFLINE { &offline } else { &online };
            // Of a chunk, only what is plugged.
            let plugged = section.present_pages * PAGE_SIZE;
            let size =
                if info.unplugged_pages == 0 { end.saturating_sub(row.start.max(counted)) } else { plugged };
            sum.set(sum.get() + size);
            counted = end;
            if open.as_mut().is_none_or(|open| open.join(&row, options.merge) == Joined::No)
                && let Some(whole) = open.replace(row)
            {
                each(&whole);
            }
        })
        .await?;
        open.iter().for_each(each);
        Ok(())
    };
    let mut table = options.columns.table();
    let mut result = Ok(());
    let mut write = |written: fmt::Result| result = result.and(written);
    match (options.parts, options.form) {
        (Parts::Sums, _) => walk(&mut |_| ()).await?,
        (_, Form::Json) => {
            let mut list = Array::new();
            Out.write_str("{\"memory\":")?;
            Array::begin(&mut Out)?;
            let walked = walk(&mut |row| write(list.item(&mut Out, row))).await;
            write(Out.write_str("]}\n"));
            walked?;
        }
        (_, form) => {
            if form == Form::Table {
                walk(&mut |row| table.measure(row)).await?;
            }
            match form {
                _ if invocation.has(&NO_HEADINGS) => {}
                Form::Line(LsmemLine::Pairs) => {}
                Form::Line(LsmemLine::Raw) => write(options.columns.write_titles(&mut Out)),
                Form::Table | Form::Json => write(table.titles(&mut Out)),
            }
            walk(&mut |row| {
                write(match form {
                    Form::Line(line) => row.write_line(&mut Out, line),
                    Form::Table | Form::Json => table.row(&mut Out, row),
                });
            })
            .await?;
        }
    }
    if options.parts == Parts::Both {
        write(Out.write_char('\n'));
    }
    if options.parts != Parts::Rows {
        let (online, offline, unit) = (online.get(), offline.get(), options.unit);
        write(LsmemSummary { block: BLOCK_BYTES, online, offline, unit }.write(&mut Out));
    }
    Ok(result?)
}

/// Whether a resource can be removed, cached for all its sections.
#[derive(Default)]
struct Known(Option<(ResourceId, Removable)>);

impl Known {
    fn removable(&mut self, info: &ResourceInfo) -> Removable {
        match self.0 {
            Some((id, removable)) if id == info.id => removable,
            _ => {
                let stays = info.device == DeviceId::BOOT || resources::pinned(info).is_some();
                let removable = if stays { Removable::No } else { Removable::Yes };
                self.0 = Some((info.id, removable));
                removable
            }
        }
    }
}

fn row(info: &ResourceInfo, section: &SectionRow, removable: Removable, options: &Options) -> LsmemRow {
    let block = section.section.range();
    // Boot memory has blocks with holes; like Linux, the whole block is shown. Of a block shared by two devices, which
    // Linux does not have, each device's part is shown.
    let part = match info.device {
        DeviceId::BOOT => block,
        _ => info.range.intersection(block),
    };
    // A block of only memmap has the state of its device.
    let offline = section.state == SectionState::Offline || info.state == ResourceState::Offline;
    let state: &dyn ::core::fmt::Display = match section.state {
        SectionState::Unplugged => &section.state,
        _ if offline => &OFFLINE,
        _ => &"online",
    };
    LsmemRow {
        start: part.start.start().0,
        size: part.pages() * PAGE_SIZE,
        blocks: (section.section.0, section.section.0),
        state: Word::of(&state),
        removable,
        node: info.node.0,
        zone: Word::of(&info.zone),
        unit: options.unit,
        columns: options.columns,
        split: options.split,
    }
}
