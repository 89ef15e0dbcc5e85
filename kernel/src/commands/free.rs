//! `free`: frees one allocation, or all of them.

use super::alloc::release;
use super::console::Out;
use super::{Failure, Outcome, input, words};
use crate::memory::arena;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::format_size::{Pages, Size};
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_mm::addr::PAGE_SIZE;
use carapace_mm::vmalloc::{AllocError, AllocationId, AllocationState};
use carapace_schema::Free;

/// `free`.
pub static COMMAND: Command = Command {
    name: "free",
    summary: "frees one allocation, or all (meminfo shows the free memory)",
    operands: Operands::one("ID|all"),
    operand_help: &[("ID", "The allocation's number."), ("all", "All allocations.")],
    words: words::allocations,
    flags: &[JSON],
    example: "free all",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let mut row = Free { allocations: 0, pages: 0 };
    match invocation.operand(0) {
        Some("all") => {
            let mut last = None;
            while let Some(allocation) = arena().next_after(last) {
                // Only between two allocations: after the last one nothing is left to stop.
                if last.is_some() {
                    input::step().await?;
                }
                last = Some(allocation.id);
                // The other line is still growing this one.
                if allocation.state == AllocationState::Allocating {
                    continue;
                }
                release(allocation.id).await?;
                row.allocations += 1;
                row.pages += allocation.pages;
            }
        }
        text => {
            let number = parse::integer(text.unwrap_or_default(), "an allocation's number, or all");
            let id = AllocationId(number.map_err(Failure::of)?);
            let allocation = arena().get(id).ok_or(AllocError::Unknown { id })?;
            release(id).await?;
            row = Free { allocations: 1, pages: allocation.pages };
        }
    }
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            let (size, s) = (Size(row.pages * PAGE_SIZE), if row.allocations == 1 { "" } else { "s" });
            writeln!(Out, "{} allocation{s} freed: {size}, {}", row.allocations, Pages(row.pages))?;
        }
    }
    Ok(())
}
