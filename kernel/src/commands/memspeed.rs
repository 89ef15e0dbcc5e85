//! `memspeed`: the speed of filling, comparing and copying memory on this machine, beside which the speed of a migration
//! says something.

use super::alloc::{self, TOUCH_STEP, grow, release};
use super::console::Out;
use super::{Failure, Outcome, input, words};
use crate::hotplug::nanoseconds;
use crate::memory::{arena, core};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Flag, JSON, Operands};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_mm::Mobility;
use carapace_mm::addr::{NodeId, PAGE_SIZE};
use carapace_mm::vmalloc::{AllocError, AllocationId, Amount, Request, Shape};
use carapace_schema::Memspeed;

const NODE: Flag = Flag::new("--node", "memory of this node").value("N");

/// `memspeed`.
pub static COMMAND: Command = Command {
    name: "memspeed",
    summary: "how fast this machine fills, compares and copies memory",
    operands: Operands::optional("[SIZE]"),
    operand_help: &[(
        "SIZE",
        "The bytes to fill, compare and copy, 16M by default. Twice as many must be free.",
    )],
    words: |place, word| words::nodes(place, &NODE, word),
    flags: &[NODE, JSON],
    example: "memspeed 4M",
    ..Command::NEW
};

/// What is copied without SIZE: more than any cache of the host's processor.
const DEFAULT_BYTES: u64 = 16 << 20;

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let bytes = invocation.operand(0).map(parse::size).transpose().map_err(Failure::of)?;
    let pages = bytes.unwrap_or(DEFAULT_BYTES).div_ceil(PAGE_SIZE);
    let node = invocation.value(&NODE).map(alloc::node).transpose()?;
    let source = allocate(pages, node).await?;
    // A page more: see `measure`.
    let row = match allocate(pages.saturating_add(1), node).await {
        Ok(target) => {
            let row = measure(source, target, pages).await;
            release(target).await?;
            row
        }
        Err(failure) => Err(failure),
    };
    release(source).await?;
    let row = row?;
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            let Memspeed { fill_ns, verify_ns, copy_ns, first_copy_ns, .. } = row;
            writeln!(Out, "{}, in nanoseconds for each page of 4 KiB:", Size(pages * PAGE_SIZE))?;
            let each = |ns: u64| ns / pages.max(1);
            writeln!(Out, "fill {}, compare {}, copy {}", each(fill_ns), each(verify_ns), each(copy_ns))?;
            writeln!(Out, "copy into memory just allocated {}", each(first_copy_ns))?;
        }
    }
    Ok(())
}

async fn allocate(pages: u64, node: Option<NodeId>) -> Result<AllocationId, Failure> {
    let amount = Amount::Pages(pages);
    let request = Request { amount, node, mobility: Mobility::Movable, shape: Shape::Scattered };
    Ok(grow(arena().begin(core(), &request)?).await?.id)
}

async fn measure(source: AllocationId, target: AllocationId, pages: u64) -> Result<Memspeed, Failure> {
    // The source's pages are touched first, those of the target by the first copy and the fill behind it.
    timed(pages, |from, step| arena().fill(core(), source, from, step)).await?;
    // Page n to page n + 1: where the numbers agree modulo a power of two, an emulator is slower (`carapace_mm`'s copy
    // window).
    let copy = |from, step| arena().copy(core(), (source, from), (target, from + 1), step);
    let first_copy_ns = timed(pages, copy).await?;
    timed(pages + 1, |from, step| arena().fill(core(), target, from, step)).await?;
    let fill_ns = timed(pages, |from, step| arena().fill(core(), source, from, step)).await?;
    let verify_ns = timed(pages, |from, step| arena().verify(core(), source, from, step).map(drop)).await?;
    let copy_ns = timed(pages, copy).await?;
    Ok(Memspeed { pages, fill_ns, verify_ns, copy_ns, first_copy_ns })
}

/// Does `work` with first page and number of pages of each step. Returns the nanoseconds in it.
async fn timed(pages: u64, work: impl Fn(u64, u64) -> Result<(), AllocError>) -> Result<u64, Failure> {
    let (mut from, mut ns) = (0, 0);
    while from < pages {
        let step = TOUCH_STEP.min(pages - from);
        let start = nanoseconds();
        work(from, step)?;
        ns += nanoseconds().saturating_sub(start);
        from += step;
        input::step().await?;
    }
    Ok(ns)
}
