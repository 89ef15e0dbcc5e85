//! The serial lines as commands see them: output ([`console::Out`]), input and Ctrl-C ([`input::step`]), and a command's
//! result ([`Outcome`]).
//!
//! ```text
//!  console   COM1: the editor, output, log lines between them      reply   COM2: answers and events
//!  input     both: bytes typed ahead, Ctrl-C, the step of a command
//!  session   the line that the running command belongs to      host    requests to the host that runs this guest
//! ```
//!
//! Invariants: this module depends on no command; the shell passes in the completion function. It uses no heap, so the
//! shell works when the heap is exhausted. Neighbours: `shell` and `commands` above, `drivers::serial` and `log` below.

#![allow(
    clippy::result_large_err,
    reason = "an error's text is on the stack: there may be no heap, and a command fails once"
)]

pub mod console;
pub mod host;
pub mod input;
pub mod reply;
pub mod session;

use crate::drivers::serial;
use carapace_schema::Text;
use core::fmt::Display;

/// Space in the transmit queue that a command, or its next step, waits for: more than the log needs.
const MIN_SPACE: usize = serial::OUTGOING_BYTES / 2;

/// Why a command ended before it was done.
#[allow(clippy::large_enum_variant, reason = "an error's text is on the stack: there may be no heap")]
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// It failed: the text of its `error:` line.
    Error(Text<320>),
    /// Ctrl-C stopped it.
    Stopped,
}

impl Failure {
    /// An error with this text.
    pub fn of(reason: impl Display) -> Failure {
        Failure::Error(Text::of(&reason))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Failure::Error(reason) => reason.fmt(f),
            Failure::Stopped => f.write_str("stopped by Ctrl-C"),
        }
    }
}

/// Output fails only when a row does not fit its buffer, which a test of `carapace_cli::output` excludes.
impl From<core::fmt::Error> for Failure {
    fn from(_: core::fmt::Error) -> Failure {
        Failure::of("a row of the answer does not fit its buffer")
    }
}

/// The result of a command.
pub type Outcome = Result<(), Failure>;
