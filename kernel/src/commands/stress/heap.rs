//! `exhaust heap`: holds the kernel's heap full, to show that a DIMM is answered and every command works with nothing but
//! the reserve left.
//!
//! ```text
//!  newest -> [Link|......]  -> [Link|...] -> [Link|......] -> (empty)
//! ```
//!
//! Each block holds the list's next link and is otherwise unused, so that holding memory needs no other memory.

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::heap;
use crate::sync::{Mutex, Rank};
use ::core::fmt::Write;
use ::core::mem::{size_of, take};
use alloc::vec::Vec;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, JSON, Operands};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Format};
use carapace_schema::Exhaust;

/// `exhaust`.
pub static COMMAND: Command = Command {
    name: "exhaust",
    summary: "fills the kernel heap up to its reserve; off frees it again",
    operands: Operands::one("heap|off"),
    operand_help: &[("heap", "Allocates all but the reserve."), ("off", "Frees it again.")],
    words: |word| ["heap", "off"].into_iter().for_each(word),
    flags: &[JSON],
    example: "exhaust off",
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let (held, freed) = match invocation.operand(0) {
        Some("heap") => (fill(), 0),
        Some("off") => (0, drop_all()),
        other => {
            let other = other.unwrap_or_default();
            return Err(Failure::of(format_args!("'{other}' is neither heap nor off")));
        }
    };
    let heap::HeapStats { left, reserve_bytes, .. } = heap::stats();
    match invocation.format() {
        Format::Json => {
            output::object(&mut Out, &Exhaust { held_bytes: held, left_bytes: left, reserve_bytes })?;
        }
        Format::Table => {
            match held {
                0 => write!(Out, "{} freed", Size(freed))?,
                held => write!(Out, "{} held until 'exhaust off'", Size(held))?,
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
