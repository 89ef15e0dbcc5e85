//! `misuse`: deliberate memory errors (double free, ...). The allocator must detect each one and report it without side
//! effects.
//!
//! Invariants: each error frees the memory that it allocates, and the erroneous write goes to a poisoned free frame.
//! Neighbours: `carapace_mm::allocate` refuses, `carapace_mm::poison` detects.

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::core;
use ::core::fmt::{self, Write};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_mm::Mobility;
use carapace_mm::addr::{MAX_PFN, Order, Pfn};
use carapace_mm::address_space::direct;
use carapace_mm::error::FreeError;
use carapace_mm::info::ResourceId;
use carapace_mm::machine::Machine;
use carapace_mm::memory::Block;
use carapace_mm::poison::Mode;
use carapace_schema as schema;

/// `misuse`.
pub static COMMAND: Command = Command {
    name: "misuse",
    summary: "makes a memory error, to test that it is detected",
    operands: Operands::one("WHAT"),
    operand_help: &[
        ("double-free", "Frees a block twice."),
        ("middle-free", "Frees a frame inside an allocated block."),
        ("foreign-free", "Frees a frame of boot memory's memmap."),
        ("absent-free", "Frees an absent frame."),
        (
            "write-freed",
            "Writes to a free frame while poison is on: check reports it, and the log when the frame is allocated.",
        ),
    ],
    words: |_, word| Misuse::ALL.iter().for_each(|misuse| word(misuse.name())),
    flags: &[JSON],
    example: "misuse write-freed",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let name = invocation.operand(0).unwrap_or_default();
    let misuse = Misuse::named(name).ok_or_else(|| {
        let usage = invocation.command.usage();
        Failure::of(format_args!("there is no misuse '{name}'; usage: {usage}"))
    })?;
    let pfn = misuse.commit().map_err(Failure::of)?.0;
    match invocation.format() {
        Format::Json => output::object(&mut Out, &schema::Misuse { pfn })?,
        Format::Table => writeln!(Out, "wrote to frame {pfn:#x}, which is free")?,
    }
    Ok(())
}

/// A deliberate error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misuse {
    /// Frees a block twice.
    DoubleFree,
    /// Frees a frame inside an allocated block.
    MiddleFree,
    /// Frees a frame with another owner: the first of boot memory's memmap.
    ForeignFree,
    /// Frees an absent frame.
    AbsentFree,
    /// Writes to a freed frame.
    WriteFreed,
}

impl Misuse {
    /// All errors.
    const ALL: [Misuse; 5] =
        [Misuse::DoubleFree, Misuse::MiddleFree, Misuse::ForeignFree, Misuse::AbsentFree, Misuse::WriteFreed];

    /// The name in the shell.
    const fn name(self) -> &'static str {
        match self {
            Misuse::DoubleFree => "double-free",
            Misuse::MiddleFree => "middle-free",
            Misuse::ForeignFree => "foreign-free",
            Misuse::AbsentFree => "absent-free",
            Misuse::WriteFreed => "write-freed",
        }
    }

    /// The error with this name.
    fn named(name: &str) -> Option<Misuse> {
        Misuse::ALL.into_iter().find(|misuse| misuse.name() == name)
    }
}

/// Why the error had no effect, or was not detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The allocator refused the free, as it should.
    Free(FreeError),
    /// No free block is left for the test.
    NoMemory,
    /// Page poisoning is off, so the write would not be detected.
    NotPoisoned,
    /// The allocator did not detect the error.
    Undetected(Pfn),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Free(error) => write!(f, "refused: {error}"),
            Refused::NoMemory => write!(f, "no free memory for the test"),
            Refused::NotPoisoned => write!(f, "page poisoning is off: run 'poison on' first"),
            Refused::Undetected(pfn) => {
                write!(f, "NOT detected: the invalid free of frame {pfn} succeeded")
            }
        }
    }
}

/// The offset of the erroneous write in the frame.
const OFFSET: u64 = 24;

fn take(order: Order) -> Result<Block, Refused> {
    core().allocate_block(order, None, Mobility::Movable).ok_or(Refused::NoMemory)
}

/// The result of a free that must be refused.
fn refused(freed: Result<Order, FreeError>, pfn: Pfn) -> Refused {
    match freed {
        Ok(_) => Refused::Undetected(pfn),
        Err(error) => Refused::Free(error),
    }
}

impl Misuse {
    /// Makes the error. Returns the frame of an erroneous write, which cannot be refused.
    ///
    /// # Errors
    /// See [`Refused`].
    fn commit(self) -> Result<Pfn, Refused> {
        match self {
            Misuse::DoubleFree => {
                // Blocks of order 2 bypass the frame cache.
                let block = take(Order(2))?;
                core().free_block(block.head).map_err(Refused::Free)?;
                Err(refused(core().free_block(block.head), block.head))
            }
            Misuse::MiddleFree => {
                let block = take(Order(2))?;
                let inside = block.head.offset(1);
                let result = refused(core().free_block(inside), inside);
                core().free_block(block.head).map_err(Refused::Free)?;
                Err(result)
            }
            Misuse::ForeignFree => {
                let boot = core().resource(ResourceId(0)).ok_or(Refused::NoMemory)?;
                Err(refused(core().free_block(boot.memmap_start), boot.memmap_start))
            }
            Misuse::AbsentFree => {
                let absent = Pfn(MAX_PFN.0 - 1);
                Err(refused(core().free_block(absent), absent))
            }
            Misuse::WriteFreed => write_freed(),
        }
    }
}

fn write_freed() -> Result<Pfn, Refused> {
    if core().poison_info().mode == Mode::Off {
        return Err(Refused::NotPoisoned);
    }
    let block = take(Order(0))?;
    core().free_block(block.head).map_err(Refused::Free)?;
    let word = direct(block.head.start()).offset(OFFSET);
    // SAFETY: an aligned word of a frame that was just freed: it is mapped, the core owns it, and nothing refers to it. The
    // core has poisoned it and is able to detect the changed word.
    unsafe { core().edit_tables(|_, machine| machine.store(word, 0x0bad_0bad_0bad_0bad)) };
    Ok(block.head)
}
