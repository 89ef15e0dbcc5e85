//! Lists written in steps, so that DIMMs are answered and Ctrl-C works while a terabyte is listed.
//!
//! A table is walked twice, first for its column widths. Memory added or removed between two steps may be listed or not.
//! A stopped list is closed properly: the error starts on its own line.

use super::console::Out;
use super::{Outcome, input};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::output::{Columns, Format, Listing};
use carapace_mm::addr::{MAX_PFN, Pfn, PfnRange};
use carapace_mm::info::{BlockInfo, ResourceInfo, SectionRow};
use carapace_mm::section::touched;
use serde::Serialize;

/// All possible frames.
pub const EVERYTHING: PfnRange = PfnRange::new(Pfn(0), MAX_PFN);
/// Rows of sections per step: some kilobytes of output.
const SECTIONS_STEP: u32 = 16;
/// Blocks per step.
const BLOCKS_STEP: u32 = 256;

/// Writes the rows of `walk`, which yields between them.
pub async fn list<R: Serialize>(
    format: Format,
    columns: &'static Columns<R>,
    walk: impl AsyncFn(&mut dyn FnMut(&R)) -> Outcome,
) -> Outcome {
    let walked = part(format, columns, walk).await;
    if format == Format::Json {
        Out.write_char('\n')?;
    }
    walked
}

/// Like [`list`], as a part of a larger answer: without the final newline.
pub async fn part<R: Serialize>(
    format: Format,
    columns: &'static Columns<R>,
    walk: impl AsyncFn(&mut dyn FnMut(&R)) -> Outcome,
) -> Outcome {
    let mut list = Listing::new(format, columns);
    if let Listing::Table(table) = &mut list {
        walk(&mut |row| table.measure(row)).await?;
    }
    list.begin(&mut Out)?;
    let mut result = Ok(());
    let walked = walk(&mut |row| result = result.and_then(|()| list.row(&mut Out, row))).await;
    result?;
    // A stopped walk closes its JSON too, so that the error starts on its own line.
    list.end(&mut Out)?;
    walked
}

/// Walks over the resources, by ascending address.
pub async fn resources(each: &mut dyn FnMut(&ResourceInfo)) -> Outcome {
    let mut after = None;
    while let Some(info) = core().resource_after(after) {
        after = Some(info.range.start);
        each(&info);
        input::step().await?;
    }
    Ok(())
}

/// Walks over the sections with a frame in `within`, resource by resource.
pub async fn sections(within: PfnRange, each: &mut dyn FnMut(&ResourceInfo, &SectionRow)) -> Outcome {
    let mut after = None;
    let mut count = 0;
    while let Some(info) = core().resource_after(after) {
        after = Some(info.range.start);
        for section in touched(info.range.intersection(within)) {
            if let Some(row) = core().section(info.id, section) {
                each(&info, &row);
            }
            count += 1;
            if count % SECTIONS_STEP == 0 {
                input::step().await?;
            }
        }
    }
    Ok(())
}

/// Walks over the blocks of the resource, by ascending address.
pub async fn blocks(info: &ResourceInfo, each: &mut dyn FnMut(&BlockInfo)) -> Outcome {
    let mut at = info.range.start;
    let mut count: u32 = 0;
    while at < info.range.end {
        let Some(block) = core().block(at) else { return Ok(()) };
        at = block.range.end;
        each(&block);
        count = count.wrapping_add(1);
        if count.is_multiple_of(BLOCKS_STEP) {
            input::step().await?;
        }
    }
    Ok(())
}
