//! Output of the second line: the answer of the command that runs there, and between answers events and log lines.
//!
//! ```text
//!  Out --put--> {"answer":...} ------------------.
//!                                                 |--offer--> COM2
//!  uevents, log --------> {"event":...} ---------'    while a program listens
//! ```
//!
//! Invariants: no function here waits. A piece of an answer that does not fit is left out, and the answer ends with an
//! error. Events and log lines wait in their own lists; those dropped there are counted and reported. Without a listener
//! no event is sent but requests to the host. Neighbours: `console::Out` writes here, `shell::rpc` begins and ends answers.

use super::host;
use super::{Failure, MIN_SPACE};
use crate::drivers::serial::{self, Port, Taken};
use crate::log::{self, Cursor};
use crate::sync::{Mutex, Rank};
use crate::uevents::{self, Listener};
use arrayvec::ArrayString;
use carapace_cli::output::{self, Format};
use carapace_cli::rpc::{FRAME_MAX, TEXT_MAX, frame};
use carapace_schema::{Event, Printed, Text};
use core::fmt::{Display, Write};
use core::time::Duration;

/// How long a command waits for the reader, and how long events are sent to a client that sends nothing.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Space in the transmit queue that an answer leaves for its end.
const TAIL: usize = FRAME_MAX;

/// The state of the connection. Only the line's task and its commands take the lock.
static CONNECTION: Mutex<Connection> = Mutex::new(
    Rank::Remote,
    Connection {
        request: Request { id: None, form: Form::Json },
        text: ArrayString::new_const(),
        stage: Stage::Idle,
        left_out: 0,
        log: None,
    },
);

struct Connection {
    request: Request,
    /// Unsent text output. Empty unless the form is text.
    text: ArrayString<TEXT_MAX>,
    stage: Stage,
    /// Bytes of the answer that did not fit.
    left_out: u64,
    /// The position of the next log line to send. `None` without a listener.
    log: Option<Cursor>,
}

/// The request being answered.
#[derive(Clone, Copy)]
pub struct Request {
    /// The id that the answer repeats.
    pub id: Option<u32>,
    /// The form of the output.
    pub form: Form,
}

/// How a command's output is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the answer, as JSON.
    Json,
    /// As text, in separate lines. Events and other answers may come between them.
    Text,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Between answers: events may be sent.
    Idle,
    /// In an answer's line.
    Begun,
}

/// Begins an answer.
pub fn begin(request: Request) {
    CONNECTION.lock().request = request;
}

/// Ends the answer with the command's result.
pub fn end(outcome: Result<(), Failure>) {
    CONNECTION.lock().end(outcome);
}

/// Whether another answer may be sent now: the output so far is complete and ends with a line.
pub fn is_between_lines() -> bool {
    let connection = CONNECTION.lock();
    connection.stage == Stage::Idle && connection.left_out == 0
}

/// Suspends this answer for another one. [`begin`] resumes it with the returned request.
pub fn suspend() -> Request {
    let mut connection = CONNECTION.lock();
    connection.send_text();
    connection.request
}

/// Sends a part of a command's output: as text, or as JSON in one line.
pub fn put(text: &str) {
    let mut connection = CONNECTION.lock();
    if connection.request.form == Form::Text {
        connection.print(text);
        return;
    }
    for piece in text.split('\n').filter(|piece| !piece.is_empty()) {
        connection.put(piece);
    }
}

/// Sends events and log lines to a listener, as far as the transmit queue has space. Does nothing within an answer.
pub fn send_events() {
    let mut connection = CONNECTION.lock();
    if connection.stage == Stage::Idle {
        connection.send_events();
    }
}

impl Connection {
    fn print(&mut self, text: &str) {
        for character in text.chars() {
            if self.text.try_push(character).is_err() {
                self.send_text();
                // It is empty now.
                let _ = self.text.try_push(character);
            }
        }
    }

    fn send_text(&mut self) {
        let text = core::mem::take(&mut self.text);
        if !text.is_empty()
            && let Some(line) = frame(&Printed { id: self.request.id, text: &*text })
        {
            self.offer(&line);
        }
    }

    fn put(&mut self, piece: &str) {
        if self.stage == Stage::Idle {
            self.stage = Stage::Begun;
            let mut head = ArrayString::<64>::new();
            let _ = match self.request.id {
                Some(id) => write!(head, "{{\"id\":{id},\"answer\":"),
                None => write!(head, "{{\"answer\":"),
            };
            self.offer(&head);
        }
        self.offer(piece);
    }

    /// Sends a part of an answer. Once a part does not fit, all further ones are left out.
    fn offer(&mut self, piece: &str) {
        let fits = serial::room(Port::Remote) >= piece.len() + TAIL;
        if self.left_out > 0 || !fits || serial::offer(Port::Remote, piece.as_bytes()) == Taken::Nothing {
            self.left_out += piece.len() as u64;
        }
    }

    /// Ends the answer. It always fits: [`TAIL`] is kept free.
    fn end(&mut self, outcome: Result<(), Failure>) {
        self.send_text();
        let left_out = core::mem::take(&mut self.left_out);
        let outcome = match outcome {
            Ok(()) if left_out > 0 => Err(Failure::of(format_args!(
                "the answer does not fit the transmit queue: {left_out} bytes were left out"
            ))),
            outcome => outcome,
        };
        if outcome.is_ok() && self.stage == Stage::Idle {
            self.put("null");
        }
        let mut tail = ArrayString::<TAIL>::new();
        let begun = core::mem::replace(&mut self.stage, Stage::Idle) == Stage::Begun;
        // The error's text is truncated so that it fits.
        let _ = match outcome {
            Ok(()) => tail.write_str("}\n"),
            Err(failure) => self.write_error(&mut tail, begun, &failure),
        };
        serial::offer(Port::Remote, tail.as_bytes());
    }

    fn write_error(
        &self,
        tail: &mut ArrayString<TAIL>,
        begun: bool,
        reason: &dyn Display,
    ) -> core::fmt::Result {
        if begun {
            tail.write_char('\n')?;
        }
        let mut error = ArrayString::<TAIL>::new();
        output::error(&mut error, Format::Json, &Text::<200>::of(reason))?;
        match (self.request.id, error.strip_prefix('{')) {
            (Some(id), Some(rest)) => write!(tail, "{{\"id\":{id},{rest}"),
            _ => tail.write_str(&error),
        }
    }

    fn send_events(&mut self) {
        if serial::room(Port::Remote) >= MIN_SPACE
            && let Some(request) = host::next()
        {
            send(frame(&request));
        }
        if uevents::listener() == Listener::None {
            self.log = None;
            return;
        }
        let mut cursor = *self.log.get_or_insert_with(log::end);
        while serial::room(Port::Remote) >= MIN_SPACE
            && let Some(row) = uevents::next()
        {
            send(frame(&row));
        }
        let mut pieces = if serial::room(Port::Remote) >= MIN_SPACE { uevents::take_lost() } else { 0 };
        while serial::room(Port::Remote) >= MIN_SPACE
            && let Some((next, line)) = log::read(cursor)
        {
            pieces += u64::from(cursor.misses(next, &line));
            send(frame(&Event::Log { line: line.as_str() }));
            cursor = next;
        }
        if pieces > 0 {
            send(frame(&Event::<&str>::Lost { pieces }));
        }
        self.log = Some(cursor);
    }
}

/// Sends an event. The transmit queue has space.
fn send(frame: Option<ArrayString<FRAME_MAX>>) {
    if let Some(frame) = frame {
        serial::offer(Port::Remote, frame.as_bytes());
    }
}
