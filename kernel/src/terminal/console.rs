//! The one place through which the shell's output and the log's lines go to the serial line.
//!
//! ```text
//!  Out, Errors (commands) ----------------.                       .--> serial, "\n" as "\r\n"
//!                                          +--> CONSOLE (editor) --+
//!  feed (echo) ----------------------------'
//!  log lines -------'   only at the start of a line; around the prompt: hide, line, show
//! ```
//!
//! Invariants: the prompt's bytes at the start of a line come from the editor alone; a log line never
//! breaks a line that a command has begun: it waits in the log for that line's end, and for room on the
//! serial line. The log calls `on_log` when there is something to print. Not for interrupt
//! handlers; fatal reports go past this module.

use super::{reply, session};
use crate::drivers::serial::{self, Port};
use crate::log::{self, Printable};
use crate::sync::{Mutex, Rank};
use arrayvec::{ArrayString, ArrayVec};
use carapace_cli::editor::{Completer, Editor, Event, LINE_MAX};
use core::fmt;

/// Bytes of a command's output that are sent at once.
const CHUNK: usize = 256;

static CONSOLE: Mutex<Option<Console>> = Mutex::new(Rank::Console, None);

struct Console {
    editor: Editor,
    completer: Completer,
    stands: Stands,
    /// What a command has written and is not sent yet; empty while the prompt stands.
    chunk: ArrayVec<u8, CHUNK>,
}

/// Where the terminal's cursor is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// In the prompt's line.
    Prompt,
    /// At the start of a line, no prompt.
    LineStart,
    /// In a line that a command has begun.
    InLine,
}

/// Bytes to the serial line as they are: the editor writes its line ends itself.
struct Raw;

impl fmt::Write for Raw {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        serial::write(text.as_bytes());
        Ok(())
    }
}

/// What commands write to: the line of whoever runs them.
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

/// Errors, on the shell's line.
pub struct Errors;

impl fmt::Write for Errors {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(console) = CONSOLE.lock().as_mut() {
            console.write(text);
        }
        Ok(())
    }
}

/// The number of the line that was typed last.
pub fn newest_line() -> u64 {
    CONSOLE.lock().as_ref().map_or(0, |console| console.editor.newest())
}

/// A line that was typed before.
pub fn earlier_line(number: u64) -> Option<ArrayString<LINE_MAX>> {
    let console = CONSOLE.lock();
    ArrayString::from(console.as_ref()?.editor.earlier(number)?).ok()
}

/// Takes over the log's lines and shows the first prompt. `completer` serves Tab.
pub fn start(completer: Completer) {
    let console =
        Console { editor: Editor::new(), completer, stands: Stands::LineStart, chunk: ArrayVec::new() };
    *CONSOLE.lock() = Some(console);
    log::set_console(on_log);
    prompt();
}

/// A byte of input for the editor, while the prompt stands.
pub fn feed(byte: u8) -> Option<Event> {
    let mut console = CONSOLE.lock();
    let console = console.as_mut()?;
    let event = console.editor.feed(byte, console.completer, &mut Raw)?;
    console.stands = Stands::LineStart;
    console.pump();
    Some(event)
}

/// The line that the editor has finished.
pub fn line() -> ArrayString<LINE_MAX> {
    let console = CONSOLE.lock();
    let line = console.as_ref().map_or("", |console| console.editor.line());
    // The editor's lines are no longer than that.
    ArrayString::from(line).unwrap_or_default()
}

/// Shows the prompt for the next line.
pub fn prompt() {
    end_line();
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.editor.begin(&mut Raw);
        console.stands = Stands::Prompt;
    }
}

/// Ends a line that a command has left unfinished, and sends what is not sent yet.
pub fn end_line() {
    if let Some(console) = CONSOLE.lock().as_mut() {
        if console.stands == Stands::InLine {
            console.write("\n");
        }
        console.send();
        console.pump();
    }
}

/// Called by the log when there is something to print. While somebody writes here it waits for them.
fn on_log() {
    if let Some(mut console) = CONSOLE.try_lock()
        && let Some(console) = console.as_mut()
    {
        console.pump();
    }
}

impl Console {
    fn write(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(line) => {
                    self.put(line.as_bytes());
                    self.put(b"\r\n");
                    self.stands = Stands::LineStart;
                    self.pump();
                }
                None => {
                    self.put(piece.as_bytes());
                    self.stands = Stands::InLine;
                }
            }
        }
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.chunk.remaining_capacity()));
            // It fits: cut to the room that is left.
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

    /// Prints the log's new lines, where a line can start, as far as the serial line has room for them
    /// and for the prompt behind them.
    fn pump(&mut self) {
        if self.stands == Stands::InLine || log::printable() != Printable::Now {
            return;
        }
        self.send();
        if self.stands == Stands::Prompt {
            self.editor.hide(&mut Raw);
        }
        while log::printable() == Printable::Now
            && let Some(line) = log::next_to_print()
        {
            log::print_line(line.as_str());
        }
        if self.stands == Stands::Prompt {
            self.editor.show(&mut Raw);
        }
    }
}
