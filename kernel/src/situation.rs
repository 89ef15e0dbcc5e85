//! What a fatal report says of the kernel as a whole, behind registers and backtrace: which locks are held, the
//! log's last lines, memory in short.
//!
//! Invariants: nothing here waits or allocates. A lock that is held is named and what it guards is told as `?`;
//! everything else is read from atomics, or under a lock that was free. Only static memory is read, and headers of
//! boot memory, which never goes. Neighbours: `arch::exceptions` calls; `carapace_mm::try_stats`, `heap` and `log` tell.

use crate::arch::serial;
use crate::log;
use crate::memory::{core, heap};
use ::core::fmt::{self, Display, Write};
use carapace_cli::format_size::Size;
use carapace_mm::addr::PAGE_SIZE;

/// Lines of the log that are told.
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
