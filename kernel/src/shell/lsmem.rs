//! `lsmem`, as util-linux has it: our sections are its blocks.

use super::console::Out;
use super::{Failure, Outcome, inspect, stream};
use ::core::cell::Cell;
use ::core::fmt::Write;
use mm::addr::{PAGE_SIZE, SECTION_PAGES};
use mm::info::{DeviceId, ResourceId, ResourceInfo, ResourceState, SectionRow, SectionState};
use shell::args::{Flag, Invocation};
use shell::report::{Array, Format};
use shell::rows::{Joined, LsmemColumns, LsmemRow, LsmemSummary, Merge, Removable, Unit, Word};

const BLOCK_BYTES: u64 = SECTION_PAGES * PAGE_SIZE;
const OFFLINE: &str = "offline";

/// `lsmem [-a] [-b] [-n] [-o [+]COLUMN,...] [-J]`
pub async fn lsmem(invocation: &Invocation<'_>) -> Outcome {
    let merge = if invocation.has(Flag::All) { Merge::Blocks } else { Merge::Ranges };
    let unit = if invocation.has(Flag::Bytes) { Unit::Bytes } else { Unit::Suffix };
    let columns = match invocation.value(Flag::Output).map(LsmemColumns::parse) {
        None => LsmemColumns::DEFAULT,
        Some(Ok(columns)) => columns,
        Some(Err(word)) => {
            return Err(Failure::of(format_args!(
                "'{word}' is no column, or there twice: RANGE, SIZE, STATE, REMOVABLE, BLOCK, NODE, ZONES"
            )));
        }
    };
    let (online, offline) = (Cell::new(0), Cell::new(0));
    let walk = async |tell: &mut dyn FnMut(&LsmemRow)| -> Outcome {
        online.set(0);
        offline.set(0);
        // Up to where it is counted: a block of boot memory comes more than once.
        let mut counted = 0;
        let (mut open, mut known): (Option<LsmemRow>, _) = (None, Known::default());
        stream::sections(stream::EVERYTHING, &mut |info, section| {
            let row = row(info, section, known.removable(info), unit, columns);
            let end = row.start + row.size;
            let sum = if row.state.as_str() == OFFLINE { &offline } else { &online };
            sum.set(sum.get() + end.saturating_sub(row.start.max(counted)));
            counted = end;
            if open.as_mut().is_none_or(|open| open.join(&row, merge) == Joined::No)
                && let Some(whole) = open.replace(row)
            {
                tell(&whole);
            }
        })
        .await?;
        open.iter().for_each(tell);
        Ok(())
    };
    match invocation.format() {
        Format::Json => {
            let (mut list, mut result) = (Array::new(), Ok(()));
            Out.write_str("{\"memory\":")?;
            Array::begin(&mut Out)?;
            walk(&mut |row| result = result.and_then(|()| list.item(&mut Out, row))).await?;
            result?;
            Out.write_str("]}\n")?;
        }
        Format::Table => {
            let mut table = columns.table();
            walk(&mut |row| table.measure(row)).await?;
            let mut result = match invocation.has(Flag::NoHeadings) {
                true => Ok(()),
                false => table.titles(&mut Out),
            };
            walk(&mut |row| result = result.and_then(|()| table.row(&mut Out, row))).await?;
            result?;
            let (online, offline) = (online.get(), offline.get());
            LsmemSummary { block: BLOCK_BYTES, online, offline, unit }.write(&mut Out)?;
        }
    }
    Ok(())
}

/// Whether a resource can be removed, found out once for all its sections.
#[derive(Default)]
struct Known(Option<(ResourceId, Removable)>);

impl Known {
    fn removable(&mut self, info: &ResourceInfo) -> Removable {
        match self.0 {
            Some((id, removable)) if id == info.id => removable,
            _ => {
                let stays = info.device == DeviceId::BOOT || inspect::pinned(info).is_some();
                let removable = if stays { Removable::No } else { Removable::Yes };
                self.0 = Some((info.id, removable));
                removable
            }
        }
    }
}

fn row(
    info: &ResourceInfo,
    section: &SectionRow,
    removable: Removable,
    unit: Unit,
    columns: LsmemColumns,
) -> LsmemRow {
    let block = section.section.range();
    // Boot memory has blocks with holes in them; like Linux, all of such a block is shown. What a device
    // has of a block that another device shares is shown as it is: Linux has no such blocks.
    let part = match info.device {
        DeviceId::BOOT => block,
        _ => info.range.intersection(block),
    };
    // To util-linux a block that is all memmap is as the rest of its device.
    let offline = section.state == SectionState::Offline || info.state == ResourceState::Offline;
    LsmemRow {
        start: part.start.start().0,
        size: part.pages() * PAGE_SIZE,
        blocks: (section.section.0, section.section.0),
        state: Word::of(&if offline { OFFLINE } else { "online" }),
        removable,
        node: info.node.0,
        zone: Word::of(&info.zone),
        unit,
        columns,
    }
}
