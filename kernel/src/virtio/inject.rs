//! Answers of devices made wrong on purpose, so that each is seen at each request in a guest (Linux: fault-injection).
//!
//! ```text
//!  nack, busy, error, garbage   the device does not get the request; its answer is made up
//!  garbage-done                 the device does it, its answer is made unreadable
//!  silence                      the device is not notified of it; cancelling notifies it: a late answer
//!  report-silence               the same for a batch of free page reporting
//! ```
//!
//! Neighbours: `mem` and `reporting` ask before they send; `commands::lkdtm::fail_virtio` sets.

use crate::executor;
use ::core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use carapace_virtio::mem::Response;

/// A wrong answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// NACK.
    Nack,
    /// BUSY.
    Busy,
    /// ERROR.
    Error,
    /// No response of the standard; the device has done nothing.
    Garbage,
    /// No response of the standard; the device has done what was asked.
    GarbageDone,
    /// No answer.
    Silence,
    /// No answer to a batch of free page reporting.
    ReportSilence,
}

impl Wrong {
    /// All of them.
    pub const ALL: [Wrong; 7] = [
        Wrong::Nack,
        Wrong::Busy,
        Wrong::Error,
        Wrong::Garbage,
        Wrong::GarbageDone,
        Wrong::Silence,
        Wrong::ReportSilence,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Wrong::Nack => "nack",
            Wrong::Busy => "busy",
            Wrong::Error => "error",
            Wrong::Garbage => "garbage",
            Wrong::GarbageDone => "garbage-done",
            Wrong::Silence => "silence",
            Wrong::ReportSilence => "report-silence",
        }
    }

    /// The answer with that name.
    pub fn named(name: &str) -> Option<Wrong> {
        Wrong::ALL.into_iter().find(|wrong| wrong.name() == name)
    }

    /// The response that is made up, if one is.
    pub const fn response(self) -> Option<Response> {
        match self {
            Wrong::Nack => Some(Response::Nack),
            Wrong::Busy => Some(Response::Busy),
            Wrong::Error => Some(Response::Error),
            Wrong::Garbage => Some(Response::Garbage),
            Wrong::GarbageDone | Wrong::Silence | Wrong::ReportSilence => None,
        }
    }
}

/// For each answer: how many requests it is away; 0 for never.
static AWAY: [AtomicU32; Wrong::ALL.len()] = [const { AtomicU32::new(0) }; Wrong::ALL.len()];
/// Devices that were not notified are notified now.
static BREAKS_SILENCE: AtomicBool = AtomicBool::new(false);

/// The `nth` request from now on gets this answer; 0 for none.
pub fn set(wrong: Wrong, nth: u32) {
    AWAY[wrong as usize].store(nth, Ordering::Relaxed);
    if wrong == Wrong::Silence && nth == 0 {
        BREAKS_SILENCE.store(true, Ordering::Relaxed);
        executor::wake();
    }
}

/// How many requests an answer is away; 0 for never.
pub fn away(wrong: Wrong) -> u32 {
    AWAY[wrong as usize].load(Ordering::Relaxed)
}

/// Counts a request; whether it gets this answer.
fn comes(wrong: Wrong) -> bool {
    let count = &AWAY[wrong as usize];
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |away| away.checked_sub(1)) == Ok(1)
}

/// The answer that a request of virtio-mem gets.
pub fn for_request() -> Option<Wrong> {
    let of_mem = Wrong::ALL.into_iter().filter(|wrong| *wrong != Wrong::ReportSilence);
    // Each is counted.
    of_mem.fold(None, |found, wrong| if comes(wrong) { Some(wrong) } else { found })
}

/// Whether the silence was cancelled since the last call.
pub fn breaks_silence() -> bool {
    BREAKS_SILENCE.swap(false, Ordering::Relaxed)
}

/// Whether a batch of free page reporting gets no answer.
pub fn silences_report() -> bool {
    comes(Wrong::ReportSilence)
}
