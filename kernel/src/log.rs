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
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use log::{LevelFilter, Metadata, Record};

/// Bytes kept for `dmesg`.
const RING: usize = 64 * 1024;
/// The longest line, its end not counted; what is longer is cut and ends in "...".
pub const LINE: usize = 400;

/// Room on the serial line that the log leaves to the rest: a line is printed only with more than
/// that, so that a shell whose log lines nobody reads still answers.
const LEFT_TO_OTHERS: usize = serial::OUTGOING_BYTES / 4 * 3;

/// Prints what [`next_to_print`] has.
pub type Console = fn();

struct Ring {
    bytes: [u8; RING],
    /// Bytes ever written, and the place of the oldest line that is still there.
    end: u64,
    oldest: u64,
    /// Lines no longer there, and how many of them nobody has seen.
    dropped: u64,
    unseen: u64,
    /// Up to where the console has printed.
    printed: u64,
    /// `None`: [`print_plainly`] (and so the ring is all zeros at first, and not in the kernel's file).
    console: Option<Console>,
}

static STATE: IrqMutex<Ring> = IrqMutex::new(Ring {
    bytes: [0; RING],
    end: 0,
    oldest: 0,
    dropped: 0,
    unseen: 0,
    printed: 0,
    console: None,
});

/// Whether somebody prints: whoever logs meanwhile leaves it to them.
static PRINTING: AtomicBool = AtomicBool::new(false);

/// A place in the log, for reading on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u64);

impl Cursor {
    /// Whether lines between this place and `line`, which ends at `next`, were dropped before they were read.
    pub fn misses(self, next: Cursor, line: &Line) -> bool {
        next.0.saturating_sub(line.length as u64 + 1) > self.0
    }
}

/// A line of text of at most [`LINE`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; LINE],
    length: usize,
    cut: bool,
}

impl Line {
    const fn new() -> Line {
        Line { bytes: [0; LINE], length: 0, cut: false }
    }

    /// The text, without a line's end.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or("(a line that is not UTF-8)")
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            // A line is one line, and none can steer the terminal.
            let character = if character.is_control() { ' ' } else { character };
            let room = LINE - 3 - self.length.min(LINE - 3);
            if self.cut || character.len_utf8() > room {
                self.cut = true;
                break;
            }
            self.length += character.encode_utf8(&mut self.bytes[self.length..]).len();
        }
        Ok(())
    }
}

impl Ring {
    fn at(&self, place: u64) -> u8 {
        self.bytes[(place % RING as u64) as usize]
    }

    fn push(&mut self, line: &str) {
        let needed = line.len() as u64 + 1;
        while self.end + needed - self.oldest > RING as u64 {
            if self.oldest >= self.printed {
                self.unseen += 1;
            }
            while self.at(self.oldest) != b'\n' {
                self.oldest += 1;
            }
            self.oldest += 1;
            self.dropped += 1;
        }
        for byte in line.bytes().chain([b'\n']) {
            self.bytes[(self.end % RING as u64) as usize] = byte;
            self.end += 1;
        }
    }

    fn read(&self, from: u64) -> Option<(u64, Line)> {
        let mut place = from.max(self.oldest);
        if place >= self.end {
            return None;
        }
        let mut line = Line::new();
        loop {
            let byte = self.at(place);
            place += 1;
            if byte == b'\n' || line.length == LINE {
                return Some((place, line));
            }
            line.bytes[line.length] = byte;
            line.length += 1;
        }
    }

    fn next_to_print(&mut self) -> Option<Line> {
        if self.unseen > 0 {
            let mut line = Line::new();
            // `Line` takes everything.
            let _ = write!(
                line,
                "(lines of the log that are missing here, since the serial line was not read: {})",
                self.unseen
            );
            self.unseen = 0;
            return Some(line);
        }
        let (next, line) = self.read(self.printed)?;
        self.printed = next;
        Some(line)
    }
}

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
        if line.cut {
            line.bytes[line.length..line.length + 3].copy_from_slice(b"...");
            line.length += 3;
        }
        STATE.lock().push(line.as_str());
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
    let ring = STATE.lock();
    if ring.unseen == 0 && ring.printed.max(ring.oldest) >= ring.end {
        return Printable::Nothing;
    }
    drop(ring);
    if serial::room(serial::Port::Console) > LEFT_TO_OTHERS { Printable::Now } else { Printable::Later }
}

/// The oldest line that has not been printed, which counts as printed from now on.
pub fn next_to_print() -> Option<Line> {
    STATE.lock().next_to_print()
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
    let Some(mut ring) = STATE.try_lock() else { return };
    while let Some(line) = ring.next_to_print() {
        // The report itself matters more.
        let _ = write!(out, "\n{}", line.as_str());
    }
}

/// Writes the last `most` lines there are, for a fatal report; `Err` when the report interrupted the log.
///
/// # Errors
/// [`Interrupted`]; nothing was written then.
pub fn write_last(out: &mut impl Write, most: u64) -> Result<fmt::Result, Interrupted> {
    let ring = STATE.try_lock().ok_or(Interrupted)?;
    let lines = (ring.oldest..ring.end).filter(|&place| ring.at(place) == b'\n').count() as u64;
    let (mut place, mut before) = (ring.oldest, lines.saturating_sub(most));
    while let Some((next, line)) = ring.read(place) {
        place = next;
        if before > 0 {
            before -= 1;
        } else if let error @ Err(_) = writeln!(out, "    {}", line.as_str()) {
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
    let _ring = STATE.lock();
    work();
}

/// The line at `cursor` (or the oldest there is, when that is gone) and where the next one starts;
/// `None` at the end. `Cursor::default()` is the beginning.
pub fn read(cursor: Cursor) -> Option<(Cursor, Line)> {
    STATE.lock().read(cursor.0).map(|(next, line)| (Cursor(next), line))
}

/// The place behind the last line: where the next one will be.
pub fn end() -> Cursor {
    Cursor(STATE.lock().end)
}

/// How many lines have been dropped because the ring was full.
pub fn dropped() -> u64 {
    STATE.lock().dropped
}
