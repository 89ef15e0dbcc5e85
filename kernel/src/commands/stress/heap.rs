//! `stress heap`: holds the kernel's heap full, to show that a DIMM is answered and every command works with nothing but
//! the reserve left.
//!
//! ```text
//!  newest -> [Link|......]  -> [Link|...] -> [Link|......] -> (empty)
//! ```
//!
//! Each block holds the list's next link and is otherwise unused, so that holding memory needs no other memory.

use super::super::console::Out;
use super::Outcome;
use crate::memory::heap;
use crate::sync::{Mutex, Rank};
use ::core::fmt::Write;
use ::core::mem::{size_of, take};
use alloc::vec::Vec;
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Format};
use carapace_schema::StressHeap;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// Allocate all but the reserve.
    On,
    /// Free it again.
    Off,
}

/// Runs the command.
pub(super) fn run(format: Format, what: Fill) -> Outcome {
    let (held, freed) = match what {
        Fill::On => (fill(), 0),
        Fill::Off => (0, drop_all()),
    };
    let heap::HeapStats { left, reserve_bytes, .. } = heap::stats();
    match format {
        Format::Json => {
            output::object(&mut Out, &StressHeap { held_bytes: held, left_bytes: left, reserve_bytes })?;
        }
        Format::Table => {
            match held {
                0 => write!(Out, "{} freed", Size(freed))?,
                held => write!(Out, "{} held until 'stress off'", Size(held))?,
            }
            writeln!(Out, "; {} left, and a reserve of {} for hotplug", Size(left), Size(reserve_bytes))?;
        }
    }
    Ok(())
}

/// A held block: a vector with one link and unused capacity.
struct Link {
    before: Vec<Link>,
}

struct Ballast {
    newest: Vec<Link>,
    bytes: u64,
}

/// The capacity of the largest block, in links: 6 MiB.
const MOST: usize = 1 << 18;

static BALLAST: Mutex<Ballast> = Mutex::new(Rank::Ballast, Ballast { newest: Vec::new(), bytes: 0 });

/// Allocates the whole heap, in the largest possible blocks. Returns the bytes held. Do not call it with the reserve
/// open.
fn fill() -> u64 {
    let mut ballast = BALLAST.lock();
    let mut capacity = MOST;
    while capacity > 0 {
        let mut block = Vec::new();
        if block.try_reserve_exact(capacity).is_err() {
            capacity /= 2;
            continue;
        }
        ballast.bytes += (block.capacity() * size_of::<Link>()) as u64;
        block.push(Link { before: take(&mut ballast.newest) });
        ballast.newest = block;
    }
    ballast.bytes
}

/// Frees all blocks. Returns the bytes freed.
fn drop_all() -> u64 {
    let mut ballast = BALLAST.lock();
    // One by one: dropping the newest block would recurse through the whole list.
    while let Some(Link { before }) = ballast.newest.pop() {
        ballast.newest = before;
    }
    ballast.newest = Vec::new();
    take(&mut ballast.bytes)
}
