//! The last part of a fatal report, the state of the kernel as a whole: locks held, the log's last lines, memory totals.
//!
//! Invariants: no function waits or allocates. A held lock is named, and the data it guards is printed as `?`;
//! everything else is read from atomics, or under a lock that was free. Only static memory is read, and headers of
//! boot memory, which is never removed. Neighbours: `carapace_mm::try_stats`, `heap` and `log` supply the numbers.

use crate::arch::interrupts::{InterruptContext, context};
use crate::drivers::serial;
use crate::log;
use crate::memory::{core, heap};
use ::core::fmt::{self, Display, Write};
use carapace_cli::format_size::Size;
use carapace_mm::addr::PAGE_SIZE;

/// Log lines printed.
const LINES: u64 = 10;

/// Writes all of it.
pub fn write(out: &mut impl Write) -> fmt::Result {
    locks(out)?;
    writeln!(out, "  the log's last lines:")?;
    match log::write_tail(out, LINES) {
        Ok(written) => written?,
        Err(log::Locked) => writeln!(out, "    ?")?,
    }
    memory(out)
}

fn locks(out: &mut impl Write) -> fmt::Result {
    let (mut held, mut written) = (0, Ok(()));
    let mut tell = |name: &dyn Display| {
        let separator = if held == 0 { "  locks held: " } else { ", " };
        held += 1;
        written = written.and_then(|()| write!(out, "{separator}{name}"));
    };
    core().held_locks(&mut |lock| tell(&lock));
    heap::held_locks(&mut |name| tell(&name));
    if log::is_locked() {
        tell(&"log");
    }
    serial::held_locks(&mut |name| tell(&name));
    written?;
    if held == 0 { writeln!(out, "  locks held: none") } else { writeln!(out) }
}

/// A number of bytes that may not be known.
struct Maybe(Option<u64>);

impl Display for Maybe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => Size(bytes).fmt(f),
            None => f.write_str("?"),
        }
    }
}

fn memory(out: &mut impl Write) -> fmt::Result {
    let stats = core().try_stats();
    let bytes = |pages: Option<u64>| Maybe(pages.map(|pages| pages * PAGE_SIZE));
    write!(out, "  memory: {} present, {} usable", bytes(stats.total_pages), bytes(stats.usable_pages))?;
    write!(out, ", {} free; resources: ", bytes(Some(stats.free_pages)))?;
    match stats.resources {
        Some(resources) => write!(out, "{resources}")?,
        None => write!(out, "?")?,
    }
    let heap = heap::try_stats();
    writeln!(out, "; heap: {} of {} in use", Maybe(heap.map(|h| h.used)), Maybe(heap.map(|h| h.bytes)))
}

/// Says that an interrupt handler was running, if one was.
pub struct InHandler;

impl fmt::Display for InHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match context() {
            InterruptContext::Handler => "  in an interrupt handler",
            InterruptContext::Main => "",
        })
    }
}
