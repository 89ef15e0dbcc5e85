//! The command `chmem`, compatible with util-linux: sets a size or a range of memory online or offline, block by block.
//!
//! Crate `carapace-cli` parses the operand and defines the messages. A block that fails is reported and the next one is
//! tried. As in util-linux, a size goes offline from the highest block down and online from the lowest up.

use super::console::Out;
use super::offline::{NotOffline, take_offline};
use super::words::fixed;
use super::{Failure, Outcome, input};
use crate::hotplug::{Why, why};
use crate::memory::core;
use ::core::fmt::{Display, Write};
use carapace_cli::args::Invocation;
use carapace_cli::chmem::{BlockName, Change, ChmemZone, CouldOnly, Meaning, Wanted, parse, zone};
use carapace_cli::command::{Command, Flag, Operands, Place};
use carapace_mm::addr::{MAX_PFN, PAGE_SIZE, SECTION_PAGES, SectionNr};
use carapace_mm::hot_remove::{OnlineError, Target};
use carapace_mm::info::{SectionState, Zone};

const ENABLE: Flag = Flag::new("--enable", "sets it online").short('e');
const DISABLE: Flag = Flag::new("--disable", "sets it offline").short('d');
const BLOCKS: Flag = Flag::new("--blocks", "the operand is a BLOCKRANGE: a block, or FIRST-LAST").short('b');
const ZONE: Flag = Flag::new("--zone", "Movable, Normal or any").short('z').value("ZONE");
const VERBOSE: Flag = Flag::new("--verbose", "reports each block").short('v');

/// `chmem`.
pub static COMMAND: Command = Command {
    name: "chmem",
    summary: "sets a size or range online or offline, block by block",
    operands: Operands::one("SIZE|RANGE|BLOCKRANGE"),
    operand_help: &[
        (
            "SIZE",
            "The size, in MiB without a suffix: of the lowest offline blocks, or of the highest online ones.",
        ),
        ("RANGE", "0xSTART-0xEND, both inclusive, as lsmem shows it."),
    ],
    words: |place, word| {
        if place == Place::Value(ZONE) {
            fixed(&["Movable", "Normal", "any"], word);
        }
    },
    flags: &[ENABLE, DISABLE, BLOCKS, ZONE, VERBOSE],
    example: "chmem -d 128M -v",
    ..Command::NEW
};

const BLOCK_BYTES: u64 = SECTION_PAGES * PAGE_SIZE;

/// The requested change.
struct Order {
    change: Change,
    zone: Option<ChmemZone>,
    /// `-v`: reports each changed block.
    verbose: Verbose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verbose {
    No,
    Yes,
}

/// The present state of a block, over all resources with a part of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// No resource has a part of it.
    Absent,
    /// All of it, except memmap, is in the requested state.
    AsRequested,
    /// It is not.
    Other,
}

/// The result for a block.
enum Changed {
    Yes,
    /// It is not in the requested zone.
    OtherZone,
    StaysOnline(Why),
    StaysOffline(OnlineError),
}

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let order = order(invocation)?;
    let meaning = if invocation.has(&BLOCKS) { Meaning::Blocks } else { Meaning::Bytes };
    let operand = invocation.operand(0).unwrap_or_default();
    match parse(operand, meaning, BLOCK_BYTES).map_err(Failure::of)? {
        Wanted::Amount { blocks } => size(&order, blocks).await,
        Wanted::Blocks { first, last } => range(&order, first, last).await,
    }
}

fn order(invocation: &Invocation<'_>) -> Result<Order, Failure> {
    let change = match (invocation.has(&ENABLE), invocation.has(&DISABLE)) {
        (true, false) => Change::Enable,
        (false, true) => Change::Disable,
        (true, true) => return Err(Failure::of("mutually exclusive arguments: --disable --enable")),
        (false, false) => {
            let usage = invocation.command.usage();
            return Err(Failure::of(format_args!("bad usage: one of -e and -d is needed; usage: {usage}")));
        }
    };
    let unknown = |name| Failure::of(format_args!("unknown memory zone: {name}"));
    let zone = invocation.value(&ZONE).map(|name| zone(name).ok_or_else(|| unknown(name)));
    let verbose = if invocation.has(&VERBOSE) { Verbose::Yes } else { Verbose::No };
    Ok(Order { change, zone: zone.transpose()?, verbose })
}

/// Changes this many blocks.
async fn size(order: &Order, blocks: u64) -> Outcome {
    let mut left = blocks;
    let mut at = None;
    while left > 0
        && let Some(section) = next(order.change, at)
    {
        at = Some(section);
        if state(order.change, section) == Block::Other {
            match set(order, section).await? {
                Changed::Yes => {
                    left -= 1;
                    report_done(order, section)?;
                }
                Changed::OtherZone => {}
                Changed::StaysOnline(why) => report_failed(order, section, &why)?,
                Changed::StaysOffline(error) => report_failed(order, section, &error)?,
            }
        }
        input::step().await?;
    }
    end(order, blocks, left)
}

/// Changes the blocks from `first` to `last`.
async fn range(order: &Order, first: u64, last: u64) -> Outcome {
    let highest = MAX_PFN.section().0 - 1;
    // Blocks above the highest possible one count as absent.
    let blocks = (last - first).saturating_add(1);
    let mut left = blocks;
    let mut at = first.checked_sub(1).map(SectionNr);
    while let Some(section) = next(Change::Enable, at).filter(|section| section.0 <= last.min(highest)) {
        at = Some(section);
        match state(order.change, section) {
            Block::Absent => {}
            Block::AsRequested => {
                left -= 1;
                if order.verbose == Verbose::Yes {
                    writeln!(Out, "{} already {}d", name(section), order.change)?;
                }
            }
            Block::Other => match set(order, section).await? {
                Changed::Yes => {
                    left -= 1;
                    report_done(order, section)?;
                }
                Changed::OtherZone => report_failed(order, section, &"Zone mismatch")?,
                Changed::StaysOnline(why) => report_failed(order, section, &why)?,
                Changed::StaysOffline(error) => report_failed(order, section, &error)?,
            },
        }
        input::step().await?;
    }
    end(order, blocks, left)
}

fn end(order: &Order, blocks: u64, left: u64) -> Outcome {
    if left == 0 {
        return Ok(());
    }
    let bytes = (blocks - left).saturating_mul(BLOCK_BYTES);
    Err(Failure::of(CouldOnly { change: order.change, bytes }))
}

fn name(section: SectionNr) -> BlockName {
    BlockName { block: section.0, bytes: BLOCK_BYTES }
}

fn report_done(order: &Order, section: SectionNr) -> Outcome {
    if order.verbose == Verbose::Yes {
        writeln!(Out, "{} {}d", name(section), order.change)?;
    }
    Ok(())
}

fn report_failed(order: &Order, section: SectionNr, why: &dyn Display) -> Outcome {
    Ok(writeln!(Out, "{} {} failed: {why}", name(section), order.change)?)
}

/// The next block with memory after `at`: upwards to enable, downwards to disable.
fn next(change: Change, at: Option<SectionNr>) -> Option<SectionNr> {
    let mut next: Option<SectionNr> = None;
    core().resources(&mut |info| {
        let first = info.range.start.section();
        // A range is never empty.
        let last = carapace_mm::addr::Pfn(info.range.end.0 - 1).section();
        let candidate = match (change, at) {
            (Change::Enable, None) => first,
            (Change::Enable, Some(at)) => first.max(SectionNr(at.0 + 1)),
            (Change::Disable, None) => last,
            (Change::Disable, Some(SectionNr(0))) => return,
            (Change::Disable, Some(at)) => last.min(SectionNr(at.0 - 1)),
        };
        if candidate < first || candidate > last {
            return;
        }
        next = Some(match (change, next) {
            (_, None) => candidate,
            (Change::Enable, Some(best)) => best.min(candidate),
            (Change::Disable, Some(best)) => best.max(candidate),
        });
    });
    next
}

fn state(change: Change, section: SectionNr) -> Block {
    let to_change = match change {
        Change::Enable => SectionState::Offline,
        Change::Disable => SectionState::Online,
    };
    let mut block = Block::Absent;
    core().sections(section.range(), &mut |row| {
        if row.state == to_change {
            block = Block::Other;
        } else if block == Block::Absent {
            block = Block::AsRequested;
        }
    });
    block
}

/// Whether all of the block is in this zone.
fn is_in(section: SectionNr, zone: ChmemZone) -> bool {
    let expected = match zone {
        ChmemZone::Movable => Zone::Movable,
        ChmemZone::Normal => Zone::Kernel,
        ChmemZone::Any => Zone::Any,
        ChmemZone::Other => return false,
    };
    let mut all = true;
    core().sections(section.range(), &mut |row| {
        all &= core().resource(row.resource).is_none_or(|info| info.zone == expected);
    });
    all
}

async fn set(order: &Order, section: SectionNr) -> Result<Changed, Failure> {
    let target = Target::Frames(section.range());
    match order.change {
        Change::Disable => {
            if order.zone.is_some_and(|zone| !is_in(section, zone)) {
                return Ok(Changed::OtherZone);
            }
            match take_offline(target).await {
                Ok(_) => Ok(Changed::Yes),
                Err(NotOffline::Refused(error)) => Ok(Changed::StaysOnline(why(error))),
                Err(NotOffline::Stopped(failure)) => Err(failure),
            }
        }
        Change::Enable => Ok(enable(target, order.zone)),
    }
}

/// As in util-linux, the default is the movable zone where possible.
fn enable(target: Target, zone: Option<ChmemZone>) -> Changed {
    let onlined = match zone {
        Some(ChmemZone::Other) => return Changed::OtherZone,
        Some(ChmemZone::Movable) => core().online(target, Some(Zone::Movable)),
        Some(ChmemZone::Normal) => core().online(target, Some(Zone::Kernel)),
        Some(ChmemZone::Any) => core().online(target, Some(Zone::Any)),
        None => match core().online(target, Some(Zone::Movable)) {
            Err(OnlineError::OtherZone { .. }) => core().online(target, None),
            onlined => onlined,
        },
    };
    match onlined {
        Ok(_) => Changed::Yes,
        Err(OnlineError::OtherZone { .. }) => Changed::OtherZone,
        Err(error) => Changed::StaysOffline(error),
    }
}
