//! `verify`: compares each filled allocation with its pattern, in steps.

use super::alloc::TOUCH_STEP;
use super::console::{self, Out};
use super::{Failure, Outcome, input};
use crate::memory::{arena, core};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON};
use carapace_cli::format_size::Matching;
use carapace_cli::output::{self, Format};
use carapace_mm::vmalloc::AllocError;
use carapace_schema::Verify;

/// `verify`.
pub static COMMAND: Command = Command {
    name: "verify",
    summary: "compares each filled allocation with its pattern",
    flags: &[JSON],
    example: "verify",
    ..Command::NEW
};

/// The most corrupted pages that `verify` lists.
const NAMED: u64 = 10;

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let mut row = Verify { ok: true, pages: 0, bad_pages: 0 };
    let (mut last, mut all) = (None, 0_u64);
    while let Some(allocation) = arena().next_after(last) {
        last = Some(allocation.id);
        all = all.saturating_add(allocation.filled);
    }
    last = None;
    while let Some(allocation) = arena().next_after(last) {
        last = Some(allocation.id);
        let mut page = 0;
        while page < allocation.filled {
            let pages = TOUCH_STEP.min(allocation.filled - page);
            let verified = match arena().verify(core(), allocation.id, page, pages) {
                // The other line is freeing it.
                Err(AllocError::Unknown { .. } | AllocError::Busy { .. }) => break,
                verified => verified?,
            };
            row.pages += verified.pages;
            if let Some(bad) = verified.bad {
                row.bad_pages += 1;
                if invocation.format() == Format::Table && row.bad_pages <= NAMED {
                    let (id, page, at) = (allocation.id, bad.page, bad.at);
                    let (expected, found) = (bad.expected, bad.found);
                    writeln!(
                        Out,
                        "allocation {id}, page {page}: found {found:#x} at {at}, expected {expected:#x}"
                    )?;
                }
            }
            // After a corrupted page, continue with the next one.
            page += verified.pages.max(1);
            console::set_amount(console::Amount { verb: "verified", pages: (row.pages, all), hint: "" });
            input::step().await?;
        }
    }
    row.ok = row.bad_pages == 0;
    match (invocation.format(), row.ok) {
        (Format::Json, _) => output::object(&mut Out, &row)?,
        (Format::Table, true) => writeln!(Out, "ok: {}", Matching(row.pages))?,
        (Format::Table, false) => {
            return Err(Failure::of(format_args!(
                "{} of {} pages do not match their pattern",
                row.bad_pages, row.pages
            )));
        }
    }
    Ok(())
}
