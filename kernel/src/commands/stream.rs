//! Lists that are walked in steps, so that a DIMM is answered and Ctrl-C is heard while a terabyte is told.
//!
//! A table is walked twice, first for its widths; what comes or goes between two steps is told or left out. A list
//! that is stopped in its midst ends there, closed: no half line stands in front of the error.

use super::console::Out;
use super::{Outcome, input};
use crate::memory::core;
use ::core::fmt::Write;
use carapace_cli::output::{Format, Listing, Row};
use carapace_mm::addr::{MAX_PFN, Pfn, PfnRange};
use carapace_mm::info::{BlockInfo, ResourceInfo, SectionRow};
use carapace_mm::section::touched;

/// Every frame there can be.
pub const EVERYTHING: PfnRange = PfnRange::new(Pfn(0), MAX_PFN);
/// Rows of sections between two steps: some kilobytes of output.
const SECTIONS_STEP: u32 = 16;
/// Blocks between two steps.
const BLOCKS_STEP: u32 = 256;

/// Writes the rows that `walk` tells, which gives way between them.
pub async fn list<R: Row>(format: Format, walk: impl AsyncFn(&mut dyn FnMut(&R)) -> Outcome) -> Outcome {
    let walked = part(format, walk).await;
    if format == Format::Json {
        Out.write_char('\n')?;
    }
    walked
}

/// The same as a part of something larger: an array without its line's end.
pub async fn part<R: Row>(format: Format, walk: impl AsyncFn(&mut dyn FnMut(&R)) -> Outcome) -> Outcome {
    let mut list = Listing::new(format);
    if let Listing::Table(table) = &mut list {
        walk(&mut |row| table.measure(row)).await?;
    }
    list.begin(&mut Out)?;
    let mut result = Ok(());
    let walked = walk(&mut |row| result = result.and_then(|()| list.row(&mut Out, row))).await;
    result?;
    // Also of a walk that was stopped: its line of JSON ends as one, and the error is a line of its own.
    list.end(&mut Out)?;
    walked
}

/// Tells each resource, by ascending address.
pub async fn resources(tell: &mut dyn FnMut(&ResourceInfo)) -> Outcome {
    let mut after = None;
    while let Some(info) = core().resource_after(after) {
        after = Some(info.range.start);
        tell(&info);
        input::step().await?;
    }
    Ok(())
}

/// Tells each section with a frame in `within`, a resource after the other.
pub async fn sections(within: PfnRange, tell: &mut dyn FnMut(&ResourceInfo, &SectionRow)) -> Outcome {
    let mut after = None;
    let mut told = 0;
    while let Some(info) = core().resource_after(after) {
        after = Some(info.range.start);
        for section in touched(info.range.intersection(within)) {
            if let Some(row) = core().section(info.id, section) {
                tell(&info, &row);
            }
            told += 1;
            if told % SECTIONS_STEP == 0 {
                input::step().await?;
            }
        }
    }
    Ok(())
}

/// Tells each block of the resource, by ascending address.
pub async fn blocks(info: &ResourceInfo, tell: &mut dyn FnMut(&BlockInfo)) -> Outcome {
    let mut at = info.range.start;
    let mut told: u32 = 0;
    while at < info.range.end {
        let Some(block) = core().block(at) else { return Ok(()) };
        at = block.range.end;
        tell(&block);
        told = told.wrapping_add(1);
        if told.is_multiple_of(BLOCKS_STEP) {
            input::step().await?;
        }
    }
    Ok(())
}
