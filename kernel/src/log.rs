//! The kernel's log: lines with time and level, kept in a ring for `dmesg` and printed on the console.
//!
//! ```text
//!  log::info!() -> one line of at most LINE bytes -> ring (oldest lines dropped, counted)
//!                                                      |-> read(): dmesg, line by line
//!                                                      '-> flush(): the console, each line once
//! ```
//!
//! The console prints from the ring, while the serial line has room: what an interrupt handler logs, a
//! line logged while another is being printed, and what nobody reads on the line, waits there and is
//! printed later (by the main loop, at the latest). So logging waits for nobody and nests without harm.
//! Lines that the ring has dropped before they could be printed are counted, and a line in their place
//! says how many. A fatal report does not come through here.
//! Lock order: the ring's lock is held for copying a line only, never while the console prints.

use crate::arch::{self, InterruptContext, serial, time};
use crate::sync::IrqMutex;
use carapace_irq::lines::{Line, Lines};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use log::{LevelFilter, Metadata, Record};

pub use carapace_irq::lines::Cursor;

/// Bytes kept for `dmesg`.
const RING: usize = 64 * 1024;

/// Room on the serial line that the log leaves to the rest: a line is printed only with more than
/// that, so that a shell whose log lines nobody reads still answers.
const LEFT_TO_OTHERS: usize = serial::OUTGOING_BYTES / 4 * 3;

/// Prints what [`next_to_print`] has.
pub type Console = fn();

struct State {
    lines: Lines<RING>,
    /// `None`: [`print_plainly`] (and so all of this is zeros at first, and not in the kernel's file).
    console: Option<Console>,
}

static STATE: IrqMutex<State> = IrqMutex::new(State { lines: Lines::new(), console: None });

/// Whether somebody prints: whoever logs meanwhile leaves it to them.
static PRINTING: AtomicBool = AtomicBool::new(false);

struct KernelLog;

impl log::Log for KernelLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let uptime = time::uptime();
        let mut line = Line::new();
        // `Line` takes everything and cuts.
        let _ = write!(
            line,
            "[{:5}.{:06}] {:<5} {}",
            uptime.as_secs(),
            uptime.subsec_micros(),
            record.level(),
            record.args()
        );
        line.finish();
        STATE.lock().lines.push(&line);
        flush();
    }

    fn flush(&self) {
        flush();
    }
}

/// Makes this the backend of crate `log`, with everything from `Info` up.
pub fn init() {
    // Fails only when it is done already.
    let _ = log::set_logger(&KernelLog);
    log::set_max_level(LevelFilter::Info);
}

/// Lets `console` print from now on; it is called in the main program only, never while it runs already,
/// and may log itself (that is printed afterwards).
pub fn set_console(console: Console) {
    STATE.lock().console = Some(console);
}

/// Whether the console has something to print, and whether the serial line has room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printable {
    /// There is a line, and room for it.
    Now,
    /// There is no line that has not been printed.
    Nothing,
    /// The line waits until somebody reads the serial line.
    Later,
}

/// Whether a line can be printed.
pub fn printable() -> Printable {
    if !STATE.lock().lines.has_unprinted() {
        return Printable::Nothing;
    }
    if serial::room(serial::Port::Console) > LEFT_TO_OTHERS { Printable::Now } else { Printable::Later }
}

/// The oldest line that has not been printed, which counts as printed from now on.
pub fn next_to_print() -> Option<Line> {
    STATE.lock().lines.next_to_print()
}

/// Prints a line on the serial line as it is.
pub fn print_line(line: &str) {
    serial::write(line.as_bytes());
    serial::write(b"\r\n");
}

/// The console of the beginning.
fn print_plainly() {
    while printable() == Printable::Now
        && let Some(line) = next_to_print()
    {
        print_line(line.as_str());
    }
}

/// Prints what is not printed yet, as far as the serial line has room. Does nothing in an interrupt
/// handler and while somebody prints.
pub fn flush() {
    if arch::context() == InterruptContext::Handler || PRINTING.swap(true, Ordering::Acquire) {
        return;
    }
    let console = STATE.lock().console.unwrap_or(print_plainly);
    console();
    PRINTING.store(false, Ordering::Release);
}

/// Does `work`, and prints what it logs behind it. Not for interrupt handlers.
pub fn printed_afterwards<R>(work: impl FnOnce() -> R) -> R {
    let somebody_prints = PRINTING.swap(true, Ordering::Acquire);
    let result = work();
    if !somebody_prints {
        PRINTING.store(false, Ordering::Release);
        flush();
    }
    result
}

/// Prints everything and waits until it is sent, before the machine goes off; gives up when the line
/// takes nothing for a second.
pub fn drain() {
    flush();
    serial::drain();
    // A second time: what had no room before.
    while printable() == Printable::Now {
        flush();
        serial::drain();
    }
}

/// Prints, before a fatal report, what is not printed yet, each line behind a newline: unless the report
/// interrupted the log.
pub fn report_waiting(out: &mut impl Write) {
    let Some(mut state) = STATE.try_lock() else { return };
    while let Some(line) = state.lines.next_to_print() {
        // The report itself matters more.
        let _ = write!(out, "\n{}", line.as_str());
    }
}

/// Writes the last `most` lines there are, for a fatal report; `Err` when the report interrupted the log.
///
/// # Errors
/// [`Interrupted`]; nothing was written then.
pub fn write_last(out: &mut impl Write, most: u64) -> Result<fmt::Result, Interrupted> {
    let state = STATE.try_lock().ok_or(Interrupted)?;
    let mut place = state.lines.last(most);
    while let Some((next, line)) = state.lines.read(place) {
        place = next;
        if let error @ Err(_) = writeln!(out, "    {}", line.as_str()) {
            return Ok(error);
        }
    }
    Ok(Ok(()))
}

/// Whether the log's lock is held: for a fatal report.
pub fn is_being_written() -> bool {
    STATE.try_lock().is_none()
}

/// The log was being written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// Runs `work` with the log's lock held.
pub fn while_writing(work: impl FnOnce()) {
    let _state = STATE.lock();
    work();
}

/// The line at `cursor` (or the oldest there is, when that is gone) and where the next one starts;
/// `None` at the end. `Cursor::default()` is the beginning.
pub fn read(cursor: Cursor) -> Option<(Cursor, Line)> {
    STATE.lock().lines.read(cursor)
}

/// The place behind the last line: where the next one will be.
pub fn end() -> Cursor {
    STATE.lock().lines.end()
}

/// How many lines have been dropped because the ring was full.
pub fn dropped() -> u64 {
    STATE.lock().lines.dropped()
}
