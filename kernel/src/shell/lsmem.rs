//! `lsmem`, as util-linux has it: our sections are its blocks.

use super::console::Out;
use super::{Outcome, stream};
use ::core::cell::Cell;
use ::core::fmt::Write;
use mm::addr::{PAGE_SIZE, SECTION_PAGES};
use mm::info::{DeviceId, ResourceInfo, SectionRow, SectionState};
use shell::args::{Flag, Invocation};
use shell::report::{Format, Listing};
use shell::rows::{Joined, LsmemRow, LsmemSummary, Merge, Removable, Unit, Word};

const BLOCK_BYTES: u64 = SECTION_PAGES * PAGE_SIZE;

/// `lsmem [-a] [-b] [-J]`
pub async fn lsmem(invocation: &Invocation<'_>) -> Outcome {
    let merge = if invocation.has(Flag::All) { Merge::Blocks } else { Merge::Ranges };
    let unit = if invocation.has(Flag::Bytes) { Unit::Bytes } else { Unit::Suffix };
    let (online, offline) = (Cell::new(0), Cell::new(0));
    let walk = async |tell: &mut dyn FnMut(&LsmemRow)| -> Outcome {
        online.set(0);
        offline.set(0);
        let mut done = |row: &LsmemRow| {
            let sum = if row.state.as_str() == OFFLINE { &offline } else { &online };
            sum.set(sum.get() + row.size);
            tell(row);
        };
        let mut open: Option<LsmemRow> = None;
        stream::sections(stream::EVERYTHING, &mut |info, section| {
            let row = row(info, section, unit);
            if open.as_mut().is_none_or(|open| open.join(&row, merge) == Joined::No)
                && let Some(whole) = open.replace(row)
            {
                done(&whole);
            }
        })
        .await?;
        open.iter().for_each(done);
        Ok(())
    };
    let format = invocation.format();
    let mut list = Listing::new(format);
    if let Listing::Table(table) = &mut list {
        walk(&mut |row| table.measure(row)).await?;
    }
    if format == Format::Json {
        Out.write_str("{\"memory\":")?;
    }
    list.begin(&mut Out)?;
    let mut result = Ok(());
    walk(&mut |row| result = result.and_then(|()| list.row(&mut Out, row))).await?;
    result?;
    match format {
        Format::Json => Out.write_str("]}\n")?,
        Format::Table => {
            let (online, offline) = (online.get(), offline.get());
            LsmemSummary { block: BLOCK_BYTES, online, offline, unit }.write(&mut Out)?;
        }
    }
    Ok(())
}

const OFFLINE: &str = "offline";

fn row(info: &ResourceInfo, section: &SectionRow, unit: Unit) -> LsmemRow {
    let block = section.section.range();
    // Boot memory has blocks with holes in them; like Linux, all of such a block is shown. What a device
    // has of a block that another device shares is shown as it is: Linux has no such blocks.
    let (part, removable) = match info.device {
        DeviceId::BOOT => (block, Removable::No),
        _ => (info.range.intersection(block), Removable::Yes),
    };
    LsmemRow {
        start: part.start.start().0,
        size: part.pages() * PAGE_SIZE,
        blocks: (section.section.0, section.section.0),
        // To util-linux a block that is all memmap is online like the rest of its device.
        state: Word::of(&if section.state == SectionState::Offline { OFFLINE } else { "online" }),
        removable,
        unit,
    }
}
