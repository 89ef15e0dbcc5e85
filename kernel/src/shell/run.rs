//! Runs a line: its command, through its filters, as often as its prefixes say.
//!
//! ```text
//!  prefixes, outermost first:   watch   repeat 3   time
//!                               enter-> enter----> enter--> command, filters
//!                                 ^        ^         |
//!                                 again    again <-- done: on to the one further out
//! ```
//!
//! Prefixes are a stack of states, not futures in futures: there is no heap for those.

use super::console::{self, Errors, Screen};
use super::input::{self, Waited};
use super::{Failure, Outcome, execute, fail, pager};
use crate::arch::time;
use ::core::fmt::Write;
use ::core::time::Duration;
use arrayvec::ArrayVec;
use carapace_cli::args::format_of;
use carapace_cli::human::Elapsed;
use carapace_cli::pages::Page;
use carapace_cli::pipeline::{self, PREFIXES_MAX, Paging, Pipeline, Prefix};
use carapace_cli::report::{self, Format, Text};
use carapace_cli::rows::TimeRow;

/// A prefix at work.
#[derive(Clone, Copy)]
enum State {
    Time { started: Duration, ticks: u64 },
    Repeat { left: u64 },
    Watch { interval: Duration, left: Option<u64>, drawn: Drawn },
}

/// Whether `watch` has shown something yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drawn {
    No,
    Yes,
}

/// What comes when the command has run.
enum Next {
    /// It runs again.
    Again,
    /// This prefix is done: on to the one further out.
    Outwards,
}

/// Runs a line and tells its error, if it has one.
pub async fn line(text: &str) {
    let format = format_of(text);
    match pipeline::parse(text) {
        Err(error) => fail(format, &error),
        Ok(pipeline) => {
            let outcome = prefixed(text, format, &pipeline).await;
            console::end_line();
            console::begin(&[], Screen::Endless);
            match outcome {
                Ok(()) | Err(Failure::Enough) => {}
                Err(Failure::Stopped) => fail(format, &"stopped by Ctrl-C"),
                Err(Failure::Error(reason)) => fail(format, &reason),
            }
        }
    }
}

async fn prefixed(text: &str, format: Format, pipeline: &Pipeline<'_>) -> Outcome {
    let mut states: ArrayVec<State, PREFIXES_MAX> = ArrayVec::new();
    let watched = pipeline.prefixes.iter().any(|prefix| matches!(prefix, Prefix::Watch { .. }));
    loop {
        let entered = states.len();
        states.extend(pipeline.prefixes.iter().skip(entered).map(|&prefix| enter(prefix)));
        let mut screen = screen(format, pipeline, watched);
        for state in &mut states {
            if let State::Watch { interval, drawn, .. } = state
                && format == Format::Table
            {
                heading(text, *interval, *drawn, &mut screen)?;
                *drawn = Drawn::Yes;
            }
        }
        let outcome = once(pipeline, screen).await;
        let mut outcome = match outcome {
            // Somebody who watches sees the error, and may want to see it go.
            Err(Failure::Error(reason)) if watched => {
                fail(format, &reason);
                Ok(())
            }
            Err(Failure::Enough) => Ok(()),
            outcome => outcome,
        };
        let again = loop {
            let Some(state) = states.last_mut() else { break false };
            if matches!(outcome, Err(Failure::Stopped)) {
                break false;
            }
            match after(state, format, &outcome).await {
                Ok(Next::Again) if outcome.is_ok() => break true,
                Ok(_) => {}
                Err(failure) => outcome = Err(failure),
            }
            states.pop();
        };
        match outcome {
            Err(Failure::Stopped) if watched => return Ok(()),
            _ if !again => return outcome,
            _ => {}
        }
    }
}

fn enter(prefix: Prefix) -> State {
    match prefix {
        Prefix::Time => State::Time { started: time::uptime(), ticks: time::ticks() },
        Prefix::Repeat { times } => State::Repeat { left: times },
        Prefix::Watch { interval, times } => State::Watch { interval, left: times, drawn: Drawn::No },
    }
}

/// What a prefix does when what stands behind it has run.
async fn after(state: &mut State, format: Format, outcome: &Outcome) -> Result<Next, Failure> {
    match state {
        State::Time { started, ticks } => {
            let nanos = time::uptime().saturating_sub(*started).as_nanos();
            let ticks = time::ticks().wrapping_sub(*ticks);
            let row = TimeRow { time_ns: u64::try_from(nanos).unwrap_or(u64::MAX), tsc_ticks: ticks };
            console::end_line();
            match format {
                Format::Json => report::object(&mut Errors, &row)?,
                Format::Table => writeln!(
                    Errors,
                    "took {}: {} ns, {} ticks of the TSC",
                    Elapsed(row.time_ns),
                    row.time_ns,
                    row.tsc_ticks
                )?,
            }
            Ok(Next::Outwards)
        }
        State::Repeat { left } => {
            *left -= 1;
            if *left == 0 || outcome.is_err() {
                return Ok(Next::Outwards);
            }
            input::step().await?;
            Ok(Next::Again)
        }
        State::Watch { interval, left, .. } => {
            if let Some(left) = left {
                *left -= 1;
                if *left == 0 {
                    return Ok(Next::Outwards);
                }
            }
            console::end_line();
            match input::key_until(time::uptime() + *interval).await {
                Ok(Waited::Time) => Ok(Next::Again),
                Ok(Waited::Key) | Err(_) => Ok(Next::Outwards),
            }
        }
    }
}

/// How much of the output is shown: all, unless somebody has said that there is a terminal.
fn screen(format: Format, pipeline: &Pipeline<'_>, watched: bool) -> Screen {
    match (format, pager::rows(), pipeline.paging) {
        (Format::Json, ..) => Screen::Endless,
        (_, Some(_), _) if watched => Screen::InPlace(Page::of(pager::page_rows())),
        _ if watched => Screen::Endless,
        (_, Some(_), _) | (_, None, Paging::Asked) => Screen::Pages(Page::of(pager::page_rows())),
        (_, None, Paging::AsSet) => Screen::Endless,
    }
}

/// Above what `watch` shows: what that is. In place where there is a terminal; else one below the other.
fn heading(text: &str, interval: Duration, drawn: Drawn, screen: &mut Screen) -> Outcome {
    match (screen, drawn) {
        (Screen::InPlace(page), drawn) => {
            // The heading has a row of its own.
            *page = Page::of(pager::page_rows() - 1);
            Errors.write_str(if drawn == Drawn::No { "\x1b[H\x1b[2J" } else { "\x1b[H" })?;
        }
        (_, Drawn::Yes) => Errors.write_char('\n')?,
        (_, Drawn::No) => {}
    }
    let line = format_args!("every {} s, until a key is pressed: {text}", interval.as_secs_f32());
    Ok(writeln!(Errors, "{}", Text::<79>::of(&line))?)
}

/// Runs the command once.
async fn once(pipeline: &Pipeline<'_>, screen: Screen) -> Outcome {
    console::begin(&pipeline.filters, screen);
    let outcome = execute(&pipeline.command).await;
    if matches!(outcome, Err(Failure::Stopped)) {
        console::close();
        return outcome;
    }
    let filtered = console::end().map_err(Failure::of);
    pager::settle().await?;
    console::end_line();
    match outcome {
        // A filter that has failed wants no more either, and its error is what is told.
        Err(Failure::Enough) => filtered.and(Err(Failure::Enough)),
        outcome => outcome.and(filtered),
    }
}
