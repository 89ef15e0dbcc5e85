//! The second serial line, on which programs talk (crate `carapace-cli`'s module of that name has the language): a task of
//! the executor beside the shell, with the same commands.
//!
//! ```text
//!  COM2 --input--> Lines --line--> read --> execute (as the shell's) --Out--> {"answer":...} --.
//!                                                                                              |--offer--> COM2
//!  news, log ------- while somebody listens, between answers -------> {"event":...} -----------'
//! ```
//!
//! One command runs at a time, but for those that only look and have a number to be known by: they are answered between
//! the steps of a longer one, so that whoever allocates can see it happen. Their answers are whole: the longer
//! one's begins behind them, or they wait for it.
//!
//! Invariants: nobody but this task ever waits for whoever reads the line. A command begins with half of the ring
//! free and gives up when nobody has read for [`PATIENCE`]; what finds no room within a step is left out, and said so;
//! news wait in their list and log lines in the log, and are counted when they are dropped there. While nobody
//! listens not a byte is sent. Where the machine has no second line, the task sleeps for ever.

use super::input::{self, ROOM};
use super::{Failure, Outcome, session};
use crate::arch::time;
use crate::commands::{COMMANDS, execute};
use crate::drivers::serial::{self, Port, Taken};
use crate::executor;
use crate::log::{self, Cursor};
use crate::sync::{Mutex, Rank};
use crate::uevents::{self, Listener};
use arrayvec::ArrayString;
use carapace_cli::command::Effect;
use carapace_cli::output::{self, Format, Text};
use carapace_cli::rows::{LogRow, NewsRow};
use carapace_cli::rpc::{Ended, Events, FRAME_MAX, Lines, TEXT_MAX, TextRow, Wish, frame, read};
use core::fmt::{Display, Write};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

/// How long a command waits for a reader, and how long events are told to one that says nothing.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Room that an answer leaves for its end.
const TAIL: usize = FRAME_MAX;

/// What is being sent. Only this task and its commands take the lock.
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
struct Request {
    /// The number that the answer is to have.
    id: Option<u32>,
    form: Form,
}

/// How a command's output is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
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

/// Serves the line for ever.
pub async fn run() {
    if !serial::is_up(Port::Remote) {
        core::future::pending::<()>().await;
    }
    session::on(Port::Remote, serve()).await;
}

async fn serve() {
    let (mut lines, mut behind) = (Lines::new(), Lines::new());
    let mut ended = None;
    loop {
        let Some(now) = (match ended.take() {
            None => lines.feed(byte().await),
            waited => waited,
        }) else {
            continue;
        };
        heard();
        match now {
            Ended::Line => {
                ended = with_looks(lines.line(), &mut behind).await;
                core::mem::swap(&mut lines, &mut behind);
            }
            Ended::TooLong => refuse(&"the line is too long"),
            Ended::NoText => refuse(&"the line has bytes that are no text"),
        }
    }
}

/// Whoever says something still listens.
fn heard() {
    if uevents::listener() == Listener::There {
        listen();
    }
}

/// Answers a line, and between its steps what comes `behind` it and only looks. The first line that does more waits
/// there: how it has ended.
async fn with_looks(line: &str, behind: &mut Lines) -> Option<Ended> {
    let mut long = pin!(answer(line));
    let mut waiting = None;
    loop {
        let polled = poll_fn(|context| Poll::Ready(long.as_mut().poll(context))).await;
        if polled.is_ready() {
            return waiting;
        }
        while waiting.is_none()
            && TALK.lock().is_between_lines()
            && let Some(byte) = input::take_typed_ahead(Port::Remote)
        {
            match behind.feed(byte) {
                Some(Ended::Line) if only_looks(behind.line()) => {
                    heard();
                    let request = TALK.lock().set_aside();
                    let stopped = matches!(answer(behind.line()).await, Err(Failure::Stopped));
                    TALK.lock().request = request;
                    if stopped {
                        // It was meant for the longer one.
                        input::interrupt(Port::Remote);
                    }
                }
                ended => waiting = ended,
            }
        }
        executor::wait_for_event().await;
    }
}

fn only_looks(line: &str) -> bool {
    match read(COMMANDS, line) {
        (Some(_), Ok(Wish::Command(invocation) | Wish::Shell(invocation))) => {
            invocation.command.effect == Effect::Reads
        }
        (Some(_), Ok(Wish::Events(_))) => true,
        _ => false,
    }
}

/// The next byte; tells what there is to tell while none comes.
async fn byte() -> u8 {
    loop {
        tell();
        if let Some(byte) = input::take(Port::Remote) {
            return byte;
        }
        executor::wait_for_event().await;
    }
}

fn listen() {
    uevents::listen(time::uptime().saturating_add(PATIENCE));
}

async fn answer(line: &str) -> Outcome {
    let (id, wish) = read(COMMANDS, line);
    let form = if matches!(wish, Ok(Wish::Shell(_))) { Form::Text } else { Form::Json };
    TALK.lock().request = Request { id, form };
    let outcome = match wish {
        Ok(Wish::Command(invocation) | Wish::Shell(invocation)) => execute(&invocation).await,
        Ok(Wish::Events(Events::On)) => {
            listen();
            let seconds = PATIENCE.as_secs();
            write(format_args!("{{\"events\":\"on\",\"seconds\":{seconds}}}"));
            Ok(())
        }
        Ok(Wish::Events(Events::Off)) => {
            uevents::listen(Duration::ZERO);
            write(format_args!("{{\"events\":\"off\"}}"));
            Ok(())
        }
        Err(error) => Err(Failure::of(error)),
    };
    TALK.lock().end(outcome);
    outcome
}

fn refuse(reason: &dyn Display) {
    let mut talk = TALK.lock();
    talk.request = Request { id: None, form: Form::Json };
    talk.end(Err(Failure::of(reason)));
}

fn write(text: core::fmt::Arguments<'_>) {
    // `Out` takes everything.
    let _ = super::console::Out.write_fmt(text);
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
    /// Whether what was sent so far ends with a line, and nothing is missing from it.
    fn is_between_lines(&self) -> bool {
        self.stage == Stage::Idle && self.left_out == 0
    }

    /// Makes room for another answer between two lines of this one.
    fn set_aside(&mut self) -> Request {
        self.send_text();
        self.request
    }

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
