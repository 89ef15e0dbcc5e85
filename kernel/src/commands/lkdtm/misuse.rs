//! Deliberate memory errors (double free, ...): the allocator must detect each one and report it without side effects.
//!
//! Invariant: each error returns the memory it takes. The one word that is written wrongly lies in a free frame, and only
//! while that is watched. Neighbours: `carapace_mm::allocate` refuses, `carapace_mm::poison` detects.

use crate::memory::core;
use ::core::fmt;
use carapace_mm::Mobility;
use carapace_mm::addr::{MAX_PFN, Order, Pfn};
use carapace_mm::address_space::direct;
use carapace_mm::error::FreeError;
use carapace_mm::info::ResourceId;
use carapace_mm::machine::Machine;
use carapace_mm::memory::Block;
use carapace_mm::poison::Mode;

/// What can be done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// A block is freed twice.
    DoubleFree,
    /// A frame inside of an allocated block is freed.
    MiddleFree,
    /// A frame is freed that somebody else has: the first of boot memory's memmap.
    ForeignFree,
    /// A frame is freed that is not there.
    AbsentFree,
    /// A frame is written to after it was freed.
    WriteFreed,
}

impl Misuse {
    /// All of them.
    pub const ALL: [Misuse; 5] =
        [Misuse::DoubleFree, Misuse::MiddleFree, Misuse::ForeignFree, Misuse::AbsentFree, Misuse::WriteFreed];

    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Misuse::DoubleFree => "double-free",
            Misuse::MiddleFree => "middle-free",
            Misuse::ForeignFree => "foreign-free",
            Misuse::AbsentFree => "absent-free",
            Misuse::WriteFreed => "write-freed",
        }
    }

    /// The misuse of that name.
    pub fn named(name: &str) -> Option<Misuse> {
        Misuse::ALL.into_iter().find(|misuse| misuse.name() == name)
    }
}

/// Why a misuse was refused, or not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As it should be.
    Free(FreeError),
    /// No block is free to misuse.
    NoMemory,
    /// Nobody would see it: memory is not poisoned.
    NotWatched,
    /// It was taken for right.
    Unnoticed(Pfn),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Free(error) => write!(f, "refused: {error}"),
            Refused::NoMemory => write!(f, "no memory is free to misuse"),
            Refused::NotWatched => write!(f, "freed memory is not watched: 'poison on' comes first"),
            Refused::Unnoticed(pfn) => {
                write!(f, "frame {pfn} was freed that must not be: nobody has noticed")
            }
        }
    }
}

/// Where in the frame a freed one is written to.
const OFFSET: u64 = 24;

fn take(order: Order) -> Result<Block, Refused> {
    core().allocate_block(order, None, Mobility::Movable).ok_or(Refused::NoMemory)
}

/// A free that has to be refused.
fn wrongly(freed: Result<Order, FreeError>, pfn: Pfn) -> Refused {
    match freed {
        Ok(_) => Refused::Unnoticed(pfn),
        Err(error) => Refused::Free(error),
    }
}

impl Misuse {
    /// Does it; the frame, where it is one that nobody can refuse.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn commit(self) -> Result<Pfn, Refused> {
        match self {
            Misuse::DoubleFree => {
                // Of order 2: such blocks do not go through the cache of single frames.
                let block = take(Order(2))?;
                core().free_block(block.head).map_err(Refused::Free)?;
                Err(wrongly(core().free_block(block.head), block.head))
            }
            Misuse::MiddleFree => {
                let block = take(Order(2))?;
                let inside = block.head.offset(1);
                let refused = wrongly(core().free_block(inside), inside);
                core().free_block(block.head).map_err(Refused::Free)?;
                Err(refused)
            }
            Misuse::ForeignFree => {
                let boot = core().resource(ResourceId(0)).ok_or(Refused::NoMemory)?;
                Err(wrongly(core().free_block(boot.memmap_start), boot.memmap_start))
            }
            Misuse::AbsentFree => {
                let absent = Pfn(MAX_PFN.0 - 1);
                Err(wrongly(core().free_block(absent), absent))
            }
            Misuse::WriteFreed => write_freed(),
        }
    }
}

fn write_freed() -> Result<Pfn, Refused> {
    if core().poison_info().mode == Mode::Off {
        return Err(Refused::NotWatched);
    }
    let block = take(Order(0))?;
    core().free_block(block.head).map_err(Refused::Free)?;
    let word = direct(block.head.start()).offset(OFFSET);
    // SAFETY: an aligned word of a frame that was just freed: mapped, the core's own, and nothing refers to it. The core
    // has filled it with poison, and to find a changed word there is what it does.
    unsafe { core().edit_tables(|_, machine| machine.store(word, 0x0bad_0bad_0bad_0bad)) };
    Ok(block.head)
}
