//! The commands `alloc`, `free` and `verify`.
//!
//! They work in steps of [`MAP_STEP`] or [`TOUCH_STEP`] pages with `input::step` between them. After Ctrl-C or an error
//! the unfinished work is undone, in steps as well.

use super::console::Out;
use super::{Failure, Outcome, input};
use crate::memory::{arena, core};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Flag, JSON, Operands};
use carapace_cli::format_size::{Matching, Pages, Size};
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_cli::rows::{AllocRow, FreeRow, VerifyRow};
use carapace_mm::Mobility;
use carapace_mm::addr::{NodeId, PAGE_SIZE};
use carapace_mm::vmalloc::{
    AllocError, Allocation, AllocationBuilder, AllocationId, AllocationState, Amount, Progress, Request,
    Shape,
};

const ALL: Flag = Flag::new("--all", "every free frame").short('a');
const NODE: Flag = Flag::new("--node", "only from this node").value("N");
const PINNED: Flag = Flag::new("--pinned", "frames that cannot be migrated");
const CONTIGUOUS: Flag = Flag::new("--contiguous", "one run of frames");
const NO_FILL: Flag = Flag::new("--no-fill", "leaves the memory untouched, verify skips it");

/// `alloc`.
pub static ALLOC: Command = Command {
    name: "alloc",
    summary: "allocates and maps memory, fills it with a pattern for `verify`",
    operands: Operands::optional("[SIZE]"),
    operand_help: &[(
        "SIZE",
        "The size, rounded up to frames of 4 KiB, in bytes or with suffix K, M, G or T.",
    )],
    flags: &[ALL, NODE, PINNED, CONTIGUOUS, NO_FILL, JSON],
    example: "alloc 200M --node 1",
    ..Command::NEW
};

/// `free`.
pub static FREE: Command = Command {
    name: "free",
    summary: "frees one allocation, or all (meminfo shows the free memory)",
    operands: Operands::one("ID|all"),
    operand_help: &[("ID", "The allocation's number."), ("all", "All allocations.")],
    words: |word| word("all"),
    flags: &[JSON],
    example: "free all",
    ..Command::NEW
};

/// `verify`.
pub static VERIFY: Command = Command {
    name: "verify",
    summary: "compares each filled allocation with its pattern",
    flags: &[JSON],
    example: "verify",
    ..Command::NEW
};

/// Pages mapped or unmapped in a step: a few milliseconds for single frames, which cost most.
const MAP_STEP: u64 = 4096;
/// Pages filled or compared in a step: every word of them is accessed.
const TOUCH_STEP: u64 = 256;
/// The most corrupted pages that `verify` lists.
const NAMED: u64 = 10;

impl From<AllocError> for Failure {
    fn from(error: AllocError) -> Failure {
        Failure::of(error)
    }
}

/// `alloc SIZE|--all [--node N] [--pinned] [--contiguous] [--no-fill] [-J]`
pub async fn alloc(invocation: &Invocation<'_>) -> Outcome {
    let request = request(invocation)?;
    let allocation = grow(arena().begin(core(), &request)?).await?;
    if !invocation.has(&NO_FILL)
        && let Err(failure) = fill(&allocation).await
    {
        release(allocation.id).await?;
        return Err(failure);
    }
    let row = AllocRow { id: allocation.id.0, pages: allocation.pages, address: allocation.start.0 };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            let (pages, size) = (Pages(row.pages), Size(row.pages * PAGE_SIZE));
            writeln!(Out, "allocation {}: {size} at {}, {pages}", row.id, allocation.start)?;
        }
    }
    Ok(())
}

fn request(invocation: &Invocation<'_>) -> Result<Request, Failure> {
    let shape = if invocation.has(&CONTIGUOUS) { Shape::Contiguous } else { Shape::Scattered };
    let amount = match (invocation.operand(0), invocation.has(&ALL)) {
        (Some(size), false) => {
            let bytes = parse::size(size).map_err(Failure::of)?;
            if bytes == 0 {
                return Err(Failure::of("cannot allocate 0 bytes"));
            }
            Amount::Pages(bytes.div_ceil(PAGE_SIZE))
        }
        (None, true) if shape == Shape::Scattered => Amount::All,
        (None, true) => {
            return Err(Failure::of("--all and --contiguous exclude each other"));
        }
        _ => {
            return Err(Failure::of(format_args!(
                "a size or --all is needed; usage: {}",
                invocation.command.usage()
            )));
        }
    };
    let node = invocation.value(&NODE).map(node).transpose()?;
    let mobility = if invocation.has(&PINNED) { Mobility::Pinned } else { Mobility::Movable };
    Ok(Request { amount, node, mobility, shape })
}

fn node(text: &str) -> Result<NodeId, Failure> {
    let number = parse::integer(text, "a node's number").map_err(Failure::of)?;
    let mut found = None;
    core().nodes(&mut |totals| {
        if u64::from(totals.node.0) == number {
            found = Some(totals.node);
        }
    });
    found.ok_or_else(|| {
        Failure::of(format_args!("there is no node {number} with memory (meminfo lists them)"))
    })
}

async fn grow(mut growing: AllocationBuilder) -> Result<Allocation, Failure> {
    loop {
        let failure = match arena().grow(core(), &mut growing, MAP_STEP) {
            Ok(Progress::Done) => return arena().finish(core(), growing).map_err(not_made),
            Ok(Progress::More) => match input::step().await {
                Ok(()) => continue,
                Err(failure) => failure,
            },
            Err(error) => not_made(error),
        };
        let id = arena().abandon(core(), growing)?;
        release(id).await?;
        return Err(failure);
    }
}

/// Why `alloc` gives an allocation up, which it frees then.
fn not_made(error: AllocError) -> Failure {
    match error {
        AllocError::Lost { id } => Failure::of(format_args!(
            "allocation {id} lost memory to a surprise removal while it was made; all of it is freed"
        )),
        error => error.into(),
    }
}

async fn fill(allocation: &Allocation) -> Outcome {
    let mut page = 0;
    while page < allocation.pages {
        let pages = TOUCH_STEP.min(allocation.pages - page);
        arena().fill(core(), allocation.id, page, pages).map_err(not_made)?;
        page += pages;
        input::step().await?;
    }
    Ok(())
}

/// Frees an allocation completely: it cannot stay half freed, so Ctrl-C stays pending.
async fn release(id: AllocationId) -> Outcome {
    while arena().free_step(core(), id, MAP_STEP)? == Progress::More {
        input::pause().await;
    }
    Ok(())
}

/// `free ID|all [-J]`
pub async fn free(invocation: &Invocation<'_>) -> Outcome {
    let mut row = FreeRow { allocations: 0, pages: 0 };
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
            row = FreeRow { allocations: 1, pages: allocation.pages };
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

/// `verify [-J]`
pub async fn verify(invocation: &Invocation<'_>) -> Outcome {
    let mut row = VerifyRow { ok: true, pages: 0, bad_pages: 0 };
    let mut last = None;
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
