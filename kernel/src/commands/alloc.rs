//! `alloc`: allocates memory, maps it in the vmalloc area and fills it with a pattern.
//!
//! It works in steps of [`MAP_STEP`] or [`TOUCH_STEP`] pages with `input::step` between them. Ctrl-C or an error
//! undoes the finished steps, in steps too. Neighbours: `free` and `verify` use the steps.

use super::console::{self, Out};
use super::{Failure, Outcome, input, words};
use crate::memory::{arena, core};
use crate::terminal::host;
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Flag, JSON, Operands};
use carapace_cli::format_size::{Pages, Size};
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_mm::Mobility;
use carapace_mm::addr::{NodeId, PAGE_SIZE};
use carapace_mm::vmalloc::{
    AllocError, Allocation, AllocationBuilder, AllocationId, Amount, Progress, Request, Shape,
};
use carapace_schema::Alloc;

const ALL: Flag = Flag::new("--all", "every free frame").short('a');
const NODE: Flag = Flag::new("--node", "only from this node").value("N");
const PINNED: Flag = Flag::new("--pinned", "frames that cannot be migrated");
const CONTIGUOUS: Flag = Flag::new("--contiguous", "one run of frames");
const FRAMES: Flag = Flag::new("--frames", "single frames, as in fragmented memory");
const NO_FILL: Flag = Flag::new("--no-fill", "leaves the memory untouched, verify skips it");

/// `alloc`.
pub static COMMAND: Command = Command {
    name: "alloc",
    summary: "allocates and maps memory, fills it with a pattern for `verify`",
    operands: Operands::optional("[SIZE]"),
    operand_help: &[(
        "SIZE",
        "The size, rounded up to frames of 4 KiB, in bytes or with suffix K, M, G or T.",
    )],
    words: |place, word| words::nodes(place, &NODE, word),
    flags: &[ALL, NODE, PINNED, CONTIGUOUS, FRAMES, NO_FILL, JSON],
    example: "alloc 200M --node 1",
    ..Command::NEW
};

/// Pages mapped or unmapped in a step: a few milliseconds for single frames, which cost most.
const MAP_STEP: u64 = 4096;
/// Pages filled or compared in a step: every word of them is accessed.
pub const TOUCH_STEP: u64 = 256;
impl From<AllocError> for Failure {
    fn from(error: AllocError) -> Failure {
        Failure::of(error)
    }
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let (request, fills) = (request(invocation)?, !invocation.has(&NO_FILL));
    if fills && let Amount::Pages(pages) = request.amount {
        check_host(pages)?;
    }
    let allocation = grow(arena().begin(core(), &request)?).await?;
    if fills {
        let filled = match check_host(allocation.pages) {
            Ok(()) => fill(&allocation).await,
            refused => refused,
        };
        if let Err(failure) = filled {
            release(allocation.id).await?;
            return Err(failure);
        }
    }
    let row = Alloc { id: allocation.id.0, pages: allocation.pages, address: allocation.start.0 };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            let (pages, size) = (Pages(row.pages), Size(row.pages * PAGE_SIZE));
            writeln!(Out, "allocation {}: {size} at {}, {pages}", row.id, allocation.start)?;
        }
    }
    Ok(())
}

/// Refuses to fill more than the host had to give, where it has said so: QEMU would be ended for lack of memory.
fn check_host(pages: u64) -> Outcome {
    let Some(host) = host::announced() else { return Ok(()) };
    let (mut all, mut last) = (pages, None);
    while let Some(allocation) = arena().next_after(last) {
        last = Some(allocation.id);
        all = all.saturating_add(allocation.filled);
    }
    let all = all.saturating_mul(PAGE_SIZE);
    if all <= host.free_bytes {
        return Ok(());
    }
    Err(Failure::of(format_args!(
        "the host had {} free, too little to fill {}; try --no-fill",
        Size(host.free_bytes),
        Size(all)
    )))
}

fn request(invocation: &Invocation<'_>) -> Result<Request, Failure> {
    let shape = match (invocation.has(&CONTIGUOUS), invocation.has(&FRAMES)) {
        (true, true) => return Err(Failure::of("--contiguous and --frames exclude each other")),
        (true, false) => Shape::Contiguous,
        (false, true) => Shape::Frames,
        (false, false) => Shape::Scattered,
    };
    let amount = match (invocation.operand(0), invocation.has(&ALL)) {
        (Some(size), false) => {
            let bytes = parse::size(size).map_err(Failure::of)?;
            if bytes == 0 {
                return Err(Failure::of("cannot allocate 0 bytes"));
            }
            Amount::Pages(bytes.div_ceil(PAGE_SIZE))
        }
        (None, true) if shape != Shape::Contiguous => Amount::All,
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

pub(super) fn node(text: &str) -> Result<NodeId, Failure> {
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

/// Maps all of an allocation, or frees it.
pub async fn grow(mut growing: AllocationBuilder) -> Result<Allocation, Failure> {
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
        let hint = ", --no-fill skips it";
        console::set_amount(console::Amount { verb: "filled", pages: (page, allocation.pages), hint });
        input::step().await?;
    }
    Ok(())
}

/// Frees an allocation completely: it cannot stay half freed, so Ctrl-C stays pending.
pub async fn release(id: AllocationId) -> Outcome {
    while arena().free_step(core(), id, MAP_STEP)? == Progress::More {
        input::pause().await;
    }
    Ok(())
}
