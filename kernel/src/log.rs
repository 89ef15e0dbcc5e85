//! The kernel log: lines with time and level, kept in a ring for `dmesg` and printed on the console.
//!
//! ```text
//!  log::info!() -> one line of at most LINE bytes -> ring (oldest lines dropped, counted)
//!                                                      |-> read(): dmesg, line by line
//!                                                      '-> flush(): the console, each line once
//! ```
//!
//! Invariant: logging never blocks and may nest. The console prints from the ring while the transmit queue of the
//! serial line has space. Lines logged by an interrupt handler, or while another line is being printed, or while the
//! queue is full, stay in the ring and are printed later, at the latest by the main loop. Lines dropped before they
//! were printed are counted and reported in their place. Panic reports bypass the log.
//! Lock order: the ring's lock is held only while a line is copied, never while the console prints.

use crate::arch::interrupts::{self, InterruptContext};
use crate::arch::{percpu, time};
use crate::drivers::serial;
use crate::executor;
use crate::sync::{IrqMutex, Rank};
use carapace_cli::TERMINAL_COLUMNS;
use carapace_cli::output::wrap;
use carapace_irq::log_ring::{Line, LogRing};
use carapace_mm::machine::CpuNr;
use carapace_schema::Text;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use log::{Level, LevelFilter, Metadata, Record};

pub use carapace_irq::log_ring::Cursor;

/// Bytes kept for `dmesg`.
const RING_BYTES: usize = 64 * 1024;

/// Space in the serial transmit queue that the log never uses, so that unread log lines do not block the shell's
/// output.
const RESERVED_FOR_SHELL: usize = serial::OUTGOING_BYTES / 4 * 3;

/// Prints the lines that [`next_to_print`] returns.
pub type Console = fn();

struct State {
    lines: LogRing<RING_BYTES>,
    /// `None` stands for [`print_plainly`]: so the initial state is all zeros and lies in `.bss`.
    console: Option<Console>,
}

static STATE: IrqMutex<State> = IrqMutex::new(Rank::Log, State { lines: LogRing::new(), console: None });

/// Set while the console prints. A line logged meanwhile is left to the printer.
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
        // Writing to a `Line` cannot fail; it truncates.
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

/// Columns behind time and level on the terminal.
const COLUMNS: usize = TERMINAL_COLUMNS - 21;

/// Logs a text that may be long, in lines of at most 80 columns; all but the first begin with two blanks.
pub fn in_lines(level: Level, text: fmt::Arguments<'_>) {
    let whole = Text::<384>::of(&text);
    for (number, line) in wrap(&whole, COLUMNS, COLUMNS - 2).enumerate() {
        let indent = if number == 0 { "" } else { "  " };
        log::log!(level, "{indent}{line}");
    }
}

/// Registers this as the backend of crate `log`, with maximum level `Info`.
pub fn init() {
    // Fails only if a logger is registered already.
    let _ = log::set_logger(&KernelLog);
    log::set_max_level(LevelFilter::Info);
}

/// Sets the function that prints the log. It is called in the main program only, is not reentered, and may log (those
/// lines are printed afterwards).
pub fn set_console(console: Console) {
    STATE.lock().console = Some(console);
}

/// Whether a line is unprinted, and whether the serial transmit queue has space for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printable {
    /// A line is unprinted, and there is space for it.
    Now,
    /// All lines are printed.
    Nothing,
    /// A line is unprinted; the transmit queue is full.
    Later,
}

/// Whether a line can be printed now.
pub fn printable() -> Printable {
    if !STATE.lock().lines.has_unprinted() {
        return Printable::Nothing;
    }
    if serial::room(serial::Port::Console) > RESERVED_FOR_SHELL { Printable::Now } else { Printable::Later }
}

/// Takes the oldest unprinted line.
pub fn next_to_print() -> Option<Line> {
    STATE.lock().lines.next_to_print()
}

/// Writes one line to the serial line.
pub fn print_line(line: &str) {
    serial::write(line.as_bytes());
    serial::write(b"\r\n");
}

/// The console before [`set_console`].
fn print_plainly() {
    while printable() == Printable::Now
        && let Some(line) = next_to_print()
    {
        print_line(line.as_str());
    }
}

/// Prints unprinted lines, as far as the serial transmit queue has space. Does nothing in an interrupt handler or while
/// the console prints already. On a CPU other than the first it wakes the executor, which prints them there.
pub fn flush() {
    if percpu::number() != CpuNr::FIRST {
        return executor::wake();
    }
    if interrupts::context() == InterruptContext::Handler || PRINTING.swap(true, Ordering::Acquire) {
        return;
    }
    let console = STATE.lock().console.unwrap_or(print_plainly);
    console();
    PRINTING.store(false, Ordering::Release);
}

/// Runs `work` and prints the lines it logs afterwards. Not for interrupt handlers.
pub fn defer_printing<R>(work: impl FnOnce() -> R) -> R {
    let was_printing = PRINTING.swap(true, Ordering::Acquire);
    let result = work();
    if !was_printing {
        PRINTING.store(false, Ordering::Release);
        flush();
    }
    result
}

/// Prints all lines and waits until they are sent, before power-off. Gives up when the line accepts nothing for a
/// second.
pub fn drain() {
    flush();
    serial::drain();
    // The lines that did not fit into the transmit queue before.
    while printable() == Printable::Now {
        flush();
        serial::drain();
    }
}

/// Writes the unprinted lines before a panic report, each after a newline. Does nothing if the panic interrupted the
/// log.
pub fn write_unprinted(out: &mut impl Write) {
    let Some(mut state) = STATE.try_lock() else { return };
    while let Some(line) = state.lines.next_to_print() {
        // A failed write must not keep the report from being written.
        let _ = write!(out, "\n{}", line.as_str());
    }
}

/// Writes the last `count` lines, for a panic report.
///
/// # Errors
/// [`Locked`] if the panic interrupted the log; nothing is written then.
pub fn write_tail(out: &mut impl Write, count: u64) -> Result<fmt::Result, Locked> {
    let state = STATE.try_lock().ok_or(Locked)?;
    let mut cursor = state.lines.tail(count);
    while let Some((next, line)) = state.lines.read(cursor) {
        cursor = next;
        if let error @ Err(_) = writeln!(out, "    {}", line.as_str()) {
            return Ok(error);
        }
    }
    Ok(Ok(()))
}

/// Whether the log's lock is held, for a panic report.
pub fn is_locked() -> bool {
    STATE.try_lock().is_none()
}

/// The log's lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

/// Runs `work` with the log's lock held, to provoke a panic there.
pub fn with_lock_held(work: impl FnOnce()) {
    let _state = STATE.lock();
    work();
}

/// The line at `cursor` (the oldest line held, if that one was dropped) and the position of the next one; `None` at the
/// end. `Cursor::default()` is the start.
pub fn read(cursor: Cursor) -> Option<(Cursor, Line)> {
    STATE.lock().lines.read(cursor)
}

/// The position after the last line, where the next one will start.
pub fn end() -> Cursor {
    STATE.lock().lines.end()
}

/// How many lines have been dropped because the ring was full.
pub fn dropped() -> u64 {
    STATE.lock().lines.dropped()
}
