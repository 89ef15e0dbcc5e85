//! The console: sends the shell's output and the log's lines to the serial line.
//!
//! ```text
//!  Out, Errors (commands) ----------------.                       .--> serial, "\n" as "\r\n"
//!                                          +--> CONSOLE (editor) --+
//!  feed (echo) ----------------------------'
//!  log lines -------'   only at the start of a line; around the prompt: hide, line, show
//! ```
//!
//! Invariants: only the editor writes the prompt. A log line never splits a command's line: it waits in the log until
//! that line ends and the transmit queue has space. The log calls `on_log` when it has lines to print. Not for interrupt
//! handlers; fatal reports bypass this module.

use super::{host, reply, session};
use crate::arch::time;
use crate::drivers::serial::{self, Port};
use crate::log::{self, Printable};
use crate::sync::{Mutex, Rank};
use arrayvec::{ArrayString, ArrayVec};
use carapace_cli::complete::Candidates;
use carapace_cli::editor::{Editor, Event, LINE_MAX};
use carapace_cli::format_size::Size;
use carapace_mm::addr::PAGE_SIZE;
use core::fmt::{self, Write};
use core::time::Duration;

/// Bytes of a command's output that are sent together.
const CHUNK: usize = 256;

static CONSOLE: Mutex<Option<Console>> = Mutex::new(Rank::Console, None);

struct Console {
    editor: Editor,
    cursor: CursorAt,
    /// A command's unsent output. Empty while the prompt is shown.
    chunk: ArrayVec<u8, CHUNK>,
    /// The running command, if its progress is to be shown.
    progress: Option<Progress>,
}

/// How far a command is, on a line that is shown after a second and erased before anything else is written.
struct Progress {
    command: &'static str,
    since: Duration,
    /// When it was shown last; `None` while it is not on the screen.
    shown: Option<Duration>,
    amount: Option<Amount>,
}

/// A part of something large.
#[derive(Clone, Copy)]
pub struct Amount {
    /// What was done with it: `filled`.
    pub verb: &'static str,
    /// Pages done, and all.
    pub pages: (u64, u64),
    /// What else the user can do, beside Ctrl-C.
    pub hint: &'static str,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = time::uptime().saturating_sub(self.since).as_secs();
        let Some(Amount { verb, pages: (done, all), hint }) = self.amount else {
            return write!(f, "{}: {seconds} s; Ctrl-C stops it", self.command);
        };
        let size = |pages: u64| Size(pages.saturating_mul(PAGE_SIZE));
        write!(f, "{verb} {} of {}, {seconds} s; Ctrl-C stops it{hint}", size(done), size(all))
    }
}

/// The position of the terminal's cursor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CursorAt {
    /// In the prompt's line.
    Prompt,
    /// At the start of a line without a prompt.
    LineStart,
    /// In a command's unfinished line.
    InLine,
}

/// Writes to the serial line unchanged. The editor writes its own line ends.
struct Raw;

impl fmt::Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        serial::write(text.as_bytes());
        Ok(())
    }
}

/// The output of commands, to the serial line of their task.
pub struct Out;

impl fmt::Write for Out {
    #[inline(never)]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if session::port() == Port::Remote {
            reply::put(text);
            return Ok(());
        }
        if let Some(console) = CONSOLE.lock().as_mut() {
            console.write(text);
        }
        Ok(())
    }
}

/// Error messages, to the shell's serial line.
pub struct Errors;

impl fmt::Write for Errors {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(console) = CONSOLE.lock().as_mut() {
            console.write(text);
        }
        Ok(())
    }
}

/// The number of the newest line in the history.
pub fn newest_line() -> u64 {
    CONSOLE.lock().as_ref().map_or(0, |console| console.editor.newest())
}

/// A line of the history.
pub fn earlier_line(number: u64) -> Option<ArrayString<LINE_MAX>> {
    let console = CONSOLE.lock();
    ArrayString::from(console.as_ref()?.editor.earlier(number)?).ok()
}

/// Starts to print the log's lines and shows the first prompt.
pub fn start() {
    let console = Console {
        editor: Editor::new(),
        cursor: CursorAt::LineStart,
        chunk: ArrayVec::new(),
        progress: None,
    };
    *CONSOLE.lock() = Some(console);
    log::set_console(on_log);
    prompt();
}

/// Passes a byte of input to the editor, while the prompt is shown.
pub fn feed(byte: u8) -> Option<Event> {
    let mut console = CONSOLE.lock();
    let console = console.as_mut()?;
    let event = console.editor.feed(byte, &mut Raw)?;
    if event == Event::Complete {
        return Some(event);
    }
    console.cursor = CursorAt::LineStart;
    console.pump();
    Some(event)
}

/// The editor's text in front of the cursor.
pub fn before_cursor() -> ArrayString<LINE_MAX> {
    let console = CONSOLE.lock();
    let text = console.as_ref().map_or("", |console| console.editor.before_cursor());
    // The editor's lines always fit.
    ArrayString::from(text).unwrap_or_default()
}

/// Completes the text in front of the cursor.
pub fn complete(candidates: &Candidates<'_>) {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.editor.complete(candidates, &mut Raw);
    }
}

/// The editor's finished line.
pub fn line() -> ArrayString<LINE_MAX> {
    let console = CONSOLE.lock();
    let line = console.as_ref().map_or("", |console| console.editor.line());
    // The editor's lines always fit.
    ArrayString::from(line).unwrap_or_default()
}

/// Shows the prompt for the next line.
pub fn prompt() {
    end_line();
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.editor.begin(&mut Raw);
        console.cursor = CursorAt::Prompt;
    }
}

/// A command begins whose progress is shown, where a person reads the line.
pub fn begin_command(command: &'static str) {
    if host::is_terminal()
        && let Some(console) = CONSOLE.lock().as_mut()
    {
        console.progress = Some(Progress { command, since: time::uptime(), shown: None, amount: None });
    }
}

/// How far the running command of this line is.
pub fn set_amount(amount: Amount) {
    if session::port() == Port::Console
        && let Some(Console { progress: Some(progress), .. }) = CONSOLE.lock().as_mut()
    {
        progress.amount = Some(amount);
    }
}

/// Shows the running command's progress, when it is time.
pub fn show_progress() {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.show_progress();
    }
}

/// Ends a command's unfinished line and sends the rest of its output.
pub fn end_line() {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.erase_progress();
        console.progress = None;
        if console.cursor == CursorAt::InLine {
            console.write("\n");
        }
        console.send();
        console.pump();
    }
}

/// Called by the log when it has lines to print. Does nothing while the console is locked; the holder prints them.
fn on_log() {
    if let Some(mut console) = CONSOLE.try_lock()
        && let Some(console) = console.as_mut()
    {
        console.pump();
    }
}

/// When a command's progress is shown first, and how often anew.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

impl Console {
    fn show_progress(&mut self) {
        let (now, may_start) = (time::uptime(), self.cursor == CursorAt::LineStart);
        let Some(progress) = self.progress.as_mut().filter(|_| may_start) else { return };
        let next = match progress.shown {
            None => progress.since.saturating_add(PROGRESS_AFTER),
            Some(shown) => shown.saturating_add(PROGRESS_EVERY),
        };
        if now >= next {
            progress.shown = Some(now);
            // Writing to the line cannot fail.
            let _ = write!(Raw, "\r\x1b[K{progress}");
        }
    }

    fn erase_progress(&mut self) {
        if self.progress.as_mut().is_some_and(|progress| progress.shown.take().is_some()) {
            serial::write(b"\r\x1b[K");
        }
    }

    fn write(&mut self, text: &str) {
        self.erase_progress();
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(line) => {
                    self.put(line.as_bytes());
                    self.put(b"\r\n");
                    self.cursor = CursorAt::LineStart;
                    self.pump();
                }
                None => {
                    self.put(piece.as_bytes());
                    self.cursor = CursorAt::InLine;
                }
            }
        }
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.chunk.remaining_capacity()));
            // It fits: `now` is not longer than the free space.
            let _ = self.chunk.try_extend_from_slice(now);
            bytes = later;
            if self.chunk.is_full() {
                self.send();
            }
        }
    }

    fn send(&mut self) {
        serial::write(&self.chunk);
        self.chunk.clear();
    }

    /// Prints the log's new lines, if a line can start, as far as the transmit queue has space for them
    /// and for the prompt behind them.
    fn pump(&mut self) {
        if self.cursor == CursorAt::InLine || log::printable() != Printable::Now {
            return;
        }
        self.send();
        self.erase_progress();
        if self.cursor == CursorAt::Prompt {
            self.editor.hide(&mut Raw);
        }
        while log::printable() == Printable::Now
            && let Some(line) = log::next_to_print()
        {
            log::print_line(line.as_str());
        }
        if self.cursor == CursorAt::Prompt {
            self.editor.show(&mut Raw);
        }
    }
}
