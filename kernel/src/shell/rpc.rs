//! The RPC server on the second serial line: programs send commands, and get JSON answers and events. A task of its own
//! with the shell's commands. `carapace_cli::rpc` defines the protocol.
//!
//! ```text
//!  COM2 --input--> Lines --line--> read --> execute (as the shell's) --Out--> reply --> COM2
//! ```
//!
//! One command runs at a time, except that read-only requests with an id are served at the steps of a long-running one.
//! Answers do not mix: a read-only request waits while an answer is being sent.
//!
//! Invariants: only this task waits for the reader of the line. A command starts when half of the transmit queue is free,
//! and fails when the reader accepts nothing for [`TIMEOUT`]. Without a second line the task sleeps forever.

use crate::arch::time;
use crate::bring_up;
use crate::commands::{COMMANDS, execute};
use crate::drivers::serial::{self, Port};
use crate::executor;
use crate::terminal::console::Out;
use crate::terminal::host;
use crate::terminal::reply::{self, Form, Request, TIMEOUT};
use crate::terminal::{Failure, Outcome, input, session};
use crate::uevents::{self, Listener};
use carapace_cli::command::Effect;
use carapace_cli::rpc::{Ended, Events, Lines, Request as Parsed, read};
use core::fmt::{Display, Write};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

/// Serves the line, forever.
pub async fn run() {
    if !serial::is_up(Port::Remote) {
        core::future::pending::<()>().await;
    }
    bring_up::finished().await;
    session::on(Port::Remote, serve()).await;
}

async fn serve() {
    let (mut lines, mut next) = (Lines::new(), Lines::new());
    let mut ended = None;
    loop {
        let Some(now) = (match ended.take() {
            None => lines.feed(byte().await),
            pending => pending,
        }) else {
            continue;
        };
        extend_listening();
        match now {
            Ended::Line => {
                ended = answer_with_reads(lines.line(), &mut next).await;
                core::mem::swap(&mut lines, &mut next);
            }
            Ended::TooLong => refuse(&"the line is too long"),
            Ended::NoText => refuse(&"the line is not valid UTF-8 text"),
        }
    }
}

/// Restarts the listener's timeout, since the client has sent something.
fn extend_listening() {
    if uevents::listener() == Listener::There {
        listen();
    }
}

/// Answers a line and, between its steps, the read-only requests that follow. The first other line stays in `next`;
/// returns how it ended.
async fn answer_with_reads(line: &str, next: &mut Lines) -> Option<Ended> {
    let mut long = pin!(answer(line));
    let mut pending = None;
    loop {
        let polled = poll_fn(|context| Poll::Ready(long.as_mut().poll(context))).await;
        if polled.is_ready() {
            return pending;
        }
        while pending.is_none()
            && reply::is_between_lines()
            && let Some(byte) = input::take_typed_ahead(Port::Remote)
        {
            match next.feed(byte) {
                Some(Ended::Line) if is_read_only(next.line()) => {
                    extend_listening();
                    let request = reply::suspend();
                    let stopped = matches!(answer(next.line()).await, Err(Failure::Stopped));
                    reply::begin(request);
                    if stopped {
                        // The Ctrl-C was for the long-running command.
                        input::interrupt(Port::Remote);
                    }
                }
                ended => pending = ended,
            }
        }
        executor::wait_for_event().await;
    }
}

/// Whether the line is a read-only request with an id.
fn is_read_only(line: &str) -> bool {
    match read(COMMANDS, line) {
        (Some(_), Ok(Parsed::Command(invocation) | Parsed::Shell(invocation))) => {
            invocation.command.effect == Effect::Reads
        }
        (Some(_), Ok(Parsed::Events(_) | Parsed::Host(_))) => true,
        _ => false,
    }
}

/// The next byte. Sends events while there is none.
async fn byte() -> u8 {
    loop {
        reply::send_events();
        if let Some(byte) = input::take(Port::Remote) {
            return byte;
        }
        executor::wait_for_event().await;
    }
}

fn listen() {
    uevents::listen(time::uptime().saturating_add(TIMEOUT));
}

async fn answer(line: &str) -> Outcome {
    let (id, request) = read(COMMANDS, line);
    let form = if matches!(request, Ok(Parsed::Shell(_))) { Form::Text } else { Form::Json };
    reply::begin(Request { id, form });
    let outcome = match request {
        Ok(Parsed::Command(invocation) | Parsed::Shell(invocation)) => execute(&invocation).await,
        Ok(Parsed::Events(Events::On)) => {
            listen();
            let seconds = TIMEOUT.as_secs();
            write(format_args!("{{\"events\":\"on\",\"seconds\":{seconds}}}"));
            Ok(())
        }
        Ok(Parsed::Events(Events::Off)) => {
            uevents::listen(Duration::ZERO);
            write(format_args!("{{\"events\":\"off\"}}"));
            Ok(())
        }
        Ok(Parsed::Host(answer)) => host::answer(answer),
        Err(error) => Err(Failure::of(error)),
    };
    reply::end(outcome);
    outcome
}

fn refuse(reason: &dyn Display) {
    reply::begin(Request { id: None, form: Form::Json });
    reply::end(Err(Failure::of(reason)));
}

fn write(text: core::fmt::Arguments<'_>) {
    // Writing to `Out` cannot fail.
    let _ = Out.write_fmt(text);
}
