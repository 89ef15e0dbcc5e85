//! The one place through which the shell's output and the log's lines go to the serial line.
//!
//! ```text
//!  Out (commands) --> filters --> screen --.                       .--> serial, "\n" as "\r\n"
//!  Errors ---------------------------------+--> CONSOLE (editor) --+
//!  feed (echo) ----------------------------'
//!  log lines -------'   only at the start of a line; around the prompt: hide, line, show
//! ```
//!
//! Invariants: the prompt's bytes at the start of a line come from the editor alone; a log line never
//! breaks a line that a command has begun: it waits in the log for that line's end, and for room on the
//! serial line. The log calls `on_log` when there is something to print. Lock order (`sync`): console
//! (then filters, then what is held) before log before serial. Not for interrupt handlers; fatal reports go
//! past this module.

use super::{remote, session};
use crate::arch::serial::{self, Port};
use crate::log::{self, Printable};
use arrayvec::{ArrayString, ArrayVec};
use carapace_cli::complete::complete;
use carapace_cli::editor::{Editor, Event, LINE_MAX};
use carapace_cli::filter::{Chain, Filter, FilterError};
use carapace_cli::kept::Kept;
use carapace_cli::pages::{Page, WAITING};
use core::fmt;
use spin::Mutex;

/// Bytes of a command's output that are sent at once.
const CHUNK: usize = 256;
/// Empties the row that the cursor is in.
const ERASE: &[u8] = b"\r\x1b[K";

/// Bytes of output that can wait for somebody at a full screen.
const HELD_MAX: usize = 32 * 1024;

static CONSOLE: Mutex<Option<Console>> = Mutex::new(None);
/// What the running command's output goes through.
static FILTERS: Mutex<Chain> = Mutex::new(Chain::new());
/// What comes when the screen is full.
static HELD: Mutex<Kept<HELD_MAX>> = Mutex::new(Kept::new());

struct Console {
    editor: Editor,
    stands: Stands,
    screen: Screen,
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
    /// Behind the words that say that more is there.
    Waiting,
}

/// How much of a command's output is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// All of it.
    Endless,
    /// A page; the rest is held until somebody turns it.
    Pages(Page),
    /// A page from the screen's first row on, over what stands there; the rest is left out.
    InPlace(Page),
    /// Nothing more.
    Closed,
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
            remote::put(text);
            return Ok(());
        }
        if let Some(console) = CONSOLE.lock().as_mut() {
            let mut filters = FILTERS.lock();
            if filters.is_empty() {
                console.tell(text);
            } else {
                filters.write(text, &mut Filtered(console))?;
            }
        }
        Ok(())
    }
}

/// Past filters and screen: errors, and what is told about a command. On the shell's line only.
pub struct Errors;

impl fmt::Write for Errors {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(console) = CONSOLE.lock().as_mut() {
            console.write(text);
        }
        Ok(())
    }
}

/// Behind the filters.
struct Filtered<'a>(&'a mut Console);

impl fmt::Write for Filtered<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.tell(text);
        Ok(())
    }
}

/// Before a command: what its output goes through, and how much of it is shown.
pub fn begin(filters: &[Filter], screen: Screen) {
    FILTERS.lock().start(filters);
    HELD.lock().clear();
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.screen = screen;
    }
}

/// After a command: lets out what the filters have kept.
///
/// # Errors
/// What a filter could not answer.
pub fn end() -> Result<(), FilterError> {
    let mut result = Ok(());
    if let Some(console) = CONSOLE.lock().as_mut() {
        result = FILTERS.lock().finish(&mut Filtered(console));
        if matches!(console.screen, Screen::InPlace(_)) {
            console.put(b"\x1b[J");
        }
    }
    result
}

/// Gives up what is held, and shows nothing more of the running command.
pub fn close() {
    HELD.lock().clear();
    FILTERS.lock().start(&[]);
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.screen = Screen::Closed;
    }
}

/// Whether anything that the running command still writes can be seen.
pub fn wants_more() -> bool {
    let full = CONSOLE.lock().as_ref().is_some_and(|console| match console.screen {
        Screen::Endless | Screen::Pages(_) => false,
        Screen::InPlace(page) => page.is_full(),
        Screen::Closed => true,
    });
    !full && FILTERS.lock().wants_more()
}

/// Whether output waits for somebody to turn the page.
pub fn is_held() -> bool {
    !HELD.lock().is_empty()
}

/// Shows that more is there.
pub fn show_waiting() {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.send();
        console.stands = Stands::Waiting;
        serial::write(WAITING.as_bytes());
        console.pump();
    }
}

/// Takes that away.
pub fn hide_waiting() {
    if let Some(console) = CONSOLE.lock().as_mut()
        && console.stands == Stands::Waiting
    {
        serial::write(ERASE);
        console.stands = Stands::LineStart;
    }
}

/// Lets out so many rows more.
pub fn turn(rows: u16) {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.turn(rows);
    }
}

/// Lets out all that is held, and all that comes.
pub fn open_up() {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.screen = Screen::Endless;
        let mut held = HELD.lock();
        console.write(held.text());
        held.clear();
    }
}

/// Whether `byte` is the newline of the line that is running, which ended in a carriage return.
pub fn ends_last_line(byte: u8) -> bool {
    CONSOLE.lock().as_mut().is_some_and(|console| console.editor.ends_last_line(byte))
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

/// Takes over the log's lines and shows the first prompt.
pub fn start() {
    let console = Console {
        editor: Editor::new(),
        stands: Stands::LineStart,
        screen: Screen::Endless,
        chunk: ArrayVec::new(),
    };
    *CONSOLE.lock() = Some(console);
    log::set_console(on_log);
    prompt();
}

/// A byte of input for the editor, while the prompt stands.
pub fn feed(byte: u8) -> Option<Event> {
    let mut console = CONSOLE.lock();
    let console = console.as_mut()?;
    let event = console.editor.feed(byte, complete, &mut Raw)?;
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
    /// Shows as much of a command's output as the screen has room for.
    fn tell(&mut self, text: &str) {
        match &mut self.screen {
            Screen::Endless => self.write(text),
            Screen::Closed => {}
            Screen::Pages(page) => {
                let taken = if is_held() { 0 } else { page.take(text) };
                let (now, later) = text.split_at_checked(taken).unwrap_or((text, ""));
                self.write(now);
                self.hold(later);
            }
            Screen::InPlace(page) => {
                let taken = page.take(text);
                self.write(text.get(..taken).unwrap_or_default());
            }
        }
    }

    fn hold(&mut self, text: &str) {
        let mut held = HELD.lock();
        let rest = held.push(text);
        if !rest.is_empty() {
            // A command that writes that much at once cannot wait: it goes by.
            self.screen = Screen::Endless;
            self.write(held.text());
            held.clear();
            self.write(rest);
        }
    }

    fn turn(&mut self, rows: u16) {
        let Screen::Pages(page) = &mut self.screen else { return };
        page.turn(rows);
        let mut held = HELD.lock();
        let taken = page.take(held.text());
        self.write(held.text().get(..taken).unwrap_or_default());
        held.take(taken);
    }

    fn write(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(line) => {
                    self.put(line.as_bytes());
                    if matches!(self.screen, Screen::InPlace(_)) {
                        // Over what stood there.
                        self.put(b"\x1b[K");
                    }
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
        match self.stands {
            Stands::Prompt => self.editor.hide(&mut Raw),
            Stands::Waiting => serial::write(ERASE),
            Stands::LineStart | Stands::InLine => {}
        }
        while log::printable() == Printable::Now
            && let Some(line) = log::next_to_print()
        {
            log::print_line(line.as_str());
        }
        match self.stands {
            Stands::Prompt => self.editor.show(&mut Raw),
            Stands::Waiting => serial::write(WAITING.as_bytes()),
            Stands::LineStart | Stands::InLine => {}
        }
    }
}
