//! The second serial line, for programs (crate `carapace-cli`'s module of that name has the language): a task of the
//! executor beside the shell, with the same commands.
//!
//! ```text
//!  COM2 --input--> Lines --line--> read --> execute (as the shell's) --Out--> reply --> COM2
//! ```
//!
//! One command runs at a time, except that read-only requests with an id are served at the yield points of a
//! long-running one. Their answers are whole: the longer one's begins behind them, or they wait for it.
//!
//! Invariants: only this task waits for the reader of the line. A command begins with half of the ring free and gives up
//! when the line was not read for [`PATIENCE`]. Where the machine has no second line, the task sleeps for ever.

use crate::arch::time;
use crate::commands::{COMMANDS, execute};
use crate::drivers::serial::{self, Port};
use crate::executor;
use crate::terminal::console::Out;
use crate::terminal::reply::{self, Form, PATIENCE, Request};
use crate::terminal::{Failure, Outcome, input, session};
use crate::uevents::{self, Listener};
use carapace_cli::command::Effect;
use carapace_cli::rpc::{Ended, Events, Lines, Wish, read};
use core::fmt::{Display, Write};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

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
            && reply::is_between_lines()
            && let Some(byte) = input::take_typed_ahead(Port::Remote)
        {
            match behind.feed(byte) {
                Some(Ended::Line) if only_looks(behind.line()) => {
                    heard();
                    let request = reply::set_aside();
                    let stopped = matches!(answer(behind.line()).await, Err(Failure::Stopped));
                    reply::begin(request);
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
        reply::tell();
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
    reply::begin(Request { id, form });
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
    reply::end(outcome);
    outcome
}

fn refuse(reason: &dyn Display) {
    reply::begin(Request { id: None, form: Form::Json });
    reply::end(Err(Failure::of(reason)));
}

fn write(text: core::fmt::Arguments<'_>) {
    // `Out` takes everything.
    let _ = Out.write_fmt(text);
}
