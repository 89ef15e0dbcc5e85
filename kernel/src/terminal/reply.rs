//! Output of the second line: the answer of the command that runs there, and between answers events and log lines.
//!
//! ```text
//!  Out --put--> {"answer":...} ------------------.
//!                                                 |--offer--> COM2
//!  uevents, log --tell--> {"event":...} ---------'    while a program listens
//! ```
//!
//! Invariants: nothing here waits. A piece of an answer that does not fit is left out, and the answer's end reports that;
//! events and log lines wait in their own lists and are counted when they are dropped there. While no program listens,
//! not a byte is sent. Neighbours: `console::Out` writes here, `shell::rpc` begins and ends answers.

use super::{Failure, ROOM};
use crate::drivers::serial::{self, Port, Taken};
use crate::log::{self, Cursor};
use crate::sync::{Mutex, Rank};
use crate::uevents::{self, Listener};
use arrayvec::ArrayString;
use carapace_cli::output::{self, Format, Text};
use carapace_cli::rows::{LogRow, NewsRow};
use carapace_cli::rpc::{FRAME_MAX, TEXT_MAX, TextRow, frame};
use core::fmt::{Display, Write};
use core::time::Duration;

/// How long a command waits for a reader, and how long events are told to one that says nothing.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Room that an answer leaves for its end.
const TAIL: usize = FRAME_MAX;

/// What is being sent. Only the line's task and its commands take the lock.
static TALK: Mutex<Talk> = Mutex::new(
    Rank::Remote,
    Talk {
        request: Request { id: None, form: Form::Json },
        text: ArrayString::new_const(),
        stage: Stage::Idle,
        left_out: 0,
        log: None,
    },
);

struct Talk {
    request: Request,
    /// The end of what was printed, not sent yet; empty unless the form is text.
    text: ArrayString<TEXT_MAX>,
    stage: Stage,
    /// Bytes of the answer that found no room.
    left_out: u64,
    /// Up to where the log has been told; `None` while nobody listens.
    log: Option<Cursor>,
}

/// What is being answered.
#[derive(Clone, Copy)]
pub struct Request {
    /// The number that the answer is to have.
    pub id: Option<u32>,
    /// The form of the output.
    pub form: Form,
}

/// How a command's output is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the answer, as JSON.
    Json,
    /// In lines of its own, as text: between them events may be told, and other requests answered.
    Text,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No answer has begun: events may be told.
    Idle,
    /// In an answer's line.
    Begun,
}

/// Begins an answer.
pub fn begin(request: Request) {
    TALK.lock().request = request;
}

/// Ends the answer with the command's outcome.
pub fn end(outcome: Result<(), Failure>) {
    TALK.lock().end(outcome);
}

/// Whether another answer may come now: the output so far ends with a line, and nothing is missing from it.
pub fn is_between_lines() -> bool {
    let talk = TALK.lock();
    talk.stage == Stage::Idle && talk.left_out == 0
}

/// Makes room for another answer between two lines of this one, which [`begin`] resumes with the returned request.
pub fn set_aside() -> Request {
    let mut talk = TALK.lock();
    talk.send_text();
    talk.request
}

/// A part of what a command writes: as text, or as JSON in one line.
pub fn put(text: &str) {
    let mut talk = TALK.lock();
    if talk.request.form == Form::Text {
        talk.print(text);
        return;
    }
    for piece in text.split('\n').filter(|piece| !piece.is_empty()) {
        talk.put(piece);
    }
}

/// Tells what there is to tell, as far as there is room, if somebody listens; never within an answer.
pub fn tell() {
    let mut talk = TALK.lock();
    if talk.stage == Stage::Idle {
        talk.tell();
    }
}

impl Talk {
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
            && let Some(line) = frame(&TextRow { id: self.request.id, text: &text })
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

    /// A part of an answer; once one found no room the rest is left out too.
    fn offer(&mut self, piece: &str) {
        let fits = serial::room(Port::Remote) >= piece.len() + TAIL;
        if self.left_out > 0 || !fits || serial::offer(Port::Remote, piece.as_bytes()) == Taken::Nothing {
            self.left_out += piece.len() as u64;
        }
    }

    /// Ends the answer. There is room: parts of it have left some, and a command begins with more.
    fn end(&mut self, outcome: Result<(), Failure>) {
        self.send_text();
        let left_out = core::mem::take(&mut self.left_out);
        let outcome = match outcome {
            Ok(()) if left_out > 0 => Err(Failure::of(format_args!(
                "the answer is longer than what can be kept for the reader: {left_out} bytes were left out"
            ))),
            outcome => outcome,
        };
        if outcome.is_ok() && self.stage == Stage::Idle {
            self.put("null");
        }
        let mut tail = ArrayString::<TAIL>::new();
        let begun = core::mem::replace(&mut self.stage, Stage::Idle) == Stage::Begun;
        // An error's text is cut to what fits, with room to spare.
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

    fn tell(&mut self) {
        if uevents::listener() == Listener::None {
            self.log = None;
            return;
        }
        let mut place = *self.log.get_or_insert_with(log::end);
        while serial::room(Port::Remote) >= ROOM
            && let Some(row) = uevents::next()
        {
            send(frame(&row));
        }
        let mut pieces = if serial::room(Port::Remote) >= ROOM { uevents::take_lost() } else { 0 };
        while serial::room(Port::Remote) >= ROOM
            && let Some((next, line)) = log::read(place)
        {
            pieces += u64::from(place.misses(next, &line));
            send(frame(&LogRow { line: line.as_str() }));
            place = next;
        }
        if pieces > 0 {
            send(frame(&NewsRow::Lost { pieces }));
        }
        self.log = Some(place);
    }
}

/// Sends a line that nobody has asked for; there is room.
fn send(frame: Option<ArrayString<FRAME_MAX>>) {
    if let Some(frame) = frame {
        serial::offer(Port::Remote, frame.as_bytes());
    }
}
